package mcphttp

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// withClient is sign-in whose tokens say "USER CLIENT" as "USER/CLIENT".
func withClient(h http.Handler) http.Handler {
	verify := func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		user, client, ok := strings.Cut(token, "/")
		info := &auth.TokenInfo{UserID: user, Expiration: time.Now().Add(time.Hour)}
		if ok {
			info.Extra = map[string]any{"client_id": client}
		}
		return info, nil
	}
	return auth.RequireBearerToken(verify, nil)(h)
}

func TestASessionBelongsToItsClient(t *testing.T) {
	h := NewHandler(func(*http.Request) *mcp.Server { return testServer }, nil)
	url := serveHTTP(t, withClient(h))
	with := func(token string) *wire {
		return &wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer " + token}}}
	}
	s := with("alice/editor").initialize(version20251125)
	for name, token := range map[string]string{
		"another client of the user":              "alice/thief",
		"no client":                               "alice",
		"the client for another user":             "bob/editor",
		"a user whose name swallows the client's": "alice%2Feditor",
	} {
		other := with(token)
		other.sid = s.sid
		for _, m := range []string{"POST", "GET", "DELETE"} {
			if a := other.do(m, request("1", "ping", "")); a.status != 404 {
				t.Errorf("%s: %s: %d, want 404 as for an unknown session: %s", name, m, a.status, a.body)
			}
		}
	}
	if a := s.call("1", "ping", ""); a.status != 200 {
		t.Errorf("its own: %d", a.status)
	}
}

func TestAnEventStreamBelongsToItsClient(t *testing.T) {
	h := NewHandler(func(*http.Request) *mcp.Server { return testServer }, nil)
	url := serveHTTP(t, withClient(h))
	req, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	req.Header = http.Header{"Authorization": {"Bearer alice/editor"}, "Accept": {"text/event-stream"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 1000)
	n, _ := resp.Body.Read(buf)
	_, rest, ok := strings.Cut(string(buf[:n]), "data: ")
	if !ok {
		t.Fatalf("no endpoint: %s", buf[:n])
	}
	endpoint, _, _ := strings.Cut(rest, "\n")
	i := strings.Index(url[len("http://"):], "/")
	base := url
	if i >= 0 {
		base = url[:len("http://")+i]
	}
	for token, want := range map[string]int{"alice/thief": 404, "alice": 404, "bob/editor": 404, "alice/editor": 202} {
		w := &wire{t: t, url: base + strings.TrimSpace(endpoint), hd: http.Header{"Authorization": {"Bearer " + token}}}
		if a := w.do("POST", request("1", "ping", "")); a.status != want {
			t.Errorf("%s: %d, want %d", token, a.status, want)
		}
	}
}
