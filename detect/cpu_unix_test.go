//go:build unix

package detect_test

import (
	"syscall"
	"time"
)

// cpuTime is how long the process has been on a CPU: on a machine that others use as well it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
