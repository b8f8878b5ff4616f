package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A server answers at once, so that what is measured is the bridge. It keeps sessions as
// the revisions up to 2025-11-25 have them, and answers with plain JSON.
type server struct {
	http *http.Server
	url  string

	mu   sync.Mutex
	open map[string]bool
	last int
}

func startServer() (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://" + l.Addr().String() + "/mcp", open: map[string]bool{}}
	s.http = &http.Server{Handler: s}
	go s.http.Serve(l)
	return s, nil
}

func (s *server) Close() error { return s.http.Close() }

// sessions counts those that nobody has ended.
func (s *server) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

var large = strings.Repeat("x", 256<<10)

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/mcp":
		http.NotFound(w, r)
	case r.Method == http.MethodGet:
		s.stream(w, r)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.open, r.Header.Get("Mcp-Session-Id"))
		s.mu.Unlock()
	default:
		s.answer(w, r)
	}
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Mcp-Session-Id") == "" {
		http.Error(w, "no session", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	result := `{}`
	switch {
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
		return
	case m.Method == "initialize":
		s.mu.Lock()
		s.last++
		id := fmt.Sprintf("session-%d", s.last)
		s.open[id] = true
		s.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}`
	case m.Method == "tools/list":
		result = `{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}},{"name":"large","inputSchema":{"type":"object"}}]}`
	case m.Params.Name == "large":
		result = `{"content":[{"type":"text","text":"` + large + `"}]}`
	case m.Method == "tools/call":
		result = `{"content":[{"type":"text","text":"hello"}]}`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// direct makes one call without a bridge.
func (s *server) direct() (time.Duration, error) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`)
	began := time.Now()
	resp, err := http.Post(s.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return time.Since(began), err
}
