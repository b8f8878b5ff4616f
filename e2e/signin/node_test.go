package signin

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	clientDocument     = "https://client.example/mcp-client.json"
	documentRedirects  = "http://127.0.0.1/callback,http://localhost/callback,http://127.0.0.1/oauth/callback,http://localhost/oauth/callback"
	clientDocumentName = "A client with a document"
)

// TestClients signs in, calls, refreshes and revokes with each client of clients/, once
// registering at the demo and once with a client metadata document at the fixture. Every
// one of them sees the server killed and started again, and must not notice.
func TestClients(t *testing.T) {
	files, err := filepath.Glob("clients/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no clients/*.test.mjs (%v)", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".test.mjs")
		t.Run(name+" registers", func(t *testing.T) {
			t.Parallel()
			runNode(t, startDemo(t), file)
		})
		t.Run(name+" has a document", func(t *testing.T) {
			t.Parallel()
			s := startAuthserver(t, "-document", clientDocument, "-document-name", clientDocumentName, "-document-redirect", documentRedirects)
			runNode(t, s, file, "CAUSEWAY_TEST_DOCUMENT="+clientDocument)
		})
	}
}

var tapCount = regexp.MustCompile(`(?m)^# (pass|fail|skipped|todo|cancelled) (\d+)$`)

// runNode runs a file of tests under the Node that package-lock.json pins. A file that
// has no passing test, or skips one, fails.
func runNode(t *testing.T, s *server, file string, env ...string) {
	t.Helper()
	node := nodePath(t)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second) // a hang is a failure, not a stuck build
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--no-warnings", "--test", "--test-reporter=tap", "--test-timeout=120000", file)
	cmd.Env = append(os.Environ(),
		"PATH="+filepath.Dir(node)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"CAUSEWAY_TEST_URL="+s.url,
		"CAUSEWAY_TEST_CONTROL="+startControl(t, s),
		"HOME="+t.TempDir(),
		"DISPLAY=", "WAYLAND_DISPLAY=",
	)
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	counts := map[string]string{}
	for _, m := range tapCount.FindAllStringSubmatch(string(out), -1) {
		counts[m[1]] = m[2]
	}
	switch {
	case err != nil:
		t.Errorf("%s: %v\n%s", file, err, out)
	case counts["pass"] == "" || counts["pass"] == "0" || counts["fail"] != "0" || counts["skipped"] != "0" || counts["todo"] != "0" || counts["cancelled"] != "0":
		t.Errorf("%s: counts %v, want passes alone\n%s", file, counts, out)
	default:
		t.Logf("%s: %s passed", file, counts["pass"])
	}
}

func nodePath(t *testing.T) string {
	t.Helper()
	node, err := filepath.Abs(filepath.FromSlash("../node_modules/node/bin/node"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(node); err != nil {
		t.Fatalf("%v: run `npm ci` in e2e/ first, as `make test` does", err)
	}
	return node
}
