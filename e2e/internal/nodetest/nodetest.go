// Package nodetest runs tests that are written in JavaScript, with the clients of npm.
package nodetest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Node is the Node.js that package-lock.json pins.
func Node(t *testing.T) string {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		node, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash("node_modules/node/bin/node")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(node); err == nil {
			return node
		}
		if _, err := os.Stat(filepath.Join(dir, "package-lock.json")); err == nil {
			t.Fatalf("there is no %s: run `npm ci` in e2e/ first, as `make test` does", node)
		}
	}
}

var tapCount = regexp.MustCompile(`(?m)^# (pass|fail|skipped|todo|cancelled) (\d+)$`)

// Run runs a file of tests, each for at most limit. A file that has no passing test, or skips one, fails.
func Run(t *testing.T, file string, limit time.Duration, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit+30*time.Second) // a hang is a failure, not a stuck build
	defer cancel()
	cmd := exec.CommandContext(ctx, Node(t), "--no-warnings", "--test", "--test-reporter=tap",
		"--test-timeout="+strconv.FormatInt(limit.Milliseconds(), 10), file)
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), env...)
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
