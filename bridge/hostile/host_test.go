package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/bridge"
)

// patience is when something that must end has not.
const patience = 20 * time.Second

// most is what the bridges of these tests accept as one message.
const most = 1 << 20

// A server answers as a good one would, where no case says otherwise.
type server struct {
	url string
	// on, by method of JSON-RPC ("GET", "DELETE" for those of HTTP), answers in place of the
	// good server. It returns false to leave that to it.
	on map[string]func(w http.ResponseWriter, r *http.Request, m message) bool

	mu   sync.Mutex
	seen map[string]int // how often each was asked
}

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m message
	body, _ := io.ReadAll(r.Body)
	json.Unmarshal(body, &m)
	key := m.Method
	if r.Method != http.MethodPost {
		key = r.Method
	}
	s.mu.Lock()
	s.seen[key]++
	s.mu.Unlock()
	if f := s.on[key]; f != nil && f(w, r, m) {
		return
	}
	switch key {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", "a-session")
		answer(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`)
	case "tools/list":
		answer(w, m, `{"tools":[]}`)
	case "tools/call":
		answer(w, m, `{"content":[{"type":"text","text":"good"}]}`)
	case "GET":
		w.WriteHeader(http.StatusMethodNotAllowed)
	case "DELETE":
	case "server/discover":
		w.WriteHeader(http.StatusBadRequest)
	default:
		if len(m.ID) > 0 && m.Method != "" {
			answer(w, m, `{}`)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *server) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

func answer(w http.ResponseWriter, m message, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// stream begins an event stream.
func stream(w http.ResponseWriter) io.Writer {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	return flushing{w}
}

type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.w.(http.Flusher).Flush()
	return n, err
}

// raw takes the connection over.
func raw(w http.ResponseWriter, f func(c net.Conn)) bool {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		f(c)
		c.Close()
	}
	return true
}

func serve(t *testing.T, on map[string]func(http.ResponseWriter, *http.Request, message) bool) *server {
	t.Helper()
	s := &server{on: on, seen: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go h.Serve(l)
	t.Cleanup(func() { h.Close() })
	s.url = "http://" + l.Addr().String() + "/mcp"
	return s
}

// A host is the other end of a bridge.
type host struct {
	t     *testing.T
	in    io.WriteCloser
	ended chan error
	log   *bytes.Buffer
	all   sync.Mutex

	mu      sync.Mutex
	answers map[string]chan map[string]json.RawMessage
	// asked answers what the bridge asks the host; nil refuses.
	asked func(method string) string
	lines int
}

// start runs a bridge to a server.
func start(t *testing.T, s *server, change func(*bridge.Options)) *host {
	t.Helper()
	h := &host{t: t, ended: make(chan error, 1), log: new(bytes.Buffer), answers: map[string]chan map[string]json.RawMessage{}}
	o := bridge.Options{
		Servers: []bridge.Server{{URL: s.url}}, MaxMessage: most, IdleTimeout: 500 * time.Millisecond, ReconnectTime: time.Second,
		Transport: bridge.NewTransport(bridge.TransportOptions{HeadersTimeout: 4 * time.Second}),
		Logger:    slog.New(slog.NewTextHandler(lockedWriter{&h.all, h.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	b, err := bridge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	hostReads, bridgeWrites := io.Pipe()
	bridgeReads, hostWrites := io.Pipe()
	h.in = hostWrites
	go func() {
		err := b.Run(context.Background(), bridgeReads, bridgeWrites)
		bridgeWrites.Close()
		h.ended <- err
	}()
	go h.read(hostReads)
	t.Cleanup(func() {
		hostWrites.Close()
		select {
		case err := <-h.ended:
			if err != nil {
				t.Errorf("the bridge ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the bridge does not end")
		}
		if t.Failed() {
			h.all.Lock()
			t.Logf("log:\n%s", h.log)
			h.all.Unlock()
		}
	})
	return h
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (h *host) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		h.mu.Lock()
		h.lines++
		h.mu.Unlock()
		m := map[string]json.RawMessage{}
		if err := json.Unmarshal(line, &m); err != nil {
			h.t.Errorf("the host got what is not JSON: %.200q", line)
			continue
		}
		if method, ok := m["method"]; ok {
			if id, ok := m["id"]; ok {
				h.respond(id, strings.Trim(string(method), `"`))
			}
			continue
		}
		h.mu.Lock()
		ch := h.answers[string(m["id"])]
		h.mu.Unlock()
		if ch == nil {
			h.t.Errorf("an answer that nobody waits for: %.200s", line)
			continue
		}
		ch <- m
	}
}

func (h *host) respond(id json.RawMessage, method string) {
	line := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, id)
	h.mu.Lock()
	asked := h.asked
	h.mu.Unlock()
	if asked != nil {
		line = fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, asked(method))
	}
	go io.WriteString(h.in, line+"\n")
}

func (h *host) send(line string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, line+"\n"); err != nil {
		h.t.Fatal(err)
	}
}

// begin sends a request and returns where its answer arrives.
func (h *host) begin(id int, method, params string) chan map[string]json.RawMessage {
	h.t.Helper()
	ch := make(chan map[string]json.RawMessage, 10)
	h.mu.Lock()
	h.answers[fmt.Sprint(id)] = ch
	h.mu.Unlock()
	h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params))
	return ch
}

func (h *host) request(id int, method, params string) map[string]json.RawMessage {
	h.t.Helper()
	select {
	case m := <-h.begin(id, method, params):
		return m
	case <-time.After(patience):
		h.t.Fatalf("%s was never answered", method)
		return nil
	}
}

const (
	helloOld = `{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{},"sampling":{},"roots":{}},"clientInfo":{"name":"h","version":"1"}}`
	echo     = `{"name":"echo","arguments":{}}`
)

func (h *host) initialize() map[string]json.RawMessage {
	h.t.Helper()
	m := h.request(0, "initialize", helloOld)
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return m
}

// alive shows that the bridge still works.
func (h *host) alive() {
	h.t.Helper()
	if m := h.request(999, "ping", `{}`); m["result"] == nil {
		h.t.Errorf("ping: %s", m["error"])
	}
}

func wantError(t *testing.T, m map[string]json.RawMessage, says string) {
	t.Helper()
	if m["error"] == nil || !strings.Contains(string(m["error"]), says) {
		t.Errorf("got %.300s %.300s, want an error that says %q", m["error"], m["result"], says)
	}
	for name, value := range m {
		if len(value) > most {
			t.Errorf("%s has %d bytes", name, len(value))
		}
	}
}

func wantGood(t *testing.T, m map[string]json.RawMessage) {
	t.Helper()
	if !strings.Contains(string(m["result"]), "good") {
		t.Errorf("got %.300s %.300s, want the good result", m["error"], m["result"])
	}
}
