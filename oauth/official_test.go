package oauth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var authorizationURL = regexp.MustCompile(`https?://\S+code_challenge\S+`)

// TestTheOfficialSuite runs the authorization mode of the MCP conformance suite against
// a provider, with a person who allows. It is skipped where the suite is not installed
// (go run ./conformance/run installs it).
func TestTheOfficialSuite(t *testing.T) {
	harness, err := filepath.Abs("../conformance")
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(harness, "node_modules/node/bin/node")
	suite := filepath.Join(harness, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	for _, file := range []string{node, suite} {
		if _, err := os.Stat(file); err != nil {
			t.Skip("the official suite is not installed: go run ./conformance/run installs it")
		}
	}
	w := newWorld(t, nil)
	port := freePort(t)
	client := w.registers(fmt.Sprintf("http://127.0.0.1:%d/callback", port))
	results := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, suite, "authorization", "--url", w.srv.URL, "--client-id", client, "--resource", w.url("/mcp"), "-p", fmt.Sprint(port), "-o", results)
	cmd.Env = append(os.Environ(), "NODE_OPTIONS=--require "+filepath.Join(harness, "bind-local.cjs"))
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	done := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		fmt.Fprintln(&told, lines.Text())
		if url := authorizationURL.FindString(lines.Text()); url != "" && !done {
			done = true
			b := w.browser()
			callback := b.allows(strings.TrimSpace(url), "alice").header.Get("Location")
			waitForListener(ctx, t, port) // the suite tells the address before it listens
			b.get(callback)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the suite: %v\n%s", err, &told)
	}
	checkResults(t, results, told.String())
}

func waitForListener(ctx context.Context, t *testing.T, port int) {
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the suite does not listen")
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// checkResults wants every check of the suite to have succeeded, and as many as it has.
func checkResults(t *testing.T, dir, told string) {
	succeeded := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() != "checks.json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var checks []struct{ ID, Status, ErrorMessage string }
		if err := json.Unmarshal(text, &checks); err != nil {
			return err
		}
		for _, c := range checks {
			switch c.Status {
			case "SUCCESS":
				succeeded++
			case "INFO":
			default:
				t.Errorf("%s: %s %s", c.ID, c.Status, c.ErrorMessage)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if succeeded != 3 {
		t.Errorf("%d checks succeeded, want 3:\n%s", succeeded, told)
	}
	t.Logf("%d of 3 checks succeeded", succeeded)
}
