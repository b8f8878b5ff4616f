package expose

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// markVariable marks the environment of a child and of all that it starts, so that
// they can be told from everything else on the machine.
const markVariable = "CAUSEWAY_EXPOSED"

// A process is a running child.
type process struct {
	*conn
	mark  string
	group *group
	hello *greeting

	out, log *os.File
	heard    chan struct{} // closed when all that it wrote has been read
	done     chan struct{} // closed when nothing of it is left
	stopOnce sync.Once
	killOnce sync.Once

	// errands are done one after the other, on a goroutine of their own: what a child
	// says to nobody in particular must not hold up what it says next.
	errands chan func()

	// These are the slot's, under its lock.
	level    mcp.LoggingLevel // that the child was told
	listens  int64            // the newest subscription at a 2026-07-28 child, 0 for none
	listened map[string]bool  // the resources it has ever been told to watch
}

// maxErrands bounds what waits to be told to clients outside a call.
const maxErrands = 1024

func (p *process) errand(do func()) {
	select {
	case p.errands <- do:
	default: // it says more than can be passed on
	}
}

func (p *process) runErrands() {
	for {
		select {
		case do := <-p.errands:
			do()
		case <-p.dead:
			return
		}
	}
}

// A forge starts children. They are to end with us, and Linux ties a child's life to
// the thread that started it: so one thread starts all of them, and lives as long as
// the Server does.
type forge struct {
	jobs chan func()
}

func newForge() *forge {
	f := &forge{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range f.jobs {
			job()
		}
	}()
	return f
}

func (f *forge) start(cmd *exec.Cmd) error {
	err := make(chan error)
	f.jobs <- func() { err <- cmd.Start() }
	return <-err
}

func (f *forge) close() { close(f.jobs) }

// startProcess starts a child and lets r have what it says. The first words are not
// spoken yet. The child gives its place back when nothing of it is left.
func (s *Server) startProcess(l *launch, r receiver, log *slog.Logger) (*process, error) {
	p := &process{mark: rand.Text(), heard: make(chan struct{}), done: make(chan struct{}), errands: make(chan func(), maxErrands)}
	cmd := exec.Command(l.argv[0], l.argv[1:]...)
	cmd.Env = append(l.env, markVariable+"="+p.mark)
	cmd.Dir = l.dir
	prepareGroup(cmd)

	var files []*os.File
	closeAll := func() {
		for _, f := range files {
			f.Close()
		}
	}
	open := func() (r, w *os.File, err error) {
		if r, w, err = openPipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w, err
	}
	childIn, in, err := open()
	if err != nil {
		return nil, fmt.Errorf("opening pipes: %w", err)
	}
	out, childOut, err := open()
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("opening pipes: %w", err)
	}
	logs, childLog, err := open()
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("opening pipes: %w", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = childIn, childOut, childLog
	if err := s.forge.start(cmd); err != nil {
		closeAll()
		return nil, fmt.Errorf("starting the program: %w", startError(err))
	}
	for _, f := range []*os.File{childIn, childOut, childLog} {
		f.Close()
	}
	if p.group, err = newGroup(cmd, p.mark); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, f := range []*os.File{in, out, logs} {
			f.Close()
		}
		return nil, fmt.Errorf("starting the program: %w", err)
	}
	p.conn = newConn(p, in, s.opts.MaxMessage, r)
	p.out, p.log = out, logs
	s.guardian.watch(p.group.pid, p.mark)
	s.running.add(p)
	go p.runErrands()
	go p.listen()
	go pass(logs, log, l.secrets)
	go s.reap(p, cmd)
	return p, nil
}

// listen reads what the child says until there is no more.
func (p *process) listen() {
	err := p.conn.read(p.out)
	close(p.heard)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		return // it has ended, and somebody else holds its output
	}
	if err == errEnded {
		if p.gone(settleTime * 10) {
			return
		}
		err = errors.New("the program closed its output")
	}
	p.fail(err)
	p.kill()
}

// startError is why a program could not be started, without the path of anything
// but the program.
func startError(err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return errors.New("there is no such program")
	}
	if errors.Is(err, os.ErrPermission) {
		return errors.New("it may not be executed")
	}
	return err
}

// settleTime is how long what a program wrote last may take to arrive.
const settleTime = 200 * time.Millisecond

// reap waits for the end of a child and sees to it that nothing of it is left.
func (s *Server) reap(p *process, cmd *exec.Cmd) {
	seen := awaitExit(p.group.pid)
	if seen {
		p.killRest()
	}
	why := exitReason(cmd.Wait())
	if !seen {
		p.killRest()
	}
	p.turn.lastCall(time.Now().Add(settleTime))
	_ = p.log.SetReadDeadline(time.Now().Add(settleTime))
	<-p.heard
	p.fail(why)
	p.in.Close()
	p.out.Close()
	p.log.Close()
	p.group.close()
	s.running.remove(p)
	s.guardian.forget(p.group.pid)
	s.leave()
	close(p.done)
}

// stop ends a child the polite way: its input ends, then it is asked to go, then it
// goes. It returns when nothing is left of it.
func (p *process) stop(grace time.Duration) {
	p.stopOnce.Do(func() {
		p.fail(errStopped)
		p.in.Close()
		if p.gone(grace) {
			return
		}
		p.group.terminate()
		if p.gone(grace) {
			return
		}
		p.kill()
	})
	<-p.done
}

var errStopped = errors.New("the program was stopped")

func (p *process) gone(within time.Duration) bool {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

func (p *process) kill() { p.killOnce.Do(p.group.kill) }

// killRest ends what a child that has ended started and left behind. Nobody kills
// after that: the number may be another's by then.
func (p *process) killRest() {
	p.killOnce.Do(func() {})
	p.group.kill()
}

const (
	maxLogLine = 4 << 10
	logBurst   = 100 // lines a second that reach the log
)

// pass hands what a child says on its standard error to the log, line by line, with
// what is secret taken out. A program that says more than anybody can read is heard
// in part.
func pass(from *os.File, log *slog.Logger, secrets []string) {
	var hide *strings.Replacer
	if len(secrets) > 0 {
		var pairs []string
		for _, s := range secrets {
			pairs = append(pairs, s, "[redacted]")
		}
		hide = strings.NewReplacer(pairs...)
	}
	r := bufio.NewReaderSize(from, maxLogLine)
	second, said := time.Now(), 0
	cut := false // the line before was too long and goes on
	for {
		line, more, err := r.ReadLine()
		if err != nil {
			return
		}
		skip := cut
		cut = more
		if now := time.Now(); now.Sub(second) > time.Second {
			if said > logBurst {
				log.Warn("an exposed program says too much", "lines_left_out", said-logBurst)
			}
			second, said = now, 0
		}
		if said++; skip || said > logBurst || len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		text := strings.ToValidUTF8(string(line), "�")
		if hide != nil {
			text = hide.Replace(text)
		}
		log.Info("an exposed program says", "text", text)
	}
}

// running are the children that are alive.
type running struct {
	mu  sync.Mutex
	all map[*process]struct{}
}

func (r *running) add(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[*process]struct{})
	}
	r.all[p] = struct{}{}
}

func (r *running) remove(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, p)
}

func (r *running) list() []*process {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*process, 0, len(r.all))
	for p := range r.all {
		out = append(out, p)
	}
	return out
}

// watchEvery is how often children are held to their limits. A hundred processes
// cost about a millisecond.
const watchEvery = 250 * time.Millisecond

// watchUsage ends children that take more of the machine than they may.
func (s *Server) watchUsage(ctx context.Context) {
	var c census
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		all := s.running.list()
		if len(all) == 0 {
			continue
		}
		groups := make(map[int]string, len(all))
		for _, p := range all {
			groups[p.group.pid] = p.mark
		}
		found := c.take(groups)
		for _, p := range all {
			switch u := found[p.mark]; {
			case u.memory > s.opts.MaxMemory:
				p.fail(fmt.Errorf("the program took %d MiB of memory, more than the %d MiB it may", u.memory>>20, s.opts.MaxMemory>>20))
			case u.processes > s.opts.MaxProcesses:
				p.fail(fmt.Errorf("the program had %d processes, more than the %d it may", u.processes, s.opts.MaxProcesses))
			default:
				continue
			}
			s.log.Warn("an exposed program is ended", "reason", p.failure())
			go p.kill()
		}
	}
}
