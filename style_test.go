// Package cc only holds the checks of the house style that a machine can make.
package cc

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/containercloud/cc/"

// forbidden says which imports would turn the arrows of docs/ARCHITECTURE.md round, each with its reason.
var forbidden = []struct{ from, to, why string }{
	{"fault/", "", "the vocabulary stands below everything"},
	{"words", "ccfs", "the grammar knows no tree"},
	{"runtime/", "ccfs", "nothing below the tree knows the tree"},
	{"net/", "ccfs", "nothing below the tree knows the tree"},
	{"store", "ccfs", "nothing below the tree knows the tree"},
	{"net/", "runtime/", "a network does not know who lives in it"},
	{"runtime/boot", "runtime/container", "mechanism below domain"},
	{"runtime/keeper", "runtime/container", "mechanism below domain"},
	{"ccfs/tree", "runtime/", "the engine knows no noun"},
	{"ccfs/tree", "net/", "the engine knows no noun"},
	{"ccfs/tree", "ccfs/fusefs", "the engine knows no door"},
	{"cmd/cc/", "runtime/", "the command does file operations only"},
	{"cmd/cc/", "net/", "the command does file operations only"},
	{"cmd/cc/", "ccfs", "the command does file operations only"},
	{"cmd/cc/", "store", "the command does file operations only"},
	{"cmd/cc-keeper", "runtime/container", "the keeper outlives policy"},
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
		if strings.HasSuffix(s.file, "_test.go") {
			continue
		}
		for _, i := range s.imports {
			to, ours := strings.CutPrefix(i, module)
			if !ours {
				continue
			}
			for _, rule := range forbidden {
				if strings.HasPrefix(s.dir+"/", rule.from) && strings.HasPrefix(to+"/", rule.to) {
					t.Errorf("%s imports %s: %s", s.file, to, rule.why)
				}
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
