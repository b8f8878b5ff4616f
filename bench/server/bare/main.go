// Bare is the measure for everybody else: what someone would write by hand in ten
// minutes. net/http and encoding/json v1, no session, no check of headers, no schema.
// It decodes the whole request into structs (in 2026-07-28 with its _meta), adds, and
// encodes the result.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
)

func main() {
	events := flag.Bool("events", false, "answer as an event stream")
	serve.Main(func() http.Handler { return handler(*events) })
}

type request struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type params struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Meta      *meta           `json:"_meta"`
}

type meta struct {
	Version    string `json:"io.modelcontextprotocol/protocolVersion"`
	ClientInfo struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"io.modelcontextprotocol/clientInfo"`
	Capabilities map[string]any `json:"io.modelcontextprotocol/clientCapabilities"`
}

type response struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  result          `json:"result"`
}

type result struct {
	// Type is the one field that 2026-07-28 demands of a result.
	Type    string    `json:"resultType,omitempty"`
	Content []content `json:"content"`
}

type content struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// handler answers as JSON, or as one flushed event.
func handler(events bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			stream(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := call(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !events {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		event := make([]byte, 0, len(answer)+32)
		event = append(event, "event: message\ndata: "...)
		event = append(event, answer...)
		event = append(event, "\n\n"...)
		_, _ = w.Write(event)
		_ = http.NewResponseController(w).Flush()
	})
}

func call(body []byte) ([]byte, error) {
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	var p params
	if err := json.Unmarshal(req.Params, &p); err != nil {
		return nil, err
	}
	var in add.Input
	if err := json.Unmarshal(p.Arguments, &in); err != nil {
		return nil, err
	}
	resp := response{JSONRPC: "2.0", ID: req.ID, Result: result{
		Content: []content{{Type: "text", Text: in.Sum()}},
	}}
	if p.Meta != nil {
		resp.Result.Type = "complete"
	}
	return json.Marshal(&resp)
}

// stream is the floor for an open GET stream: the headers of an event stream
// and a goroutine of net/http that waits.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}
