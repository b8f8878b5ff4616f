package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/oauth/client"
)

// mcpRemote is where e2e's npm folder has it.
const mcpRemote = "../../e2e/node_modules/mcp-remote/dist/client.js"

// Whoever signed in with the real mcp-remote does not sign in again: its tokens are found, and
// renewed as its client.
func TestWhoUsedMCPRemoteIsSignedIn(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node to run mcp-remote with")
	}
	program, err := filepath.Abs(mcpRemote)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("mcp-remote is not installed: npm ci in e2e")
	}
	server := ours(t)
	folder := t.TempDir()
	signInWithMCPRemote(t, node, program, server, folder)

	spoiler := new(spoiler)
	c, err := client.New(client.Options{Store: client.Memory(), ImportFrom: folder, NonInteractive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	transport, err := c.Transport(server, spoiler)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"its token", "a renewal of it"} {
		answer, err := (&http.Client{Transport: transport}).Post(server, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatalf("with %s: %v", what, err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if string(text) != "dev:ada" {
			t.Fatalf("with %s: status %d, %q", what, answer.StatusCode, text)
		}
		spoiler.next.Store(true)
	}
}

// said is what a program says, for a reader at the same time.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

var authorizeURL = regexp.MustCompile(`http://\S+/authorize\?\S+\s`)

// signInWithMCPRemote runs mcp-remote's client until it has tokens. It prints the address that it
// would open in a browser.
func signInWithMCPRemote(t *testing.T, node, program, server, folder string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var log said
	command := exec.CommandContext(ctx, node, program, server)
	command.Env = append(os.Environ(), "MCP_REMOTE_CONFIG_DIR="+folder)
	command.Stdout, command.Stderr = &log, &log
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = command.Wait() // it fails in the end: our resource speaks no MCP
	}()
	signedIn := false
	for ctx.Err() == nil {
		if address := authorizeURL.FindString(log.String()); address != "" && !signedIn {
			signedIn = true
			if err := newSomebody().open(ctx, strings.TrimSpace(address)); err != nil {
				t.Fatalf("signing in for mcp-remote: %v", err)
			}
		}
		if found, _ := filepath.Glob(filepath.Join(folder, "mcp-remote-*", "*_tokens.json")); len(found) > 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("mcp-remote did not sign in:\n%s", log.String())
}
