package main

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// answering returns a connection whose other end says s to whatever it is asked.
func answering(t *testing.T, s string) *httpConn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	go func() {
		buf := make([]byte, 4096)
		if _, err := there.Read(buf); err != nil {
			return
		}
		_, _ = there.Write([]byte(s))
		there.Close()
	}()
	if err := here.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &httpConn{c: here, r: bufio.NewReader(here)}
}

func TestAnswersAreReadWhateverTheirFraming(t *testing.T) {
	for name, tc := range map[string]struct {
		raw    string
		body   string
		events bool
		fails  string
	}{
		"a length":                     {raw: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", body: "{}"},
		"chunks":                       {raw: "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n", body: "abc0123456789", events: true},
		"no body":                      {raw: "HTTP/1.1 202 Accepted\r\n\r\n"},
		"a chunk longer than it said":  {raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", fails: "longer than it said"},
		"a chunk size that is none":    {raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", fails: "bad chunk size"},
		"a body cut short":             {raw: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", fails: "body"},
		"a negative length":            {raw: "HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\n{}", fails: "bad Content-Length"},
		"something that is not HTTP":   {raw: "SSH-2.0-OpenSSH_9.9\r\n\r\n", fails: "not an HTTP/1.1 status"},
		"a header that is not one":     {raw: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", fails: "not a header"},
		"nothing before the other end": {raw: "", fails: "head"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := answering(t, tc.raw).hurriedExchange([]byte("x"))
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Fatalf("error %v, want one with %q", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(a.body) != tc.body || a.events != tc.events {
				t.Errorf("got %q, events %t; want %q, %t", a.body, a.events, tc.body, tc.events)
			}
		})
	}
}

func TestOnlyTheRightAnswerPasses(t *testing.T) {
	c := newCall("127.0.0.1:1", "", sessions, "s", 7, false)
	c.advance()
	good := `{"jsonrpc":"2.0","id":1000001,"result":{"content":[{"type":"text","text":"1000008"}]}}`
	for name, tc := range map[string]struct {
		answer httpAnswer
		ok     bool
	}{
		"the right one":            {httpAnswer{status: 200, body: []byte(good)}, true},
		"another status":           {httpAnswer{status: 500, body: []byte(good)}, false},
		"an event stream":          {httpAnswer{status: 200, events: true, body: []byte(good)}, false},
		"another request's answer": {httpAnswer{status: 200, body: []byte(strings.Replace(good, "1000001", "1000002", 1))}, false},
		"an id that only begins so": {httpAnswer{status: 200,
			body: []byte(strings.Replace(good, "1000001", "10000011", 1))}, false},
		"another client's sum": {httpAnswer{status: 200, body: []byte(strings.Replace(good, "1000008", "1000009", 1))}, false},
		"a tool error":         {httpAnswer{status: 200, body: []byte(strings.Replace(good, `}]`, `}],"isError":true`, 1))}, false},
		"nothing":              {httpAnswer{status: 200}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.check(tc.answer); (err == nil) != tc.ok {
				t.Errorf("check says %v", err)
			}
		})
	}
}

func TestEveryRequestDiffersFromTheLast(t *testing.T) {
	for _, e := range []era{sessions, stateless} {
		c := newCall("127.0.0.1:1", "", e, "s", 7, false)
		length := len(c.request)
		for range 3 {
			before := string(c.request)
			c.advance()
			if string(c.request) == before || len(c.request) != length {
				t.Fatalf("%s: after %q came %q", e, before, c.request)
			}
		}
		if got := string(c.request); !strings.Contains(got, `"id":1000003`) || !strings.Contains(got, `"a":1000003`) {
			t.Errorf("%s: the third request is %q", e, got)
		}
		c.next = lastID
		c.advance()
		if len(c.wantID) != len(`"id":`)+7 || c.next != firstID {
			t.Errorf("%s: ids do not start over: %s", e, c.wantID)
		}
	}
}
