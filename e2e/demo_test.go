// Package e2e drives a really started `causeway demo` with the clients people use:
// the official SDKs of Go and TypeScript (both generations), mcp-go, mcp-remote and
// the Inspector. It is a module of its own, so that none of them becomes a
// dependency of the product.
package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/causeway-mcp/causeway/e2e/internal/gohost"
)

// causeway is the command under test, built with the race detector.
var causeway string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "causeway-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	causeway = filepath.Join(dir, "causeway")
	build := exec.Command("go", "build", "-C", "..", "-race", "-o", causeway, "./cmd/causeway")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A server is a running `causeway demo`.
type server struct {
	url    string // http://127.0.0.1:port
	cmd    *exec.Cmd
	stdout *transcript
	stderr *transcript
	ended  chan error
	killed bool // by the test
}

var baseURL = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

// startDemo starts a demo of the test's own on a free port. When the test ends the
// demo gets SIGTERM and must exit with 0, without a panic or a data race in its log.
func startDemo(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{stdout: newTranscript(), stderr: newTranscript(), ended: make(chan error, 1)}
	s.cmd = exec.Command(causeway, append([]string{"demo", "-no-auth", "-addr", "127.0.0.1:0"}, args...)...)
	s.cmd.Dir = t.TempDir()
	s.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })
	select {
	case <-s.stdout.until("Ctrl-C ends it."):
	case err := <-s.ended:
		s.ended <- err
		t.Fatalf("causeway demo ended: %v\n%s%s", err, s.stdout, s.stderr)
	}
	s.url = baseURL.FindString(s.stdout.String())
	return s
}

// kill ends the demo as a power cut would, as far as a process can tell.
func (s *server) kill(t *testing.T) {
	t.Helper()
	s.killed = true
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.ended <- gohost.Next(t, s.ended)
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && err != os.ErrProcessDone {
		t.Error(err)
	}
	err := <-s.ended
	s.ended <- err
	log := s.stderr.String()
	if err != nil && !s.killed {
		t.Errorf("causeway demo after SIGTERM: %v, want exit status 0", err)
	}
	if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		t.Error("the demo's log has a panic or a data race")
	}
	if t.Failed() {
		t.Logf("log of the demo:\n%s", log)
	}
}

// A transcript is what a process prints, and can be waited for.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	waiting map[string]chan struct{}
}

func newTranscript() *transcript { return &transcript{waiting: make(map[string]chan struct{})} }

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	for text, ch := range t.waiting {
		if strings.Contains(t.text.String(), text) {
			close(ch)
			delete(t.waiting, text)
		}
	}
	return len(p), nil
}

// until returns a channel that is closed when text has been printed.
func (t *transcript) until(text string) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := make(chan struct{})
	if strings.Contains(t.text.String(), text) {
		close(ch)
		return ch
	}
	t.waiting[text] = ch
	return ch
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
