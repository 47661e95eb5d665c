// Package cc only holds the checks of the house style that a machine can make.
package cc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/containercloud/cc/"

// layers are those of docs/ARCHITECTURE.md, the highest first. A package imports from lower lines and from below its own name.
var layers = [][]string{
	{"cmd/ccd", "cmd/cc", "cmd/cc-keeper", "tests"},
	{"ccfs/fusefs", "ccfs/treetest"},
	{"ccfs"},
	{"ccfs/tree"},
	{"runtime/container"},
	{"net/vpc", "runtime/image"},
	{"runtime/boot", "net/nft"},
	{"runtime/keeper", "net/link", "net/ipam"},
	{"runtime/cgroup", "runtime/logs", "runtime/seccomp", "store"},
	{"build", "event", "object", "words"},
	{"fault"},
}

// walls forbid imports that point down but past a neighbour who must stay a stranger, each with its reason.
var walls = []struct{ from, to, why string }{
	{"net/", "runtime/", "a network does not know who lives in it"},
	{"runtime/boot", "net/", "a container's start is the same in every network"},
	{"runtime/keeper", "net/", "the keeper outlives policy"},
	{"ccfs/tree", "runtime/", "the engine knows no noun"},
	{"ccfs/tree", "net/", "the engine knows no noun"},
	{"ccfs/tree", "store", "the engine knows no noun"},
	{"ccfs/fusefs", "runtime/", "a door shows any tree"},
	{"ccfs/fusefs", "net/", "a door shows any tree"},
	{"ccfs/fusefs", "ccfs/", "a door shows any tree"},
	{"cmd/cc", "runtime/", "the command does file operations only"},
	{"cmd/cc", "net/", "the command does file operations only"},
	{"cmd/cc", "ccfs/", "the command does file operations only"},
	{"cmd/cc", "store", "the command does file operations only"},
	{"cmd/cc-keeper", "runtime/container", "the keeper outlives policy"},
}

// layerOf is the line and the name under which a package stands there, the longest that fits; -1 for none.
func layerOf(dir string) (line int, name string) {
	line = -1
	for i, names := range layers {
		for _, n := range names {
			if within(dir, n) && len(n) > len(name) {
				line, name = i, n
			}
		}
	}
	return line, name
}

func within(dir, top string) bool {
	return strings.HasPrefix(dir+"/", strings.TrimSuffix(top, "/")+"/")
}

// wall is why an import between packages of these names is forbidden, "" when it is not. A door
// does know the engine.
func wall(from, to string) string {
	for _, w := range walls {
		if within(from, w.from) && within(to, w.to) && !(from == "ccfs/fusefs" && to == "ccfs/tree") {
			return w.why
		}
	}
	return ""
}

type source struct {
	dir, file string
	lines     int
	imports   []string
	doc       string
	name      string
}

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && p != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{dir: path.Dir(p), file: p, lines: strings.Count(string(text), "\n"), name: f.Name.Name, doc: f.Doc.Text()}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			s.imports = append(s.imports, name)
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasSuffix(s.file, "_test.go") || s.dir == "." {
			continue
		}
		from, name := layerOf(s.dir)
		if from < 0 {
			t.Errorf("%s is on no line of the layers in style_test.go and docs/ARCHITECTURE.md", s.dir)
		}
		for _, i := range s.imports {
			dir, ours := strings.CutPrefix(i, module)
			if !ours {
				continue
			}
			to, other := layerOf(dir)
			if to <= from && other != name {
				t.Errorf("%s imports %s, which is not below it", s.file, dir)
			}
			if why := wall(name, other); why != "" {
				t.Errorf("%s imports %s: %s", s.file, dir, why)
			}
		}
	}
}

func TestPackagesHaveOneComment(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		if strings.HasSuffix(s.file, "_test.go") {
			continue
		}
		docs[s.dir] += 0
		switch {
		case s.name == "main" && s.doc != "":
			docs[s.dir]++
		case strings.HasPrefix(s.doc, "Package "+s.name+" "):
			docs[s.dir]++
		}
	}
	for dir, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments that begin \"Package NAME \" (a main package: any comment); it needs one", dir, n)
		}
	}
}

// One spelling each: octal numbers with 0o, and the attribute of a log line that holds an error.
func TestOneSpelling(t *testing.T) {
	for _, s := range sources(t) {
		f, err := parser.ParseFile(token.NewFileSet(), s.file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if n.Kind == token.INT && len(n.Value) > 1 && n.Value[0] == '0' && n.Value[1] >= '0' && n.Value[1] <= '9' {
					t.Errorf("%s: write 0o%s, not %s", s.file, n.Value[1:], n.Value)
				}
			case *ast.CallExpr:
				logs := slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, calledName(n))
				for _, a := range n.Args[min(1, len(n.Args)):] {
					if l, ok := a.(*ast.BasicLit); ok && logs && l.Value == `"err"` {
						t.Errorf("%s: a log line says \"error\", not \"err\"", s.file)
					}
				}
			}
			return true
		})
	}
}

func calledName(c *ast.CallExpr) string {
	if s, ok := c.Fun.(*ast.SelectorExpr); ok {
		return s.Sel.Name
	}
	return ""
}

func TestFilesCanBeReadAtOneSitting(t *testing.T) {
	for _, s := range sources(t) {
		switch {
		case s.lines > 800:
			t.Errorf("%s has %d lines: split it by noun or verb", s.file, s.lines)
		case s.lines > 400:
			t.Logf("%s has %d lines: think about splitting it", s.file, s.lines)
		}
	}
}

func TestNoGoFilesWhereStandardNamesWouldBeShadowed(t *testing.T) {
	for _, dir := range []string{"net", "runtime"} {
		if files, _ := filepath.Glob(dir + "/*.go"); len(files) > 0 {
			t.Errorf("%s holds only sub-packages, not %v", dir, files)
		}
	}
}
