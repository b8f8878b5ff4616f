package call

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func tools() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "called", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
		B int `json:"b"`
	}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(in.A + in.B)}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "fail"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, errors.New("no such luck")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "slow"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1, Total: 2, Message: "half\x1b[2J"})
		return &mcp.CallToolResult{}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := mcphttp.Elicit(ctx, &mcp.ElicitParams{Message: "Name?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(r.Action, " ", r.Content["name"])}}}, nil, nil
	})
	return s
}

func TestEveryEra(t *testing.T) {
	s := tools()
	h := mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	mux := http.NewServeMux()
	mux.Handle("/mcp", h)
	mux.Handle("/sse", h.SSE())
	ts := httptest.NewServer(mux)
	t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
	for _, tc := range []struct{ path, version, want string }{
		{"/mcp", "", "2026-07-28"}, {"/mcp", "2025-06-18", "2025-06-18"}, {"/sse", "2024-11-05", "2024-11-05"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			said := new(lines)
			c, err := Dial(ctx, Options{URL: ts.URL + tc.path, Version: tc.version, SSE: tc.path == "/sse", Progress: said, Answer: map[string]any{"name": "Ann"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.InitializeResult().ProtocolVersion; got != tc.want {
				t.Errorf("version %s", got)
			}
			res, err := c.Call(ctx, "add", json.RawMessage(`{"a":2,"b":40}`))
			var out bytes.Buffer
			p := &Printer{Out: &out}
			if err != nil || p.Tool("add", res) != nil || out.String() != "42\n" {
				t.Errorf("%v %q", err, out.String())
			}
			if res, err := c.Call(ctx, "fail", nil); err != nil || !res.IsError {
				t.Errorf("%v %+v", err, res)
			}
			if _, err := c.Call(ctx, "nothing", nil); err == nil {
				t.Error("a tool that is not there answers")
			} else if _, ok := Refused(err); !ok {
				t.Errorf("%v is no refusal", err)
			}
			if _, err := c.Call(ctx, "slow", nil); err != nil {
				t.Error(err)
			}
			if tc.version == "" || tc.version >= "2025-06-18" {
				res, err = c.Call(ctx, "ask", nil)
				out.Reset()
				if err != nil || p.Tool("ask", res) != nil || out.String() != "accept Ann\n" {
					t.Errorf("%v %q", err, out.String())
				}
			}
			// The SDK hands notifications over on goroutines of their own.
			for deadline := time.Now().Add(10 * time.Second); !strings.Contains(said.String(), "progress") && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			if !strings.Contains(said.String(), "progress 1 of 2 half") || strings.Contains(said.String(), "\x1b") {
				t.Errorf("said %q", said.String())
			}
		})
	}
}

// A server of 2024 is found without being told.
func TestTheOldTransportIsTried(t *testing.T) {
	ts := httptest.NewServer(mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return tools() }, nil))
	t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
	c, err := Dial(t.Context(), Options{URL: ts.URL})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
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

type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

func TestTheReasonOfTheTransportIsKept(t *testing.T) {
	reason := errors.New("sign-in is needed")
	if _, err := Dial(t.Context(), Options{URL: "http://127.0.0.1/mcp", Transport: broken{reason}}); !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
}

func TestArguments(t *testing.T) {
	for text, ok := range map[string]bool{"": true, "{}": true, ` {"a":[1]} `: true, "[]": false, "null": false, "1": false, `{"a":1} {}`: false, "{": false, `{"a":}`: false} {
		if _, err := Arguments(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPrinting(t *testing.T) {
	dir := t.TempDir()
	res := &mcp.CallToolResult{Content: []mcp.Content{
		&mcp.TextContent{Text: "red \x1b[31m \u009b \u202e text"},
		&mcp.ImageContent{MIMEType: "image/png", Data: []byte("PNG")},
		&mcp.ImageContent{MIMEType: "../../evil", Data: []byte("X")},
		&mcp.ResourceLink{URI: "file:///x", Name: "x"},
		&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: "test://../../y", Text: "inside"}},
	}}
	var out bytes.Buffer
	p := &Printer{Out: &out, Dir: dir, Terminal: true}
	if err := p.Tool("../../etc/passwd", res); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e") || !strings.Contains(out.String(), "inside") || !strings.Contains(out.String(), "file:///x") {
		t.Errorf("%q", out.String())
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "etc-passwd-2.png")); err != nil || string(got) != "PNG" {
		t.Errorf("%q %v", got, err)
	}
	// Nothing is overwritten.
	if err := p.Tool("../../etc/passwd", res); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 4 {
		t.Errorf("%v", files)
	}
	out.Reset()
	if err := (&Printer{Out: &out}).Tool("x", res); err != nil || !strings.Contains(out.String(), "\x1b[31m") || !strings.Contains(out.String(), "[image/png, 3 bytes") {
		t.Errorf("%v %q", err, out.String())
	}
	out.Reset()
	if err := (&Printer{Out: &out, JSON: true}).Tool("x", res); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("%v %q", err, out.String())
	}
	out.Reset()
	if err := p.List(nil, []Row{{"a\x1b", "first\nsecond"}, {"longer", strings.Repeat("é", 200)}}); err != nil || strings.Count(out.String(), "\n") != 2 || strings.Contains(out.String(), "second") {
		t.Errorf("%v %q", err, out.String())
	}
}

func FuzzFileNames(f *testing.F) {
	f.Add("../../x", "image/png")
	f.Fuzz(func(t *testing.T, name, kind string) {
		got := fileName(name) + extension(kind)
		if got != filepath.Base(got) || strings.ContainsAny(got, "/\\\x00") || strings.HasPrefix(got, ".") || len(got) > 200 {
			t.Errorf("%q", got)
		}
	})
}
