package keeper

import (
	"os"
)

// Spawn asks for one new process: a copy of ccinit in new namespaces, a child of the keeper.
//
// Flags is a set of CLONE_NEW* bits (clone(2)). With CLONE_NEWUSER the keeper writes uid_map and gid_map
// from IDs before the process executes anything, setgroups stays allowed, and the process is uid and gid
// 0 inside, so that its execve keeps every capability of its user namespace.
//
// The process starts with descriptors 0 to 2 on /dev/null, 3 on Sock, and no other; its working directory
// and its root are the keeper's tmpfs (/ccinit, /proc, /sys, /dev, /slot). 3 is not close-on-exec.
type Spawn struct {
	ID       string   // what the process is called from now on: "slot/UUID", "UUID" ...; 1..255 bytes, not in use
	Flags    uintptr  // CLONE_NEW*
	IDs      IDMap    // used with CLONE_NEWUSER only
	Sock     *os.File // becomes descriptor 3; the caller keeps its own copy
	CgroupFD int      // cgroup v2 directory to be born in (CLONE_INTO_CGROUP); -1 for none, and so is 0
}

// IDMap maps the ids 0..Size-1 of a user namespace to Base..Base+Size-1 outside it.
type IDMap struct{ Base, Size uint32 }

// Child is a process the keeper has started. The caller closes PidFD.
type Child struct {
	PID   int
	PidFD *os.File
}
