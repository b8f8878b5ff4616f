package expose

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A guardian tells the guard, a process of its own, which children there are. Should
// ours be killed, the guard ends them with all they started: the kernel would see to
// the children, but not to theirs. A nil guardian guards nothing.
type guardian struct {
	mu  sync.Mutex
	in  io.WriteCloser
	cmd *exec.Cmd
}

// startGuard runs argv, a program that calls [Guard].
func startGuard(argv []string, log *slog.Logger) *guardian {
	if len(argv) == 0 {
		return nil
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{}
	detach(cmd)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		log.Warn("no guard: what exposed programs start may outlive a kill of this process", "error", err)
		return nil
	}
	return &guardian{in: in, cmd: cmd}
}

func (g *guardian) watch(pid int, mark string) { g.say("+%d %s\n", pid, mark) }
func (g *guardian) forget(pid int)             { g.say("-%d\n", pid) }

func (g *guardian) say(format string, args ...any) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.in, format, args...)
}

// close lets the guard go. It ends what it still has been told of.
func (g *guardian) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in.Close()
	// It has nothing left to do; one that stays is not the guard it should be.
	late := time.AfterFunc(guardGrace, func() { _ = g.cmd.Process.Kill() })
	defer late.Stop()
	_ = g.cmd.Wait()
}

const guardGrace = 5 * time.Second

// Guard is all that the guard process does: it reads from r, its standard input,
// which children there are, and ends them when there is no more to read, which is
// when the process at the other end has ended, however it did.
func Guard(r io.Reader) {
	groups := map[int]*group{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		number, mark, _ := strings.Cut(line[1:], " ")
		pid, err := strconv.Atoi(number)
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		switch line[0] {
		case '+':
			groups[pid] = guarded(pid, mark)
		case '-':
			delete(groups, pid)
		}
	}
	for _, g := range groups {
		g.kill()
	}
}
