package call

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A server must not have what a person sends it sent on to another.
func TestNothingIsSentToAnotherOrigin(t *testing.T) {
	for name, sse := range map[string]bool{"by a redirect": false, "by the endpoint of HTTP+SSE": true} {
		t.Run(name, func(t *testing.T) {
			var reached atomic.Int64
			other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
			defer other.Close()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if sse && r.Method == http.MethodGet {
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprintf(w, "event: endpoint\ndata: %s/messages\n\n", other.URL)
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					return
				}
				http.Redirect(w, r, other.URL+"/mcp", http.StatusTemporaryRedirect)
			}))
			defer server.CloseClientConnections()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			s, err := Dial(ctx, Options{URL: server.URL, SSE: sse, Header: http.Header{"X-Key": {"s3cret"}}})
			if err == nil {
				s.Close()
				t.Fatal("connected")
			}
			if n := reached.Load(); n != 0 {
				t.Errorf("another origin got %d requests", n)
			}
			if !strings.Contains(err.Error(), "another origin") {
				t.Errorf("the error does not say why: %v", err)
			}
		})
	}
}

func TestJSONOnATerminalHoldsNoControlCharacters(t *testing.T) {
	const hostile = "a\u009b31mb\u202ec\u007fd\u2066e"
	for _, terminal := range []bool{true, false} {
		var out strings.Builder
		p := Printer{Out: io.Writer(&out), JSON: true, Terminal: terminal}
		if err := p.List(map[string]string{"x": hostile}, nil); err != nil {
			t.Fatal(err)
		}
		if held := strings.ContainsAny(out.String(), "\u009b\u202e\u007f\u2066"); held == terminal {
			t.Errorf("terminal %v: %q", terminal, out.String())
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back["x"] != hostile {
			t.Errorf("terminal %v: the JSON means something else: %q %v", terminal, back, err)
		}
	}
}
