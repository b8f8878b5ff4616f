package signin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrowser looks at the pages with Debian's Chromium, each file of browser/ against a
// server of its own.
func TestBrowser(t *testing.T) {
	chromium := chromiumPath(t)
	files, err := filepath.Glob("browser/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no browser/*.test.mjs (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			runNode(t, startAuthserver(t), file, "CAUSEWAY_TEST_CHROMIUM="+chromium, "XDG_CONFIG_HOME="+t.TempDir(), "XDG_CACHE_HOME="+t.TempDir())
		})
	}
}

// chromiumPath finds the browser. That there is none is a failure: what people see would
// go untested.
func chromiumPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium on the PATH: install it (apt-get install chromium, as .ci/run does) or name one in CHROMIUM")
	return ""
}
