package mcphttp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// newBusyServer has what streams are about: subscriptions, changing lists, tools
// that speak before they answer.
func newBusyServer(t testing.TB) (*mcp.Server, chan string) {
	handled := make(chan string, 100)
	s := newServer(&mcp.ServerOptions{
		SubscribeHandler: func(_ context.Context, r *mcp.SubscribeRequest) error {
			handled <- "subscribe " + r.Params.URI + " " + r.Session.ID()
			return nil
		},
		UnsubscribeHandler: func(_ context.Context, r *mcp.UnsubscribeRequest) error {
			handled <- "unsubscribe " + r.Params.URI + " " + r.Session.ID()
			return nil
		},
	})
	s.AddResource(&mcp.Resource{URI: "test://clock", Name: "clock"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{Text: "12:00"}}}, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "speak"}, func(ctx context.Context, req *mcp.CallToolRequest, in struct {
		Close bool `json:"close,omitempty"`
		Then  int  `json:"then,omitempty"`
	}) (*mcp.CallToolResult, any, error) {
		p := func(n int) {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "t", Progress: float64(n)})
		}
		p(1)
		if in.Close {
			req.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 10 * time.Millisecond})
		}
		time.Sleep(time.Duration(in.Then) * time.Millisecond)
		p(2)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "spoken"}}}, nil, nil
	})
	return s, handled
}

func TestAStreamIsPrimedAndCanBeLeftAndResumed(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	st := w.stream("POST", request("5", "tools/call", `"name":"speak","arguments":{"close":true,"then":50}`))
	evs := st.ended()
	if len(evs) < 2 || evs[0].id == "" || evs[0].data != "" {
		t.Fatalf("no priming event: %+v", evs)
	}
	if last := evs[len(evs)-1]; last.retry != "10" {
		t.Errorf("no retry hint before the stream was closed: %+v", evs)
	}
	for _, ev := range evs {
		if strings.Contains(ev.data, `"result"`) {
			t.Fatalf("the result came before the stream was closed")
		}
	}
	// Resumed live, from the very first event.
	back := w.stream("GET", "", "Last-Event-ID", evs[0].id)
	one, two, res := back.next(), back.next(), back.next()
	if !strings.Contains(one.data, `"progress":1`) || !strings.Contains(two.data, `"progress":2`) || !strings.Contains(res.data, `"spoken"`) {
		t.Errorf("resumed: %q %q %q", one.data, two.data, res.data)
	}
	back.ended()
	// Resumed from what was kept, after the first progress.
	again := w.stream("GET", "", "Last-Event-ID", one.id).ended()
	if len(again) != 2 || again[0].data != two.data || again[1].data != res.data {
		t.Errorf("replayed: %+v", again)
	}
	// Another session of the same client gets none of it.
	other := (&wire{t: t, url: url}).initialize(version20251125)
	for _, ev := range other.stream("GET", "", "Last-Event-ID", one.id).ended() {
		if !strings.Contains(ev.data, "outcome unknown") {
			t.Errorf("another session's events: %+v", ev)
		}
	}
}

func TestAStreamWhoseServerDiedGetsAnErrorForItsRequest(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	id := eventID{callStream("dead", []string{`"req-9"`}), 3}
	evs := w.stream("GET", "", "Last-Event-ID", id.String()).ended()
	if len(evs) != 1 || !strings.Contains(evs[0].data, `"id":"req-9"`) || !strings.Contains(evs[0].data, "outcome unknown") {
		t.Errorf("%+v", evs)
	}
}

func TestAClientThatLostItsConnectionFindsTheAnswerAgain(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20250618)
	st := w.stream("POST", request("5", "tools/call", `"name":"speak","arguments":{"then":150}`))
	first := st.next()
	st.close()
	evs := w.stream("GET", "", "Last-Event-ID", first.id).ended()
	if len(evs) != 2 || !strings.Contains(evs[1].data, `"spoken"`) {
		t.Errorf("%+v", evs)
	}
}

func TestTheLogOfAStreamIsBounded(t *testing.T) {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "chatter"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 50 {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "t", Progress: float64(i)})
		}
		return nil, nil, nil
	})
	records := newRecords(t)
	_, url := serve(t, s, &Options{Records: records, MaxEvents: 10})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.call("1", "tools/call", `"name":"chatter"`)
	n := 0
	for range records.List(context.Background(), "mcp/event/") {
		n++
	}
	if n != 10 {
		t.Errorf("%d events are kept, want 10", n)
	}
	w.do("DELETE", "")
	for r := range records.List(context.Background(), "mcp/") {
		t.Errorf("left behind after DELETE: %s", r.Key)
	}
}

func TestListChangesReachEveryEra(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	legacy := w.initialize(version20250326).stream("GET", "")
	body, hd := modernRequest("77", "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
	listening := w.stream("POST", body, hd...)
	if ack := listening.next(); !strings.Contains(ack.data, "notifications/subscriptions/acknowledged") || !strings.Contains(ack.data, `"toolsListChanged":true`) || !strings.Contains(ack.data, `"io.modelcontextprotocol/subscriptionId":77`) {
		t.Fatalf("acknowledged: %s", ack.data)
	}
	body, hd = modernRequest(`"other"`, "subscriptions/listen", "", `"notifications":{"promptsListChanged":true}`, nil)
	deaf := w.stream("POST", body, hd...)
	old := w.stream("GET", "") // 2024-11-05
	endpoint := old.next()
	post := &wire{t: t, url: strings.TrimSuffix(url, "/") + endpoint.data}
	post.call("1", "initialize", `"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"w","version":"1"}`)
	old.next()
	sock := dial(t, url, version20251125)

	mcp.AddTool(s, &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, nil
	})
	for name, st := range map[string]*streamed{"a 2025-03-26 GET stream": legacy, "a subscription": listening, "a 2024-11-05 stream": old} {
		ev := st.next()
		if !strings.Contains(ev.data, `"notifications/tools/list_changed"`) {
			t.Errorf("%s: %s", name, ev.data)
		}
		if tagged := strings.Contains(ev.data, `"io.modelcontextprotocol/subscriptionId":77`); tagged != (st == listening) {
			t.Errorf("%s: tagged %v: %s", name, tagged, ev.data)
		}
	}
	if msg := sock.read(); !strings.Contains(msg, `"notifications/tools/list_changed"`) {
		t.Errorf("a WebSocket: %s", msg)
	}
	s.AddPrompt(&mcp.Prompt{Name: "p"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) { return nil, nil })
	deaf.next() // the server had no prompts: acknowledged with nothing
}

func TestResourceUpdatesReachTheirSubscribers(t *testing.T) {
	s, handled := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	legacy := w.initialize(version20250618)
	get := legacy.stream("GET", "")
	bystander := w.initialize(version20250618).stream("GET", "")
	if a := legacy.call("1", "resources/subscribe", `"uri":"test://clock"`); a.status != 200 || a.msg.Error != nil {
		t.Fatal(a.body)
	}
	if got, want := <-handled, "subscribe test://clock "+legacy.sid; got != want {
		t.Errorf("the SubscribeHandler saw %q, want %q", got, want)
	}
	body, hd := modernRequest(`"sub"`, "subscriptions/listen", "", `"notifications":{"resourceSubscriptions":["test://clock"]}`, nil)
	listening := w.stream("POST", body, hd...)
	listening.next()
	<-handled
	if err := s.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://clock"}); err != nil {
		t.Fatal(err)
	}
	for name, st := range map[string]*streamed{"session": get, "subscription": listening} {
		if ev := st.next(); !strings.Contains(ev.data, `notifications/resources/updated`) || !strings.Contains(ev.data, `test://clock`) {
			t.Errorf("%s: %s", name, ev.data)
		}
	}
	select {
	case ev := <-bystander.events:
		if ev.data != "" {
			t.Errorf("one who did not subscribe got %s", ev.data)
		}
	case <-time.After(50 * time.Millisecond):
	}
	listening.close()
	if got := <-handled; got != "unsubscribe test://clock " {
		t.Errorf("the subscription's end: %q", got)
	}
	if a := legacy.call("2", "resources/unsubscribe", `"uri":"test://clock"`); a.msg.Error != nil {
		t.Fatal(a.body)
	}
	if got, want := <-handled, "unsubscribe test://clock "+legacy.sid; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestASubscriptionOutlivesTheProcess(t *testing.T) {
	records := newRecords(t)
	one, _ := newBusyServer(t)
	_, first := serve(t, one, &Options{Records: records})
	w := (&wire{t: t, url: first}).initialize(version20251125)
	w.call("1", "resources/subscribe", `"uri":"test://clock"`)
	two, handled := newBusyServer(t)
	_, second := serve(t, two, &Options{Records: records})
	w.url = second
	get := w.stream("GET", "")
	if got, want := <-handled, "subscribe test://clock "+w.sid; got != want {
		t.Errorf("the new process's SubscribeHandler saw %q, want %q", got, want)
	}
	if err := two.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://clock"}); err != nil {
		t.Fatal(err)
	}
	if ev := get.next(); !strings.Contains(ev.data, "notifications/resources/updated") {
		t.Errorf("%s", ev.data)
	}
}

func TestWhatWasMissedOnTheGetStreamIsReplayed(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.call("1", "resources/subscribe", `"uri":"test://clock"`)
	get := w.stream("GET", "")
	update := func() {
		if err := s.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://clock"}); err != nil {
			t.Fatal(err)
		}
	}
	update()
	first := get.next()
	get.close()
	host, _ := hostOf(s)
	waitFor(t, "the stream to be gone", func() bool {
		l := &host.sessions.get(w.sid).listen
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.out == nil
	})
	update()
	update()
	back := w.stream("GET", "", "Last-Event-ID", first.id)
	a, b := back.next(), back.next()
	if a.id == b.id || a.id == first.id || !strings.Contains(b.data, "resources/updated") {
		t.Errorf("replayed %+v %+v after %+v", a, b, first)
	}
	update()
	if c := back.next(); c.id == b.id {
		t.Errorf("live events do not go on after the replayed: %+v", c)
	}
}

func TestTheOldPairOnBothPaths(t *testing.T) {
	s := newServer(nil)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	mux := http.NewServeMux()
	mux.Handle("/mcp", h)
	mux.Handle("/sse", h.SSE())
	mux.Handle("/under/", http.StripPrefix("/under", h.SSE()))
	base := serveHTTP(t, mux)
	for _, path := range []string{"/mcp", "/sse", "/under/x"} {
		t.Run(path, func(t *testing.T) {
			st := (&wire{t: t, url: base + path}).stream("GET", "")
			ev := st.next()
			if ev.name != "endpoint" || !strings.HasPrefix(ev.data, path+"?sessionId=") {
				t.Fatalf("endpoint: %+v", ev)
			}
			w := &wire{t: t, url: base + ev.data}
			if a := w.call("1", "tools/list", ""); a.status != 202 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if ev := st.next(); !strings.Contains(ev.data, "before initialize") {
				t.Errorf("before initialize: %s", ev.data)
			}
			w.call("2", "initialize", `"protocolVersion":"2024-11-05","capabilities":{"elicitation":{}},"clientInfo":{"name":"w","version":"1"}`)
			if ev := st.next(); !strings.Contains(ev.data, `"protocolVersion":"2024-11-05"`) {
				t.Errorf("initialize: %s", ev.data)
			}
			w.do("POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
			w.call("3", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`)
			if ev := st.next(); !strings.Contains(ev.data, `{\"sum\":3}`) {
				t.Errorf("add: %s", ev.data)
			}
			w.call("4", "tools/call", `"name":"name"`)
			ask := st.next()
			id, _, _ := strings.Cut(strings.SplitN(ask.data, `"id":`, 2)[1], ",")
			w.do("POST", `{"jsonrpc":"2.0","id":`+id+`,"result":{"action":"accept","content":{"name":"Ada"}}}`)
			ask = st.next()
			id, _, _ = strings.Cut(strings.SplitN(ask.data, `"id":`, 2)[1], ",")
			w.do("POST", `{"jsonrpc":"2.0","id":`+id+`,"result":{"action":"decline"}}`)
			if ev := st.next(); !strings.Contains(ev.data, "Ada decline") {
				t.Errorf("name: %s", ev.data)
			}
			if a := w.do("POST", "nope"); a.status != 400 {
				t.Errorf("no JSON: %d", a.status)
			}
			st.close()
			waitFor(t, "the session to end with its stream", func() bool { return w.call("5", "ping", "").status == 404 })
		})
	}
}

// A socket is a WebSocket client.
type socket struct {
	t testing.TB
	c *websocket.Conn
}

func dial(t testing.TB, url, version string) *socket {
	t.Helper()
	c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(8 << 20)
	s := &socket{t, c}
	t.Cleanup(func() { c.CloseNow() })
	if version != "" {
		s.write(request("0", "initialize", fmt.Sprintf(`"protocolVersion":%q,"capabilities":{"elicitation":{}},"clientInfo":{"name":"w","version":"1"}`, version)))
		if msg := s.read(); !strings.Contains(msg, `"protocolVersion":"`+version+`"`) {
			t.Fatalf("initialize: %s", msg)
		}
		s.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	return s
}

func (s *socket) write(msg string) {
	s.t.Helper()
	if err := s.c.Write(context.Background(), websocket.MessageText, []byte(msg)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) read() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, b, err := s.c.Read(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func TestAWebSocketCarriesBothEras(t *testing.T) {
	s, handled := newBusyServer(t)
	_, url := serve(t, s, nil)
	t.Run("with a session", func(t *testing.T) {
		c := dial(t, url, version20251125)
		c.write(request("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`))
		if msg := c.read(); !strings.Contains(msg, `{"sum":3}`) {
			t.Errorf("add: %s", msg)
		}
		c.write(request("2", "tools/call", `"name":"speak"`))
		if a, b, r := c.read(), c.read(), c.read(); !strings.Contains(a, `"progress":1`) || !strings.Contains(b, `"progress":2`) || !strings.Contains(r, "spoken") {
			t.Errorf("speak: %s %s %s", a, b, r)
		}
		c.write(`{"jsonrpc":`)
		if msg := c.read(); !strings.Contains(msg, "-32700") {
			t.Errorf("no JSON: %s", msg)
		}
		c.write(`[` + request("3", "ping", "") + `]`)
		if msg := c.read(); !strings.Contains(msg, "-32600") {
			t.Errorf("a batch: %s", msg)
		}
	})
	t.Run("without", func(t *testing.T) {
		c := dial(t, url, "")
		c.write(request("1", "tools/list", ""))
		if msg := c.read(); !strings.Contains(msg, "before initialize") {
			t.Errorf("before initialize: %s", msg)
		}
		body, _ := modernRequest("2", "tools/call", "add", `"name":"add","arguments":{"a":1,"b":2}`, nil)
		c.write(body)
		if msg := c.read(); !strings.Contains(msg, `{"sum":3}`) || !strings.Contains(msg, `"resultType":"complete"`) {
			t.Errorf("add: %s", msg)
		}
		body, _ = modernRequest("3", "subscriptions/listen", "", `"notifications":{"resourceSubscriptions":["test://clock"]}`, nil)
		c.write(body)
		if msg := c.read(); !strings.Contains(msg, "acknowledged") {
			t.Errorf("listen: %s", msg)
		}
		<-handled
		c.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
		if msg := c.read(); !strings.Contains(msg, `"id":3`) {
			t.Errorf("the subscription's end: %s", msg)
		}
		if got := <-handled; !strings.HasPrefix(got, "unsubscribe") {
			t.Errorf("%s", got)
		}
	})
	t.Run("only with its subprotocol", func(t *testing.T) {
		if _, resp, err := websocket.Dial(context.Background(), url, nil); err == nil || resp.StatusCode != 400 {
			t.Errorf("%v", err)
		}
	})
	t.Run("only in text frames", func(t *testing.T) {
		c := dial(t, url, version20251125)
		if err := c.c.Write(context.Background(), websocket.MessageBinary, []byte(request("1", "ping", ""))); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.c.Read(context.Background())
		if websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
			t.Errorf("a binary frame: %v", err)
		}
	})
}

func TestAReaderThatStopsReadingLosesItsStreamAndNobodyElseWaits(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, &Options{QueueLength: 8, QueueBytes: 64 << 10, WriteTimeout: 5 * time.Second})
	w := &wire{t: t, url: url}
	slow := w.initialize(version20251125)
	slow.call("1", "resources/subscribe", `"uri":"test://clock"`)
	quick := w.initialize(version20251125)
	quick.call("1", "resources/subscribe", `"uri":"test://clock"`)
	get := quick.stream("GET", "")
	// The slow one opens its stream and never reads from the socket.
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nMcp-Session-Id: %s\r\n\r\n", slow.sid)
	host, _ := hostOf(s)
	open := func() bool {
		l := &host.sessions.get(slow.sid).listen
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.out != nil
	}
	waitFor(t, "the slow stream", open)
	big := strings.Repeat("x", 60<<10)
	for i := range 200 {
		if err := s.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: "test://clock", Meta: mcp.Meta{"pad": big}}); err != nil {
			t.Fatal(err)
		}
		if ev := get.next(); !strings.Contains(ev.data, "resources/updated") {
			t.Fatalf("update %d: %.100s", i, ev.data)
		}
	}
	waitFor(t, "the slow stream to be cut", func() bool { return !open() })
}

func TestShutdownEndsStreamsWithAHintAndLetsCallsFinish(t *testing.T) {
	s, _ := newBusyServer(t)
	h, url := serve(t, s, &Options{RetryAfter: 1234 * time.Millisecond})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	get := w.stream("GET", "")
	body, hd := modernRequest(`"sub"`, "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
	listening := w.stream("POST", body, hd...)
	listening.next()
	call := w.stream("POST", request("5", "tools/call", `"name":"speak","arguments":{"then":200}`))
	call.next()
	if err := h.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	evs := get.ended()
	if len(evs) == 0 || evs[len(evs)-1].retry != "1234" {
		t.Errorf("the GET stream ended without a hint: %+v", evs)
	}
	evs = listening.ended()
	if len(evs) != 1 || !strings.Contains(evs[0].data, `"resultType":"complete"`) || !strings.Contains(evs[0].data, `"io.modelcontextprotocol/subscriptionId":"sub"`) {
		t.Errorf("the subscription did not end gracefully: %+v", evs)
	}
	evs = call.ended()
	if len(evs) == 0 || !strings.Contains(evs[len(evs)-1].data, "spoken") {
		t.Errorf("the call did not finish: %+v", evs)
	}
	if a := w.call("6", "ping", ""); a.status != 503 {
		t.Errorf("after shutdown: %d", a.status)
	}
}

func TestAlwaysStreamAnswersAsAStream(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, &Options{AlwaysStream: true})
	w := &wire{t: t, url: url}
	for name, a := range map[string]*answered{
		"modern": w.modern("1", "tools/call", "add", `"name":"add","arguments":{"a":1,"b":2}`),
		"legacy": w.initialize(version20251125).call("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`),
		"batch":  w.initialize(version20250326).do("POST", `[`+request("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`)+`]`),
		"speaks": w.initialize(version20251125).call("1", "tools/call", `"name":"speak"`),
	} {
		stream := strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream")
		if stream == (name == "batch") || (!strings.Contains(a.body, `{"sum":3}`) && !strings.Contains(a.body, "spoken")) {
			t.Errorf("%s: %v %s", name, a.header, a.body)
		}
	}
}

// HTTP/1.0 has no chunks, so there a stream is not cut short with the end of one.
func TestAnOlderHTTPIsNotToldOfChunks(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	l := (&wire{t: t, url: url}).initialize(version20251125)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := request("5", "tools/call", `"name":"speak","arguments":{"close":true}`)
	fmt.Fprintf(conn, "POST / HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\nMcp-Session-Id: %s\r\nContent-Length: %d\r\n\r\n%s", l.sid, len(body), body)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(b), "\r\n0\r\n") || strings.HasSuffix(string(b), "0\r\n\r\n") || !strings.Contains(string(b), "spoken") {
		t.Errorf("%v %q", err, b)
	}
}
