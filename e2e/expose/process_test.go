// Package expose drives causeway expose with programs from npm as they are, and people
// who sign in.
package expose

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var causeway string // the program under test, built with the race detector

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "causeway-expose-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	causeway = filepath.Join(dir, "causeway")
	build := exec.Command("go", "build", "-C", "../..", "-race", "-o", causeway, "./cmd/causeway")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const patience = 60 * time.Second

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// nodeProgram is the command of a program from package-lock.json, under its Node.
func nodeProgram(t *testing.T, script string) []string {
	t.Helper()
	var command []string
	for _, file := range []string{"node/bin/node", script} {
		path, err := filepath.Abs(filepath.Join("..", "node_modules", file))
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			t.Fatalf("%v; run npm ci in e2e", err)
		}
		command = append(command, path)
	}
	return command
}

type exposed struct {
	url    string
	data   string
	cmd    *exec.Cmd
	stderr *transcript
	ended  chan error
}

type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// expose starts causeway expose with sign-in. When the test ends it gets SIGTERM and
// must exit with 0, leave no process behind and have no race or panic in its log.
func expose(t *testing.T, command []string, flags ...string) *exposed {
	t.Helper()
	x := &exposed{data: t.TempDir(), stderr: new(transcript), ended: make(chan error, 1)}
	args := append([]string{"expose", "-addr", "127.0.0.1:0", "-data", x.data, "-sign-in", "dev", "-verbose"}, flags...)
	x.cmd = exec.Command(causeway, append(append(args, "--"), command...)...)
	x.cmd.Dir = x.data
	x.cmd.Stderr = x.stderr
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "Exposed at "); ok {
			x.url, _, _ = strings.Cut(rest, "/mcp")
			break
		}
	}
	go func() {
		for lines.Scan() {
		}
		x.ended <- x.cmd.Wait()
	}()
	if x.url == "" {
		t.Fatalf("it did not start: %v\n%s", <-x.ended, x.stderr)
	}
	t.Cleanup(func() { x.stop(t) })
	return x
}

func (x *exposed) stop(t *testing.T) {
	_ = x.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-x.ended:
		if err != nil {
			t.Errorf("exit: %v", err)
		}
	case <-time.After(patience):
		_ = x.cmd.Process.Kill()
		t.Error("it does not stop")
	}
	// After a kill the guard ends a moment later than we do.
	left := below(t, x.data)
	for deadline := time.Now().Add(patience); len(left) > 0 && time.Now().Before(deadline); left = below(t, x.data) {
		time.Sleep(20 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("processes are left in %s: %v", x.data, left)
	}
	log := x.stderr.String()
	for _, bad := range []string{"DATA RACE", "panic", "cw_at_", "cw_rt_"} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %q", bad)
		}
	}
	if t.Failed() {
		t.Logf("log:\n%s", log)
	}
}

// below lists the processes whose working directory is in dir.
func below(t *testing.T, dir string) []string {
	var left []string
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, dir) {
			left = append(left, link)
		}
	}
	return left
}
