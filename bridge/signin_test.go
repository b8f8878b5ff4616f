package bridge_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/bridge"
)

// A turnstile is a transport that lets nobody through without a sign-in.
type turnstile struct {
	in    atomic.Bool // somebody signed in
	tries atomic.Int32
}

var errWhatToDo = fmt.Errorf("%w: go and do that", bridge.ErrSignIn)

func (s *turnstile) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.in.Load() {
		return http.DefaultTransport.RoundTrip(r)
	}
	s.tries.Add(1)
	return nil, errWhatToDo
}

type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The host hears what to do, at once and each time it asks; the log hears it once. Whoever
// has signed in then needs no new bridge.
func TestASignInThatNobodyMayBeAskedFor(t *testing.T) {
	for _, host := range []struct{ name, meta string }{{"an old host", ""}, {"a host of 2026-07-28", "," + modernMeta}} {
		t.Run(host.name, func(t *testing.T) {
			s := serve(t, oldServer(nil))
			gate, log := new(turnstile), new(logLines)
			h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}, Transport: gate, Logger: slog.New(slog.NewTextHandler(log, nil))})
			ask := func(id int) message {
				if host.meta == "" {
					return h.request(id, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"1"}}`)
				}
				return h.request(id, "tools/list", `{"x":1`+host.meta+`}`)
			}
			for id := range 3 {
				if m := ask(id); !strings.Contains(m.text(), "go and do that") || m["error"] == nil {
					t.Errorf("the host hears %s", m.text())
				}
			}
			if n := gate.tries.Load(); n > 3 {
				t.Errorf("it was tried %d times, in ways that make no difference", n)
			}
			gate.in.Store(true)
			for id := 10; ; id++ { // a failure answers for what follows for a moment
				m := ask(id)
				if m["result"] != nil {
					break
				}
				if time.Sleep(10 * time.Millisecond); id > 1000 || !strings.Contains(m.text(), "go and do that") {
					t.Fatalf("after the sign-in the host hears %s", m.text())
				}
			}
			if n := strings.Count(log.String(), "go and do that"); n != 1 {
				t.Errorf("it was logged %d times:\n%s", n, log)
			}
		})
	}
}

// A token that is taken back in the middle: what the server refused it did not do.
func TestASignInThatIsNeededAgain(t *testing.T) {
	s := serve(t, oldServer(nil))
	gate := new(turnstile)
	gate.in.Store(true)
	h := start(t, bridge.Options{Servers: []bridge.Server{{URL: s.url}}, Transport: gate})
	h.initialize(`{}`)
	if m := h.request(1, "tools/list", `{}`); m["result"] == nil {
		t.Fatalf("%s", m.text())
	}
	gate.in.Store(false)
	gate.tries.Store(0)
	m := h.request(2, "tools/call", `{"name":"write"}`)
	if !strings.Contains(m.text(), "go and do that") || strings.Contains(m.text(), "not known") {
		t.Errorf("the host hears %s", m.text())
	}
	gate.in.Store(true)
	if m := h.request(3, "tools/call", `{"name":"write"}`); m["result"] == nil {
		t.Errorf("after the sign-in: %s", m.text())
	}
	if !errors.Is(errWhatToDo, bridge.ErrSignIn) {
		t.Error("it is no ErrSignIn")
	}
}
