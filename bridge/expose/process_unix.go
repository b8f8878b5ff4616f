//go:build unix

package expose

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A group is a child with everything it starts: on Unix a process group.
type group struct {
	pid    int
	marker string
}

// prepareGroup makes cmd the first of a process group of its own.
func prepareGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
}

// newGroup is called right after cmd was started.
func newGroup(cmd *exec.Cmd, marker string) (*group, error) {
	g := &group{pid: cmd.Process.Pid, marker: marker}
	limitResources(g.pid)
	return g, nil
}

// terminate asks everything in the group to end.
func (g *group) terminate() { _ = syscall.Kill(-g.pid, syscall.SIGTERM) }

// kill ends everything in the group, and what left the group but not the family.
func (g *group) kill() {
	_ = syscall.Kill(-g.pid, syscall.SIGKILL)
	// Those who left the group are found by the mark in their environment. They may be
	// starting others meanwhile, so we look again until there is none.
	for range 20 {
		strays := findMarked(g.marker)
		if len(strays) == 0 {
			return
		}
		for _, pid := range strays {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (g *group) close() {}

// openPipe is a pipe whose own end can have deadlines.
func openPipe() (r, w *os.File, err error) { return os.Pipe() }

// exitReason says how a child ended, without its arguments.
func exitReason(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return errors.New("the program has ended: " + exit.ProcessState.String())
	}
	return errEnded
}
