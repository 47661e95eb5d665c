package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds cc and a tree of plain directories for it, and returns an environment that finds both.
func program(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "cc"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, d := range []string{"container/web", "container/worker", "vpc/foo", "image/ref/debian:12", "image/ref/reg.example:5000/team/app:1", "doc"} {
		if err := os.MkdirAll(filepath.Join(dir, "tree", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tables := map[string]string{
		"container/index": "web 1-2 running - builtin - - - 0 - true\nworker 3-4 exited - builtin - - 1 0 - true\n",
		"schema": "container/CONTAINER/memory scalar BYTES|max max live 0664\ncontainer/CONTAINER/mem.stat table - - - 0444\n" +
			"vpc/VPC/cidr scalar A.B.C.D/BITS - fixed 0664\n",
	}
	for name, text := range tables {
		if err := os.WriteFile(filepath.Join(dir, "tree", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"version", "container/ctl", "doc/start", "image/ref/debian:12/config", "image/ref/reg.example:5000/team/app:1/config"} {
		if err := os.WriteFile(filepath.Join(dir, "tree", f), []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CC_ENDPOINT_URL=file://"+dir+"/tree", "HOME="+dir)
}

// TestCompletionWords asks cc itself, as the scripts do.
func TestCompletionWords(t *testing.T) {
	dir, env := program(t)
	for typed, want := range map[string]string{
		"sta|":              "status start stats",
		"vpc |":             "create list ls update delete rm inspect",
		"start |":           "worker",
		"wait --for run|":   "running",
		"run --set me|":     "memory=",
		"explain vpc/|":     "vpc/VPC/cidr",
		"vpc delete |":      "foo",
		"logs w|":           "web worker",
		"stop web |":        "worker",
		"logs -f |":         "web worker",
		"logs web |":        "",
		"run --image |":     "debian:12 reg.example:5000/team/app:1 builtin host",
		"run --image=d|":    "--image=debian:12",
		"run --vp|":         "--vpc",
		"run --rm echo |":   "",
		"exec |":            "web worker",
		"exec web l|":       "",
		"cp w|":             "web: worker: :file",
		"completion |":      "bash zsh fish",
		"status vpc|":       "vpc/foo",
		"run --restart on|": "on-failure",
		"-x sto|":           "stop",
		"image load |":      ":file",
	} {
		words := strings.Split(strings.TrimSuffix(typed, "|"), " ")
		cmd := exec.Command(filepath.Join(dir, "cc"), append([]string{"__complete", "--"}, words...)...)
		cmd.Env = env
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", typed, err)
		}
		var got []string
		for l := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("cc %s: %q, want %q", typed, got, want)
		}
	}
}

// shells complete one line each in a real shell and print the words, sorted.
var shells = map[string]string{
	"bash": `
source <(cc completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<<"$(sed 's/[:=]/ & /g' <<<"$1")"
[[ $1 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_cc
printf '%s\n' "${COMPREPLY[@]}"`,
	"fish": `
cc completion fish | source
complete -C $argv[1] | string replace -r '\t.*' ''; true`,
	"zsh": `
autoload -Uz compinit && compinit -u -D
source <(cc completion zsh)
compadd() { local a; while [[ $1 == -* && $1 != -- ]]; do [[ $1 == -S ]] && shift; shift; done; shift; print -l -- "$@"; }
_describe() { shift 2; print -l -- ${${(P)1}%%:*}; }
_files() { print -- :file; }
words=(${(z)1}); [[ $1 == *' ' ]] && words+=("")
CURRENT=${#words}
_cc`,
}

func TestCompletionInShells(t *testing.T) {
	_, env := program(t)
	for shell, script := range shells {
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not installed: its completion is not tested", shell)
			continue
		}
		for typed, want := range map[string]string{
			"cc logs w":      "web worker",
			"cc vpc delete ": "foo",
			"cc stop web w":  "worker",
			"cc versi":       "version",
		} {
			args := []string{"-c", script, "sh", typed}
			if shell == "fish" {
				args = []string{"-c", script, typed}
			}
			cmd := exec.Command(shell, args...)
			cmd.Env = env
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.Output()
			got := strings.Join(strings.Fields(string(out)), " ")
			if err != nil || got != want {
				t.Errorf("%s: %q gave %q, want %q (%v %s)", shell, typed, got, want, err, errs.String())
			}
		}
	}
}

// TestBashColons: bash cuts words at colons, cc's answers are whole.
func TestBashColons(t *testing.T) {
	_, env := program(t)
	for typed, want := range map[string]string{
		"cc run --image debian:":  "12",
		"cc run --image debian:1": "12",
		"cc run --image=deb":      "debian:12",
		"cc run --image deb":      "debian:12",
	} {
		cmd := exec.Command("bash", "-c", shells["bash"], "sh", typed)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q gave %q, want %q (%v)", typed, got, want, err)
		}
	}
}

func TestManPage(t *testing.T) {
	dir, env := program(t)
	cmd := exec.Command("sh", "-c", "cc help --man > cc.1 && man -l --warnings cc.1 2>&1 | col -b")
	cmd.Dir, cmd.Env = dir, append(env, "MANROFFOPT=-ww", "MANWIDTH=100", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("man cannot print a page here: %v %s", err, out)
	}
	for _, want := range []string{"EXIT STATUS", "cc vpc create", "source <(cc completion bash)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the manual page lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "warning") || strings.Contains(string(out), "troff") {
		t.Errorf("%s", out)
	}
}
