package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-mcp/causeway/cmd/causeway/demo"
	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// console is standard output, and says when the demo is ready.
type console struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan string
}

var demoURL = regexp.MustCompile(`https?://127\.0\.0\.1:[0-9]+`)

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	if strings.Contains(c.text.String(), "Ctrl-C ends it.") && c.ready != nil {
		c.ready <- demoURL.FindString(c.text.String())
		c.ready = nil
	}
	return len(p), nil
}

// startDemo runs the demo until the test, or stop, ends it.
func startDemo(t *testing.T, args ...string) (base string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- runDemo(ctx, args, &console{ready: ready}, io.Discard) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	select {
	case base = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("the demo ended: %v", err)
	}
	return base, stop
}

func TestTheDemoSignsInUnderAnyName(t *testing.T) {
	dir := t.TempDir()
	base, stop := startDemo(t, "-addr", "127.0.0.1:0", "-data", dir)
	ada, bob := person.New("name", "ada"), person.New("name", "bob")
	adas, bobs := ada.Connect(t, base+"/mcp"), bob.Connect(t, base+"/mcp")
	if got := person.Text(t, adas, "whoami", nil); got != "You are ada." {
		t.Errorf("got %q", got)
	}
	for _, want := range []string{"The counter is at 1.", "The counter is at 2."} {
		if got := person.Text(t, adas, "count", nil); got != want {
			t.Errorf("ada: %q, want %q", got, want)
		}
	}
	if got := person.Text(t, bobs, "count", nil); got != "The counter is at 1." {
		t.Errorf("bob: %q", got)
	}
	for tool, err := range adas.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if schema, _ := tool.InputSchema.(map[string]any); schema["properties"] != nil && strings.Contains(strings.Join(keysOf(schema["properties"]), " "), "handle") {
			t.Errorf("%s wants a handle of a signed-in person", tool.Name)
		}
	}
	// A person's own things last: reminders belong to the user, whatever the client.
	reminders := ada.Connect(t, base+"/reminders")
	person.Text(t, reminders, "remind_me", map[string]any{"text": "tea", "in_seconds": 3600})
	stop()
	base, _ = startDemo(t, "-addr", strings.TrimPrefix(base, "http://"), "-data", dir)
	again := person.New("name", "ada").Connect(t, base+"/reminders")
	if got := person.Text(t, again, "list_reminders", nil); !strings.Contains(got, "tea") {
		t.Errorf("after a restart: %s", got)
	}
}

func keysOf(properties any) (names []string) {
	m, _ := properties.(map[string]any)
	for name := range m {
		names = append(names, name)
	}
	return names
}

func TestTheDemoServesTheExamples(t *testing.T) {
	base, _ := startDemo(t, "-no-auth", "-addr", "127.0.0.1:0")
	for _, x := range demo.Examples {
		c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: base + x.Path}, nil)
		if err != nil {
			t.Fatalf("%s: %v", x.Path, err)
		}
		if list, err := s.ListTools(t.Context(), nil); err != nil || len(list.Tools) == 0 {
			t.Errorf("%s: %v", x.Path, err)
		}
		s.Close()
	}
}

func TestNoAuthOpensTheDemo(t *testing.T) {
	base, _ := startDemo(t, "-no-auth", "-addr", "127.0.0.1:0")
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: base + "/mcp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := person.Text(t, s, "count", nil); !strings.HasPrefix(got, "The counter is at 1.handle: ") {
		t.Errorf("got %q", got)
	}
	if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"}); err == nil {
		t.Error("nobody is somebody")
	}
	resp, err := http.Get(base + "/authorize")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("/authorize: %d", resp.StatusCode)
	}
}

func TestTheDemoSignsNobodyInFromElsewhere(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
		err := runDemo(t.Context(), []string{"-addr", addr}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "loopback only") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	base, _ := startDemo(t, "-addr", "127.0.0.1:0")
	for name, change := range map[string]func(*http.Request){
		"another name": func(r *http.Request) { r.Host = "demo.example:8787" },
		"a proxy":      func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/account", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode < 400 || strings.Contains(string(b), "Who do you want to be?") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
}
