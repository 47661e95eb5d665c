# fish completion for cc: cc completion fish > ~/.config/fish/completions/cc.fish
function __cc_complete
    set -l typed (commandline -opc)
    set -l last (commandline -ct)
    set -l program $typed[1]
    set -e typed[1]
    for line in ($program __complete -- $typed "$last" 2>/dev/null)
        if test "$line" = :file
            __fish_complete_path "$last"
        else
            echo $line
        end
    end
end
complete -c cc -f -a '(__cc_complete)'
