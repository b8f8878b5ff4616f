package causeway_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestAppServesWhatIsMountedAndHandled(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	app.Handle("GET /hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	base, stop := run(t, app)

	session := connect(t, base+"/mcp")
	if got := call(t, session, "greet", map[string]any{"name": "Ada"}); got != "Hello, Ada!" {
		t.Errorf("greet = %q", got)
	}
	res, err := http.Get(base + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "hello" {
		t.Errorf("GET /hello = %q", body)
	}
	session.Close()
	if err := stop(); err != nil {
		t.Errorf("Run = %v after its context ended, want nil", err)
	}
}

func TestAppServesOldClientsAtTheSSEPath(t *testing.T) {
	m := causeway.Server(greeter())
	m.SSEPath = "/sse"
	app := &causeway.App{}
	app.Mount("/mcp", m)
	base, stop := run(t, app)

	client := mcp.NewClient(&mcp.Implementation{Name: "old", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.SSEClientTransport{Endpoint: base + "/sse"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := call(t, session, "greet", map[string]any{"name": "Ada"}); got != "Hello, Ada!" {
		t.Errorf("greet = %q", got)
	}
	session.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAppLetsACallFinishWhenItStops(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	s := mcp.NewServer(&mcp.Implementation{Name: "slow", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "slow"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		close(started)
		<-release
		return causeway.Text("done"), nil, nil
	})
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(s))
	base, stop := run(t, app)

	session := connect(t, base+"/mcp")
	answer := make(chan string, 1)
	go func() { answer <- callOrError(session, "slow", nil) }()
	<-started
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // the listener closes first: nobody new comes in
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			break
		}
		conn.Close()
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the call that was being worked on got %q, want done", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestAppRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"on an address that is in use, naming it and the remedy", []string{"-addr", taken.Addr().String()}, []string{taken.Addr().String(), "-addr"}},
		{"on an address others can reach without sign-in", []string{"-addr", "0.0.0.0:0"}, []string{"sign-in", "-allow-anonymous"}},
		{"on all addresses without sign-in", []string{"-addr", ":0"}, []string{"sign-in", "-allow-anonymous"}},
		{"with an unknown flag", []string{"-adr", "127.0.0.1:0"}, []string{"-adr", "-h"}},
		{"with an address that has no port", []string{"-addr", "localhost"}, []string{`"localhost"`, "host:port"}},
		{"with an address that has no such port", []string{"-addr", "127.0.0.1:99999"}, []string{"99999", "from 1 to 65535"}},
		{"with a port that is no number", []string{"-addr", "127.0.0.1:http2go"}, []string{"127.0.0.1:http2go"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			app := &causeway.App{Ready: func(base string) { t.Errorf("serving at %s", base) }}
			app.Mount("/mcp", causeway.Server(greeter()))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := app.Run(ctx, tc.args)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %s", err, want)
				}
			}
		})
	}
}

func TestAppServesEveryoneWhenToldSo(t *testing.T) {
	app := &causeway.App{Addr: "0.0.0.0:0", AllowAnonymous: true}
	app.Mount("/mcp", causeway.Server(greeter()))
	base, stop := run(t, app)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	session := connect(t, "http://127.0.0.1:"+port+"/mcp")
	if got := call(t, session, "greet", map[string]any{"name": "all"}); got != "Hello, all!" {
		t.Errorf("greet = %q", got)
	}
	session.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAppParsesTheFlagsOfItsProgramToo(t *testing.T) {
	set := flag.NewFlagSet("mine", flag.ContinueOnError)
	name := set.String("name", "", "")
	t.Setenv("CAUSEWAY_NAME", "from the environment")
	app := &causeway.App{Flags: set}
	app.Mount("/mcp", causeway.Server(greeter()))
	_, stop := run(t, app)
	if *name != "from the environment" {
		t.Errorf("-name = %q", *name)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAppExplainsItsFlags(t *testing.T) {
	var help bytes.Buffer
	set := flag.NewFlagSet("mine", flag.ContinueOnError)
	set.SetOutput(&help)
	if err := (&causeway.App{Flags: set}).Run(t.Context(), []string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("Run(-h) = %v, want flag.ErrHelp", err)
	}
	for _, want := range []string{"mine", "-addr", causeway.DefaultAddr, "-allow-anonymous", "-config"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("help does not mention %s:\n%s", want, &help)
		}
	}
}

func TestAppRefusesHugeHeaders(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	base, stop := run(t, app)
	req, _ := http.NewRequest("GET", base+"/mcp", nil)
	req.Header.Set("X-Large", strings.Repeat("x", 1<<20))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("1 MiB of headers: status %d, want 431", res.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestMountPanicsOnMistakes(t *testing.T) {
	for name, mistake := range map[string]func(*causeway.App){
		"a path without a slash": func(a *causeway.App) { a.Mount("mcp", causeway.Server(greeter())) },
		"a pattern as a path":    func(a *causeway.App) { a.Mount("/{x}", causeway.Server(greeter())) },
		"a method in the path":   func(a *causeway.App) { a.Mount("POST /mcp", causeway.Server(greeter())) },
		"no server":              func(a *causeway.App) { a.Mount("/mcp", causeway.MountHandler{}) },
		"a nil server":           func(a *causeway.App) { a.Mount("/mcp", causeway.Server(nil)) },
		"the same path twice": func(a *causeway.App) {
			a.Mount("/mcp", causeway.Server(greeter()))
			a.Mount("/mcp", causeway.Server(greeter()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			mistake(&causeway.App{})
		})
	}
}

func greeter() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "greeter", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "greet"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		Name string `json:"name"`
	}) (*mcp.CallToolResult, any, error) {
		return causeway.Textf("Hello, %s!", in.Name), nil, nil
	})
	return s
}

// run runs app, on a free port of loopback unless it says another, and returns its
// URL and what ends it.
func run(t *testing.T, app *causeway.App) (base string, stop func() error) {
	t.Helper()
	if app.Addr == "" {
		app.Addr = "127.0.0.1:0"
	}
	app.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	ready := make(chan string, 1)
	app.Ready = func(base string) { ready <- base }
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, nil) }()
	select {
	case base = <-ready:
	case err := <-done:
		t.Fatalf("Run = %v", err)
	}
	return base, func() error {
		cancel()
		return <-done
	}
}

func connect(t *testing.T, url string) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func call(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	return callOrError(s, tool, args)
}

func callOrError(s *mcp.ClientSession, tool string, args map[string]any) string {
	res, err := s.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return err.Error()
	}
	return res.Content[0].(*mcp.TextContent).Text
}
