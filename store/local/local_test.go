package local

import (
	"io"
	"log/slog"
	"testing"

	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/storetest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// small makes everything happen often.
func small() *Options {
	return &Options{SegmentSize: 64 << 10, Segments: 2, IndexEvery: 50, Logger: quiet()}
}

func open(t testing.TB, dir string, opts *Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLocalConforms(t *testing.T) {
	for name, opts := range map[string]*Options{
		"as usual": nil, "with small files": small(), "crash-safe": {Sync: CrashSafe, Logger: quiet()},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Engine { return open(t, t.TempDir(), opts) })
		})
	}
}

func TestLocalIsDurable(t *testing.T) {
	for name, opts := range map[string]*Options{"as usual": {Logger: quiet()}, "with small files": small(), "crash-safe": {Sync: CrashSafe, Logger: quiet()}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunDurable(t, func(t *testing.T, dir string) store.Engine { return open(t, dir, opts) })
		})
	}
}
