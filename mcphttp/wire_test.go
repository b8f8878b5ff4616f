package mcphttp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A wire is a client that knows nothing of MCP but how to send bytes.
type wire struct {
	t   testing.TB
	url string
	sid string
	hd  http.Header // sent with every request
}

type answered struct {
	status int
	header http.Header
	body   string
	msg    struct {
		ID     json.RawMessage `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int             `json:"code"`
			Message string          `json:"message"`
			Data    json.RawMessage `json:"data"`
		} `json:"error"`
	}
}

func (a *answered) code() int {
	if a.msg.Error == nil {
		return 0
	}
	return a.msg.Error.Code
}

func (w *wire) do(method, body string, hd ...string) *answered {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
	}
	if method == "GET" {
		req.Header.Set("Accept", "text/event-stream")
	}
	for k, v := range w.hd {
		req.Header[k] = v
	}
	if w.sid != "" {
		req.Header.Set("Mcp-Session-Id", w.sid)
	}
	for i := 0; i+1 < len(hd); i += 2 {
		switch {
		case hd[i] == "Host":
			req.Host = hd[i+1]
		case hd[i+1] == "-":
			req.Header.Del(hd[i])
		case strings.HasPrefix(hd[i], "+"):
			req.Header.Add(hd[i][1:], hd[i+1])
		default:
			req.Header.Set(hd[i], hd[i+1])
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := &answered{status: resp.StatusCode, header: resp.Header, body: string(b)}
	last := b
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		for _, ev := range parseEvents(b) {
			if ev.data != "" {
				last = []byte(ev.data)
			}
		}
	}
	_ = json.Unmarshal(last, &a.msg)
	return a
}

type sseEvent struct{ name, id, data, retry string }

func parseEvents(b []byte) []sseEvent {
	var out []sseEvent
	for block := range strings.SplitSeq(string(b), "\n\n") {
		var ev sseEvent
		for line := range strings.SplitSeq(block, "\n") {
			k, v, _ := strings.Cut(line, ": ")
			switch k {
			case "event":
				ev.name = v
			case "id":
				ev.id = v
			case "data":
				ev.data = v
			case "retry":
				ev.retry = v
			}
		}
		if ev != (sseEvent{}) {
			out = append(out, ev)
		}
	}
	return out
}

// A streamed response is read event by event.
type streamed struct {
	t      testing.TB
	resp   *http.Response
	events chan sseEvent
	cancel context.CancelFunc
}

func (w *wire) stream(method, body string, hd ...string) *streamed {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, method, w.url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range w.hd {
		req.Header[k] = v
	}
	if w.sid != "" {
		req.Header.Set("Mcp-Session-Id", w.sid)
	}
	for i := 0; i+1 < len(hd); i += 2 {
		req.Header.Set(hd[i], hd[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &streamed{t: w.t, resp: resp, events: make(chan sseEvent, 1000), cancel: cancel}
	go func() {
		defer close(s.events)
		r := bufio.NewReader(resp.Body)
		var block bytes.Buffer
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			block.WriteString(line)
			if line == "\n" {
				for _, ev := range parseEvents(block.Bytes()) {
					s.events <- ev
				}
				block.Reset()
			}
		}
	}()
	w.t.Cleanup(s.close)
	return s
}

func (s *streamed) close() {
	s.cancel()
	s.resp.Body.Close()
}

// next waits for an event with data.
func (s *streamed) next() sseEvent {
	s.t.Helper()
	for {
		select {
		case ev, ok := <-s.events:
			if !ok {
				s.t.Fatal("the stream ended")
			}
			if ev.data != "" {
				return ev
			}
		case <-time.After(10 * time.Second):
			s.t.Fatal("nothing came on the stream")
		}
	}
}

// ended waits for the stream's end and returns what came before it.
func (s *streamed) ended() []sseEvent {
	s.t.Helper()
	var evs []sseEvent
	for {
		select {
		case ev, ok := <-s.events:
			if !ok {
				return evs
			}
			evs = append(evs, ev)
		case <-time.After(10 * time.Second):
			s.t.Fatal("the stream did not end")
		}
	}
}

const clientMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"w","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{},"sampling":{},"roots":{}}}`

// modern sends a 2026-07-28 request; params are members without braces.
func (w *wire) modern(id, method, name, params string, hd ...string) *answered {
	w.t.Helper()
	body, all := modernRequest(id, method, name, params, hd)
	return w.do("POST", body, all...)
}

func modernRequest(id, method, name, params string, hd []string) (string, []string) {
	if params != "" {
		params += ","
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s%s}}`, id, method, params, clientMeta)
	all := []string{"MCP-Protocol-Version", version20260728, "Mcp-Method", method}
	if name != "" {
		all = append(all, "Mcp-Name", name)
	}
	return body, append(all, hd...)
}

// initialize opens a session of the given version.
func (w *wire) initialize(version string) *wire {
	w.t.Helper()
	a := w.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{"elicitation":{},"sampling":{},"roots":{"listChanged":true}},"clientInfo":{"name":"w","version":"1"}}}`, version))
	sid := a.header.Get("Mcp-Session-Id")
	if a.status != 200 || sid == "" || a.msg.Result == nil {
		w.t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	s := &wire{t: w.t, url: w.url, sid: sid, hd: w.hd}
	if a := s.do("POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`); a.status != 202 {
		w.t.Fatalf("initialized: %d %s", a.status, a.body)
	}
	return s
}

func (w *wire) call(id, method, params string, hd ...string) *answered {
	w.t.Helper()
	return w.do("POST", request(id, method, params), hd...)
}

func request(id, method, params string) string {
	if params == "" {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q}`, id, method)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s}}`, id, method, params)
}
