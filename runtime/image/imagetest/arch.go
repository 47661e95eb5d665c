package imagetest

import "runtime"

const hostArch = runtime.GOARCH
