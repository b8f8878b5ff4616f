package hostile

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/bridge"
)

type handler = func(http.ResponseWriter, *http.Request, message) bool

// A server that answers the handshake so is reported as the answer to initialize.
func TestHandshakesThatFail(t *testing.T) {
	const j = "application/json"
	for name, initialize := range map[string]handler{
		"an answer that does not end":         endless(j, `{"jsonrpc":"2.0","id":ID,"result":{"x":"`, long),
		"a result that is a list":             body(j, `{"jsonrpc":"2.0","id":ID,"result":[]}`),
		"a result without a version":          body(j, `{"jsonrpc":"2.0","id":ID,"result":{}}`),
		"a version that would end the header": body(j, `{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-11-25\r\nX: y","capabilities":{}}}`),
		"a version that is very long":         body(j, `{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"`+strings.Repeat("2", 10_000)+`","capabilities":{}}}`),
		"two versions":                        body(j, `{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-11-25","protocolVersion":"2025-03-26"}}`),
		"an error":                            body(j, `{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"no"}}`),
		"a question only":                     body(events, `data: {"jsonrpc":"2.0","id":5,"method":"roots/list"}`+"\n\n"),
		"a session id with a space": func(w http.ResponseWriter, r *http.Request, m message) bool {
			w.Header().Set("Mcp-Session-Id", "a b")
			return false
		},
		"a status of 500": status(500, ``),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]handler{"initialize": func(w http.ResponseWriter, r *http.Request, m message) bool {
				if !initialize(w, r, m) {
					answer(w, m, `{"protocolVersion":"2025-11-25","capabilities":{}}`)
				}
				return true
			}})
			h := start(t, s, nil)
			wantError(t, h.initialize(), "")
			h.alive()
			if n := s.count("initialize"); n > 2 {
				t.Errorf("initialize was sent %d times", n)
			}
		})
	}
}

// A server that says nothing does not keep the host from its answer, and what the host
// wants next fails with a reason.
func TestAHandshakeThatIsNeverAnswered(t *testing.T) {
	s := serve(t, map[string]handler{"initialize": func(_ http.ResponseWriter, r *http.Request, _ message) bool {
		<-r.Context().Done()
		return true
	}})
	h := start(t, s, func(o *bridge.Options) { o.InitializeWait = 50 * time.Millisecond })
	if m := h.initialize(); m["result"] == nil {
		t.Errorf("initialize: %s", m["error"])
	}
	wantError(t, h.request(1, "tools/list", `{}`), "")
	h.alive()
}

// The stream of notifications is read for as long as the session lives. A bad one must not
// be asked for without a pause, nor harm calls.
func TestStreamsOfNotifications(t *testing.T) {
	for name, get := range map[string]handler{
		"a stream that ends at once":          body(events, ""),
		"a stream that wants no pause":        body(events, "retry: 0\n\n"),
		"an event that does not end":          endless(events, "data: ", long),
		"what is not JSON":                    body(events, "data: x\n\n"),
		"answers to all calls":                body(events, `data: {"jsonrpc":"2.0","id":1,"result":{"content":[],"x":"forged"}}`+"\n\n"),
		"comments for ever":                   endless(events, "", ":\n\n"),
		"a page":                              body("text/html", "x"),
		"a status of 500":                     status(500, ""),
		"a status of 429":                     status(429, ""),
		"a redirect elsewhere":                redirect(302, "http://127.0.0.2:1/"),
		"a status of 400 that names sessions": status(400, `{"error":{"code":1,"message":"what?"}}`),
		"a session that is over, always":      status(404, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]handler{"GET": get})
			h := start(t, s, nil)
			h.initialize()
			for i := range 3 {
				wantGood(t, h.request(i+1, "tools/call", echo))
				time.Sleep(100 * time.Millisecond)
			}
			h.alive()
			if n, m := s.count("GET"), s.count("initialize"); n > 12 || m > 12 {
				t.Errorf("%d streams and %d sessions were asked for in 0.3 s", n, m)
			}
		})
	}
}

// A stream that breaks off is taken up again, but not without a pause.
func TestAStreamThatIsNeverWhole(t *testing.T) {
	s := serve(t, map[string]handler{
		"tools/call": body(events, "id: 1\nretry: 0\ndata:\n\n"),
		"GET":        body(events, "id: 1\nretry: 0\ndata:\n\n"),
	})
	h := start(t, s, nil)
	h.initialize()
	answered := h.begin(1, "tools/call", echo)
	time.Sleep(500 * time.Millisecond)
	if n := s.count("GET"); n > 30 {
		t.Errorf("the stream was taken up %d times in half a second", n)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	h.alive()
	if len(answered) > 0 {
		t.Errorf("answered: %v", <-answered)
	}
}

// HTTP+SSE: the stream says where to post, and must not lead elsewhere.
func TestEndpointsOfHTTPAndSSE(t *testing.T) {
	for name, first := range map[string]string{
		"another host":                   "event: endpoint\ndata: http://127.0.0.2:1/steal\n\n",
		"another port":                   "event: endpoint\ndata: http://127.0.0.1:1/steal\n\n",
		"another scheme":                 "event: endpoint\ndata: javascript:alert(1)\n\n",
		"another host, without a scheme": "event: endpoint\ndata: //127.0.0.2/steal\n\n",
		"a name and a password":          "event: endpoint\ndata: http://u:p@HOST/x\n\n",
		"what is no URL":                 "event: endpoint\ndata: http://[::1\n\n",
		"something else first":           "event: message\ndata: {}\n\n",
		"no end":                         "event: endpoint\ndata: " + strings.Repeat("a", 100_000) + "\n\n",
		"nothing":                        "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]handler{"GET": func(w http.ResponseWriter, r *http.Request, m message) bool {
				return body(events, strings.ReplaceAll(first, "HOST", r.Host))(w, r, m)
			}})
			h := start(t, s, func(o *bridge.Options) { o.TransportOrder = bridge.SSEOnly })
			wantError(t, h.initialize(), "")
			h.alive()
			for _, key := range []string{"initialize", "tools/call"} {
				if n := s.count(key); n != 0 {
					t.Errorf("%s was posted %d times", key, n)
				}
			}
		})
	}
}

// A stream of HTTP+SSE that ends takes its calls with it, and the next one opens another.
func TestAnSSEStreamThatEnds(t *testing.T) {
	ends := make(chan struct{}, 10)
	s := serve(t, map[string]handler{"GET": func(w http.ResponseWriter, _ *http.Request, _ message) bool {
		out := stream(w)
		io.WriteString(out, "event: endpoint\ndata: /mcp\n\n")
		io.WriteString(out, `data: {"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2024-11-05","capabilities":{}}}`+"\n\n")
		<-ends
		return true
	}, "initialize": status(202, ""), "tools/call": status(202, "")})
	t.Cleanup(func() { close(ends) })
	h := start(t, s, func(o *bridge.Options) { o.TransportOrder = bridge.SSEOnly })
	h.initialize()
	answered := h.begin(1, "tools/call", echo)
	for s.count("tools/call") == 0 {
		time.Sleep(time.Millisecond)
	}
	ends <- struct{}{}
	select {
	case m := <-answered:
		wantError(t, m, "not known") // whether it was carried out
	case <-time.After(patience):
		t.Fatal("the call was never answered")
	}
	h.alive()
}

// modern is a server of 2026-07-28 whose tools/call does as it is told.
func modern(call handler, more map[string]handler) map[string]handler {
	on := map[string]handler{
		"initialize": status(400, `{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`),
		"GET":        status(405, ""),
		"server/discover": body("application/json",
			`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}`),
		"tools/call": call,
	}
	for key, f := range more {
		on[key] = f
	}
	return on
}

func TestQuestionsOf20260728(t *testing.T) {
	const j = "application/json"
	ask := func(requests string) handler {
		return body(j, `{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","inputRequests":`+requests+`,"requestState":"s"}}`)
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"q%d":{"method":"roots/list","params":{}},`, i)
	}
	for name, tc := range map[string]struct {
		call handler
		says string
	}{
		"questions that never end":               {ask(`{"a":{"method":"roots/list","params":{}}}`), "rounds"},
		"a thousand questions":                   {ask(`{` + many.String() + `"x":{"method":"roots/list"}}`), "more than 16"},
		"a question that calls the host":         {ask(`{"a":{"method":"tools/call","params":{"name":"rm"}}}`), "no question"},
		"a question that is a number":            {ask(`{"a":5}`), "cannot be read"},
		"one question twice":                     {ask(`{"a":{"method":"roots/list"},"a":{"method":"roots/list"}}`), "cannot be read"},
		"a state that grows for ever":            {ask(`{"a":{"method":"roots/list","params":{}}}`), "rounds"},
		"a request of its own":                   {body(events, `data: {"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}`+"\n\n"), "without a response"},
		"a header that does not match, for ever": {status(400, `{"jsonrpc":"2.0","id":ID,"error":{"code":-32020,"message":"mismatch"}}`), "mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, modern(tc.call, nil))
			h := start(t, s, nil)
			h.asked = func(string) string { return `{"roots":[]}` }
			h.initialize()
			wantError(t, h.request(1, "tools/call", echo), tc.says)
			h.alive()
			if n := s.count("tools/call"); n > 40 {
				t.Errorf("called %d times", n)
			}
		})
	}
}

func TestDiscoveriesThatFail(t *testing.T) {
	for name, result := range map[string]string{
		"no versions":                 `{}`,
		"versions that are text":      `{"supportedVersions":"2026-07-28"}`,
		"versions that are no text":   `{"supportedVersions":[2026]}`,
		"versions of the future":      `{"supportedVersions":["2099-01-01"]}`,
		"a list":                      `[]`,
		"null":                        `null`,
		"a hundred thousand versions": `{"supportedVersions":["x"` + strings.Repeat(`,"x"`, 150_000) + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, modern(nil, map[string]handler{"server/discover": body("application/json", `{"jsonrpc":"2.0","id":ID,"result":`+result+`}`)}))
			h := start(t, s, nil)
			wantError(t, h.initialize(), "")
			h.alive()
		})
	}
}

// A tool's schema names headers, and a call's arguments are what is in them: neither may
// write a header of its own.
func TestHeadersThatToolsAndArgumentsName(t *testing.T) {
	got := make(chan http.Header, 10)
	s := serve(t, modern(func(w http.ResponseWriter, r *http.Request, m message) bool {
		got <- r.Header
		answer(w, m, `{"content":[],"x":"good"}`)
		return true
	}, map[string]handler{"tools/list": body("application/json", `{"jsonrpc":"2.0","id":ID,"result":{"tools":[
		{"name":"echo","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}},
		{"name":"evil","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A\r\nAuthorization: x"}}}},
		{"name":"host","inputSchema":{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"Host"}}}}]}}`)}))
	h := start(t, s, nil)
	h.initialize()
	list := h.request(1, "tools/list", `{}`)
	if text := string(list["result"]); !strings.Contains(text, "echo") || strings.Contains(text, "evil") || strings.Contains(text, "host") {
		t.Errorf("the host sees %s", text)
	}
	wantGood(t, h.request(2, "tools/call", `{"name":"echo","arguments":{"a":"x\r\nAuthorization: y"}}`))
	header := <-got
	if header.Get("Authorization") != "" || !strings.HasPrefix(header.Get("Mcp-Param-A"), "=?base64?") {
		t.Errorf("headers %v", header)
	}
	wantGood(t, h.request(3, "tools/call", `{"name":"evil\r\nX: 1","arguments":{}}`))
	if header := <-got; header.Get("X") != "" || !strings.HasPrefix(header.Get("Mcp-Name"), "=?base64?") {
		t.Errorf("headers %v", header)
	}
	h.alive()
}

// Lists that do not end are given up.
func TestAListOfToolsThatDoesNotEnd(t *testing.T) {
	s := serve(t, modern(nil, map[string]handler{"tools/list": body("application/json",
		`{"jsonrpc":"2.0","id":ID,"result":{"tools":[{"name":"t","inputSchema":{"type":"object"}}],"nextCursor":"again"}}`)}))
	h := start(t, s, func(o *bridge.Options) { o.ReadOnly = true })
	h.initialize()
	wantError(t, h.request(1, "tools/call", echo), "hidden")
	if n := s.count("tools/list"); n > 300 {
		t.Errorf("%d pages were read", n)
	}
	h.alive()
}

// With a filter, a list that cannot be read is no list: what is hidden must not slip through.
func TestAListThatCannotBeFiltered(t *testing.T) {
	for name, result := range map[string]string{
		"tools that are an object": `{"tools":{"name":"rm"}}`,
		"a tool without a name":    `{"tools":[{"inputSchema":{}}]}`,
		"a tool that is text":      `{"tools":["rm"]}`,
		"a name that is a number":  `{"tools":[{"name":5}]}`,
		"two names":                `{"tools":[{"name":"safe","name":"rm"}]}`,
		"two lists":                `{"tools":[],"tools":[{"name":"rm"}]}`,
		"no tools":                 `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]handler{"tools/list": body("application/json", `{"jsonrpc":"2.0","id":ID,"result":`+result+`}`)})
			h := start(t, s, func(o *bridge.Options) { o.IgnoreTools = []string{"rm"} })
			h.initialize()
			if m := h.request(1, "tools/list", `{}`); strings.Contains(string(m["result"]), "rm") {
				t.Errorf("the host sees %s", m["result"])
			}
			wantError(t, h.request(2, "tools/call", `{"name":"RM","arguments":{}}`), "hidden")
			h.alive()
		})
	}
}

// The host goes away while the server holds everything up.
func TestLeavingAServerThatHolds(t *testing.T) {
	hold := func(_ http.ResponseWriter, r *http.Request, _ message) bool { <-r.Context().Done(); return true }
	s := serve(t, map[string]handler{"DELETE": hold, "tools/call": hold, "GET": hold})
	h := start(t, s, nil)
	h.initialize()
	h.mu.Lock()
	h.answers["1"] = make(chan map[string]json.RawMessage, 10)
	h.mu.Unlock()
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + echo + `}`)
	for s.count("tools/call") == 0 {
		time.Sleep(time.Millisecond)
	}
	// That the bridge ends is checked by the test's own end.
}
