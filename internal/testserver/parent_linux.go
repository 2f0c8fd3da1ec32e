package testserver

import "syscall"

// endsWithParent has the kernel kill the process when this one dies, however that happens.
func endsWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
