package mcphttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A request that comes over a connection just when the server drains is answered, or
// refused, before the connection ends with the word that the server restarts.
func TestARequestOnAConnectionIsAnsweredWhileTheServerDrains(t *testing.T) {
	for i := range 60 {
		s := newServer(nil)
		s.AddTool(&mcp.Tool{Name: "nap", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			time.Sleep(5 * time.Millisecond)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "rested"}}}, nil
		})
		h, url := serve(t, s, nil)
		conn := dial(t, url, version20251125).c
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := conn.Write(ctx, websocket.MessageText, []byte(request("1", "tools/call", `"name":"nap"`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 20 * time.Microsecond) // at another moment each time
		if err := h.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		var got string
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
					t.Errorf("the end: %v", err)
				}
				break
			}
			got += string(b)
		}
		if strings.Count(got, `"id":1`) > 1 || (got != "" && !strings.Contains(got, "rested") && !strings.Contains(got, "shutting down")) {
			t.Errorf("%q", got)
		}
		cancel()
	}
}

// A subscription that the application is slow to accept does not hold up the drain.
func TestASubscriptionThatIsNotAcceptedYetEndsWhenTheServerDrains(t *testing.T) {
	asked := make(chan bool, 2)
	s := newServer(&mcp.ServerOptions{
		SubscribeHandler: func(ctx context.Context, _ *mcp.SubscribeRequest) error {
			asked <- true
			<-ctx.Done()
			return context.Cause(ctx)
		},
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	s.AddResource(&mcp.Resource{URI: "test://a", Name: "a"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{}, nil
	})
	h, url := serve(t, s, nil)
	body, hd := modernRequest("1", "subscriptions/listen", "", `"notifications":{"resourceSubscriptions":["test://a"]}`, nil)
	done := make(chan string, 1)
	go func() {
		req, _ := http.NewRequest("POST", url, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(hd); i += 2 {
			req.Header.Set(hd[i], hd[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- err.Error()
			return
		}
		resp.Body.Close()
		done <- resp.Status
	}()
	<-asked
	if err := h.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-done:
		if !strings.HasPrefix(got, "503") {
			t.Error(got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the subscription is still there")
	}
}

// Whatever is opened while the server drains is served or told to come back, and ends.
func TestWhateverIsOpenedWhileTheServerDrainsEnds(t *testing.T) {
	for range 10 {
		s := newServer(nil)
		var wg sync.WaitGroup
		h, url := serve(t, s, nil)
		w := (&wire{t: t, url: url}).initialize(version20251125)
		batches := (&wire{t: t, url: url}).initialize(version20250326)
		client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
		start := make(chan bool)
		errs := make(chan error, 1000)
		do := func(method, body string, ok func(int, string) bool, hd ...string) {
			wg.Go(func() {
				<-start
				for range 5 {
					req, _ := http.NewRequest(method, url, strings.NewReader(body))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Accept", "application/json, text/event-stream")
					for i := 0; i < len(hd); i += 2 {
						req.Header.Set(hd[i], hd[i+1])
					}
					resp, err := client.Do(req)
					if err != nil {
						errs <- fmt.Errorf("%s %s: %w", method, body, err)
						return
					}
					b := new(strings.Builder)
					_, err = fmt.Fprint(b, readAll(resp))
					resp.Body.Close()
					if resp.StatusCode == 503 {
						if body == "" && resp.Header.Get("Retry-After") == "" {
							err = errors.New("a refusal without Retry-After")
						}
					} else if !ok(resp.StatusCode, b.String()) {
						err = errors.New("unexpected")
					}
					if err != nil {
						errs <- fmt.Errorf("%s %s: %w: %d %q", method, body, err, resp.StatusCode, b)
					}
				}
			})
		}
		add := `"name":"add","arguments":{"a":1,"b":2}`
		sum := func(_ int, b string) bool { return strings.Contains(b, `"sum":3`) }
		body, hd := modernRequest("1", "tools/call", "add", add, nil)
		for range 3 {
			do("POST", body, sum, hd...)
			do("POST", `[`+request("1", "tools/call", add)+`]`, func(_ int, b string) bool { return sum(0, b) || strings.Contains(b, "is being worked on") }, "Mcp-Session-Id", batches.sid)
			do("GET", "", func(_ int, b string) bool { return strings.Contains(b, "retry: ") || !strings.Contains(b, "data: {") }, "Mcp-Session-Id", w.sid)
			do("GET", "", func(_ int, b string) bool { return strings.Contains(b, "endpoint") && strings.Contains(b, "retry: ") })
			listen, hd := modernRequest("1", "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
			do("POST", listen, func(_ int, b string) bool { return strings.Contains(b, `"resultType":"complete"`) }, hd...)
			do("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`,
				func(_ int, b string) bool { return strings.Contains(b, "serverInfo") })
		}
		wg.Go(func() {
			<-start
			for range 5 {
				c, resp, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}})
				if err != nil {
					if resp == nil || resp.StatusCode != 503 {
						errs <- fmt.Errorf("WebSocket: %w", err)
					}
					continue
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
					errs <- fmt.Errorf("WebSocket: %w", err)
				}
				cancel()
				c.CloseNow()
			}
		})
		close(start)
		waitFor(t, "some to be open", func() bool { return h.streams.Load() > 3 })
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			t.Error(err)
		}
		waitFor(t, "the streams to end", func() bool { return h.streams.Load() == 0 })
		if n := h.watch.size(); n != 0 {
			t.Errorf("%d are still looked after", n)
		}
		client.CloseIdleConnections()
	}
}

func readAll(resp *http.Response) string {
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}
