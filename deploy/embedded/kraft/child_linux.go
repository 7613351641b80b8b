package kraft

import (
	"os/exec"
	"syscall"
)

// childAttributes make a broker end with the process that started it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// start starts the child from a goroutine of its own. The kernel sends the death signal when the thread that forked
// ends, and the runtime ends a thread with a goroutine that was locked to it, as the caller may be.
func start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() { started <- cmd.Start() }()
	return <-started
}
