//go:build linux

package expose

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A world is an exposed program with sign-in: the bearer token is the user's name.
type world struct {
	*Server
	url string
	log *lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t testing.TB, kind string, o Options) *world {
	t.Helper()
	w := &world{log: new(lines)}
	if o.Command == nil {
		o.Command = []string{os.Args[0]}
	}
	o.Env = append([]string{"EXPOSE_CHILD=" + kind}, o.Env...)
	o.Dir = t.TempDir()
	orDefault(&o.StopGrace, 500*time.Millisecond)
	orDefault(&o.StartTimeout, 20*time.Second)
	o.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Props == nil {
		o.Props = func(ctx context.Context) any {
			info := auth.TokenInfoFromContext(ctx)
			if info == nil {
				return map[string]any{}
			}
			return map[string]any{"name": info.UserID, "secret": "token-of-" + info.UserID}
		}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.Server = s
	h := mcphttp.NewHandler(s.Server, &mcphttp.Options{Logger: o.Logger, SessionSleep: 50 * time.Millisecond})
	mux := http.NewServeMux()
	mux.Handle("/mcp", signedIn(h))
	mux.Handle("/sse", signedIn(h.SSE()))
	mux.Handle("/open", h)
	ts := httptest.NewServer(mux)
	w.url = ts.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ts.CloseClientConnections()
		_ = h.Shutdown(ctx)
		ts.Close()
		if err := s.Close(ctx); err != nil {
			t.Errorf("closing: %v", err)
		}
		for _, p := range s.running.list() {
			t.Errorf("process %d is still there", p.group.pid)
		}
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

func signedIn(h http.Handler) http.Handler {
	return auth.RequireBearerToken(func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: token, Expiration: time.Now().Add(time.Hour)}, nil
	}, nil)(h)
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// A person is a client with all that clients can be asked.
type person struct {
	*mcp.ClientSession
	t         testing.TB
	asked     chan string
	progress  chan float64
	logs      chan string
	changed   chan struct{}
	updated   chan string
	completed chan string
}

type clientKind struct {
	version string
	plain   bool // declares no capabilities
	sse     bool
}

func (w *world) connect(t testing.TB, user string, k clientKind) *person {
	t.Helper()
	p, err := w.tryConnect(t, user, k)
	if err != nil {
		t.Fatalf("connecting as %s: %v", user, err)
	}
	return p
}

func (w *world) tryConnect(t testing.TB, user string, k clientKind) (*person, error) {
	p := &person{t: t, asked: make(chan string, 100), progress: make(chan float64, 1000), logs: make(chan string, 1000),
		changed: make(chan struct{}, 100), updated: make(chan string, 100), completed: make(chan string, 100)}
	o := &mcp.ClientOptions{
		LoggingMessageHandler: func(_ context.Context, r *mcp.LoggingMessageRequest) { p.logs <- fmt.Sprint(r.Params.Data) },
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			p.progress <- r.Params.Progress
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { p.changed <- struct{}{} },
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { p.updated <- r.Params.URI },
	}
	if k.plain {
		o.Capabilities = &mcp.ClientCapabilities{}
	} else {
		o.ElicitationHandler = func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			p.asked <- r.Params.Message
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": user}}, nil
		}
		o.CreateMessageHandler = func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "rain, " + user}}, nil
		}
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "client of " + user, Version: "1"}, o)
	if !k.plain {
		c.AddRoots(&mcp.Root{URI: "file:///home/" + user, Name: "home"})
	}
	hc := &http.Client{Transport: bearer(user)}
	var tr mcp.Transport = &mcp.StreamableClientTransport{Endpoint: w.url + "/mcp", HTTPClient: hc}
	if k.sse {
		tr = &mcp.SSEClientTransport{Endpoint: w.url + "/sse", HTTPClient: hc}
	}
	cs, err := c.Connect(soon(t), tr, &mcp.ClientSessionOptions{ProtocolVersion: k.version})
	if err != nil {
		return nil, err
	}
	p.ClientSession = cs
	t.Cleanup(func() { cs.Close() })
	return p, nil
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (p *person) call(tool, text string) string {
	p.t.Helper()
	got, err := p.try(tool, text)
	if err != nil {
		p.t.Fatalf("%s: %v", tool, err)
	}
	return got
}

func (p *person) try(tool, text string) (string, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"text": text}}
	if tool == "progress" {
		params.SetProgressToken("mine")
	}
	res, err := p.CallTool(soon(p.t), params)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, c := range res.Content {
		if tc, ok := c.(*mcp.TextContent); ok {
			b.WriteString(tc.Text)
		}
	}
	if res.IsError {
		return "", fmt.Errorf("the tool failed: %s", b.String())
	}
	return b.String(), nil
}

func (p *person) want(tool, text, want string) {
	p.t.Helper()
	if got := p.call(tool, text); got != want {
		p.t.Errorf("%s(%q) = %q, want %q", tool, text, got, want)
	}
}

func next[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never", what)
		}
	}
}

func contextWithCancel() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 40*time.Second)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func eventuallyExists(file string) {
	for deadline := time.Now().Add(20 * time.Second); !exists(file) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}
