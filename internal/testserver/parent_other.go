//go:build !linux

package testserver

import "syscall"

// endsWithParent does nothing: only Linux tells children.
func endsWithParent(*syscall.SysProcAttr) {}
