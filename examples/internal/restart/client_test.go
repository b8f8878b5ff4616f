package restart

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is the server, which can be killed and started at the same address.
type process struct {
	t         *testing.T
	dir, addr string
	env       []string
	cmd       *exec.Cmd
}

func start(t *testing.T) *process {
	p := &process{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	p.start()
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], "-addr", p.addr, "-data", p.dir)
	p.cmd.Env = append(append(os.Environ(), runServer+"=1"), p.env...)
	p.cmd.Stderr = p.t.Output()
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.t.Fatalf("the server said no address: %v", err)
	}
	_, url, _ := strings.Cut(strings.TrimSpace(line), " at http://")
	p.addr, _, _ = strings.Cut(url, "/")
	go io.Copy(io.Discard, out)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// stop ends the process as a deploy does.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
}

// A session is a client of the session era.
type session struct {
	p    *process
	id   string
	last string // the id of the last event of its GET stream
	get  *stream
	next int
}

type message struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
	Result struct {
		Content []struct{ Text string }
		IsError bool
	}
}

func (m message) text() string {
	if len(m.Result.Content) == 0 {
		return ""
	}
	return m.Result.Content[0].Text
}

type event struct {
	id  string
	msg *message // nil for one without data
}

// A stream is a response that is read event by event.
type stream struct {
	p      *process
	resp   *http.Response
	events chan event // closed when the connection ends
}

func (p *process) do(method, body string, hd map[string]string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // only a hang gets there
	p.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+"/mcp", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	for k, v := range hd {
		r.Header.Set(k, v)
	}
	return http.DefaultClient.Do(r)
}

func (s *session) do(method, body, lastEvent string) *http.Response {
	s.p.t.Helper()
	hd := map[string]string{"MCP-Protocol-Version": "2025-11-25"}
	if s.id != "" {
		hd["Mcp-Session-Id"] = s.id
	}
	if lastEvent != "" {
		hd["Last-Event-ID"] = lastEvent
	}
	resp, err := s.p.do(method, body, hd)
	if err != nil {
		s.p.t.Fatalf("%s %s: %v", method, body, err)
	}
	return resp
}

func (p *process) stream(resp *http.Response) *stream {
	p.t.Helper()
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		b, _ := io.ReadAll(resp.Body)
		p.t.Fatalf("want a stream, got %s %s %s", resp.Status, resp.Header.Get("Content-Type"), b)
	}
	s := &stream{p: p, resp: resp, events: make(chan event, 100)}
	go func() {
		defer close(s.events)
		defer resp.Body.Close()
		var ev event
		some := false
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			switch k, v, _ := strings.Cut(lines.Text(), ":"); {
			case lines.Text() == "":
				if some {
					s.events <- ev
				}
				ev, some = event{}, false
			case k == "id":
				ev.id, some = strings.TrimPrefix(v, " "), true
			case k == "data" && strings.TrimSpace(v) != "":
				ev.msg, some = new(message), true
				if err := json.Unmarshal([]byte(v), ev.msg); err != nil {
					p.t.Errorf("event %q: %v", v, err)
				}
			}
		}
	}()
	return s
}

func (s *stream) next() event {
	s.p.t.Helper()
	select {
	case ev, ok := <-s.events:
		if !ok {
			s.p.t.Fatal("the stream ended")
		}
		return ev
	case <-time.After(time.Minute):
		s.p.t.Fatal("nothing came on the stream")
	}
	panic("unreachable")
}

// ended waits for the end of the stream and returns the id of its last event.
func (s *stream) ended(last string) string {
	for ev := range s.events {
		if ev.id != "" {
			last = ev.id
		}
	}
	return last
}

func open(p *process) *session {
	p.t.Helper()
	s := &session{p: p}
	resp := s.do("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`, "")
	s.id = resp.Header.Get("Mcp-Session-Id")
	resp.Body.Close()
	if s.id == "" {
		p.t.Fatalf("initialize: %s", resp.Status)
	}
	s.do("POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "").Body.Close()
	s.listen()
	return s
}

// listen opens the GET stream, or goes on with it.
func (s *session) listen() {
	s.p.t.Helper()
	s.get = s.p.stream(s.do("GET", "", s.last))
}

// hear waits for the next message of the GET stream.
func (s *session) hear() *message {
	s.p.t.Helper()
	for {
		ev := s.get.next()
		if ev.id != "" {
			s.last = ev.id
		}
		if ev.msg != nil {
			return ev.msg
		}
	}
}

func (s *session) request(method, params string) *http.Response {
	s.p.t.Helper()
	s.next++
	return s.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s}}`, s.next, method, params), "")
}

// call waits for the answer, whether it is JSON or the end of a stream.
func (s *session) call(method, params string) *message {
	s.p.t.Helper()
	resp := s.request(method, params)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.p.t.Fatalf("%s: %s %v %s", method, resp.Status, err, body)
	}
	if i := bytes.LastIndex(body, []byte("data: ")); strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") && i >= 0 {
		body = body[i+len("data: "):]
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		s.p.t.Fatalf("%s: %v in %s", method, err, body)
	}
	return &m
}

func (s *session) tool(name, arguments string) string {
	s.p.t.Helper()
	m := s.call("tools/call", fmt.Sprintf(`"name":%q,"arguments":%s`, name, arguments))
	if m.Error != nil || m.Result.IsError {
		s.p.t.Fatalf("%s: %+v", name, m)
	}
	return m.text()
}
