package expose

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A group is a child with everything it starts: on Windows a job object, which ends
// all of them when its last handle is closed, by us or by our own end.
type group struct {
	pid int
	job windows.Handle
}

func prepareGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

func newGroup(cmd *exec.Cmd, _ string) (*group, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("making a job: %w", err)
	}
	g := &group{pid: cmd.Process.Pid, job: job}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		g.close()
		return nil, fmt.Errorf("limiting a job: %w", err)
	}
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(g.pid))
	if err != nil {
		g.close()
		return nil, fmt.Errorf("opening the program: %w", err)
	}
	defer windows.CloseHandle(p)
	if err := windows.AssignProcessToJobObject(job, p); err != nil {
		g.close()
		return nil, fmt.Errorf("putting the program into a job: %w", err)
	}
	return g, nil
}

// terminate: there is no polite way that reaches a program without a window.
func (g *group) terminate() {}
func (g *group) kill()      { _ = windows.TerminateJobObject(g.job, 1) }
func (g *group) close()     { _ = windows.CloseHandle(g.job) }

// awaitExit: what is left is ended by its job, whose handle stays ours.
func awaitExit(int) bool { return false }

func openPipe() (r, w *os.File, err error) { return os.Pipe() }

type usage struct {
	processes int
	memory    int64
}

type census struct{}

func (*census) take(map[int]string) map[string]usage { return nil }

func exitReason(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return errors.New("the program has ended: " + exit.ProcessState.String())
	}
	return errEnded
}
