package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// execWord stands for `exec` where it may replace the shell. The interpreter runs subshells and pipes as
// goroutines of this process: there an exec must stay a child.
const execWord = "exec\x01"

// replaceExec renames exec in the commands of a statement that run in the shell itself.
func replaceExec(st *syntax.Stmt) {
	if st == nil || st.Background || st.Coprocess {
		return
	}
	list := func(stmts []*syntax.Stmt) {
		for _, s := range stmts {
			replaceExec(s)
		}
	}
	switch c := st.Cmd.(type) {
	case *syntax.CallExpr:
		if len(c.Args) > 1 && c.Args[0].Lit() == "exec" {
			c.Args[0].Parts[0].(*syntax.Lit).Value = execWord
		}
	case *syntax.Block:
		list(c.Stmts)
	case *syntax.BinaryCmd:
		if c.Op == syntax.AndStmt || c.Op == syntax.OrStmt {
			replaceExec(c.X)
			replaceExec(c.Y)
		}
	case *syntax.IfClause:
		for ; c != nil; c = c.Else {
			list(c.Then)
		}
	case *syntax.WhileClause:
		list(c.Do)
	case *syntax.ForClause:
		list(c.Do)
	case *syntax.CaseClause:
		for _, item := range c.Items {
			list(item.Stmts)
		}
	}
}

// simple tells whether a statement is one external command whose words run nothing by themselves.
func simple(st *syntax.Stmt) bool {
	c, ok := st.Cmd.(*syntax.CallExpr)
	if !ok || st.Negated || st.Background || st.Coprocess || len(c.Args) == 0 || len(c.Assigns) > 0 {
		return false
	}
	plain := true
	syntax.Walk(st, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst:
			plain = false
		}
		return plain
	})
	switch c.Args[0].Lit() {
	case "", "eval", "source", ".", "command", "builtin", "trap":
		return false
	}
	return plain
}

// exec runs external commands.
func (s *shell) exec(next interp.ExecHandlerFunc) interp.ExecHandlerFunc {
	return func(ctx context.Context, args []string) error {
		replace := s.tail
		if args[0] == execWord {
			args, replace = args[1:], true
		}
		if !replace {
			return next(ctx, args)
		}
		hc := interp.HandlerCtx(ctx)
		if err := become(hc, args); err != nil {
			fmt.Fprintf(hc.Stderr, "sh: %s: %v\n", args[0], err)
			return interp.NewExitStatus(126)
		}
		return next(ctx, args) // not found, or its files are not ones that can be inherited
	}
}

// become replaces this process by a command. It returns nil when that is not possible.
func become(hc interp.HandlerContext, args []string) error {
	path, err := interp.LookPathDir(hc.Dir, hc.Env, args[0])
	if err != nil {
		return nil
	}
	var fds [3]int
	for i, f := range []any{hc.Stdin, hc.Stdout, hc.Stderr} {
		file, ok := f.(*os.File)
		if !ok || file == nil {
			return nil
		}
		if fds[i], err = syscall.Dup(int(file.Fd())); err != nil { // above 2, or they would tread on each other
			return err
		}
		defer syscall.Close(fds[i])
	}
	if err := os.Chdir(hc.Dir); err != nil {
		return err
	}
	for i, fd := range fds {
		if err := syscall.Dup3(fd, i, 0); err != nil {
			return err
		}
		syscall.CloseOnExec(fd)
	}
	return syscall.Exec(path, args, environ(hc.Env))
}

func environ(env expand.Environ) (list []string) {
	env.Each(func(name string, v expand.Variable) bool {
		if v.Exported && v.Kind == expand.String && !strings.ContainsRune(name, 0) {
			list = append(list, name+"="+v.String())
		}
		return true
	})
	return list
}
