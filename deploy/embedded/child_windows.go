package embedded

import (
	"os/exec"
	"syscall"
)

// MaybeChild does nothing: there is no library for this platform.
func MaybeChild() {}

func childAttributes() *syscall.SysProcAttr { return nil }

func start(cmd *exec.Cmd) error { return cmd.Start() }
