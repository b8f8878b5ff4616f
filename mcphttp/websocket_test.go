package mcphttp

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A message may be as long as Options.MaxBody says and no byte longer, and compression,
// which could make it longer than it looks, is not agreed to.
func TestAWebSocketMessageIsBoundedToTheByte(t *testing.T) {
	const limit = 64 << 10
	_, url := serve(t, newServer(nil), &Options{MaxBody: limit})
	message := func(n int) []byte {
		m := request("1", "ping", "")
		return []byte(m + strings.Repeat(" ", n-len(m)))
	}
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		c, resp, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}, CompressionMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		if ext := resp.Header.Get("Sec-WebSocket-Extensions"); ext != "" {
			t.Errorf("agreed to %q", ext)
		}
		s := &socket{t: t, c: c}
		s.write(string(message(limit)))
		if got := s.read(); !strings.Contains(got, `"id":1`) {
			t.Errorf("a message of the limit: %s", got)
		}
		s.write(string(message(limit + 1)))
		if _, _, err := c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("a byte more: %v", err)
		}
		c.CloseNow()
	}
}
