// Package program runs an example for its tests as what it is, a process with a
// data directory that can be killed, and talks to it with the official SDK's client.
package program

import (
	"bufio"
	"context"
	"encoding/json"
	"go/format"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Eras are the protocol versions that every example is tested with: one with
// sessions and one without.
var Eras = []string{"2025-11-25", "2026-07-28"}

// runMain tells a test binary that it is to be the example instead.
const runMain = "EXAMPLE_RUN_MAIN"

// TestMain makes a test binary of package main able to be the example itself, so
// that what is killed is built like the test: with the race detector if that is.
func TestMain(m *testing.M, main func()) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A Program is a running example. It is an http.RoundTripper to wherever the
// example listens now, so that clients outlive a restart.
type Program struct {
	t   *testing.T
	dir string

	mu   sync.Mutex
	cmd  *exec.Cmd
	addr string
}

// Endpoint is the URL that clients of every Program are given. Its host is not
// looked up.
const Endpoint = "http://localhost/mcp"

// Start runs the example with an empty data directory until the test ends.
func Start(t *testing.T) *Program {
	t.Helper()
	p := &Program{t: t, dir: t.TempDir()}
	t.Cleanup(p.Kill)
	p.start()
	return p
}

// StartAt starts it again with the same data, at the URL it had.
func (p *Program) StartAt(base string) {
	p.t.Helper()
	p.startAt(strings.TrimPrefix(base, "http://"))
}

func (p *Program) start() { p.startAt("127.0.0.1:0") }

func (p *Program) startAt(addr string) {
	p.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(exe, "-addr", addr, "-data", p.dir)
	cmd.Env = append(os.Environ(), runMain+"=1")
	cmd.Stderr = p.t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.t.Fatalf("no URL on standard output: %v", err)
	}
	_, at, _ := strings.Cut(strings.TrimSpace(line), " at ")
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		p.t.Fatalf("no URL in %q: %v", line, err)
	}
	p.mu.Lock()
	p.addr = u.Host
	p.mu.Unlock()
}

// Kill ends the process as kill -9 does, if it is running.
func (p *Program) Kill() { _ = p.end(syscall.SIGKILL) }

func (p *Program) end(sig os.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil {
		return err
	}
	return cmd.Wait()
}

// Crash kills the process and starts it again with the same data.
func (p *Program) Crash() {
	p.t.Helper()
	p.Kill()
	p.start()
}

// Restart ends the process in order and starts it again with the same data.
func (p *Program) Restart() {
	p.t.Helper()
	if err := p.end(syscall.SIGTERM); err != nil {
		p.t.Errorf("after SIGTERM: %v, want exit status 0", err)
	}
	p.start()
}

// RoundTrip sends r to the process that runs now.
func (p *Program) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	addr := p.addr
	p.mu.Unlock()
	r = r.Clone(r.Context())
	r.URL.Host, r.Host = addr, addr
	return http.DefaultTransport.RoundTrip(r)
}

// URL is the base of what the Program serves now.
func (p *Program) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "http://" + p.addr
}

// Connect connects a client to the Program.
func (p *Program) Connect(version string, opts *mcp.ClientOptions) *Client {
	p.t.Helper()
	return Connect(p.t, p, version, opts)
}

// Via is an http.RoundTripper to an example's App in the process of the test, at the
// base URL Server, where User is signed in if it is not empty.
type Via struct{ Server, User string }

// RoundTrip sends r there.
func (v Via) RoundTrip(r *http.Request) (*http.Response, error) {
	u, err := url.Parse(v.Server)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Host, r.Host = u.Host, u.Host
	if v.User != "" {
		r.Header.Set("Authorization", "Bearer "+v.User)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Serve serves app until the test ends, behind the given wrappers, and returns its
// base URL.
func Serve(t *testing.T, app *causeway.App, wrap ...func(http.Handler) http.Handler) string {
	t.Helper()
	if err := app.Open(); err != nil {
		t.Fatal(err)
	}
	h := app.Handler()
	for _, w := range wrap {
		h = w(h)
	}
	web := httptest.NewServer(h)
	t.Cleanup(func() {
		if err := app.Shutdown(Soon(t)); err != nil {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	return web.URL
}

// A Client is a session of the SDK's client that goes on with the handle which a
// server gives it, as a model would.
type Client struct {
	*mcp.ClientSession
	t *testing.T

	mu     sync.Mutex
	handle string
}

// Connect connects a client to Endpoint by way of rt.
func Connect(t *testing.T, rt http.RoundTripper, version string, opts *mcp.ClientOptions) *Client {
	t.Helper()
	transport := &mcp.StreamableClientTransport{Endpoint: Endpoint, HTTPClient: &http.Client{Transport: rt}}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1.0.0"}, opts)
	session, err := client.Connect(Soon(t), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() }) // the process may be gone
	if got := session.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("negotiated %s, want %s", got, version)
	}
	return &Client{ClientSession: session, t: t}
}

// Try calls a tool.
func (c *Client) Try(tool string, args map[string]any) (*mcp.CallToolResult, error) {
	c.mu.Lock()
	if c.handle != "" {
		with := map[string]any{"handle": c.handle}
		for k, v := range args {
			with[k] = v
		}
		args = with
	}
	c.mu.Unlock()
	res, err := c.CallTool(Soon(c.t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return nil, err
	}
	if h, ok := res.Meta["causeway/handle"].(string); ok {
		c.mu.Lock()
		c.handle = h
		c.mu.Unlock()
	}
	return res, nil
}

// Call calls a tool that must answer, and returns the text of its result.
func (c *Client) Call(tool string, args map[string]any) string {
	c.t.Helper()
	res, err := c.Try(tool, args)
	if err != nil {
		c.t.Fatalf("%s: %v", tool, err)
	}
	if res.IsError {
		c.t.Fatalf("%s: %s", tool, Text(res))
	}
	return Text(res)
}

// Ask calls a tool that must answer, and decodes its structured result.
func Ask[Out any](c *Client, tool string, args map[string]any) (out Out) {
	c.t.Helper()
	res, err := c.Try(tool, args)
	if err != nil {
		c.t.Fatalf("%s: %v", tool, err)
	}
	if res.IsError {
		c.t.Fatalf("%s: %s", tool, Text(res))
	}
	return Decode[Out](c.t, res)
}

// Decode decodes the structured content of a result.
func Decode[Out any](t *testing.T, res *mcp.CallToolResult) (out Out) {
	t.Helper()
	b, err := json.Marshal(res.StructuredContent)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Refused calls a tool that must answer with a tool error, and returns its text.
func (c *Client) Refused(tool string, args map[string]any) string {
	c.t.Helper()
	res, err := c.Try(tool, args)
	if err != nil {
		c.t.Fatalf("%s: %v", tool, err)
	}
	if !res.IsError {
		c.t.Fatalf("%s answers %q, want an error", tool, Text(res))
	}
	return Text(res)
}

// URI is the URI of a resource with the handle, if there is one.
func (c *Client) URI(uri string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle != "" {
		uri += "?handle=" + c.handle
	}
	return uri
}

// Read reads a resource of one text.
func (c *Client) Read(uri string) string {
	c.t.Helper()
	uri = c.URI(uri)
	res, err := c.ReadResource(Soon(c.t), &mcp.ReadResourceParams{URI: uri})
	if err != nil {
		c.t.Fatalf("%s: %v", uri, err)
	}
	return res.Contents[0].Text
}

// Text is the text of a result, without what tells of a handle.
func Text(res *mcp.CallToolResult) string {
	if len(res.Content) == 0 {
		return ""
	}
	first, _ := res.Content[0].(*mcp.TextContent)
	if first == nil {
		return ""
	}
	return first.Text
}

// Soon is a context with a bound that only a test which hangs runs into.
func Soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Next is the next value of what a test waits for.
func Next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-Soon(t).Done():
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// Body reads a response to its end.
func Body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// Short fails when main.go of the example has more than most lines that are not blank, as gofmt leaves it.
func Short(t *testing.T, most int) {
	t.Helper()
	src, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	formatted, err := format.Source(src)
	if err != nil || string(formatted) != string(src) {
		t.Errorf("main.go is not as gofmt leaves it (%v)", err)
	}
	lines := 0
	for line := range strings.Lines(string(src)) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines > most {
		t.Errorf("main.go has %d lines that are not blank, want at most %d", lines, most)
	}
}
