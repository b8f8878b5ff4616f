package mcphttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Sessions that are opened and ended while their calls, streams, questions and subscriptions
// are at work leave nothing, neither in memory nor in the store.
func TestAStormOfSessionsThatEndLeavesNothing(t *testing.T) {
	var subscribed atomic.Int64
	s, at := waiting(&mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { subscribed.Add(1); return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { subscribed.Add(-1); return nil },
	})
	s.AddResource(&mcp.Resource{URI: "test://a", Name: "a"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{}, nil
	})
	h, url := serve(t, s, nil)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	send := func(sid, method, body string) (int, string) {
		req, _ := http.NewRequest(method, url, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Mcp-Session-Id", sid)
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer resp.Body.Close()
		return resp.StatusCode, readAll(resp)
	}
	stop := make(chan bool)
	var changing sync.WaitGroup
	changing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = s.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"})
		}
	})
	var storm sync.WaitGroup
	for range 8 {
		storm.Go(func() {
			for range 8 {
				w := (&wire{t: t, url: url}).initialize(version20251125)
				var at sync.WaitGroup
				for name, f := range map[string]func() (int, string){
					"a call":     func() (int, string) { return send(w.sid, "POST", request("1", "tools/call", `"name":"wait"`)) },
					"a question": func() (int, string) { return send(w.sid, "POST", request("2", "tools/call", `"name":"name"`)) },
					"a stream":   func() (int, string) { return send(w.sid, "GET", "") },
					"progress":   func() (int, string) { return send(w.sid, "POST", request("3", "tools/call", `"name":"progress"`)) },
					"a subscription": func() (int, string) {
						return send(w.sid, "POST", request("4", "resources/subscribe", `"uri":"test://a"`))
					},
					"a level":     func() (int, string) { return send(w.sid, "POST", request("5", "logging/setLevel", `"level":"debug"`)) },
					"an end":      func() (int, string) { return send(w.sid, "DELETE", "") },
					"another end": func() (int, string) { return send(w.sid, "DELETE", "") },
				} {
					at.Go(func() {
						if status, body := f(); status != 200 && status != 204 && status != 404 {
							t.Errorf("%s: %d %s", name, status, body)
						}
					})
				}
				at.Wait()
				if status, body := send(w.sid, "POST", request("9", "ping", "")); status != 404 {
					t.Errorf("after its end: %d %s", status, body)
				}
			}
		})
	}
	storm.Wait()
	close(stop)
	changing.Wait()
	host, _ := hostOf(s)
	waitFor(t, "the calls to end", func() bool { return at.Load() == 0 && h.watch.size() == 0 && h.streams.Load() == 0 })
	if n := subscribed.Load(); n > 0 { // to unsubscribe twice is harmless
		t.Errorf("%d subscriptions", n)
	}
	n := 0
	for _, s := range host.sessions.all() {
		s.lastUse.Store(0)
		n++
	}
	h.sweepOnce(host)
	if left := len(host.sessions.all()); left != 0 {
		t.Errorf("%d sessions, %d of them for good", n, left)
	}
	for r, err := range h.opts.Records.List(context.Background(), sessionPrefix) {
		t.Errorf("a session in the store: %s %v", r.Key, err)
	}
}

// Subscriptions that come and go while lists change: each is acknowledged first, hears of
// changes while it is there, and leaves nothing.
func TestAStormOfSubscriptionsWhileListsChange(t *testing.T) {
	s := newServer(nil)
	s.AddPrompt(&mcp.Prompt{Name: "first"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) { return nil, nil })
	h, url := serve(t, s, nil)
	(&wire{t: t, url: url}).modern("1", "ping", "", "")
	served, err := hostOf(s)
	if err != nil {
		t.Fatal(err)
	}
	// The SDK (1.8) reads a session of its own while it still connects it, if it has
	// something to tell it: the one that listens for all of ours is there before.
	release, err := served.fan.hold()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	stop := make(chan bool)
	var changing, storm sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(15 * time.Millisecond): // the SDK puts off what it tells while changes come faster
				s.AddPrompt(&mcp.Prompt{Name: fmt.Sprint("p", i%3)}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) { return nil, nil })
			}
		}
	})
	for i := range 8 {
		storm.Go(func() {
			for range 10 {
				body, hd := modernRequest(fmt.Sprint(i), "subscriptions/listen", "", `"notifications":{"promptsListChanged":true}`, nil)
				st := (&wire{t: t, url: url}).stream("POST", body, hd...)
				if ev := st.next(); !strings.Contains(ev.data, "acknowledged") {
					t.Errorf("first: %s", ev.data)
				}
				if ev := st.next(); !strings.Contains(ev.data, "prompts/list_changed") || !strings.Contains(ev.data, fmt.Sprintf(`subscriptionId":%d`, i)) {
					t.Errorf("then: %s", ev.data)
				}
				st.close()
			}
		})
	}
	storm.Wait()
	close(stop)
	changing.Wait()
	host, _ := hostOf(s)
	waitFor(t, "the subscriptions to end", func() bool {
		host.fan.mu.Lock()
		defer host.fan.mu.Unlock()
		return len(host.fan.subs) == 0 && h.watch.size() == 0 && h.streams.Load() == 0
	})
}

// An answer that comes when its question is too old does nothing, however often it comes.
func TestAnswersAfterTheExpiryOfTheirRoundDoNothing(t *testing.T) {
	var bought atomic.Int32
	h, url := serve(t, newBuyingServer(&bought, 0), nil)
	w := &wire{t: t, url: url}
	r := roundOf(t, w.modern("1", "tools/call", "buy", `"name":"buy"`))
	host, _ := hostOf(h.getServer(nil))
	c := &call{h: h, host: host, method: methodCallTool, target: "buy"}
	st, err := c.openRound(r.State)
	if err != nil {
		t.Fatal(err)
	}
	st.Expires = time.Now().Unix() - 1
	plain, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	late := r
	late.State = h.rounds.seal(plain, c.boundTo())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := w.modern("2", "tools/call", "buy", again2("buy", "", late, map[string]string{r.only(): `{"action":"accept"}`}))
			if a.code() != -32602 || !strings.Contains(a.body, "requestState") {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if n := bought.Load(); n != 0 {
		t.Errorf("bought %d", n)
	}
	for cut := range len(r.State) { // the whole of it or nothing
		if _, err := c.openRound(r.State[:cut]); err == nil {
			t.Fatalf("%d of %d bytes are taken for the whole", cut, len(r.State))
		}
	}
}
