package causeway_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serve runs an App at an address of its own until the test ends.
func serve(t *testing.T, app *causeway.App) (base string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base = "http://" + ln.Addr().String()
	if app.SignIn != nil && app.SignIn.Issuer == "" {
		app.SignIn.Issuer = base
	}
	if app.Logger == nil {
		app.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if err := app.Open(); err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: app.Handler()}}
	srv.Start()
	t.Cleanup(func() {
		app.Shutdown(context.Background())
		srv.Close()
	})
	return base
}

func tool(s *mcp.Server, name string, f func(ctx context.Context) (string, error)) {
	causeway.AddTool(s, &mcp.Tool{Name: name}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		text, err := f(ctx)
		return causeway.Text(text), nil, err
	})
}

func says(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// scoped is a server with a tool for everybody, one that needs a scope, and one that
// finds out itself what it needs.
func scoped(t *testing.T) (base string) {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	tool(s, "read", says("read"))
	tool(s, "write", says("written"))
	tool(s, "judge", func(ctx context.Context) (string, error) { return "judged", oauth.NeedScopes(ctx, "write") })
	causeway.RequireScopes(s, "write", "write")
	app := &causeway.App{SignIn: &oauth.Provider{Login: login.Dev(), Resources: []oauth.Resource{{
		Path: "/mcp", Require: []string{"read"},
		Scopes: []oauth.Scope{{Name: "read", Words: "read"}, {Name: "write", Words: "write what you like"}},
	}}}}
	app.Mount("/mcp", causeway.Server(s))
	return serve(t, app)
}

func TestAClientStepsUpWhereAToolNeedsMoreScopes(t *testing.T) {
	for _, name := range []string{"write", "judge"} {
		t.Run(name, func(t *testing.T) {
			base := scoped(t)
			ada := person.New("name", "ada")
			s := ada.Connect(t, base+"/mcp")
			if got := person.Text(t, s, "read", nil); got != "read" {
				t.Fatalf("got %q", got)
			}
			asked := len(ada.Seen())
			if strings.Contains(ada.Seen()[0].Body, "write what you like") {
				t.Error("the first consent asks for more than is required")
			}
			if got := person.Text(t, s, name, nil); got != map[string]string{"write": "written", "judge": "judged"}[name] {
				t.Errorf("after the step-up: %q", got)
			}
			if pages := ada.Seen()[asked:]; len(pages) == 0 || !strings.Contains(pages[0].Body, "write what you like") {
				t.Error("the person was not asked for the scope")
			}
			person.Text(t, s, "read", nil) // what was had before is had still
		})
	}
}

// bearerOf is a token of a new program of the person's, with the least scopes.
func bearerOf(t *testing.T, base, name string) string {
	t.Helper()
	var token string
	h, err := person.New("name", name).Program("p")
	if err != nil {
		t.Fatal(err)
	}
	spy := roundTripper(func(r *http.Request) (*http.Response, error) {
		if b, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			token = b
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: base + "/mcp", OAuthHandler: h, DisableStandaloneSSE: true, HTTPClient: &http.Client{Transport: spy}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	return token
}

// rpc posts a message with a token.
func rpc(t *testing.T, url, token, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp, string(b)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWithoutTheScopeTheAnswerIsAChallenge(t *testing.T) {
	base := scoped(t)
	token := bearerOf(t, base, "ada")
	post := func(session string, body string, hd ...string) (*http.Response, string) {
		t.Helper()
		if session != "" {
			hd = append(hd, "Mcp-Session-Id", session)
		}
		return rpc(t, base+"/mcp", token, body, hd...)
	}
	check := func(t *testing.T, resp *http.Response, body string) {
		t.Helper()
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != 403 || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %d %s %s", resp.StatusCode, resp.Header, body)
		}
		for _, want := range []string{`Bearer `, `error="insufficient_scope"`, `scope="read write"`, `resource_metadata="` + base + `/.well-known/oauth-protected-resource/mcp"`} {
			if !strings.Contains(challenge, want) {
				t.Errorf("challenge %q lacks %s", challenge, want)
			}
		}
		if !strings.Contains(body, `"error":"insufficient_scope"`) || strings.Contains(body, "judged") || strings.Contains(body, "written") {
			t.Errorf("body %s", body)
		}
	}
	for _, name := range []string{"write", "judge"} {
		call := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"` + name + `","arguments":{}}}`
		t.Run("2026-07-28 "+name, func(t *testing.T) {
			resp, body := post("", strings.Replace(call, `"arguments":{}`, `"arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`, 1),
				"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", name)
			check(t, resp, body)
		})
		t.Run("2025-11-25 "+name, func(t *testing.T) {
			resp, _ := post("", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
			session := resp.Header.Get("Mcp-Session-Id")
			post(session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "MCP-Protocol-Version", "2025-11-25")
			resp, body := post(session, call, "MCP-Protocol-Version", "2025-11-25")
			check(t, resp, body)
		})
	}
	t.Run("over a WebSocket", func(t *testing.T) {
		c, _, err := websocket.Dial(t.Context(), base+"/mcp", &websocket.DialOptions{Subprotocols: []string{"mcp"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		for _, m := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"write","arguments":{}}}`,
		} {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		for {
			_, b, err := c.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), `"id":2`) {
				if !strings.Contains(string(b), "insufficient_scope") || strings.Contains(string(b), "written") {
					t.Errorf("got %s", b)
				}
				return
			}
		}
	})
}

func TestWithoutSignInNobodyHasAScope(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	tool(s, "write", says("written"))
	causeway.RequireScopes(s, "write", "write")
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(s))
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: serve(t, app) + "/mcp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "write"}); err == nil {
		t.Errorf("called: %v", res.Content)
	}
}

func TestTheOldPathOfAServerNeedsWhatTheServerNeeds(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	m := causeway.Server(s)
	m.SSEPath = "/sse"
	open := causeway.Server(s)
	open.Options.AllowAnonymous = true
	app := &causeway.App{SignIn: &oauth.Provider{Login: login.Dev(), Resources: []oauth.Resource{{
		Path: "/mcp", Require: []string{"read"}, Scopes: []oauth.Scope{{Name: "read"}},
	}}}}
	app.Mount("/mcp", m)
	app.Mount("/open", open)
	base := serve(t, app)
	for path, want := range map[string]string{"/mcp": `scope="read"`, "/sse": `scope="read"`, "/open": ""} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", base+path, strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("WWW-Authenticate"); (resp.StatusCode == 401) != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: %d %q", path, resp.StatusCode, got)
		}
	}
}

func TestWhatMakesNoSenseOfSignInIsSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		app  *causeway.App
		want string
	}{
		"no issuer on an address that others reach": {&causeway.App{Addr: "0.0.0.0:0", SignIn: &oauth.Provider{Login: login.Dev()}}, "Issuer is not set"},
		"sign-in here and elsewhere":                {&causeway.App{Addr: "127.0.0.1:0", SignIn: &oauth.Provider{Login: login.Dev()}, Guard: func(h http.Handler) (http.Handler, error) { return h, nil }}, "SignIn and Guard"},
		"no login":                                  {&causeway.App{Addr: "127.0.0.1:0", SignIn: &oauth.Provider{}}, "Login"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.app.Ready = func(string) { t.Error("served") }
			tc.app.Mount("/mcp", causeway.Server(greeter()))
			if err := tc.app.Run(t.Context(), []string{"-data", t.TempDir()}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
