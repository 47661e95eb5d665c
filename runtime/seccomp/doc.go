// Package seccomp compiles seccomp profiles to BPF programs that are quick to load.
//
// libseccomp's output compares the call's number with one after the other; the kernel evaluates a new filter once for every
// number, which makes loading quadratic (302 us for moby's default profile). Here the numbers are a binary tree (55 us, 112 instructions).
//
// The default is moby's profile. On top of what it says, every architecture but the native one (i386 and x32 on amd64, 32-bit ARM on
// arm64) gets ENOSYS for every call: Docker lets a container use them, which doubles the kernel it can attack, and its
// address-family rules do not reach socketcall(2).
// AF_VSOCK, AF_ALG, io_uring, keyctl and user namespaces are refused by the profile itself; the tests hold that.
package seccomp
