// Package keeper starts and talks to cc-keeper, the small process that is the parent of all containers and
// outlives the daemon.
//
// Processes have ids, chosen by the caller: a container's is its UUID, an exec session's UUID/exec/N, a warm
// slot's slot/UUID until Adopt gives it a container's, that of the process which execs are forked from stem/UUID. What is
// known of a process grows:
//
//	Spawn, Watch   it is reaped, and its end comes on Exits. Nothing more: when ccd goes, its init sees the
//	               end of its socket and ends too.
//	Adopt          it is a container: its end is recorded in a file, announced again and again until Ack, and
//	               remembered until Forget. Its logs are drained to their last byte before the end is
//	               announced.
//
// ccd and the keeper hold the same descriptors: pidfds, the read ends of log pipes, directories, and what
// Hold was given. When ccd goes, a new one finds all with the keeper (Connect). When the keeper goes,
// the Client notices, starts another and hands everything over; containers, logs and exit codes go on. When
// both go, a new ccd opens the processes again by pid and start time (Open) and watches them as orphans.
//
// Exit codes of processes that are not the keeper's children come from PIDFD_GET_INFO (Linux 6.15), or from /proc as
// long as the process is a zombie; else Exit.Known is false.
//
// The protocol stands in package wire, the process itself in package daemon.
package keeper
