package tree

import (
	"context"
	"strings"
	"syscall"

	"github.com/containercloud/cc/fault"
)

// errorXattr is the last failure, for programs that look there. It is not listed: copying programs would try to
// copy it.
const errorXattr = "user.cc.error"

var (
	errNoData  = fault.Wrap(syscall.ENODATA, "no such attribute")
	errNoXattr = fault.New(fault.Unsupported, "extended attributes are not kept here")
)

// Getxattr knows user.cc.error: the last failure of the object, outside of objects the caller's own.
func (t *Tree) Getxattr(_ context.Context, c Caller, ino Ino, name string) ([]byte, error) {
	n, err := t.node(ino)
	if err != nil {
		return nil, err
	}
	if name != errorXattr {
		return nil, errNoData
	}
	if n.obj != nil {
		if list := n.obj.get().Failures().List(); len(list) > 0 {
			return []byte(strings.TrimSuffix(FormatFailure(list[len(list)-1]), "\n")), nil
		}
	} else if f, ok := t.failures.last(c); ok {
		return []byte(strings.TrimSuffix(FormatFailure(f), "\n")), nil
	}
	return nil, errNoData
}

// Listxattr lists nothing.
func (t *Tree) Listxattr(_ context.Context, _ Caller, ino Ino) ([]string, error) {
	_, err := t.node(ino)
	return nil, err
}

// Setxattr is EOPNOTSUPP: any other errno makes sed, mv and install complain about permissions.
func (t *Tree) Setxattr(context.Context, Caller, Ino, string, []byte, uint32) error {
	return errNoXattr
}

// Removexattr is EOPNOTSUPP too.
func (t *Tree) Removexattr(context.Context, Caller, Ino, string) error { return errNoXattr }
