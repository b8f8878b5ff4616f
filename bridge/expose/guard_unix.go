//go:build unix

package expose

import (
	"os/exec"
	"syscall"
)

// detach keeps signals for our process group from the guard.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func guarded(pid int, mark string) *group { return &group{pid: pid, marker: mark} }
