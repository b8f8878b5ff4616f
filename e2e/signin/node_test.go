package signin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/e2e/internal/nodetest"
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

// runNode runs a file of tests against s.
func runNode(t *testing.T, s *server, file string, env ...string) {
	t.Helper()
	nodetest.Run(t, file, 2*time.Minute, append([]string{
		"PATH=" + filepath.Dir(nodetest.Node(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"CAUSEWAY_TEST_URL=" + s.url,
		"CAUSEWAY_TEST_CONTROL=" + startControl(t, s),
		"DISPLAY=", "WAYLAND_DISPLAY=",
	}, env...)...)
}
