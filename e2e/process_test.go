package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/causeway-mcp/causeway/e2e/internal/gohost"
	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// SIGTERM finds clients with open streams of every kind and a call that is being
// worked on. The call finishes, the streams end, the process exits with 0.
func TestStoppingLetsCallsFinishAndEndsStreams(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	ws, _, err := websocket.Dial(gohost.Soon(t), s.url+"/mcp", &websocket.DialOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	old := connectGoSDK(t, &mcp.SSEClientTransport{Endpoint: s.url + "/sse"}, "2024-11-05")
	listening := connectGoSDK(t, &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp", MaxRetries: -1}, "2026-07-28")
	if err := listening.Session.Subscribe(gohost.Soon(t), &mcp.SubscribeParams{URI: "demo://board"}); err != nil {
		t.Fatal(err)
	}
	idle := connectGoSDK(t, &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp"}, "2025-11-25")
	// The Go SDK gives a whole session up when its GET stream cannot be reopened.
	c := connectGoSDK(t, &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp", DisableStandaloneSSE: true}, "2025-11-25")

	params := &mcp.CallToolParams{Name: "bake", Arguments: map[string]any{"steps": 10, "milliseconds": 50}}
	params.SetProgressToken("while it stops")
	type answer struct {
		res *mcp.CallToolResult
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		res, err := c.Session.CallTool(gohost.Soon(t), params)
		answered <- answer{res, err}
	}()
	gohost.Next(t, c.Progressed)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if a := gohost.Next(t, answered); a.err != nil {
		t.Errorf("the call that was being worked on: %v", a.err)
	} else {
		wantText(t, a.res, "The cake is done, after 10 steps.")
	}
	if _, _, err := ws.Read(gohost.Soon(t)); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("the WebSocket ended with %v, want status 1012, service restart", err)
	}
	err = gohost.Next(t, s.ended)
	s.ended <- err
	if err != nil {
		t.Errorf("exit: %v\n%s", err, s.stderr)
	}
	if strings.Contains(s.stderr.String(), "were cut") {
		t.Errorf("requests were cut:\n%s", s.stderr)
	}
	old.Session.Close()
	listening.Session.Close()
	idle.Session.Close()
	c.Session.Close()
}

// A client goes on with its session after the server was killed and started again,
// and hears of it only as of a lost connection.
func TestSessionsOutliveKillMinusNine(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := startDemo(t, "-data", data)
	transport := &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp", DisableStandaloneSSE: true}
	c := connectGoSDK(t, transport, "2025-11-25")
	id := c.Session.ID()
	wantText(t, c.call(t, "add", map[string]any{"a": 2, "b": 40}), "42")
	s.kill(t)

	again := startDemo(t, "-data", data, "-addr", strings.TrimPrefix(s.url, "http://"))
	if again.url != s.url {
		t.Fatalf("the second process is at %s, the first was at %s", again.url, s.url)
	}
	wantText(t, c.call(t, "add", map[string]any{"a": 1, "b": 2}), "3")
	if got := c.Session.ID(); got != id || id == "" {
		t.Errorf("the session is %q, it was %q", got, id)
	}
	c.Session.Close()
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	for _, tc := range []struct {
		name string
		args string
		code int
		says []string
	}{
		{"help", "help", 0, []string{"demo", "version"}},
		{"no command", "", 0, []string{"demo", "version"}},
		{"version", "version", 0, []string{"causeway ", "go1."}},
		{"an unknown command", "dmeo", 2, []string{`"dmeo"`, "demo"}},
		{"the flags of demo", "demo -h", 0, []string{"-addr", "-no-auth", "-allow-anonymous"}},
		{"an unknown flag", "demo -adr x", 2, []string{"-adr", "-h"}},
		{"an argument too many", "demo now", 2, []string{`"now"`}},
		{"an address in use", "demo -addr " + strings.TrimPrefix(s.url, "http://"), 1, []string{strings.TrimPrefix(s.url, "http://"), "another program", "-addr"}},
		{"a public address without sign-in", "demo -no-auth -addr 0.0.0.0:0", 2, []string{"sign-in", "-allow-anonymous"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command(causeway, strings.Fields(tc.args)...)
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tc.code {
				t.Errorf("exit status %d, want %d\n%s", got, tc.code, out)
			}
			for _, want := range tc.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// What the demo prints is meant to be copied.
func TestDemoSaysHowToConnect(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	banner := s.stdout.String()
	for _, want := range []string{
		"claude mcp add --transport http causeway-demo " + s.url + "/mcp",
		`code --add-mcp '{"name":"causeway-demo","type":"http","url":"` + s.url + `/mcp"}'`,
		`{"mcpServers":{"causeway-demo":{"url":"` + s.url + `/mcp"}}}`,
		"npx @modelcontextprotocol/inspector --server-url " + s.url + "/mcp",
		"npx mcp-remote " + s.url + "/mcp",
	} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
}
