//go:build linux

package expose

import (
	"bytes"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type sink struct{ io.Writer }

func (sink) Close() error                     { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// Whatever a program writes, it breaks its own conversation at most.
func FuzzWhatAProgramSays(f *testing.F) {
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"x"}}}}}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"x","data":{"elicitations":[{"url":"https://x"}]}}}`,
		`{"jsonrpc":"2.0","id":"a","method":"elicitation/create","params":{"message":"x","requestedSchema":{}}}`,
		`{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage","params":{"messages":null}}`, `{"jsonrpc":"2.0","id":2,"method":"roots/list"}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1e999}}`, `{"jsonrpc":"2.0","method":"notifications/progress"}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"x","data":{}}}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a","_meta":{"io.modelcontextprotocol/subscriptionId":1}}}`,
		`[{"jsonrpc":"2.0","id":1,"result":{}},{}]`, `{"jsonrpc":"2.0","id":1,"result":[1]}`, "\xff\n{", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":[]}}`,
	} {
		f.Add([]byte(line+"\n"), true)
		f.Add([]byte(line), false)
	}
	s := &Server{log: slog.New(slog.DiscardHandler), opts: Options{MaxCalls: 10, MaxChildrenPerUser: 10, AnswerTimeout: time.Hour, Roots: true}}
	f.Fuzz(func(t *testing.T, said []byte, asModern bool) {
		tn := newTenant(s, "ann")
		sl := newSlot(tn, "")
		p := &process{mark: "m", hello: &greeting{modern: asModern, version: newestLegacy, capabilities: &mcp.ServerCapabilities{}}, errands: make(chan func(), maxErrands)}
		p.conn = newConn(p, sink{io.Discard}, 1<<20, sl)
		x, err := p.reserve()
		if err != nil {
			t.Fatal(err)
		}
		ss, err := tn.server.Connect(t.Context(), &mcp.IOTransport{Reader: io.NopCloser(bytes.NewReader(nil)), Writer: sink{io.Discard}}, &mcp.ServerSessionOptions{
			State: &mcp.ServerSessionState{InitializeParams: &mcp.InitializeParams{ProtocolVersion: modern, Capabilities: &mcp.ClientCapabilities{
				Sampling: &mcp.SamplingCapabilities{}, Elicitation: &mcp.ElicitationCapabilities{URL: &mcp.URLElicitationCapabilities{}}, RootsV2: &mcp.RootCapabilities{}}}}})
		if err != nil {
			t.Fatal(err)
		}
		c := &call{sl: sl, p: p, x: x, method: "tools/call", ctx: t.Context(), ss: ss, modern: asModern, token: "t", stirred: make(chan struct{}, 1)}
		sl.calls[x.id] = c
		_ = p.read(bytes.NewReader(said))
		p.fail(errEnded)
		for len(p.errands) > 0 {
			(<-p.errands)()
		}
		select {
		case a := <-x.answer:
			if a.err != nil {
				_, _ = c.failed(a.err)
			} else if res, err := c.result(a.result); err == nil {
				if _, err := marshal(res); err != nil {
					t.Errorf("%q cannot be passed on: %v", a.result, err)
				}
			}
		default:
			t.Error("a request was left without an answer")
		}
		sl.mu.Lock()
		defer sl.mu.Unlock()
		if len(sl.asks) > maxQuestions || len(c.notes) > maxNotes {
			t.Errorf("%d questions, %d notes", len(sl.asks), len(c.notes))
		}
	})
}
