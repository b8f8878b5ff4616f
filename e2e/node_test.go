package e2e

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

// TestNodeClients runs every file of clients/ under the Node that package-lock.json
// pins, each against a demo of its own. A file that has no passing test, or skips
// one, fails.
func TestNodeClients(t *testing.T) {
	node, err := filepath.Abs(filepath.FromSlash("node_modules/node/bin/node"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(node); err != nil {
		t.Fatalf("%v: run `npm ci` in e2e/ first, as `make test` does", err)
	}
	files, err := filepath.Glob("clients/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no clients/*.test.mjs (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			runNodeTest(t, node, file)
		})
	}
}

var tapCount = regexp.MustCompile(`(?m)^# (pass|fail|skipped|todo|cancelled) (\d+)$`)

func runNodeTest(t *testing.T, node, file string) {
	s := startDemo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 80*time.Second) // a hang is a failure, not a stuck build
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--no-warnings", "--test", "--test-reporter=tap", "--test-timeout=60000", file)
	cmd.Env = append(os.Environ(),
		"CAUSEWAY_TEST_URL="+s.url,
		"CAUSEWAY_TEST_PROGRAM="+causeway,
		"MCP_REMOTE_CONFIG_DIR="+t.TempDir(),
		"HOME="+t.TempDir(),
	)
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
