# bash completion for cc: source <(cc completion bash)
_cc() {
	local cur=${COMP_WORDS[COMP_CWORD]} words line
	# bash cuts words at = and : too; cc wants them as they were typed.
	words=$(printf '%s' "${COMP_LINE:0:COMP_POINT}")
	local -a typed=()
	read -ra typed <<<"$words"
	[[ $words == *[[:space:]] ]] && typed+=("")
	local last=${typed[${#typed[@]} - 1]}
	local cut=${last%"$cur"}
	[[ $last == *"$cur" ]] || cut=
	[[ $cur == [=:] ]] && cut=$last
	COMPREPLY=()
	while IFS= read -r line; do
		if [[ $line == :file ]]; then
			compopt -o filenames 2>/dev/null
			while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
			continue
		fi
		line=${line%%$'\t'*}
		[[ $line == *[:=] ]] && compopt -o nospace 2>/dev/null
		COMPREPLY+=("${line#"$cut"}")
	done < <("${typed[0]}" __complete -- "${typed[@]:1}" 2>/dev/null)
}
complete -F _cc cc
