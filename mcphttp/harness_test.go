package mcphttp

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/causeway-mcp/causeway/store"
)

func serveHTTP(t testing.TB, h http.Handler) string {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
	return ts.URL
}

func newRecords(t testing.TB) store.Records {
	t.Helper()
	return store.NewMemory()
}
