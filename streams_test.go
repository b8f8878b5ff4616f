package causeway_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/coder/websocket"
)

// A stream must not outlive the sign-in that opened it: whoever stole a token would go on
// listening when the theft has been noticed.
func TestStreamsEndWhenTheSignInIsTakenBack(t *testing.T) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	open := func(t *testing.T, base, token, method, path, body string, header ...string) io.ReadCloser {
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			b, _ := io.ReadAll(resp.Body)
			t.Fatalf("no stream: %d %s", resp.StatusCode, b)
		}
		return resp.Body
	}
	for name, ends := range map[string]func(t *testing.T, base, token string) (wait func() error){
		"GET of a session": func(t *testing.T, base, token string) func() error {
			resp, _ := rpc(t, base+"/mcp", token, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
			body := open(t, base, token, "GET", "/mcp", "", "Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"), "MCP-Protocol-Version", "2025-11-25")
			return func() error { _, err := io.Copy(io.Discard, body); return err }
		},
		"subscriptions/listen": func(t *testing.T, base, token string) func() error {
			body := open(t, base, token, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},`+meta+`}}`,
				"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
			return func() error { _, err := io.Copy(io.Discard, body); return err }
		},
		"HTTP+SSE": func(t *testing.T, base, token string) func() error {
			body := open(t, base, token, "GET", "/mcp", "")
			return func() error { _, err := io.Copy(io.Discard, body); return err }
		},
		"a WebSocket": func(t *testing.T, base, token string) func() error {
			c, _, err := websocket.Dial(t.Context(), base+"/mcp", &websocket.DialOptions{Subprotocols: []string{"mcp"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.CloseNow() })
			return func() error {
				for {
					if _, _, err := c.Read(t.Context()); err != nil {
						return err
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			token, id := bearerOf(t, h.base, "ada"), ""
			wait := ends(t, h.base, token)
			_, d := h.account(person.New("name", "ada"))
			for _, g := range d.Grants {
				id = g.ClientID
			}
			// The client itself signs out, as after a theft that it noticed: nobody tells the wire.
			resp, err := http.PostForm(h.base+"/revoke", url.Values{"token": {token}, "client_id": {id}})
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%v %v", resp, err)
			}
			resp.Body.Close()
			if err := wait(); t.Context().Err() != nil {
				t.Errorf("the stream did not end: %v", err)
			}
		})
	}
}
