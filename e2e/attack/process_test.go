// Package attack attacks `causeway demo` as it comes, with sign-in and its data on disk, and a server that keeps an
// object for each person. Alice is who uses them, mallory is signed in as well, and strangers are not.
package attack

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
	"testing"
	"time"
)

// The programs under test, built with the race detector: the command, and a server with an object for each person.
// The latter is a file that the root module builds, which this one does not depend on.
var causeway, memory string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "causeway-attack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	causeway, memory = filepath.Join(dir, "causeway"), filepath.Join(dir, "memory")
	for binary, source := range map[string]string{causeway: "./cmd/causeway", memory: "./e2e/attack/testdata/memory/main.go"} {
		build := exec.Command("go", "build", "-C", "../..", "-race", "-o", binary, source)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %s: %v\n%s", source, err, out)
			return 1
		}
	}
	return m.Run()
}

// patience is when a wait has failed: long enough for a busy machine.
const patience = 45 * time.Second

// A server is a process under test, which can be killed and started again on the same address and data.
type server struct {
	url, addr, data string
	command         []string
	cmd             *exec.Cmd
	log             *transcript // of all its lives
	ended           chan error
}

// startDemo starts `causeway demo`.
func startDemo(t *testing.T) *server {
	t.Helper()
	return startServer(t, causeway, "demo")
}

// startServer starts a program. When the test ends it is killed; until then it must not have panicked or raced.
func startServer(t *testing.T, command ...string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), data: t.TempDir(), command: command, log: new(transcript)}
	l.Close()
	s.url = "http://" + s.addr
	s.start(t)
	t.Cleanup(func() {
		s.kill(t)
		if log := s.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") || t.Failed() {
			t.Errorf("log of the server:\n%s", log)
		}
	})
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	out := new(transcript)
	s.cmd = exec.Command(s.command[0], append(s.command[1:len(s.command):len(s.command)], "-addr", s.addr, "-data", s.data)...)
	s.cmd.Dir = s.data
	s.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	s.cmd.Stdout, s.cmd.Stderr = out, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, cmd := make(chan error, 1), s.cmd
	s.ended = ended
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(out.String(), s.url) {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v\n%s", err, s.log)
		default:
		}
	}
	t.Fatalf("the server did not say where it is\n%s", s.log)
}

// kill ends the process as a power cut would, as far as a process can tell.
func (s *server) kill(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Kill()
	err := <-s.ended
	s.ended <- err
}

// secret is what a token or a code looks like.
var secret = regexp.MustCompile(`cw_[a-z]+_[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|Bearer [A-Za-z0-9]`)

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
