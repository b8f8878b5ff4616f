package bridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/paramheader"
)

// FuzzEvents reads any bytes as an event stream: the events do not depend on how the bytes
// come in, none is longer than allowed, and reading ends.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{"data: x\n\n", "\xef\xbb\xbfid: 1\r\ndata: a\rdata: b\n\r\n\r", "event: e\nretry: 5\n\n", "data\n\n", ": c\n\ndata:\n\n", "id: \x00\n\n", strings.Repeat("data: y\n", 9) + "\n"} {
		f.Add([]byte(seed))
	}
	const limit = 100
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(r io.Reader) (list []event, err error) {
			e := newEventReader(r, limit)
			for {
				ev, err := e.next()
				if err != nil {
					return list, err
				}
				if len(ev.data) > limit {
					t.Fatalf("%d bytes of data", len(ev.data))
				}
				ev.data = bytes.Clone(ev.data)
				list = append(list, ev)
			}
		}
		whole, err := read(bytes.NewReader(data))
		slow, slowErr := read(iotest.OneByteReader(bytes.NewReader(data)))
		if !errors.Is(err, io.EOF) && !errors.Is(err, errTooLong) {
			t.Fatalf("ended with %v", err)
		}
		if len(whole) != len(slow) || errors.Is(err, errTooLong) != errors.Is(slowErr, errTooLong) {
			t.Fatalf("%d events at once (%v), %d byte by byte (%v)", len(whole), err, len(slow), slowErr)
		}
		for i := range whole {
			a, b := whole[i], slow[i]
			if a.name != b.name || a.id != b.id || a.hasID != b.hasID || a.retry != b.retry || !bytes.Equal(a.data, b.data) {
				t.Fatalf("event %d: %+v and %+v", i, a, b)
			}
			if a.retry > longestRetry || strings.ContainsAny(a.id, "\x00\r\n") {
				t.Fatalf("event %+v", a)
			}
		}
	})
}

// FuzzDeliver reads any bytes as a message or a batch: what is handed on is one message
// each, on its own line, and parses as the same.
func FuzzDeliver(f *testing.F) {
	for _, seed := range []string{`{"jsonrpc":"2.0","id":1,"result":{}}`, `[{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"x"}}]`, `[5]`, "{\n\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"} {
		f.Add([]byte(seed))
	}
	w := &wire{url: &url.URL{Host: "h"}, most: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		w.deliver(data, func(d delivery) bool {
			var out bytes.Buffer
			line := lineWriter{w: &out}
			if err := line.write(d.raw); err != nil {
				t.Fatal(err)
			}
			if bytes.Count(out.Bytes(), []byte("\n")) != 1 {
				t.Fatalf("more than one line: %q", out.Bytes())
			}
			again, err := jsonrpc.Parse(out.Bytes(), jsonrpc.Limits{})
			if err != nil || again.Kind != d.msg.Kind || again.Method != d.msg.Method || jsonrpc.IDKey(again.ID) != jsonrpc.IDKey(d.msg.ID) {
				t.Fatalf("%q became %q (%v)", d.raw, out.Bytes(), err)
			}
			return false
		})
	})
}

// FuzzIntroductions reads any result as that of initialize and of server/discover.
func FuzzIntroductions(f *testing.F) {
	for _, seed := range []string{`{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x"}}`, `{"supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{}}}`, `[]`, `{"protocolVersion":"a\nb"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		if jsonrpc.Valid(result, 0) != nil {
			return
		}
		d := delivery{msg: jsonrpc.Message{Kind: jsonrpc.Response, ID: []byte("1"), Result: result}}
		old, err := parseInitialized(d)
		if err == nil && strings.ContainsAny(old.version, "\r\n \x00") {
			t.Fatalf("version %q", old.version)
		}
		modern, modernErr := parseDiscovered(d)
		for _, a := range []about{old, modern} {
			for _, line := range [][]byte{initializeResult(&intro{version: v20250618}, a), discoverResult(a)} {
				if (err == nil || modernErr == nil) && jsonrpc.Valid(line, 0) != nil {
					t.Fatalf("%q led to %q", result, line)
				}
			}
		}
	})
}

// FuzzTools reads any result as that of tools/list, through a filter: what is left is JSON,
// and none of it is hidden by name.
func FuzzTools(f *testing.F) {
	for _, seed := range []string{`{"tools":[{"name":"a","inputSchema":{"properties":{"x":{"type":"string","x-mcp-header":"X"}}}},{"name":"rm"}],"nextCursor":"n"}`, `{"tools":[[],{"name":"rm"}]}`, `{"tools":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		if jsonrpc.Valid(result, 0) != nil {
			return
		}
		filter := toolFilter{ignore: []string{"rm*"}}
		var x toolIndex
		out, err := x.listed(result, func(name string, _ tool) bool { return filter.named("", name) })
		if err != nil {
			return
		}
		if err := jsonrpc.Valid(out, 0); err != nil {
			t.Fatalf("%q became %q: %v", result, out, err)
		}
		list, err := elements(member(out, "tools"))
		if err != nil {
			t.Fatal(err)
		}
		for _, element := range list {
			if name, _ := jsonrpc.String(member(element, "name")); strings.HasPrefix(strings.ToLower(name), "rm") {
				t.Fatalf("%q is shown", name)
			}
		}
	})
}

// FuzzQuestions reads any result as one that requires input.
func FuzzQuestions(f *testing.F) {
	for _, seed := range []string{`{"a":{"method":"roots/list"}}`, `{"a":{"method":"elicitation/create","params":{"mode":"url","url":"x"}}}`, `{"a":[]}`} {
		f.Add([]byte(seed))
	}
	r := &remote{b: &Bridge{initialized: make(chan struct{})}, w: &wire{url: &url.URL{Host: "h"}}}
	close(r.b.initialized)
	r.b.asks.write = func(line []byte) {
		msg, err := jsonrpc.Parse(line, jsonrpc.Limits{})
		if err == nil && msg.Kind == jsonrpc.Request {
			go r.b.asks.answered(jsonrpc.Message{Kind: jsonrpc.Response, ID: bytes.Clone(msg.ID), Result: []byte(`{}`)})
		}
	}
	f.Fuzz(func(t *testing.T, requests []byte) {
		if jsonrpc.Valid(requests, 0) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		answers, err := r.askAll(ctx, requests)
		if err == nil && answers != nil && jsonrpc.Valid(answers, 0) != nil {
			t.Fatalf("%q was answered with %q", requests, answers)
		}
		if ctx.Err() != nil {
			t.Fatal("it did not end")
		}
	})
}

// FuzzHeaderValue writes any text into a header and reads it back.
func FuzzHeaderValue(f *testing.F) {
	for _, seed := range []string{"", "plain", "ä", " x", "=?base64?eA==?=", "a\r\nb: c", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value := headerValue(text)
		for _, c := range []byte(value) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q became %q", text, value)
			}
		}
		if back, err := paramheader.Decode(value); err == nil && back != text || err != nil && strings.ToValidUTF8(text, "") == text {
			t.Fatalf("%q became %q, and that %q (%v)", text, value, back, err)
		}
	})
}

// FuzzHeaders reads any text as the headers of an answer that the bridge looks at.
func FuzzHeaders(f *testing.F) {
	f.Add("120", "a-session", `application/json; charset=utf-8`)
	f.Add("Mon, 02 Jan 2106 15:04:05 GMT", "a b", "text/event-stream")
	f.Add("99999999999999999999", "", "\x00")
	f.Fuzz(func(t *testing.T, retry, id, kind string) {
		now := time.Unix(1<<31, 0)
		if d := retryAfter(retry, now); d < -1 || d > longestRetry {
			t.Fatalf("Retry-After %q: %s", retry, d)
		}
		s := &session{w: &wire{url: &url.URL{Host: "h"}}}
		err := s.head(http.Header{"Mcp-Session-Id": {id}})
		if err == nil && strings.ContainsAny(s.id, " \r\n\x00\x7f") {
			t.Fatalf("session %q", s.id)
		}
		if n := contentLength(http.Header{"Content-Length": {kind}}); n < 0 {
			t.Fatalf("length %d", n)
		}
	})
}

// FuzzErrorIn reads any body as one that says why a request was refused.
func FuzzErrorIn(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x","data":[]}}`))
	f.Add([]byte(`{"error":"invalid_token"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := errorIn(body)
		if e == nil {
			return
		}
		line := errorAnswer([]byte("1"), &failure{answer: e})
		if err := jsonrpc.Valid(line, 0); err != nil {
			t.Fatalf("%q led to %q: %v", body, line, err)
		}
	})
}

// FuzzLines reads any bytes of a host: reading ends, and what is too long is not kept.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n  \nc"))
	f.Add(bytes.Repeat([]byte("x"), 300))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := newLineReader(bytes.NewReader(data), 100)
		for range len(data) + 2 {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && (len(line) > 100 || len(line) == 0 || bytes.IndexByte(line, '\n') >= 0) {
				t.Fatalf("line %q", line)
			}
		}
		t.Fatal("it does not end")
	})
}
