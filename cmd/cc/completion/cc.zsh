#compdef cc
# zsh completion for cc: cc completion zsh > "${fpath[1]}/_cc", or source <(cc completion zsh)
_cc() {
	local line word doc files=0
	local -a plain glued
	for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		[[ -z $line ]] && continue
		if [[ $line == :file ]]; then
			files=1
			continue
		fi
		word=${line%%$'\t'*}
		doc=
		[[ $line == *$'\t'* ]] && doc=${line#*$'\t'}
		if [[ $word == *[:=] ]]; then
			glued+=("$word")
		else
			plain+=("${word//:/\\:}${doc:+:$doc}")
		fi
	done
	(( ${#plain} )) && _describe -V cc plain
	(( ${#glued} )) && compadd -S '' -- "${glued[@]}"
	(( files )) && _files
	return 0
}
if [[ ${funcstack[1]} == _cc ]]; then
	_cc "$@"
else
	compdef _cc cc
fi
