package mcphttp

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// rawConn is a connection on which anything can be written.
func rawConn(t testing.TB, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, bufio.NewReader(c)
}

func rawPost(sid, body string, extra ...string) string {
	return "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: " + sid +
		"\r\n" + strings.Join(append(extra, ""), "\r\n") + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	c, r := rawConn(t, url)
	var all string
	for i := range 20 {
		all += rawPost(w.sid, request(fmt.Sprint(i+1), "tools/call", fmt.Sprintf(`"name":"add","arguments":{"a":%d,"b":1}`, i)))
	}
	go func() { _, _ = io.WriteString(c, all) }()
	for i := range 20 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(body), fmt.Sprintf(`"id":%d`, i+1)) || !strings.Contains(string(body), fmt.Sprint(i+1)) {
			t.Fatalf("answer %d: %v, %s", i+1, err, body)
		}
	}
}

func TestRequestsThatTwoServersCouldReadDifferentlyAreRefused(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	body := request("1", "ping", "")
	smuggled := rawPost(w.sid, body)
	for name, message := range map[string]string{
		"two different lengths":  rawPost(w.sid, body, "Content-Length: 3"),
		"a space before a colon": rawPost(w.sid, body, "Mcp-Method : ping"),
		"a folded header":        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b: c\r\nno colon here\r\nContent-Length: 0\r\n\r\n",
		"an unknown encoding":    rawPost(w.sid, body, "Transfer-Encoding: xchunked"),
		"a chunk that lies":      "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + smuggled,
		"no host":                "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, r := rawConn(t, url)
			if _, err := io.WriteString(c, message); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return // hung up on
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode < 400 {
				t.Errorf("status %d", resp.StatusCode)
			}
			if next, err := http.ReadResponse(r, nil); err == nil {
				t.Errorf("what followed was taken for a request of its own: status %d", next.StatusCode)
			}
		})
	}
}

// upgraded is a WebSocket spoken by hand.
func upgraded(t testing.TB, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, r := rawConn(t, url)
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mcp\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	return c, r
}

const (
	frameMore = 0x00
	frameText = 0x01
	frameShut = 0x08
	framePing = 0x09
	frameLast = 0x80
)

// frame is one masked frame (RFC 6455 §5.2); the mask is zero.
func frame(head byte, payload string) []byte {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func TestAWebSocketMessageInManyFragmentsIsOneMessageAndBounded(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{MaxBody: 64 << 10})
	msg := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`

	c, r := upgraded(t, url)
	for i, b := range []byte(msg) {
		head := byte(frameMore)
		if i == 0 {
			head = frameText
		}
		if i == len(msg)-1 {
			head |= frameLast
		}
		if _, err := c.Write(append(frame(head, string(b)), frame(frameLast|framePing, "in between")...)); err != nil {
			t.Fatal(err)
		}
	}
	if got := readText(t, r); !strings.Contains(got, `"protocolVersion":"2025-11-25"`) {
		t.Errorf("answered %q", got)
	}

	c, r = upgraded(t, url)
	go func() {
		head := byte(frameText)
		for {
			if _, err := c.Write(frame(head, strings.Repeat(" ", 1000))); err != nil {
				return
			}
			head = frameMore
		}
	}()
	if _, err := io.Copy(io.Discard, r); isTimeout(err) {
		t.Error("an endless message was read for as long as it was sent")
	}
}

func isTimeout(err error) bool { ne, ok := err.(net.Error); return ok && ne.Timeout() }

// readText reads frames up to the first text.
func readText(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			t.Fatal(err)
		}
		n := uint64(head[1])
		switch n {
		case 126:
			var b [2]byte
			_, _ = io.ReadFull(r, b[:])
			n = uint64(binary.BigEndian.Uint16(b[:]))
		case 127:
			var b [8]byte
			_, _ = io.ReadFull(r, b[:])
			n = binary.BigEndian.Uint64(b[:])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatal(err)
		}
		switch head[0] &^ frameLast {
		case frameText:
			return string(payload)
		case frameShut:
			t.Fatalf("closed: %q", payload)
		}
	}
}

func TestAFloodOfPingsHoldsUpOnlyItsSender(t *testing.T) {
	h, url := serve(t, newServer(nil), &Options{WriteTimeout: 200 * time.Millisecond})
	c, _ := upgraded(t, url)
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		many := []byte(strings.Repeat(string(frame(frameLast|framePing, strings.Repeat("p", 125))), 100))
		for {
			if _, err := c.Write(many); err != nil { // it reads no pong, ever
				return
			}
		}
	}()
	w := (&wire{t: t, url: url}).initialize(version20251125)
	for i := range 50 {
		if a := w.call(fmt.Sprint(i+1), "tools/call", `"name":"add","arguments":{"a":1,"b":2}`); a.status != 200 {
			t.Fatalf("status %d", a.status)
		}
	}
	select {
	case <-flooded:
	case <-time.After(15 * time.Second):
		t.Error("a client that pings and does not read keeps its connection")
	}
	for deadline := time.Now().Add(10 * time.Second); h.streams.Load() != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d streams are still counted", h.streams.Load())
		}
	}
}

func TestAStormOfListChangesIsAFewMessagesToEachSession(t *testing.T) {
	s := newServer(nil)
	_, url := serve(t, s, nil)
	const sessions = 20
	counts := make(chan int, sessions)
	over := make(chan struct{})
	for range sessions {
		w := (&wire{t: t, url: url}).initialize(version20251125)
		st := w.stream("GET", "")
		go func() {
			n := 0
			for {
				select {
				case ev, ok := <-st.events:
					if !ok {
						counts <- n
						return
					}
					if strings.Contains(ev.data, "tools/list_changed") {
						n++
					}
				case <-over:
					counts <- n
					return
				}
			}
		}()
	}
	idle := func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{}, nil
	}
	for i := range 2000 {
		name := fmt.Sprintf("t%d", i%10)
		s.AddTool(&mcp.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, idle)
		s.RemoveTools(name)
	}
	w := (&wire{t: t, url: url}).initialize(version20251125)
	if a := w.call("1", "tools/list", ""); a.status != 200 || a.msg.Error != nil {
		t.Errorf("during the storm: %d %s", a.status, a.body)
	}
	time.Sleep(300 * time.Millisecond)
	close(over)
	for range sessions {
		if n := <-counts; n == 0 || n > 500 {
			t.Errorf("a session heard %d times of 4,000 changes: want a few times", n)
		}
	}
}
