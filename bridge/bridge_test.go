package bridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/bridge"
)

const patience = 20 * time.Second

type message map[string]json.RawMessage

func (m message) text() string {
	data, _ := json.Marshal(m)
	return string(data)
}

// A server answers JSON-RPC by what the test says of each method; "" for a status of 202.
type server struct {
	url  string
	mu   sync.Mutex
	seen []string // "METHOD of HTTP method of JSON-RPC"
	last http.Header
}

func serve(t *testing.T, answer func(method string, m message, r *http.Request) string) *server {
	s := &server{}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m message
		json.NewDecoder(r.Body).Decode(&m)
		method := strings.Trim(string(m["method"]), `"`)
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+method)
		s.last = r.Header
		s.mu.Unlock()
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		text := answer(method, m, r)
		if text == "" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		if code, rest, ok := strings.Cut(text, " "); ok && len(code) == 3 {
			w.Header().Set("Content-Type", "application/json")
			var status int
			fmt.Sscan(code, &status)
			w.WriteHeader(status)
			text = rest
		}
		if strings.HasPrefix(text, "data:") {
			w.Header().Set("Content-Type", "text/event-stream")
		} else {
			w.Header().Set("Content-Type", "application/json")
		}
		io.WriteString(w, strings.ReplaceAll(text, "ID", string(m["id"])))
	}))
	t.Cleanup(h.Close)
	s.url = h.URL + "/mcp"
	return s
}

func (s *server) asked(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seen := range s.seen {
		if seen == what {
			n++
		}
	}
	return n
}

func ok(result string) string { return `{"jsonrpc":"2.0","id":ID,"result":` + result + `}` }

// oldServer is one of 2025-11-25; more answers what it does not.
func oldServer(more func(method string, m message) string) func(string, message, *http.Request) string {
	return func(method string, m message, _ *http.Request) string {
		if more != nil {
			if text := more(method, m); text != "" {
				return text
			}
		}
		switch method {
		case "initialize":
			return ok(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"old","version":"1"},"x-unknown":{"kept":1}}`)
		case "tools/list":
			return ok(`{"tools":[{"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},{"name":"write","inputSchema":{"type":"object"}}]}`)
		case "server/discover":
			return `400 {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"what?"}}`
		case "tools/call":
			return ok(`{"content":[],"called":` + string(m["params"]) + `}`)
		}
		if m["id"] == nil {
			return ""
		}
		return `200 {"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no such method"}}`
	}
}

type host struct {
	t   *testing.T
	in  io.WriteCloser
	out chan message
	end chan error
}

func start(t *testing.T, o bridge.Options) *host {
	t.Helper()
	b, err := bridge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, out: make(chan message, 100), end: make(chan error, 1)}
	hostReads, bridgeWrites := io.Pipe()
	bridgeReads, hostWrites := io.Pipe()
	h.in = hostWrites
	go func() {
		h.end <- b.Run(context.Background(), bridgeReads, bridgeWrites)
		bridgeWrites.Close()
	}()
	go func() {
		lines := bufio.NewScanner(hostReads)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var m message
			if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
				t.Errorf("the host got %q", lines.Text())
				continue
			}
			h.out <- m
		}
	}()
	t.Cleanup(func() {
		hostWrites.Close()
		select {
		case err := <-h.end:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	return h
}

func (h *host) send(line string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, line+"\n"); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) next() message {
	h.t.Helper()
	select {
	case m := <-h.out:
		return m
	case <-time.After(patience):
		h.t.Fatal("waited in vain")
		return nil
	}
}

func (h *host) request(id int, method, params string) message {
	h.t.Helper()
	h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params))
	for {
		if m := h.next(); string(m["id"]) == fmt.Sprint(id) && m["method"] == nil {
			return m
		}
	}
}

func (h *host) initialize(capabilities string) message {
	h.t.Helper()
	m := h.request(0, "initialize", `{"protocolVersion":"2025-11-25","capabilities":`+capabilities+`,"clientInfo":{"name":"h","version":"1"}}`)
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return m
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}}},"io.modelcontextprotocol/clientInfo":{"name":"h","version":"1"}}`

// A gate is a transport that waits, as one does that signs in.
type gate struct{ open chan struct{} }

func (g gate) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-g.open:
		return http.DefaultTransport.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// A sign-in takes as long as a person needs. initialize is answered meanwhile, what needs
// the server waits for it, and then the host is told to look again.
func TestInitializeDoesNotWaitForASignIn(t *testing.T) {
	s := serve(t, oldServer(nil))
	g := gate{make(chan struct{})}
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}, Transport: g, InitializeWait: 10 * time.Millisecond})
	if m := h.initialize(`{}`); m["result"] == nil || !strings.Contains(m.text(), `"listChanged":true`) {
		t.Fatalf("initialize: %s", m.text())
	}
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if len(s.seen) > 0 {
		t.Errorf("the server was asked %q", s.seen)
	}
	close(g.open)
	var list, changed bool
	for !list || !changed {
		m := h.next()
		list = list || string(m["id"]) == "1" && strings.Contains(m.text(), `"write"`)
		changed = changed || string(m["method"]) == `"notifications/tools/list_changed"`
	}
	// What the guess said there might be, and is not, is empty and no error.
	if m := h.request(2, "prompts/list", `{}`); !strings.Contains(m.text(), `"prompts":[]`) {
		t.Errorf("prompts/list: %s", m.text())
	}
}

// What the server said last time is the answer while it cannot be asked.
func TestInitializeIsAnsweredFromMemory(t *testing.T) {
	s := serve(t, oldServer(nil))
	dir := t.TempDir()
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}, CacheDir: dir})
	h.initialize(`{}`)
	g := gate{make(chan struct{})}
	defer close(g.open)
	h = start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}, CacheDir: dir, Transport: g, InitializeWait: time.Millisecond})
	if m := h.initialize(`{}`); !strings.Contains(m.text(), `"name":"old"`) {
		t.Errorf("initialize: %s", m.text())
	}
}

// What the bridge does not know passes as it is: members, methods, notifications.
func TestWhatIsUnknownPasses(t *testing.T) {
	s := serve(t, oldServer(func(method string, m message) string {
		switch method {
		case "x/method":
			return "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{\"n\":1.50}}\n\ndata: " + ok(`{"y":1.50,"p":`+string(m["params"])+`}`) + "\n\n"
		}
		return ""
	}))
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	if m := h.initialize(`{"x":{"y":1}}`); !strings.Contains(m.text(), `"x-unknown":{"kept":1}`) {
		t.Errorf("initialize: %s", m.text())
	}
	h.send(`{"jsonrpc":"2.0","id":"a\u0062","method":"x/method","params":{"q":1e2,"_meta":{"z":[]}}}`)
	if m := h.next(); string(m["params"]) != `{"n":1.50}` {
		t.Errorf("notification: %s", m.text())
	}
	if m := h.next(); string(m["id"]) != `"a\u0062"` && string(m["id"]) != `"ab"` || string(m["result"]) != `{"y":1.50,"p":{"q":1e2,"_meta":{"z":[]}}}` {
		t.Errorf("answer: %s", m.text())
	}
}

func TestToolsThatAreHidden(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*bridge.Options)
		visible string
	}{
		"read-only":                  {func(o *bridge.Options) { o.ReadOnly = true }, "read"},
		"allowed by a pattern":       {func(o *bridge.Options) { o.AllowTools = []string{"W*"} }, "write"},
		"ignored by a pattern":       {func(o *bridge.Options) { o.IgnoreTools = []string{"*ite"} }, "read"},
		"ignored though allowed":     {func(o *bridge.Options) { o.AllowTools, o.IgnoreTools = []string{"*"}, []string{"read"} }, "write"},
		"read-only of those allowed": {func(o *bridge.Options) { o.AllowTools, o.ReadOnly = []string{"*"}, true }, "read"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, oldServer(nil))
			o := bridge.Options{Servers: []bridge.Server{{URL: s.url}}}
			tc.change(&o)
			h := start(t, o)
			h.initialize(`{}`)
			for i, tool := range []string{"read", "write"} {
				m := h.request(10+i, "tools/call", `{"name":"`+tool+`"}`) // before any list was seen
				if called := m["result"] != nil; called != (tool == tc.visible) {
					t.Errorf("calling %s: %s", tool, m.text())
				}
			}
			m := h.request(1, "tools/list", `{}`)
			for _, tool := range []string{"read", "write"} {
				if shown := strings.Contains(m.text(), `"name":"`+tool+`"`); shown != (tool == tc.visible) {
					t.Errorf("%s is shown: %t", tool, shown)
				}
			}
		})
	}
}

// A server of 2025-11-25 refuses until a page was visited (-32042). A host of 2026-07-28 is
// asked to open it, and the call is made again.
func TestAPageToVisitBeforeACall(t *testing.T) {
	visited := false
	s := serve(t, oldServer(func(method string, _ message) string {
		if method != "tools/call" || visited {
			return ""
		}
		visited = true
		return `{"jsonrpc":"2.0","id":ID,"error":{"code":-32042,"message":"first visit","data":{"elicitations":[{"mode":"url","elicitationId":"e1","url":"https://example.com/pay","message":"Pay"}]}}}`
	}))
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	m := h.request(1, "tools/call", `{"name":"read",`+modernMeta+`}`)
	var asked struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct {
			Method string
			Params map[string]string
		}
	}
	if err := json.Unmarshal(m["result"], &asked); err != nil || asked.ResultType != "input_required" || len(asked.InputRequests) != 1 {
		t.Fatalf("the first answer is %s", m.text())
	}
	for key, q := range asked.InputRequests {
		if q.Method != "elicitation/create" || q.Params["url"] != "https://example.com/pay" || q.Params["mode"] != "url" || q.Params["elicitationId"] != "" {
			t.Errorf("asked %+v", q)
		}
		m = h.request(2, "tools/call", `{"name":"read","requestState":"`+asked.RequestState+`","inputResponses":{"`+key+`":{"action":"accept"}},`+modernMeta+`}`)
	}
	if !strings.Contains(m.text(), `"resultType":"complete"`) || !strings.Contains(m.text(), `"called"`) {
		t.Errorf("the second answer is %s", m.text())
	}
	// The state works once, and for the request it belongs to.
	if m := h.request(3, "tools/call", `{"name":"read","requestState":"`+asked.RequestState+`",`+modernMeta+`}`); !strings.Contains(m.text(), "-32602") {
		t.Errorf("the state once more: %s", m.text())
	}
}

// A server of 2026-07-28 asks by URL; an old host gets the id that its revision demands.
func TestAQuestionByURL(t *testing.T) {
	s := serve(t, func(method string, m message, r *http.Request) string {
		switch method {
		case "initialize":
			return `400 {"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`
		case "server/discover":
			return ok(`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"logging":{}}}`)
		case "tools/list":
			return ok(`{"tools":[]}`)
		case "tools/call":
			if strings.Contains(string(m["params"]), "inputResponses") {
				return ok(`{"resultType":"complete","content":[],"got":` + string(m["params"]) + `}`)
			}
			return ok(`{"resultType":"input_required","requestState":"opaque","inputRequests":{"k":{"method":"elicitation/create","params":{"mode":"url","url":"https://example.com/x","message":"m"}}}}`)
		}
		return ""
	})
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	h.initialize(`{"elicitation":{"url":{}}}`)
	h.request(7, "logging/setLevel", `{"level":"warning"}`)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}`)
	q := h.next()
	if !strings.Contains(string(q["params"]), `"elicitationId":"`) || string(q["method"]) != `"elicitation/create"` {
		t.Errorf("the host is asked %s", q.text())
	}
	h.send(`{"jsonrpc":"2.0","id":` + string(q["id"]) + `,"result":{"action":"accept"}}`)
	m := h.next()
	for _, want := range []string{`"k":{"action":"accept"}`, `"requestState":"opaque"`, `"io.modelcontextprotocol/logLevel":"warning"`, `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`, `"id":1,`} {
		if !strings.Contains(m.text()+",", want) {
			t.Errorf("no %s in %s", want, m.text())
		}
	}
}

// The headers of the user go with every request, and into no message.
func TestHeadersOfTheUser(t *testing.T) {
	s := serve(t, oldServer(nil))
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url, Header: http.Header{"X-Key": {"secret-1"}}}}})
	m := h.initialize(`{}`)
	h.request(1, "tools/call", `{"name":"read"}`)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.Get("X-Key") != "secret-1" || strings.Contains(m.text(), "secret-1") {
		t.Errorf("headers %v, answer %s", s.last, m.text())
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	url := func(list ...string) (o bridge.Options) {
		for _, u := range list {
			name, rest, ok := strings.Cut(u, "=")
			if !ok {
				name, rest = "", u
			}
			o.Servers = append(o.Servers, bridge.Server{Name: name, URL: rest})
		}
		return o
	}
	pattern := url("https://a.example/mcp")
	pattern.AllowTools = []string{"a?"}
	for name, tc := range map[string]struct {
		o    bridge.Options
		says string
	}{
		"no server":                {bridge.Options{}, "no server"},
		"a path":                   {url("/mcp"), "no URL"},
		"a file":                   {url("file:///etc/passwd"), "no URL"},
		"http to another machine":  {url("http://a.example/mcp"), "--allow-http"},
		"two servers of one name":  {url("a=https://a.example/", "a=https://b.example/"), "two servers"},
		"a name with a separator":  {url("a__b=https://a.example/", "https://b.example/"), "the server's name"},
		"a pattern that is a glob": {pattern, "pattern"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := bridge.New(tc.o); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
}

func TestRequestsBeforeInitialize(t *testing.T) {
	s := serve(t, oldServer(nil))
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	if m := h.request(1, "tools/list", `{}`); !strings.Contains(m.text(), "must be initialize") {
		t.Errorf("%s", m.text())
	}
	for line, code := range map[string]string{`{`: "-32700", `5`: "-32600", `[]`: "-32600", `{"jsonrpc":"2.0","id":9,"method":"x","params":[]}`: "-32602"} {
		h.send(line)
		if m := h.next(); !strings.Contains(m.text(), code) {
			t.Errorf("%s: %s", line, m.text())
		}
	}
	h.initialize(`{}`)
}

// A session that the server forgot is opened again, and the request sent once more.
func TestASessionThatIsForgotten(t *testing.T) {
	forgotten := false
	s := serve(t, oldServer(func(method string, m message) string {
		if method == "tools/call" && !forgotten {
			forgotten = true
			return `400 {"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}`
		}
		return ""
	}))
	// This server gives no session id, so that 400 is what it is; with an id it is the end.
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	h.initialize(`{}`)
	if m := h.request(1, "tools/call", `{"name":"read"}`); !strings.Contains(m.text(), "No valid session") {
		t.Errorf("%s", m.text())
	}
	if n := s.asked("POST initialize"); n != 1 {
		t.Errorf("initialize was sent %d times", n)
	}
}

// A subscription of a 2026-07-28 host to a server of the same era breaks off: it is opened
// again, and the host hears that what it listens to may have changed, but of no end.
func TestASubscriptionThatBreaksOff(t *testing.T) {
	tag := `"_meta":{"io.modelcontextprotocol/subscriptionId":1}`
	s := serve(t, func(method string, m message, r *http.Request) string {
		switch method {
		case "server/discover":
			return ok(`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}`)
		case "subscriptions/listen":
			return `data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true},` + tag + "}}\n\n"
		}
		return ""
	})
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	h.request(0, "server/discover", `{`+modernMeta+`}`)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x:y"]},` + modernMeta + `}}`)
	for i, want := range []string{"notifications/subscriptions/acknowledged", "notifications/tools/list_changed", "notifications/resources/updated", "notifications/tools/list_changed"} {
		if m := h.next(); string(m["method"]) != `"`+want+`"` || !strings.Contains(m.text(), tag) {
			t.Errorf("message %d: %s, want %s", i, m.text(), want)
		}
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
}

// The server is not there for a moment: a call waits for it, and is made once.
func TestACallWaitsForAServerThatIsBeingStarted(t *testing.T) {
	s := serve(t, oldServer(nil))
	var down atomic.Bool
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url, Transport: breaker{&down}}}})
	h.initialize(`{}`)
	down.Store(true)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write"}}`)
	time.AfterFunc(300*time.Millisecond, func() { down.Store(false) })
	if m := h.next(); !strings.Contains(m.text(), `"called"`) {
		t.Errorf("%s", m.text())
	}
	if n := s.asked("POST tools/call"); n != 1 {
		t.Errorf("the tool was called %d times", n)
	}
}

// A breaker refuses connections while the server is said to be down.
type breaker struct{ down *atomic.Bool }

func (b breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// An answer that is lost with the connection: a call that could do harm is not made twice,
// one that reads is.
func TestAnAnswerThatIsLost(t *testing.T) {
	var mu sync.Mutex
	calls := map[string]int{}
	s := serve(t, func(method string, m message, r *http.Request) string {
		if method == "tools/call" {
			mu.Lock()
			defer mu.Unlock()
			key := string(m["params"])
			if calls[key]++; calls[key] == 1 {
				panic(http.ErrAbortHandler)
			}
		}
		return oldServer(nil)(method, m, r)
	})
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}})
	h.initialize(`{}`)
	h.request(1, "tools/list", `{}`)
	if m := h.request(2, "tools/call", `{"name":"write"}`); !strings.Contains(m.text(), "is not known") {
		t.Errorf("write: %s", m.text())
	}
	if m := h.request(3, "tools/call", `{"name":"read"}`); !strings.Contains(m.text(), `"called"`) {
		t.Errorf("read: %s", m.text())
	}
}
