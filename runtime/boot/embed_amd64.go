package boot

// Init returns the ELF file of ccinit for this architecture. The keeper executes it.
func Init() []byte { return initAMD64 }
