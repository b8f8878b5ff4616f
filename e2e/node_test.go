package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/e2e/internal/nodetest"
)

// TestNodeClients runs every file of clients/ under the Node that package-lock.json
// pins, each against a demo of its own. A file that has no passing test, or skips
// one, fails.
func TestNodeClients(t *testing.T) {
	files, err := filepath.Glob("clients/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no clients/*.test.mjs (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			runNodeTest(t, file)
		})
	}
}

func runNodeTest(t *testing.T, file string) {
	s := startDemo(t)
	nodetest.Run(t, file, time.Minute,
		"CAUSEWAY_TEST_URL="+s.url,
		"CAUSEWAY_TEST_PROGRAM="+causeway,
		"MCP_REMOTE_CONFIG_DIR="+t.TempDir())
}
