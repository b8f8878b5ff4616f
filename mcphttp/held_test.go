package mcphttp

import (
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestAUserSeesAndEndsTheirSessionsAlone(t *testing.T) {
	h := NewHandler(func(*http.Request) *mcp.Server { return testServer }, nil)
	url := serveHTTP(t, withClient(h))
	open := func(token string) *wire {
		return (&wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer " + token}}}).initialize(version20251125)
	}
	editor, chat, bobs := open("alice/editor"), open("alice/chat"), open("bob/editor")
	stream := chat.stream("GET", "")
	seen, err := h.Sessions(t.Context(), "alice")
	if err != nil || len(seen) != 2 {
		t.Fatalf("%+v %v", seen, err)
	}
	for _, s := range seen {
		if s.ID != editor.sid && s.ID != chat.sid || s.Version != version20251125 || s.Client == "" || s.Program == "" || s.Kept.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	for _, user := range []string{"", "carol"} {
		if seen, err := h.Sessions(t.Context(), user); err != nil || len(seen) != 0 {
			t.Errorf("%q sees %+v %v", user, seen, err)
		}
	}
	if err := h.EndSession(t.Context(), "alice", bobs.sid); err != nil {
		t.Error(err)
	}
	if err := h.EndSession(t.Context(), "alice", "../x"); err != nil {
		t.Error(err)
	}
	if err := h.EndClient(t.Context(), "alice", "chat"); err != nil {
		t.Fatal(err)
	}
	stream.ended()
	for w, want := range map[*wire]int{editor: 200, chat: 404, bobs: 200} {
		if a := w.call("1", "ping", ""); a.status != want {
			t.Errorf("%s: %d, want %d", w.sid, a.status, want)
		}
	}
	if err := h.EndSession(t.Context(), "alice", editor.sid); err != nil {
		t.Fatal(err)
	}
	if a := editor.call("1", "ping", ""); a.status != 404 {
		t.Errorf("an ended session: %d", a.status)
	}
}
