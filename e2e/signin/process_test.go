// Package signin drives sign-in with the clients, the upstream identity providers and
// the browser that people use, against real processes that keep what they know on disk:
// `causeway demo`, and conformance/authserver where the demo has no switch for it.
package signin

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The programs under test, built with the race detector.
var causeway, authserver, oidcExample, githubExample string

var programs = map[string]*string{
	"./cmd/causeway": &causeway, "./conformance/authserver": &authserver,
	"./examples/oidc": &oidcExample, "./examples/github-oauth": &githubExample,
}

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "causeway-signin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for pkg, binary := range programs {
		*binary = filepath.Join(dir, filepath.Base(pkg))
		build := exec.Command("go", "build", "-C", "../..", "-race", "-o", *binary, pkg)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// patience is when a wait has failed: long enough for a busy machine.
const patience = 45 * time.Second

// A server is a process under test. It can be killed and started again on the same
// address and data.
type server struct {
	url string // http://127.0.0.1:port

	binary string
	args   []string
	env    []string
	data   string
	addr   string

	mu     sync.Mutex
	cmd    *exec.Cmd
	stdout *transcript
	stderr *transcript
	ended  chan error
}

// startDemo starts `causeway demo` as it comes: with sign-in.
func startDemo(t *testing.T) *server {
	t.Helper()
	return startServer(t, nil, causeway, "demo")
}

// startAuthserver starts the fixture with flags of its own.
func startAuthserver(t *testing.T, args ...string) *server {
	t.Helper()
	return startServer(t, nil, authserver, args...)
}

// startServer starts a program on a free port with a data directory of its own. When the
// test ends it gets SIGTERM and must exit with 0, without a panic or a data race, and
// with nothing secret in its log.
func startServer(t *testing.T, env []string, binary string, args ...string) *server {
	t.Helper()
	s := &server{binary: binary, args: args, env: env, data: t.TempDir(), addr: freeAddr(t)}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

var baseURL = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stderr == nil {
		s.stderr = new(transcript)
	}
	s.stdout, s.ended = new(transcript), make(chan error, 1)
	s.cmd = exec.Command(s.binary, append(append([]string{}, s.args...), "-addr", s.addr, "-data", s.data)...)
	s.cmd.Dir = s.data
	s.cmd.Env = append(append(os.Environ(), "GORACE=halt_on_error=1"), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.binary, err)
	}
	ended, cmd := s.ended, s.cmd
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s.url = baseURL.FindString(s.stdout.String()); s.url != "" {
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("%s ended: %v\n%s", s.binary, err, s.stderr)
		default:
		}
	}
	return fmt.Errorf("%s did not say where it is\n%s", s.binary, s.stderr)
}

// killAndRestart ends the process as a power cut would, as far as a process can tell,
// and starts it again.
func (s *server) killAndRestart() error {
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.mu.Unlock()
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	<-ended
	return s.start()
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && err != os.ErrProcessDone {
		t.Error(err)
	}
	kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer kill.Stop()
	log := s.stderr.String()
	if err := <-ended; err != nil {
		t.Errorf("%s after SIGTERM: %v, want exit status 0", filepath.Base(s.binary), err)
	}
	if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		t.Error("the server's log has a panic or a data race")
	}
	if found := secret.FindString(log); found != "" {
		t.Errorf("the server's log has a token in it: %.12s…", found)
	}
	if t.Failed() {
		t.Logf("log of the server:\n%s", log)
	}
}

// secret is what a token, code or handle looks like.
var secret = regexp.MustCompile(`cw_[a-z]+_[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|Bearer [A-Za-z0-9]`)

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A transcript is what a process prints.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
