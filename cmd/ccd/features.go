package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/words"
)

// features says what this host can do, for /cc/features. They are looked at anew for every reader.
func (d *daemon) features() []words.Opt {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	list := []words.Opt{
		{Key: "kernel", Value: unix.ByteSliceToString(uts.Release[:])},
		{Key: "arch", Value: unix.ByteSliceToString(uts.Machine[:])},
		{Key: "cgroup", Value: strconv.Itoa(d.cgroups.Version())},
		{Key: "userns", Value: onOff(exists("/proc/self/ns/user"))},
		{Key: "overlay", Value: onOff(knows("overlay"))},
		{Key: "nft", Value: onOff(d.networks != nil)},
		{Key: "lvm", Value: onOff(exists("/dev/mapper/control"))},
		{Key: "pressure", Value: onOff(exists("/proc/pressure/cpu"))},
	}
	return list
}

func onOff(on bool) string { return words.FormatSwitch(on) }

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// knows reports whether the kernel has a file system.
func knows(fs string) bool {
	text, err := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(text), "\t"+fs+"\n")
}
