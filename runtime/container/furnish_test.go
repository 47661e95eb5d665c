package container

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestGive(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing owners needs root")
	}
	dir := t.TempDir()
	owner := func(uid uint32, want uint32) {
		t.Helper()
		if err := give(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("given to %d, it is %d's, want %d", uid, got, want)
		}
	}
	owner(0, 0)
	owner(1000, 1000)
	owner(1001, 1001) // empty: the user setting was changed before the start
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	owner(1002, 1001)
	owner(0, 1001)
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	owner(1002, 1002)
}
