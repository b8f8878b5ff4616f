package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/add"
)

// The load generator shares two cores with the server, so it speaks HTTP/1.1 by
// hand: requests are templates whose digits are overwritten, and of an answer it
// reads what it needs to be sure of it.

// An httpConn is one keep-alive connection. It is not safe for concurrent use.
type httpConn struct {
	c    net.Conn
	r    *bufio.Reader
	body []byte
}

func dial(addr string) (*httpConn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &httpConn{c: c, r: bufio.NewReaderSize(c, 4096)}, nil
}

func (h *httpConn) close() { _ = h.c.Close() }

// An httpAnswer is a response. Its body is valid until the next one is read.
type httpAnswer struct {
	status  int
	events  bool // it is an event stream
	session string
	body    []byte
}

// A stuck server must not hang the bench for ever.
const exchangeTimeout = 20 * time.Second

func (h *httpConn) exchange(request []byte) (httpAnswer, error) {
	if err := h.c.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return httpAnswer{}, err
	}
	return h.hurriedExchange(request)
}

// hurriedExchange is exchange without setting the deadline, which is a good part of
// what a client costs.
func (h *httpConn) hurriedExchange(request []byte) (httpAnswer, error) {
	if _, err := h.c.Write(request); err != nil {
		return httpAnswer{}, err
	}
	a, length, err := h.head()
	if err != nil {
		return a, fmt.Errorf("reading the head of an answer: %w", err)
	}
	h.body = h.body[:0]
	if length == chunked {
		err = h.chunks()
	} else {
		err = h.take(length)
	}
	a.body = h.body
	if err != nil {
		return a, fmt.Errorf("reading the body of an answer: %w", err)
	}
	return a, nil
}

const chunked = -1

var (
	contentLength    = []byte("content-length")
	contentType      = []byte("content-type")
	transferEncoding = []byte("transfer-encoding")
	sessionHeader    = []byte("mcp-session-id")
	eventStream      = []byte("text/event-stream")
)

// head reads status and headers. length is chunked when that is the encoding.
func (h *httpConn) head() (a httpAnswer, length int, err error) {
	line, err := h.line()
	if err != nil {
		return a, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, 0, fmt.Errorf("not an HTTP/1.1 status: %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, 0, fmt.Errorf("not an HTTP/1.1 status: %q", line)
	}
	for {
		line, err := h.line()
		if err != nil {
			return a, 0, err
		}
		if len(line) == 0 {
			return a, length, nil
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return a, 0, fmt.Errorf("not a header: %q", line)
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, contentLength):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return a, 0, fmt.Errorf("bad Content-Length %q", value)
			}
		case bytes.EqualFold(name, transferEncoding):
			length = chunked
		case bytes.EqualFold(name, contentType):
			a.events = bytes.HasPrefix(value, eventStream)
		case bytes.EqualFold(name, sessionHeader):
			a.session = string(value)
		}
	}
}

// line is the next line without its end. It is valid until the next read.
func (h *httpConn) line() ([]byte, error) {
	line, err := h.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func (h *httpConn) take(n int) error {
	at := len(h.body)
	h.body = append(h.body, make([]byte, n)...)
	_, err := io.ReadFull(h.r, h.body[at:])
	return err
}

func (h *httpConn) chunks() error {
	for {
		line, err := h.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return fmt.Errorf("bad chunk size %q", line)
		}
		if err := h.take(int(n)); err != nil {
			return err
		}
		if line, err = h.line(); err != nil {
			return err
		}
		if len(line) != 0 {
			return fmt.Errorf("a chunk is longer than it said: %q", line)
		}
		if n == 0 {
			return nil
		}
	}
}

// Requests.

const (
	clientInfo = `{"name":"bench","version":"1.0.0"}`
	initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":` + clientInfo + `}}`
	confirm    = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

func post(addr, body string, headers ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n", addr)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

func get(addr string, headers ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n", addr)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// sessionHeaders are those of every request after initialize.
func sessionHeaders(id, token string) []string {
	h := append([]string{"Mcp-Protocol-Version: 2025-11-25"}, bearer(token)...)
	if id != "" {
		h = append(h, "Mcp-Session-Id: "+id)
	}
	return h
}

// bearer is the header that carries a token, if there is one.
func bearer(token string) []string {
	if token == "" {
		return nil
	}
	return []string{"Authorization: Bearer " + token}
}

// noSession is what the bare handler, which knows no sessions, is sent for an id, so
// that its requests are as long as the others'.
const noSession = "0-ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// openSession does the handshake and returns the session's id.
func openSession(c *httpConn, addr, token string) (string, error) {
	a, err := c.exchange(post(addr, initialize, bearer(token)...))
	if err != nil {
		return "", fmt.Errorf("initialize: %w", err)
	}
	if a.status != 200 || !bytes.Contains(a.body, []byte(`"protocolVersion":"2025-11-25"`)) || a.session == "" {
		return "", fmt.Errorf("initialize: status %d, session %q: %.300s", a.status, a.session, a.body)
	}
	id := a.session
	a, err = c.exchange(post(addr, confirm, sessionHeaders(id, token)...))
	if err != nil {
		return "", fmt.Errorf("initialized: %w", err)
	}
	if a.status != 202 {
		return "", fmt.Errorf("initialized: status %d: %.300s", a.status, a.body)
	}
	return id, nil
}

// A callTemplate is a tools/call of add whose id, and with it the argument a and the
// sum, can be set in place. Ids have seven digits: the template never changes length.
type callTemplate struct {
	request []byte
	id, a   int // where the digits are
	b       int
	next    int
	wantID  []byte // `"id":1000001`
	want    []byte // `"text":"1000033"`
	events  bool
}

const firstID, lastID = 1_000_000, 9_000_000

// newCall makes the template of one client. b tells its sums from those of others.
func newCall(addr, token string, e era, session string, b int, events bool) *callTemplate {
	meta, headers := "", sessionHeaders(session, token)
	if e == stateless {
		meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":` + clientInfo +
			`,"io.modelcontextprotocol/clientCapabilities":{}}`
		headers = append([]string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: " + add.Name}, bearer(token)...)
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"a":%d,"b":%d}%s}}`,
		firstID, add.Name, firstID, b, meta)
	t := &callTemplate{request: post(addr, body, headers...), b: b, next: firstID, events: events}
	digits := []byte(strconv.Itoa(firstID))
	t.id = bytes.Index(t.request, append([]byte(`"id":`), digits...)) + len(`"id":`)
	t.a = bytes.Index(t.request, append([]byte(`"a":`), digits...)) + len(`"a":`)
	return t
}

// advance makes the template the next request.
func (t *callTemplate) advance() {
	if t.next++; t.next > lastID {
		t.next = firstID
	}
	var digits [8]byte
	d := strconv.AppendInt(digits[:0], int64(t.next), 10)
	copy(t.request[t.id:], d)
	copy(t.request[t.a:], d)
	t.wantID = append(append(t.wantID[:0], `"id":`...), d...)
	t.want = strconv.AppendInt(append(t.want[:0], `"text":"`...), int64(t.next+t.b), 10)
	t.want = append(t.want, '"')
}

var isError = []byte(`"isError":true`)

// check says what is wrong with the answer to the current request.
func (t *callTemplate) check(a httpAnswer) error {
	switch {
	case a.status != 200:
		return fmt.Errorf("status %d: %.300s", a.status, a.body)
	case a.events != t.events:
		return fmt.Errorf("an event stream: %t, wanted: %t", a.events, t.events)
	case !hasNumber(a.body, t.wantID):
		return fmt.Errorf("no %s in %.300s", t.wantID, a.body)
	case !bytes.Contains(a.body, t.want):
		return fmt.Errorf("no %s in %.300s", t.want, a.body)
	case bytes.Contains(a.body, isError):
		return fmt.Errorf("a tool error: %.300s", a.body)
	}
	return nil
}

// hasNumber tells whether body has want with no further digit after it.
func hasNumber(body, want []byte) bool {
	i := bytes.Index(body, want)
	if i < 0 {
		return false
	}
	i += len(want)
	return i == len(body) || body[i] < '0' || body[i] > '9'
}
