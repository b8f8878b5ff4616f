package mcphttp

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A h2 is a client of HTTP/2 (without TLS) that sends what it likes: RFC 9113 by hand.
type h2 struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	next uint32
}

const (
	h2Data, h2Headers, h2Reset, h2Settings, h2Ping = 0, 1, 3, 4, 6
	h2EndStream, h2EndHeaders, h2Ack               = 1, 4, 1
)

// dialH2 connects; window is how much the server may send on a stream before it is asked
// for more, which it never is.
func dialH2(t testing.TB, url string, window uint32) *h2 {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &h2{t: t, conn: conn, r: bufio.NewReader(conn), next: 1}
	c.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2Frame(h2Settings, 0, 0, "\x00\x04"+string(binary.BigEndian.AppendUint32(nil, window))))
	return c
}

func h2Frame(kind, flags byte, stream uint32, body string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body))<<8|uint32(kind))
	head = append(head, flags)
	return string(binary.BigEndian.AppendUint32(head, stream)) + body
}

func (c *h2) write(b string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, b); err != nil {
		c.t.Fatal(err)
	}
}

// open returns the frames of a request, and its stream.
func (c *h2) open(method, body string, hd ...string) (string, uint32) {
	var block []byte
	for i, hd := 0, append([]string{":method", method, ":scheme", "http", ":path", "/", ":authority", "localhost", "accept", "application/json, text/event-stream", "content-type", "application/json"}, hd...); i < len(hd); i += 2 {
		block = append(block, 0) // a literal that is not indexed (RFC 7541 §6.2.2)
		for _, s := range []string{strings.ToLower(hd[i]), hd[i+1]} {
			if n := len(s); n < 127 {
				block = append(block, byte(n))
			} else {
				block = append(block, 127)
				for n -= 127; n >= 128; n >>= 7 {
					block = append(block, byte(n)|128)
				}
				c.t.Helper()
				c.t.Fatal("no test needs such a long header")
			}
			block = append(block, s...)
		}
	}
	id := c.next
	c.next += 2
	if body == "" {
		return h2Frame(h2Headers, h2EndHeaders|h2EndStream, id, string(block)), id
	}
	return h2Frame(h2Headers, h2EndHeaders, id, string(block)) + h2Frame(h2Data, h2EndStream, id, body), id
}

func (c *h2) frame() (kind, flags byte, stream uint32, body []byte) {
	c.t.Helper()
	var head [9]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		c.t.Fatal("reading a frame: ", err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:4])>>8)
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.t.Fatal("reading a frame: ", err)
	}
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), body
}

// settle waits until the server has read everything sent so far.
func (c *h2) settle() {
	c.t.Helper()
	c.write(h2Frame(h2Ping, 0, 0, "12345678"))
	for {
		if kind, flags, _, _ := c.frame(); kind == h2Ping && flags&h2Ack != 0 {
			return
		}
	}
}

// serveH2 serves s over HTTP/1.1 and HTTP/2 in the clear; busy is how many requests are in.
func serveH2(t testing.TB, s *mcp.Server, opts *Options) (h *Handler, url string, busy *atomic.Int64) {
	t.Helper()
	h, busy = NewHandler(func(*http.Request) *mcp.Server { return s }, opts), new(atomic.Int64)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		busy.Add(1)
		defer busy.Add(-1)
		h.ServeHTTP(w, r)
	}))
	ts.Config.Protocols = new(http.Protocols)
	ts.Config.Protocols.SetHTTP1(true)
	ts.Config.Protocols.SetUnencryptedHTTP2(true)
	ts.Start()
	t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
	return h, ts.URL, busy
}

// waiting is a server with a tool that waits for the end of its call.
func waiting(opts *mcp.ServerOptions) (s *mcp.Server, at *atomic.Int64) {
	s, at = newServer(opts), new(atomic.Int64)
	s.AddTool(&mcp.Tool{Name: "wait", InputSchema: map[string]any{"type": "object"}}, func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		at.Add(1)
		defer at.Add(-1)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	return s, at
}

// nothingLeft is that no request, stream or call is at work, and no goroutine more than at first.
func nothingLeft(t testing.TB, h *Handler, busy *atomic.Int64, goroutines int) {
	t.Helper()
	waitFor(t, "the requests to end", func() bool { return busy.Load() == 0 })
	waitFor(t, "the streams to end", func() bool { return h.streams.Load() == 0 })
	waitFor(t, "the calls to end", func() bool { return h.watch.size() == 0 })
	waitFor(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+3 })
}

// Rapid reset (CVE-2023-44487), of calls that are at work and of streams that are open.
func TestResetStreamsLeaveNothing(t *testing.T) {
	s, at := waiting(nil)
	h, url, busy := serveH2(t, s, nil)
	other := (&wire{t: t, url: url}).initialize(version20251125)
	var sids []string // a session has one GET stream at a time
	for range 100 {
		sids = append(sids, (&wire{t: t, url: url}).initialize(version20251125).sid)
	}
	c := dialH2(t, url, 1<<16)
	c.settle()
	before := runtime.NumGoroutine()
	for name, open := range map[string]func() (string, uint32){
		"calls": func() (string, uint32) {
			body, hd := modernRequest("1", "tools/call", "wait", `"name":"wait"`, nil)
			return c.open("POST", body, hd...)
		},
		"GET streams": func() (string, uint32) { return c.open("GET", "", "mcp-session-id", sids[c.next/2%100]) },
		"old pairs":   func() (string, uint32) { return c.open("GET", "") },
		"subscription": func() (string, uint32) {
			body, hd := modernRequest("1", "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
			return c.open("POST", body, hd...)
		},
		"bodies that never end": func() (string, uint32) {
			f, id := c.open("POST", "{", "mcp-session-id", sids[0])
			return f[:len(f)-10] + h2Frame(h2Data, 0, id, "{"), id
		},
	} {
		for round := range 10 {
			var all, resets strings.Builder
			for range 100 {
				frames, id := open()
				all.WriteString(frames)
				reset := h2Frame(h2Reset, 0, id, "\x00\x00\x00\x08")
				if round%2 == 0 {
					all.WriteString(reset) // at once
				} else {
					resets.WriteString(reset) // when all are at work
				}
			}
			c.write(all.String())
			if resets.Len() > 0 {
				waitFor(t, name+" to be at work", func() bool { return busy.Load() == 100 })
				c.write(resets.String())
			}
			c.settle()
			if a := other.call("1", "ping", ""); string(a.msg.Result) != "{}" {
				t.Fatalf("%s: another client: %d %s", name, a.status, a.body)
			}
			waitFor(t, name+" to end", func() bool { return busy.Load() == 0 })
		}
	}
	http.DefaultClient.CloseIdleConnections()
	nothingLeft(t, h, busy, before)
	if n := at.Load(); n != 0 {
		t.Errorf("%d tools are still at work", n)
	}
	host, _ := hostOf(s)
	if n := len(host.sessions.all()); n != 101 {
		t.Errorf("%d sessions", n)
	}
	for _, sid := range sids {
		if n := keptEvents(t, h, sid); n != 0 {
			t.Errorf("%d events", n)
		}
	}
}

// Streams of one connection that the client grants no byte: whatever they are, they end, and
// nobody else waits.
func TestStreamsWithAWindowOfNothingEnd(t *testing.T) {
	s, _ := waiting(&mcp.ServerOptions{Instructions: strings.Repeat("read this. ", 10000)})
	s.AddTool(&mcp.Tool{Name: "big", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: strings.Repeat("x", 1<<20)}}}, nil
	})
	h, url, busy := serveH2(t, s, &Options{WriteTimeout: 200 * time.Millisecond, KeepAlive: 50 * time.Millisecond, StreamAfter: 50 * time.Millisecond})
	other := (&wire{t: t, url: url}).initialize(version20251125)
	for name, open := range map[string]func(c *h2, i int) string{
		"answers": func(c *h2, i int) string {
			body, hd := modernRequest("1", "tools/call", "big", `"name":"big"`, nil)
			f, _ := c.open("POST", body, hd...)
			return f
		},
		"answers of a session": func(c *h2, i int) string {
			f, _ := c.open("POST", request(fmt.Sprint(i), "tools/call", `"name":"big"`), "mcp-session-id", other.sid)
			return f
		},
		"calls at work": func(c *h2, i int) string {
			body, hd := modernRequest("1", "tools/call", "wait", `"name":"wait"`, nil)
			f, _ := c.open("POST", body, hd...)
			return f
		},
		"GET streams": func(c *h2, i int) string { f, _ := c.open("GET", "", "mcp-session-id", other.sid); return f },
		"old pairs":   func(c *h2, i int) string { f, _ := c.open("GET", ""); return f },
		"subscriptions": func(c *h2, i int) string {
			body, hd := modernRequest("1", "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
			f, _ := c.open("POST", body, hd...)
			return f
		},
		"sessions": func(c *h2, i int) string {
			f, _ := c.open("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`)
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialH2(t, url, 0)
			var all strings.Builder
			for i := range 50 {
				all.WriteString(open(c, i+1))
			}
			c.write(all.String())
			c.settle()
			if a := other.call(`"other"`, "ping", ""); string(a.msg.Result) != "{}" {
				t.Fatalf("another client: %d %s", a.status, a.body)
			}
			waitFor(t, "the requests to end", func() bool { return busy.Load() == 0 })
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Error("shutting down: ", err)
	}
}
