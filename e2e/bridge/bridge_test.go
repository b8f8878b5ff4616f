// Package bridge drives `causeway connect` with real hosts against real servers: every
// host with every server, in every feature.
package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/e2e/internal/gohost"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// causeway is the command under test, authserver a server that wants a sign-in; both are
// built with the race detector.
var causeway, authserver string

const node = "../node_modules/node/bin/node"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == browserName {
		if err := fakePerson(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir, err := os.MkdirTemp("", "causeway-e2e-bridge-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for pkg, binary := range map[string]*string{"./cmd/causeway": &causeway, "./conformance/authserver": &authserver} {
		*binary = filepath.Join(dir, filepath.Base(pkg))
		build := exec.Command("go", "build", "-C", "../..", "-race", "-o", *binary, pkg)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %s: %v\n%s", pkg, err, out)
			os.Exit(1)
		}
	}
	if _, err := os.Stat(node); err != nil {
		fmt.Fprintf(os.Stderr, "%v: run `npm ci` in e2e/ first, as `make test` does\n", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// startProcess starts a server that prints its URL, and ends it with the test.
func startProcess(t *testing.T, cmd *exec.Cmd, url func(line string) string) string {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if u := url(lines.Text()); u != "" {
				select {
				case found <- u:
				default:
				}
			}
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Signal(syscall.SIGTERM)
		<-read
		cmd.Wait()
	})
	return gohost.Next(t, found)
}

func serveModern(t *testing.T) string {
	return startProcess(t, exec.Command(node, "modern-server.mjs"), func(line string) string { return line })
}

func serveCauseway(t *testing.T) string {
	cmd := exec.Command(causeway, "demo", "-no-auth", "-addr", "127.0.0.1:0")
	cmd.Dir = t.TempDir()
	return startProcess(t, cmd, demoURL)
}

// demoURL finds the address in what the demo prints.
func demoURL(line string) string {
	if at := strings.Index(line, "http://127.0.0.1:"); at >= 0 && strings.Contains(line, "/mcp ") {
		return strings.Fields(line[at:])[0]
	}
	return ""
}

var servers = []struct {
	name  string
	serve func(t *testing.T) string
}{
	{"go-sdk legacy", serveOld},
	{"TS 2.4 modern-only", serveModern},
	{"HTTP+SSE", serveSSE},
	{"Causeway", serveCauseway},
}

// TestHostsByServers is the matrix: no cell is left out.
func TestHostsByServers(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			url := server.serve(t)
			t.Run("go-sdk 2025-11-25", func(t *testing.T) { goHost(t, url, "2025-11-25") })
			t.Run("go-sdk 2026-07-28", func(t *testing.T) { goHost(t, url, "2026-07-28") })
			t.Run("TS SDK 1.32", func(t *testing.T) { tsHost(t, url) })
		})
	}
}

// features are what every host does with every server.
var features = []string{"tools", "elicitation", "sampling", "progress", "cancel", "subscriptions", "x-mcp-header tool", "1 MiB results", "list change"}

// bridgeCommand is how a host starts the bridge.
func bridgeCommand(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.Command(causeway, append([]string{"connect"}, args...)...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	cmd.Stderr = t.Output()
	return cmd
}

func goHost(t *testing.T, url, version string) {
	c := connect(t, version, url)
	for name, test := range map[string]func(*testing.T){
		"tools": c.tools, "elicitation": c.elicitation, "sampling": c.sampling, "progress": c.progress, "cancel": c.cancel,
		"subscriptions": c.subscriptions, "x-mcp-header tool": c.headerTool, "1 MiB results": c.large, "list change": c.listChange,
	} {
		if !slices.Contains(features, name) {
			t.Fatalf("%q is no feature of the matrix", name)
		}
		t.Run(name, test)
	}
	if err := c.Session.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

type goClient struct{ *gohost.Host }

func connect(t *testing.T, version string, args ...string) *goClient {
	t.Helper()
	return &goClient{gohost.Connect(t, &mcp.CommandTransport{Command: bridgeCommand(t, args...)}, version)}
}

func (c *goClient) call(t *testing.T, tool string, args map[string]any) string {
	t.Helper()
	if args == nil {
		args = map[string]any{} // the SDK would send null, which strict servers refuse
	}
	res, err := c.Session.CallTool(gohost.Soon(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	got := ""
	for _, content := range res.Content {
		if tc, ok := content.(*mcp.TextContent); ok {
			got += tc.Text
		}
	}
	if res.IsError {
		t.Fatalf("%s: %s", tool, got)
	}
	return got
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func (c *goClient) tools(t *testing.T) {
	list, err := c.Session.ListTools(gohost.Soon(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list.Tools, func(t *mcp.Tool) bool { return t.Name == "bake" }) {
		t.Error("no tool bake")
	}
	want(t, c.call(t, "add", map[string]any{"a": 2, "b": 40}), "42")
	if _, err := c.Session.CallTool(gohost.Soon(t), &mcp.CallToolParams{Name: "no_such_tool"}); err == nil {
		t.Error("an unknown tool: no error")
	}
}

func (c *goClient) elicitation(t *testing.T) {
	want(t, c.call(t, "book_table", map[string]any{"restaurant": "Da Nino"}), "Booked at Da Nino: 2026-12-24, 9 people, outside.")
	if first, second := gohost.Next(t, c.Asked), gohost.Next(t, c.Asked); !strings.HasPrefix(first, "A table at Da Nino") || !strings.HasPrefix(second, "Really 9") {
		t.Errorf("asked %q, then %q", first, second)
	}
	if n := len(c.Asked); n > 0 {
		t.Errorf("asked %d more times", n)
	}
}

func (c *goClient) sampling(t *testing.T) {
	want(t, c.call(t, "haiku", map[string]any{"topic": "rain"}), "rain on the causeway\n\n(by e2e-model)")
	if got := c.call(t, "roots", nil); !strings.Contains(got, "file:///src") {
		t.Errorf("roots: %q", got)
	}
}

func (c *goClient) progress(t *testing.T) {
	params := &mcp.CallToolParams{Name: "bake", Arguments: map[string]any{"steps": 5, "milliseconds": 10}}
	params.SetProgressToken("five steps")
	res, err := c.Session.CallTool(gohost.Soon(t), params)
	if err != nil {
		t.Fatal(err)
	}
	want(t, res.Content[0].(*mcp.TextContent).Text, "The cake is done, after 5 steps.")
	for step := range 5 {
		if got := gohost.Next(t, c.Progressed); got != float64(step+1) {
			t.Errorf("progress %g, want %d", got, step+1)
		}
	}
}

type kitchen struct{ Baking, Done, Stopped int }

func (c *goClient) kitchen(t *testing.T) (k kitchen) {
	t.Helper()
	res, err := c.Session.ReadResource(gohost.Soon(t), &mcp.ReadResourceParams{URI: "demo://kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(res.Contents[0].Text), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// cancel shows that the server stops working, not only that the host stops waiting.
func (c *goClient) cancel(t *testing.T) {
	before := c.kitchen(t)
	ctx, cancel := context.WithCancel(gohost.Soon(t))
	defer cancel()
	params := &mcp.CallToolParams{Name: "bake", Arguments: map[string]any{"steps": 100, "milliseconds": 100}}
	params.SetProgressToken("to be cancelled")
	go func() {
		select {
		case <-c.Progressed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := c.Session.CallTool(ctx, params); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	for c.kitchen(t).Stopped == before.Stopped { // the test's timeout ends it
		time.Sleep(20 * time.Millisecond)
	}
	if after := c.kitchen(t); after.Done != before.Done || after.Baking != 0 {
		t.Errorf("kitchen %+v after %+v: the cake was not taken out", after, before)
	}
	for len(c.Progressed) > 0 {
		<-c.Progressed
	}
}

func (c *goClient) subscriptions(t *testing.T) {
	const board = "demo://board"
	if err := c.Session.Subscribe(gohost.Soon(t), &mcp.SubscribeParams{URI: board}); err != nil {
		t.Fatal(err)
	}
	c.call(t, "post_note", map[string]any{"note": "through the bridge"})
	want(t, gohost.Next(t, c.Updated), board)
	if err := c.Session.Unsubscribe(gohost.Soon(t), &mcp.UnsubscribeParams{URI: board}); err != nil {
		t.Error(err)
	}
}

func (c *goClient) headerTool(t *testing.T) {
	for _, city := range []string{"Bern", "Zürich"} {
		for _, region := range []string{"eu", "us"} {
			if got := c.call(t, "weather", map[string]any{"region": region, "city": city}); !strings.Contains(got, "in "+city+" ("+region+")") {
				t.Errorf("weather: %q", got)
			}
		}
	}
}

func (c *goClient) large(t *testing.T) {
	if got := len(c.call(t, "report", nil)); got != 1<<20 {
		t.Errorf("the report has %d bytes, want 1 MiB", got)
	}
}

func (c *goClient) listChange(t *testing.T) {
	c.call(t, "surprise", map[string]any{"shown": true})
	gohost.Next(t, c.Changed)
	want(t, c.call(t, "open_box", nil), "A smaller box.")
	c.call(t, "surprise", map[string]any{"shown": false})
	gohost.Next(t, c.Changed)
}

// tsHost runs host.mjs, a host written with the TypeScript SDK 1.x, which reports on every
// feature by itself.
func tsHost(t *testing.T, url string) {
	cmd := exec.CommandContext(gohost.Soon(t), node, "host.mjs", causeway, "connect", url)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("the host: %v", err)
	}
	said := map[string]string{}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("the host's report: %v\n%s", err, out)
	}
	for _, feature := range features {
		t.Run(feature, func(t *testing.T) {
			if got := said[feature]; got != "ok" {
				t.Errorf("%q", got)
			}
		})
	}
}
