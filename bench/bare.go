package main

import (
	"encoding/json"
	"io"
	"net/http"
)

// The bare handlers are what someone would write by hand in ten minutes: net/http
// and encoding/json v1, no session, no check of headers, no schema. They decode the
// whole request into structs (in 2026-07-28 with its _meta), add, and encode the
// result. They are the measure for everybody else.

type bareRequest struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type bareParams struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Meta      *bareMeta       `json:"_meta"`
}

type bareMeta struct {
	Version    string `json:"io.modelcontextprotocol/protocolVersion"`
	ClientInfo struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"io.modelcontextprotocol/clientInfo"`
	Capabilities map[string]any `json:"io.modelcontextprotocol/clientCapabilities"`
}

type bareResponse struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  bareResult      `json:"result"`
}

type bareResult struct {
	// Type is the one field that 2026-07-28 demands of a result.
	Type    string        `json:"resultType,omitempty"`
	Content []bareContent `json:"content"`
}

type bareContent struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// bareHandler answers as JSON, or as one flushed event.
func bareHandler(events bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			bareStream(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := bareCall(body)
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

func bareCall(body []byte) ([]byte, error) {
	var req bareRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	var params bareParams
	if err := json.Unmarshal(req.Params, &params); err != nil {
		return nil, err
	}
	var in addInput
	if err := json.Unmarshal(params.Arguments, &in); err != nil {
		return nil, err
	}
	resp := bareResponse{JSONRPC: "2.0", ID: req.ID, Result: bareResult{
		Content: []bareContent{{Type: "text", Text: sum(in.A, in.B)}},
	}}
	if params.Meta != nil {
		resp.Result.Type = "complete"
	}
	return json.Marshal(&resp)
}

// bareStream is the floor for an open GET stream: the headers of an event stream
// and a goroutine of net/http that waits.
func bareStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}
