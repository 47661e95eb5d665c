// Package container is the noun: what a container is, wants and does, from mkdir to rm.
//
// A Container is a Spec (what someone wants, in a record that survives everything) and a Status (what is).
// The Manager makes one match the other with the mechanisms below it: image gives a root file system,
// boot makes a process a container, keeper is its parent and outlives the daemon, cgroup bounds it,
// a Networks (net/vpc) connects it, logs keeps what it prints.
//
// # Records
//
//	STATE/container/UUID/
//	    spec.json      Meta and Spec; replaced by rename at every configuration change
//	    status.json    Status, and what adoption needs: cgroup, address, times; replaced by rename
//	    exit           written by the keeper when the container ends
//	    layer/{upper,work}   what it changed in its root file system, in container ids
//	    app/           mounted at /app, kept until the container is deleted
//	    logs/          stdout and stderr, kept by the keeper
//	STATE/warm/UUID/   directories made in advance; a new container takes one over by one rename, and one that changed
//	                   nothing gives it back
//
// Nothing here waits for a disk: a record is complete or absent after a kill at any moment, and after a
// power failure no container runs that a record could be wrong about.
//
// # Locks
//
// Container.op (a channel of one) is held through an operation on its life: start, stop, delete, rename,
// update. Below it, in this order: saveState.write (a record being written), Container.mu (state), Session.mu, Manager.mu
// (names, ids, shutting down), the locks of pools, janitor and rootfs. Container.mu and those below it are held for a few assignments, never over a system call that may wait.
// Signals, kills and reads take no op: they reach a container in the middle of a stop.
package container
