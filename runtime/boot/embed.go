package boot

import _ "embed"

//go:generate ./build.sh

// The two programs, built by build.sh from the .S files. Both are here whatever the target, so that the
// tests of one machine can look at the other's.
var (
	//go:embed ccinit_amd64.elf
	initAMD64 []byte
	//go:embed ccinit_arm64.elf
	initARM64 []byte
)
