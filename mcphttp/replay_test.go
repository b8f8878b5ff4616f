package mcphttp

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func keptEvents(t testing.TB, h *Handler, sid string) (n int) {
	t.Helper()
	for _, err := range h.opts.Records.List(context.Background(), "mcp/event/"+sid+"/") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// Whoever resumes streams that never were makes nothing of them grow without end: what is
// kept of them is bounded like what is kept of streams that were.
func TestStreamsThatNeverWereFillNoStore(t *testing.T) {
	h, url := serve(t, newServer(nil), &Options{MaxEvents: 10, MaxEventBytes: 4 << 10})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	var ids []string
	for i := range 50 {
		ids = append(ids, fmt.Sprint(i))
	}
	forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Join(ids, "\n")))
	for i := range 200 {
		a := w.do("GET", "", "Last-Event-ID", fmt.Sprintf("cnever%d.%s~1", i, forged))
		if a.status != 200 || strings.Count(a.body, "outcome unknown") != 50 {
			t.Fatalf("%d %.300s", a.status, a.body)
		}
	}
	if n := keptEvents(t, h, w.sid); n > 10*10 {
		t.Errorf("%d events are kept of streams that never were, of 10 in each of 10 streams that there may be", n)
	}
}

// What a client says it has read last is a claim like any other.
func TestEventIDsOfStrangers(t *testing.T) {
	s := newServer(&mcp.ServerOptions{SubscribeHandler: func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil }})
	s.AddResource(&mcp.Resource{URI: "test://a", Name: "a"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{}, nil
	})
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	url := serveHTTP(t, as(h))
	alice := (&wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer alice"}}}).initialize(version20251125)
	mallory := (&wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer mallory"}}}).initialize(version20251125)
	a := alice.call(`"secret"`, "tools/call", `"name":"progress","_meta":{"progressToken":"alice's"}`)
	id := parseEvents([]byte(a.body))[0].id
	if !strings.HasPrefix(id, "c") {
		t.Fatal(a.body)
	}
	t.Run("of another's stream tell nothing of it", func(t *testing.T) {
		if got := mallory.do("GET", "", "Last-Event-ID", id); got.status != 200 || strings.Contains(got.body, "alice") || !strings.Contains(got.body, "outcome unknown") {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := mallory.do("GET", "", "Last-Event-ID", id, "Mcp-Session-Id", alice.sid); got.status != 404 {
			t.Errorf("with her session: %d %s", got.status, got.body)
		}
	})
	t.Run("that are none are refused", func(t *testing.T) {
		for _, last := range []string{"g", "~", "g~", "g~-1", "g~+1", "g~01", "g~1e3", "g~99999999999999999999", "g~549755813888", "../x~1", "a/b~1", "g~1~1", "é~1", "c~\t1",
			"c" + strings.Repeat("x", 400) + "~1"} {
			if got := alice.do("GET", "", "Last-Event-ID", last); got.status != 400 || got.code() != -32600 {
				t.Errorf("%q: %d %s", last, got.status, got.body)
			}
		}
		if got := alice.do("GET", "", "Last-Event-ID", "g~1", "+Last-Event-ID", "g~2"); got.status != 400 {
			t.Errorf("two: %d %s", got.status, got.body)
		}
	})
	t.Run("that name no request end at once", func(t *testing.T) {
		for _, last := range []string{"c~1", ".~1", "..~1", "c.~1", "cx.!~1", "cx.e30~1", "cx.W10~0", "g.~1", "-~0", "G~5"} {
			got := alice.do("GET", "", "Last-Event-ID", last)
			if last == "cx.!~1" && got.status == 400 {
				continue
			}
			if got.status != 204 {
				t.Errorf("%q: %d %s", last, got.status, got.body)
			}
		}
	})
	t.Run("from the future leave a stream that can still be left and resumed", func(t *testing.T) {
		alice.call("1", "resources/subscribe", `"uri":"test://a"`)
		get := alice.stream("GET", "", "Last-Event-ID", "g~549755813887")
		if err := s.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"}); err != nil {
			t.Fatal(err)
		}
		ev := get.next()
		get.close()
		if err := s.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"}); err != nil {
			t.Fatal(err)
		}
		again := alice.stream("GET", "", "Last-Event-ID", ev.id)
		if again.resp.StatusCode != 200 {
			t.Fatalf("the server does not know its own %q: %d", ev.id, again.resp.StatusCode)
		}
		if got := again.next(); !strings.Contains(got.data, "resources/updated") {
			t.Errorf("%+v", got)
		}
	})
}
