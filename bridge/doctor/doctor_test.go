package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func patient() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "patient", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})
	return s
}

func examine(t *testing.T, h http.Handler, path string) *Report {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
	return Examine(t.Context(), Options{URL: ts.URL + path, Timeout: 5 * time.Second})
}

func (r *Report) step(name string) *Step {
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			return &r.Steps[i]
		}
	}
	return nil
}

func dump(r *Report) string {
	b, _ := json.MarshalIndent(r, "", "  ")
	return string(b)
}

func TestHealthyServers(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler http.Handler
		eras    string
		origin  Verdict
	}{
		{"of every era", mcphttp.NewHandler(func(*http.Request) *mcp.Server { return patient() }, nil), "2026-07-28", OK},
		{"of the Go SDK, with sessions", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return patient() }, nil), "2025-11-25", Warning},
		{"of the Go SDK, without", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return patient() }, &mcp.StreamableHTTPOptions{Stateless: true}), "2026-07-28", Warning},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := examine(t, tc.handler, "/mcp")
			if !r.Works || !strings.Contains(strings.Join(r.Eras, " "), tc.eras) {
				t.Errorf("works %t, eras %v\n%s", r.Works, r.Eras, dump(r))
			}
			if s := r.step("tools"); s == nil || s.Verdict != OK || !strings.Contains(s.Summary, "1 tools") {
				t.Errorf("tools: %+v", s)
			}
			if s := r.step("origin"); s == nil || s.Verdict != tc.origin {
				t.Errorf("origin: %+v", s)
			}
			for _, s := range r.Steps {
				if s.Verdict == Failure {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// Every session that was opened for the examination is gone after it.
func TestNothingIsLeftBehind(t *testing.T) {
	open := map[string]bool{}
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return patient() }, nil)
	r := examine(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		if id := w.Header().Get("Mcp-Session-Id"); id != "" && r.Method == http.MethodPost {
			open[id] = true
		}
		if r.Method == http.MethodDelete {
			delete(open, r.Header.Get("Mcp-Session-Id"))
		}
	}), "/mcp")
	if len(open) > 0 || r.step("delete") == nil {
		t.Errorf("open: %v\n%s", open, dump(r))
	}
}

func TestOldTransport(t *testing.T) {
	r := examine(t, mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return patient() }, nil), "/sse")
	if s := r.step("sse"); s == nil || s.Verdict != Warning || !r.Works {
		t.Errorf("%s", dump(r))
	}
}

type noLogin struct{}

func (noLogin) Start(http.ResponseWriter, *http.Request, *oauth.Attempt) error {
	return oauth.ErrDenied
}
func (noLogin) Finish(*http.Request, *oauth.Attempt) (*oauth.Person, error) {
	return nil, oauth.ErrDenied
}

func TestSignIn(t *testing.T) {
	var h http.Handler
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	defer ts.Close()
	inner := mcphttp.NewHandler(func(*http.Request) *mcp.Server { return patient() }, nil)
	protected, err := (&oauth.Provider{Issuer: ts.URL, Login: noLogin{}}).Protect(t.Context(), inner)
	if err != nil {
		t.Fatal(err)
	}
	h = protected
	r := Examine(t.Context(), Options{URL: ts.URL + "/mcp"})
	if !r.NeedsSignIn || !r.Works {
		t.Errorf("%s", dump(r))
	}
	for _, name := range []string{"discover", "resource metadata", "authorization server"} {
		if s := r.step(name); s == nil || s.Verdict != OK {
			t.Errorf("%s: %+v", name, s)
		}
	}
	// A token that is refused is no sign-in.
	r = Examine(t.Context(), Options{URL: ts.URL + "/mcp", SignedIn: withToken("junk")})
	if s := r.step("as a person"); r.Works || s == nil || s.Verdict != Failure {
		t.Errorf("%s", dump(r))
	}
	if text := dump(r); strings.Contains(text, "junk") {
		t.Errorf("the token is in the report:\n%s", text)
	}
	// One that is taken opens the rest.
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer good" {
			inner.ServeHTTP(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	})
	r = Examine(t.Context(), Options{URL: ts.URL + "/mcp", SignedIn: withToken("good")})
	if s := r.step("tools"); !r.Works || !r.NeedsSignIn || s == nil || s.Verdict != OK {
		t.Errorf("%s", dump(r))
	}
}

type withToken string

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(w))
	return http.DefaultTransport.RoundTrip(r)
}

// What is wrong is found, and said at the right step.
func TestSickServers(t *testing.T) {
	status := func(code int, header ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		})
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") })
	signIn := func(resource, server func(base string) string, document string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			base := "http://" + r.Host
			switch {
			case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource"):
				fmt.Fprintf(w, `{"resource":%q,"authorization_servers":[%q]}`, resource(base), server(base))
			case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-authorization-server"):
				fmt.Fprint(w, strings.ReplaceAll(document, "BASE", base))
			case strings.HasPrefix(r.URL.Path, "/.well-known"):
				http.NotFound(w, r)
			default:
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+base+`/.well-known/oauth-protected-resource/mcp"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	}
	mcpOf := func(base string) string { return base + "/mcp" }
	self := func(base string) string { return base }
	const good = `{"issuer":"BASE","authorization_endpoint":"BASE/a","token_endpoint":"BASE/t","registration_endpoint":"BASE/r","code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true}`
	for _, tc := range []struct {
		name    string
		handler http.Handler
		step    string
		verdict Verdict
		says    string
	}{
		{"nothing there", status(404), "sse", Failure, "No MCP server"},
		{"a web page", page, "sse", Failure, "No MCP server"},
		{"a redirect", status(308, "Location", "https://elsewhere.example/mcp?key=s3cret"), "discover", Failure, "elsewhere"},
		{"forbidden", status(403), "discover", Failure, "forbids"},
		{"an error", status(502), "discover", Failure, "502"},
		{"a sign-in that is nowhere", status(401), "discover", Warning, "does not say where"},
		{"a wrong clock", status(404, "Date", "Mon, 02 Jan 2006 15:04:05 GMT"), "clock", Warning, "clocks"},
		{"another resource", signIn(func(string) string { return "https://other.example/mcp" }, self, good), "resource metadata", Failure, "another resource"},
		{"a resource without a port", signIn(func(string) string { return "http://127.0.0.1/mcp" }, self, good), "resource metadata", Failure, "another resource"},
		{"a good sign-in", signIn(mcpOf, self, good), "authorization server", OK, "registration"},
		{"no PKCE", signIn(mcpOf, self, strings.Replace(good, "S256", "plain", 1)), "authorization server", Failure, "PKCE"},
		{"another issuer", signIn(mcpOf, self, strings.Replace(good, `"issuer":"BASE"`, `"issuer":"BASE/"`, 1)), "authorization server", Failure, "another issuer"},
		{"no way in", signIn(mcpOf, self, strings.Replace(good, "registration_endpoint", "x", 1)), "authorization server", Warning, "introduce themselves"},
		{"a token endpoint in clear", signIn(mcpOf, self, strings.Replace(good, `BASE/t"`, `http://token.example/t"`, 1)), "authorization server", Failure, "plain http"},
		{"an authorization server that is a script", signIn(mcpOf, func(string) string { return "javascript:alert(1)" }, good), "authorization server", Failure, "no URL"},
		{"no metadata", signIn(mcpOf, func(b string) string { return b + "/other" }, "not JSON"), "authorization server", Failure, "no metadata"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := examine(t, tc.handler, "/mcp")
			s := r.step(tc.step)
			if s == nil || s.Verdict != tc.verdict || !strings.Contains(s.Summary, tc.says) {
				t.Fatalf("%s: %+v\n%s", tc.step, s, dump(r))
			}
			if tc.verdict == Failure && (r.Works || s.Fix == "") {
				t.Errorf("works %t, fix %q", r.Works, s.Fix)
			}
			if strings.Contains(dump(r), "s3cret") {
				t.Errorf("a secret is in the report:\n%s", dump(r))
			}
		})
	}
}

func TestWhatCannotBeReached(t *testing.T) {
	for _, tc := range []struct{ url, step string }{
		{"not a url", "url"}, {"ftp://x.example", "url"}, {"https://u:p4ssword@x.example/mcp", "url"},
		{"https://no-such-host.invalid/mcp", "dns"}, {"http://127.0.0.1:1/mcp", "tcp"},
	} {
		r := Examine(t.Context(), Options{URL: tc.url, Timeout: 3 * time.Second})
		if s := r.step(tc.step); r.Works || s == nil || s.Verdict != Failure || s.Fix == "" {
			t.Errorf("%s: %s", tc.url, dump(r))
		}
		if strings.Contains(dump(r), "p4ssword") {
			t.Errorf("the password is in the report: %s", dump(r))
		}
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	r := Examine(t.Context(), Options{URL: strings.Replace(plain.URL, "http:", "https:", 1) + "/mcp"})
	if s := r.step("tls"); s == nil || !strings.Contains(s.Summary, "does not speak TLS") {
		t.Errorf("%s", dump(r))
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	r = Examine(t.Context(), Options{URL: secure.URL + "/mcp"})
	if s := r.step("tls"); s == nil || !strings.Contains(s.Summary, "authority") {
		t.Errorf("%s", dump(r))
	}
}

// A hostile server cannot make the doctor hang, swell or write to the terminal.
func TestHostileServers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"an endless answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for w.(http.Flusher) != nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
					return
				}
			}
		},
		"an endless stream": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := w.Write([]byte("data: x\n\n")); err != nil {
					return
				}
			}
		},
		"a stream that stops": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a terminal's escapes": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Server", "\u202eevil")
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["`+"\u009b2J"+`\u001b[2J2026-07-28"],"resultType":"complete"}}`)
		},
		"tokens in an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			fmt.Fprint(w, `{"access_token":"s3cret-a","refresh_token" : "s3cret-\"b","note":"eyJhbGciOiJub25lIn0.eyJz.s3cret","x":"ghp_s3cretaaaaaaaaaaaaaaaa"}`)
		},
		"nested": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("[", 1<<19)) },
		"a metadata loop": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/.well-known") {
				http.Redirect(w, r, r.URL.Path+"/again", http.StatusFound)
				return
			}
			w.WriteHeader(401)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the handler does not see the client go
				h(w, r)
			}))
			t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
			r := Examine(t.Context(), Options{URL: ts.URL + "/mcp", Timeout: 300 * time.Millisecond})
			text := ""
			for _, s := range r.Steps {
				text += s.Summary + s.Sent + s.Got
			}
			if strings.ContainsAny(text, "\x1b\u009b\u202e") || strings.Contains(text, "s3cret") || len(text) > 64<<10 {
				t.Errorf("%d bytes:\n%q", len(text), text)
			}
		})
	}
}

func TestAddressesInside(t *testing.T) {
	for addr, public := range map[string]bool{"8.8.8.8": true, "10.0.0.1": false, "127.0.0.1": false, "169.254.169.254": false, "100.64.1.1": false,
		"::1": false, "fd00::1": false, "::ffff:10.0.0.1": false, "2606:4700::1111": true, "0.0.0.0": false} {
		if got := isPublicAddr(netip.MustParseAddr(addr)); got != public {
			t.Errorf("%s is public: %t", addr, got)
		}
	}
	e := &examination{url: &url.URL{Scheme: "https", Host: "8.8.8.8"}}
	for text, ok := range map[string]bool{"https://8.8.4.4/x": true, "https://169.254.169.254/latest": false, "http://8.8.4.4/x": false, "https://localhost/x": false,
		"file:///etc/passwd": false, "https://u@8.8.4.4/": false} {
		if why := e.allowed(text); (why == "") != ok {
			t.Errorf("%s: %q", text, why)
		}
	}
}

func FuzzShown(f *testing.F) {
	f.Add("a\x1b[2J", `{"access_token":"x"}`, "https://u:p@h/?k=v")
	f.Fuzz(func(t *testing.T, text, body, address string) {
		for _, s := range []string{clean(text), clean(redactBody(body)), clean(redactURL(address))} {
			if strings.ContainsAny(s, "\x1b\x00\u009b\u202e") || len(s) > maxShown*4 {
				t.Errorf("%q", s)
			}
		}
	})
}

func TestTheRightPathIsNamed(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcphttp.NewHandler(func(*http.Request) *mcp.Server { return patient() }, nil))
	for path, fix := range map[string]string{"": "/mcp: an MCP server answers there", "/x/": "/mcp: an MCP server answers there"} {
		r := examine(t, mux, path)
		if s := r.step("sse"); s == nil || r.Works || !strings.Contains(s.Fix, fix) {
			t.Errorf("%q: %s", path, dump(r))
		}
	}
	r := examine(t, http.NotFoundHandler(), "")
	if s := r.step("sse"); s == nil || !strings.Contains(s.Fix, "Check the path: / may not be the one") {
		t.Error(dump(r))
	}
}

func TestHTTPWhereHTTPSWasMeant(t *testing.T) {
	ts := httptest.NewTLSServer(http.NotFoundHandler())
	defer ts.Close()
	r := Examine(t.Context(), Options{URL: "http" + strings.TrimPrefix(ts.URL, "https") + "/mcp", Timeout: 5 * time.Second})
	if s := r.step("sse"); s == nil || r.Works || !strings.Contains(s.Fix, "https://") {
		t.Error(dump(r))
	}
}

func TestURLsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8787/mcp":         "it has no scheme",
		"mcp.example.com":            "it has no scheme",
		"ftp://x.example/mcp":        "neither https nor http",
		"http://":                    "no host",
		"http://bad host/mcp":        "cannot be read",
		"http://127.0.0.1:99999/mcp": "no port 99999",
		"http://127.0.0.1:0/mcp":     "no port 0",
	} {
		r := Examine(t.Context(), Options{URL: text})
		if s := r.step("url"); r.Works || s == nil || s.Verdict != Failure || !strings.Contains(s.Summary, want) || s.Fix == "" {
			t.Errorf("%q: %s", text, dump(r))
		}
	}
}

// Every step that fails says what was sent, what came back, and what to do.
func TestAFailureOfTheNetworkSaysWhatWasSent(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for step, text := range map[string]string{
		"dns": "http://nosuch.invalid/mcp",
		"tcp": "http://127.0.0.1:1/mcp",
		"tls": "https" + strings.TrimPrefix(plain.URL, "http") + "/mcp",
	} {
		r := Examine(t.Context(), Options{URL: text, Timeout: 5 * time.Second})
		if s := r.step(step); s == nil || s.Verdict != Failure || s.Sent == "" || s.Got == "" || s.Fix == "" {
			t.Errorf("%s: %s", step, dump(r))
		}
	}
}
