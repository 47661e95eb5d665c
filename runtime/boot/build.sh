#!/bin/sh
# build.sh [DIR] assembles ccinit for both architectures into DIR (default: here). Needs GNU binutils,
# for the other architecture the cross ones (Debian: binutils-aarch64-linux-gnu, binutils-x86-64-linux-gnu).
set -eu
cd "$(dirname "$0")"
dir=${1:-.}
tool() { # ARCH PROGRAM: the native tool when this machine is ARCH, else the cross one
	[ "$(uname -m)" = "$1" ] && echo "$2" || echo "$1-linux-gnu-$2"
}
make_elf() { # GOARCH MACHINE
	"$(tool "$2" as)" -o "$dir/ccinit_$1.o" "ccinit_$1.S"
	"$(tool "$2" ld)" -Ttext=0x200000 -e _start -o "$dir/ccinit_$1.tmp" "$dir/ccinit_$1.o"
	"$(tool "$2" objcopy)" -O binary -j .text "$dir/ccinit_$1.tmp" "$dir/ccinit_$1.elf"
	rm "$dir/ccinit_$1.o" "$dir/ccinit_$1.tmp"
	chmod 644 "$dir/ccinit_$1.elf"
}
make_elf amd64 x86_64
make_elf arm64 aarch64
