package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// body answers with one text of a content type.
func body(kind, text string) func(http.ResponseWriter, *http.Request, message) bool {
	return func(w http.ResponseWriter, _ *http.Request, m message) bool {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		} else {
			w.Header()["Content-Type"] = nil
		}
		io.WriteString(w, strings.ReplaceAll(text, "ID", string(m.ID)))
		return true
	}
}

func status(code int, text string) func(http.ResponseWriter, *http.Request, message) bool {
	return func(w http.ResponseWriter, _ *http.Request, m message) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		io.WriteString(w, strings.ReplaceAll(text, "ID", string(m.ID)))
		return true
	}
}

// endless writes text again and again, until the other side has enough.
func endless(kind, begin, again string) func(http.ResponseWriter, *http.Request, message) bool {
	return func(w http.ResponseWriter, _ *http.Request, m message) bool {
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, strings.ReplaceAll(begin, "ID", string(m.ID)))
		for {
			if _, err := io.WriteString(w, again); err != nil {
				return true
			}
		}
	}
}

func redirect(code int, to string) func(http.ResponseWriter, *http.Request, message) bool {
	return func(w http.ResponseWriter, r *http.Request, _ message) bool {
		w.Header().Set("Location", to)
		w.WriteHeader(code)
		return true
	}
}

func onWire(text string) func(http.ResponseWriter, *http.Request, message) bool {
	return func(w http.ResponseWriter, _ *http.Request, m message) bool {
		return raw(w, func(c net.Conn) { io.WriteString(c, strings.ReplaceAll(text, "ID", string(m.ID))) })
	}
}

const events = "text/event-stream"

// long is text of which a few make more than one message may have.
var long = strings.Repeat("x", 64<<10)

func zipped(n int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, `{"jsonrpc":"2.0","id":1,"result":{"x":"`)
	for range n {
		io.WriteString(z, long)
	}
	io.WriteString(z, `"}}`)
	z.Close()
	return b.String()
}

// A server that answers a call so fails the call, and nothing else.
func TestAnswersThatFailTheirOwnCall(t *testing.T) {
	const j = "application/json"
	bomb := zipped(32)
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, message) bool
		says   string
	}{
		"a JSON body that does not end":           {endless(j, `{"jsonrpc":"2.0","id":ID,"result":{"x":"`, long), "longer than allowed"},
		"white space that does not end":           {endless(j, ``, strings.Repeat(" ", 8192)), "longer than allowed"},
		"a line of data that does not end":        {endless(events, `data: {"jsonrpc":"2.0","id":ID,"result":"`, long), "longer than allowed"},
		"lines of data that do not end":           {endless(events, ``, "data: [\n"), "longer than allowed"},
		"the name of an event that does not end":  {endless(events, `event: `, long), "longer than allowed"},
		"the id of an event that is too long":     {body(events, "id: "+long+"\ndata: {}\n\n"), "longer than allowed"},
		"a comment that does not end":             {endless(events, `: `, long), "longer than allowed"},
		"a notification that is too long":         {body(events, `data: {"jsonrpc":"2.0","method":"n","params":{"x":"`+strings.Repeat(long, 20)+`"}}`+"\n\n"), "longer than allowed"},
		"a body that is cut off":                  {onWire("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\""), "broke off"},
		"a length that is a lie":                  {onWire("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999999\r\n\r\n{\"jsonrpc\""), "broke off"},
		"half a JSON text":                        {body(j, `{"jsonrpc":"2.0","id":ID,"result":{`), "not a message"},
		"a page of HTML said to be JSON":          {body(j, `<html>`), "not a message"},
		"a page of HTML":                          {body("text/html", `<html>`), "text/html"},
		"no content type":                         {body("", `{"jsonrpc":"2.0","id":ID,"result":{}}`), "content type"},
		"a content type that cannot be read":      {body(`application/json; "`+strings.Repeat("ä", 3000), `x`), "not a message"},
		"arrays a hundred thousand deep":          {body(j, `{"jsonrpc":"2.0","id":ID,"result":`+strings.Repeat("[", 100_000)), "not a message"},
		"text that is not UTF-8":                  {body(j, `{"jsonrpc":"2.0","id":ID,"result":{"x":"`+"\xff\xfe"+`"}}`), "not a message"},
		"two ids":                                 {body(j, `{"jsonrpc":"2.0","id":ID,"id":7,"result":{}}`), "not a message"},
		"a result and an error":                   {body(j, `{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":""}}`), "not a message"},
		"neither a result nor an error":           {body(j, `{"jsonrpc":"2.0","id":ID}`), "not a message"},
		"a null id":                               {body(j, `{"jsonrpc":"2.0","id":null,"result":{}}`), "not a message"},
		"an error that is a string":               {body(j, `{"jsonrpc":"2.0","id":ID,"error":"x"}`), "not a message"},
		"another JSON-RPC":                        {body(j, `{"jsonrpc":"1.0","id":ID,"result":{}}`), "not a message"},
		"somebody else's answer":                  {body(j, `{"jsonrpc":"2.0","id":12345,"result":{}}`), "without a response"},
		"the answer to an id that looks the same": {body(j, `{"jsonrpc":"2.0","id":"ID","result":{}}`), "without a response"},
		"an empty batch":                          {body(j, `[]`), "not a batch"},
		"a batch of a million":                    {body(j, `[`+strings.Repeat(`{"jsonrpc":"2.0","method":"n"},`, 30_000)+`{}]`), "not a batch"},
		"a batch with a message that is none":     {body(j, `[5,{"jsonrpc":"2.0","id":ID,"result":{}}]`), "not a message"},
		"nothing":                                 {body(j, ``), "without a response"},
		"accepted, and never answered":            {status(202, ``), "without a response"},
		"an empty stream":                         {body(events, ``), "without a response"},
		"an event that is cut off":                {body(events, `data: {"jsonrpc":"2.0","id":ID,"result":{"content":[]}}`), "without a response"},
		"an event of a name nobody knows":         {body(events, "event: evil\ndata: {\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{}}\n\n"), "without a response"},
		"data that is not JSON":                   {body(events, "data: hello\n\n"), "not a message"},
		"a status 500 whose body does not end": {func(w http.ResponseWriter, r *http.Request, m message) bool {
			w.WriteHeader(500)
			return endless("x", "", long)(w, r, m)
		}, "500"},
		"a status 400 with words for a terminal": {status(400, `{"error":{"code":-32000,"message":"\u001b[2J\u0007"}}`), `\u001b`},
		"a redirect to another origin":           {redirect(307, "http://127.0.0.2:1/mcp"), "another origin"},
		"a redirect to another scheme":           {redirect(308, "ftp://127.0.0.1/"), "origin"},
		"a redirect that drops the message":      {redirect(303, "/mcp"), "drop the message"},
		"a redirect to itself":                   {redirect(307, "/mcp"), "redirects"},
		"a redirect without a place":             {redirect(307, ""), ""},
		"headers of a megabyte":                  {onWire("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), "asked"},
		"a thousand answers to come":             {onWire(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 1000)), "asked"},
		"what is not HTTP":                       {onWire("SSH-2.0-OpenSSH\r\n"), ""},
		"a connection that is reset":             {onWire(""), ""},
		"chunks that are none":                   {onWire("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "broke off"},
		"too many requests, come back in an hour": {func(w http.ResponseWriter, r *http.Request, m message) bool {
			w.Header().Set("Retry-After", "3600")
			return status(429, ``)(w, r, m)
		}, "429"},
		"too many requests, come back yesterday": {func(w http.ResponseWriter, r *http.Request, m message) bool {
			w.Header().Set("Retry-After", "-5")
			return status(429, ``)(w, r, m)
		}, "429"},
		"a session that is never found": {status(404, `{"error":{"code":-32001,"message":"Session not found"}}`), "not found"},
		"no sign-in there":              {status(401, ``), "sign-in"},
		"a tenth of a kilobyte that unfolds to two megabytes": {func(w http.ResponseWriter, r *http.Request, m message) bool {
			w.Header().Set("Content-Encoding", "gzip")
			return body(j, bomb)(w, r, m)
		}, "longer than allowed"},
		"an answer that stands still": {func(w http.ResponseWriter, r *http.Request, m message) bool {
			w.Header().Set("Content-Type", j)
			fmt.Fprint(w, `{"jsonrpc"`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, "no byte"},
		"an answer that never begins": {func(w http.ResponseWriter, r *http.Request, m message) bool {
			<-r.Context().Done()
			return true
		}, "timeout"},
		"a stream that begins, breaks off and cannot be taken up": {body(events, "id: 1\ndata:\n\n"), "405"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]func(http.ResponseWriter, *http.Request, message) bool{"tools/call": tc.answer})
			h := start(t, s, nil)
			h.initialize()
			wantError(t, h.request(1, "tools/call", echo), tc.says)
			h.alive()
			if n := s.count("tools/call"); n > 6 {
				t.Errorf("the server was asked %d times", n)
			}
		})
	}
}

// What comes beside a good answer does not keep it from the host.
func TestAnswersInBadCompany(t *testing.T) {
	for name, first := range map[string]string{
		"answers to others":                       `data: {"jsonrpc":"2.0","id":77,"result":{}}` + "\n\n",
		"a question with the id of the call":      `data: {"jsonrpc":"2.0","id":ID,"method":"roots/list"}` + "\n\n",
		"a question that no host knows":           `data: {"jsonrpc":"2.0","id":"q","method":"tools/call","params":{"name":"rm"}}` + "\n\n",
		"progress that nobody asked for":          strings.Repeat(`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`+"\n\n", 1000),
		"a cancellation of what is not there":     `data: {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{"a":[1]}}}` + "\n\n",
		"a list that changed a thousand times":    strings.Repeat(`data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`+"\n\n", 1000),
		"a retry of a hundred million years":      "retry: 99999999999999999999\n\n",
		"a retry that is no number":               "retry: -1e9\n\n",
		"an id with a zero byte":                  "id: a\x00b\n\n",
		"fields that no specification knows":      "x\ny: z\n:\n\n",
		"line ends of every kind":                 "retry: 1\r\rretry: 2\r\n\r\nretry: 3\n\r\n",
		"a byte order mark":                       "\ufeff: hello\n\n",
		"a notification without params":           `data: {"jsonrpc":"2.0","method":"notifications/progress"}` + "\n\n",
		"a notification whose params are strange": `data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":5,"_meta":7}}` + "\n\n",
		"ten thousand questions at once":          strings.Repeat(`data: {"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}`+"\n\n", 10_000),
		"a message in several lines":              "data: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/x\"}\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]func(http.ResponseWriter, *http.Request, message) bool{
				"tools/call": body(events, first+`data: {"jsonrpc":"2.0","id":ID,"result":{"content":[],"x":"good"}}`+"\n\n"),
			})
			h := start(t, s, nil)
			h.initialize()
			wantGood(t, h.request(1, "tools/call", echo))
			h.alive()
		})
	}
}

// A host that cancels is free, whatever the server does.
func TestCancellingAServerThatNeverAnswers(t *testing.T) {
	told := make(chan message, 1)
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request, message) bool{
		"tools/call": func(w http.ResponseWriter, r *http.Request, _ message) bool {
			stream(w)
			<-r.Context().Done()
			return true
		},
		"notifications/cancelled": func(_ http.ResponseWriter, _ *http.Request, m message) bool { told <- m; return false },
	})
	h := start(t, s, nil)
	h.initialize()
	answered := h.begin(1, "tools/call", echo)
	for s.count("tools/call") == 0 {
		time.Sleep(time.Millisecond)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"enough"}}`)
	select {
	case m := <-told:
		if !strings.Contains(string(m.Params), `"requestId":1`) || !strings.Contains(string(m.Params), "enough") {
			t.Errorf("the server was told %s", m.Params)
		}
	case <-time.After(patience):
		t.Error("the server was not told")
	}
	h.alive()
	if len(answered) > 0 {
		t.Errorf("a cancelled call was answered: %v", <-answered)
	}
}
