package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary is also the program of these tests: with the variable set it is a
// process that makes one call, as a bridge does at its start.
const childServer = "CAUSEWAY_TEST_CHILD_SERVER"

func TestMain(m *testing.M) {
	if server := os.Getenv(childServer); server != "" {
		if err := child(server, os.Getenv("CAUSEWAY_TEST_CHILD_FOLDER"), os.Getenv("CAUSEWAY_TEST_CHILD_BROWSER") != "no"); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		fmt.Println("done")
		os.Exit(0)
	}
	if folder := os.Getenv(childFolder); folder != "" {
		if err := useKeychain(folder); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child calls the server once. Without a browser its sign-in waits for ever.
func child(server, folder string, browser bool) error {
	open := func(ctx context.Context, address string) error {
		fmt.Println("prompted")
		if !browser {
			return nil
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	c, err := New(Options{Store: &Folder{Path: folder, NoKeychain: true}, Open: open, ImportFrom: NoImport})
	if err != nil {
		return err
	}
	defer c.Close()
	transport, err := c.Transport(server, nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Transport: transport}).Post(server, "text/plain", bytes.NewReader([]byte("child")))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && string(text) != "hello child" {
		err = fmt.Errorf("status %d, %q", answer.StatusCode, text)
	}
	return err
}

// A process is a running child.
type process struct {
	command *exec.Cmd
	lines   *bufio.Scanner
}

func startProcess(t *testing.T, w *world, folder, browser string) *process {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childServer+"="+w.server(), "CAUSEWAY_TEST_CHILD_FOLDER="+folder, "CAUSEWAY_TEST_CHILD_BROWSER="+browser)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	return &process{command: command, lines: bufio.NewScanner(out)}
}

// says waits for a line.
func (p *process) says(want string) error {
	var before []string
	for p.lines.Scan() {
		if p.lines.Text() == want {
			return nil
		}
		before = append(before, p.lines.Text())
	}
	return fmt.Errorf("the process said %q, not %q", before, want)
}

func startProcesses(t *testing.T, n int, w *world, folder string) func() {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		p := startProcess(t, w, folder, "yes")
		all.Go(func() {
			if err := p.says("done"); err != nil {
				t.Error(err)
			}
		})
	}
	return all.Wait
}

func TestTenProcessesAtOnceRegisterAndSignInOnce(t *testing.T) {
	w := newWorld(t)
	startProcesses(t, 10, w, filepath.Join(t.TempDir(), "auth"))()
	w.wantCounts(map[string]int{"as /register": 1, "as /authorize": 1, "as /token": 1})
}

func TestTenProcessesAtOnceRenewOnce(t *testing.T) {
	w := newWorld(t)
	folder := filepath.Join(t.TempDir(), "auth")
	startProcesses(t, 1, w, folder)()
	w.endAccess()
	startProcesses(t, 10, w, folder)()
	w.wantCounts(map[string]int{"as /register": 1, "as /authorize": 1, "as /token": 2, "grant refresh_token": 1})
}

func TestAProcessThatIsKilledInItsSignInHarmsNone(t *testing.T) {
	w := newWorld(t)
	folder := filepath.Join(t.TempDir(), "auth")
	leader := startProcess(t, w, folder, "no")
	if err := leader.says("prompted"); err != nil {
		t.Fatal(err)
	}
	wait := startProcesses(t, 5, w, folder)
	waitFor(t, "the others to wait", func() bool { return w.count("mcp /mcp") >= 6 })
	if err := leader.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait()
	// The registration of the dead one is used, after a look whether it is still known.
	w.wantCounts(map[string]int{"as /register": 1, "as /authorize": 2, "as /token": 1})
}

func TestAProcessThatIsKilledInItsRenewalHarmsNone(t *testing.T) {
	w := newWorld(t)
	folder := filepath.Join(t.TempDir(), "auth")
	startProcesses(t, 1, w, folder)()
	w.endAccess()
	held := make(chan struct{})
	var first sync.Once
	w.mu.Lock()
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		hang := false
		first.Do(func() { hang = true })
		if hang {
			_ = r.ParseForm() // the server notices a lost client once it has read the request
			close(held)
			<-r.Context().Done() // until its process is killed
			return
		}
		w.serveToken(rw, r)
	}
	w.mu.Unlock()
	victim := startProcess(t, w, folder, "yes")
	<-held
	wait := startProcesses(t, 5, w, folder)
	if err := victim.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait()
	w.wantCounts(map[string]int{"as /register": 1, "as /authorize": 1, "grant refresh_token": 1})
}

func TestARefusalInOneProcessIsToldToThoseThatWaitedForIt(t *testing.T) {
	w := newWorld(t)
	w.deny = "access_denied"
	folder := filepath.Join(t.TempDir(), "auth")
	release := make(chan struct{})
	w.handle["as /authorize"] = func(rw http.ResponseWriter, r *http.Request) {
		<-release
		w.serveAuthorize(rw, r)
	}
	var all sync.WaitGroup
	for range 4 {
		p := startProcess(t, w, folder, "yes")
		all.Go(func() {
			for p.lines.Scan() {
				if strings.HasPrefix(p.lines.Text(), "failed:") && strings.Contains(p.lines.Text(), "access_denied") {
					return
				}
			}
			t.Error("a process did not hear of the refusal")
		})
	}
	waitFor(t, "all to wait", func() bool { return w.count("mcp /mcp") >= 4 })
	close(release)
	all.Wait()
	w.wantCounts(map[string]int{"as /authorize": 1, "as /token": 0})
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
