package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// set makes a change of one member of a document.
func set(name string, value any) func(map[string]any) {
	return func(doc map[string]any) {
		if value == nil {
			delete(doc, name)
			return
		}
		doc[name] = value
	}
}

func body(status int, contentType, text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", contentType)
		rw.WriteHeader(status)
		io.WriteString(rw, text)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusTemporaryRedirect) }
}

// endless answers for as long as somebody reads.
func endless(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	io.WriteString(rw, `{"issuer":"`)
	junk := strings.Repeat("x", 32<<10)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(rw, junk); err != nil {
			return
		}
	}
}

// stuck answers the beginning and then nothing.
func stuck(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	io.WriteString(rw, `{"issuer":`)
	rw.(http.Flusher).Flush()
	<-r.Context().Done()
}

const (
	metadataPath = "as /.well-known/oauth-authorization-server"
	resourcePath = "mcp /.well-known/oauth-protected-resource/mcp"
)

// A hostile server can make a sign-in at itself fail, and nothing else: no code and no token
// goes where it should not, no browser is sent where it should not, and there is an end.
func TestAHostileServer(t *testing.T) {
	var victim *httptest.Server // what attackers want to reach
	reached := make(chan string, 100)
	victim = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Method + " " + r.URL.String() }))
	t.Cleanup(victim.Close)

	for _, test := range []struct {
		name    string
		hostile func(w *world)
		want    error  // nil: any
		browser bool   // somebody may be sent to a browser before it fails
		token   bool   // the token endpoint may be asked
		says    string // in the error
		options Options
	}{
		// Metadata of the resource.
		{name: "protected resource metadata is endless", hostile: func(w *world) { w.handle[resourcePath] = endless }, want: ErrBadAnswer},
		{name: "protected resource metadata stops in the middle", hostile: func(w *world) { w.handle[resourcePath] = stuck },
			options: Options{Policy: Policy{RequestTimeout: 300 * time.Millisecond}}},
		{name: "protected resource metadata is an HTML page", hostile: func(w *world) { w.handle[resourcePath] = body(200, "text/html", "<html>") }, want: ErrBadAnswer},
		{name: "protected resource metadata is a list", hostile: func(w *world) { w.handle[resourcePath] = body(200, "application/json", "[]") }, want: ErrBadAnswer},
		{name: "protected resource metadata nests a million deep", hostile: func(w *world) {
			w.handle[resourcePath] = body(200, "application/json", strings.Repeat(`{"a":`, 40<<10))
		}, want: ErrBadAnswer},
		{name: "protected resource metadata says a member twice", hostile: func(w *world) {
			w.handle[resourcePath] = body(200, "application/json", `{"resource":"`+w.server()+`","resource":"https://else.example","authorization_servers":["`+w.as.URL+`"]}`)
		}, want: ErrBadAnswer},
		{name: "protected resource metadata is for another origin", hostile: func(w *world) { w.resource = set("resource", "https://bank.example/mcp") }, want: ErrMismatch},
		{name: "protected resource metadata is for a sibling path", hostile: func(w *world) { w.resource = set("resource", w.mcp.URL+"/mc") }, want: ErrMismatch},
		{name: "protected resource metadata has no resource", hostile: func(w *world) { w.resource = set("resource", nil) }, want: ErrMismatch},
		{name: "protected resource metadata names no server", hostile: func(w *world) { w.resource = set("authorization_servers", []string{}) }, want: ErrBadAnswer},
		{name: "the challenge leads to a file", hostile: func(w *world) { w.handle["mcp /mcp"] = challengeTo("file:///etc/passwd") }, want: ErrForbiddenAddress},
		{name: "the challenge leads to plain http elsewhere", hostile: func(w *world) { w.handle["mcp /mcp"] = challengeTo("http://metadata.example/latest") }, want: ErrForbiddenAddress},
		{name: "the challenge leads to a URL with a user", hostile: func(w *world) { w.handle["mcp /mcp"] = challengeTo("https://a:b@bank.example/x") }, want: ErrForbiddenAddress},
		{name: "protected resource metadata redirects to another origin", hostile: func(w *world) { w.handle[resourcePath] = redirect(victim.URL + "/admin") }, want: ErrForbiddenAddress},
		{name: "protected resource metadata redirects in a circle", hostile: func(w *world) {
			w.handle[resourcePath] = redirect("/.well-known/oauth-protected-resource/mcp")
		}, want: ErrBadAnswer},

		// Metadata of the authorization server.
		{name: "the issuer is a javascript URL", hostile: func(w *world) { w.resource = set("authorization_servers", []string{"javascript:alert(1)"}) }, want: ErrForbiddenAddress},
		{name: "the issuer has a query", hostile: func(w *world) { w.resource = set("authorization_servers", []string{w.as.URL + "?a=b"}) }, want: ErrForbiddenAddress},
		{name: "a thousand issuers", hostile: func(w *world) {
			var all []string
			for i := range 1000 {
				all = append(all, fmt.Sprintf("%s/%d", w.as.URL, i))
			}
			w.resource = set("authorization_servers", all)
		}, want: ErrBadAnswer},
		{name: "server metadata is for another issuer", hostile: func(w *world) { w.metadata = set("issuer", "https://honest.example") }, want: ErrMismatch},
		{name: "server metadata has another spelling of the issuer", hostile: func(w *world) { w.metadata = set("issuer", w.as.URL+"/") }, want: ErrMismatch},
		{name: "server metadata is endless", hostile: func(w *world) { w.handle[metadataPath] = endless }, want: ErrBadAnswer},
		{name: "server metadata is too long by spaces", hostile: func(w *world) {
			w.handle[metadataPath] = func(rw http.ResponseWriter, r *http.Request) {
				w.serveMetadata(rw, r)
				io.WriteString(rw, strings.Repeat(" ", defaultMaxResponse))
			}
		}, want: ErrBadAnswer},
		{name: "server metadata has numbers for endpoints", hostile: func(w *world) { w.metadata = set("token_endpoint", 7) }, want: ErrBadAnswer},
		{name: "server metadata has no token endpoint", hostile: func(w *world) { w.metadata = set("token_endpoint", nil) }, want: ErrBadAnswer},
		{name: "server metadata redirects to another origin", hostile: func(w *world) { w.handle[metadataPath] = redirect(victim.URL + "/admin") }, want: ErrForbiddenAddress},
		{name: "server metadata does not offer PKCE", hostile: func(w *world) { w.metadata = set("code_challenge_methods_supported", nil) }, want: ErrBadAnswer, says: "PKCE"},
		{name: "server metadata offers plain PKCE only", hostile: func(w *world) { w.metadata = set("code_challenge_methods_supported", []string{"plain"}) }, want: ErrBadAnswer, says: "PKCE"},
		{name: "the authorization endpoint is a javascript URL", hostile: func(w *world) { w.metadata = set("authorization_endpoint", "javascript:fetch('//evil')") }, want: ErrForbiddenAddress},
		{name: "the authorization endpoint is a file", hostile: func(w *world) { w.metadata = set("authorization_endpoint", "file:///bin/sh") }, want: ErrForbiddenAddress},
		{name: "the authorization endpoint is a private scheme", hostile: func(w *world) { w.metadata = set("authorization_endpoint", "ms-msdt:/id PCWDiagnostic") }, want: ErrForbiddenAddress},
		{name: "the authorization endpoint has a command in it", hostile: func(w *world) { w.metadata = set("authorization_endpoint", w.as.URL+"/a\"&calc.exe&\"") }, want: ErrForbiddenAddress},
		{name: "the authorization endpoint has a line break", hostile: func(w *world) { w.metadata = set("authorization_endpoint", w.as.URL+"/a\nb") }, want: ErrForbiddenAddress},
		{name: "the authorization endpoint begins like a flag", hostile: func(w *world) { w.metadata = set("authorization_endpoint", "--url=http://127.0.0.1") }, want: ErrForbiddenAddress},
		{name: "the token endpoint is plain http elsewhere", hostile: func(w *world) { w.metadata = set("token_endpoint", "http://tokens.example/t") }, want: ErrForbiddenAddress},
		{name: "the token endpoint is a file", hostile: func(w *world) { w.metadata = set("token_endpoint", "file:///tmp/t") }, want: ErrForbiddenAddress},
		{name: "the registration endpoint is a gopher", hostile: func(w *world) { w.metadata = set("registration_endpoint", "gopher://127.0.0.1:6379/_FLUSHALL") }, want: ErrForbiddenAddress},

		// Registration.
		{name: "registration answers with HTML", hostile: func(w *world) { w.handle["as /register"] = body(201, "text/html", "<h1>ok</h1>") }, want: ErrBadAnswer},
		{name: "registration gives an empty id", hostile: func(w *world) { w.registered = set("client_id", "") }, want: ErrBadAnswer},
		{name: "registration gives an id with a line break", hostile: func(w *world) { w.registered = set("client_id", "a\r\nX: y") }, want: ErrBadAnswer},
		{name: "registration gives a secretless secret method", hostile: func(w *world) { w.registered = set("token_endpoint_auth_method", "client_secret_basic") }, want: ErrBadAnswer},
		{name: "registration gives an unknown method", hostile: func(w *world) { w.registered = set("token_endpoint_auth_method", "tls_client_auth") }, want: ErrRegistration, browser: true},
		{name: "registration redirects", hostile: func(w *world) { w.handle["as /register"] = redirect(victim.URL + "/register") }, want: ErrBadAnswer},
		{name: "registration is not there", hostile: func(w *world) { w.metadata = set("registration_endpoint", nil) }, want: ErrRegistration},
		{name: "registration refuses with a terminal's escapes", hostile: func(w *world) {
			w.handle["as /register"] = body(400, "application/json", `{"error":"invalid_client_metadata","error_description":"\u001b]0;owned\u0007\u202egnp"}`)
		}, says: "invalid_client_metadata"},

		// The answer of the browser.
		{name: "mix-up: the answer names another issuer", browser: true, hostile: func(w *world) {
			w.callback = inQuery("iss", "https://honest.example")
		}, want: ErrMismatch},
		{name: "mix-up: the answer names no issuer though it is promised", browser: true, hostile: func(w *world) { w.callback = inQuery("iss", "") }, want: ErrMismatch},
		{name: "mix-up: an issuer that was not promised is another", browser: true, hostile: func(w *world) {
			w.metadata = set("authorization_response_iss_parameter_supported", nil)
			w.callback = inQuery("iss", w.as.URL+"/")
		}, want: ErrMismatch},
		{name: "an error of another issuer is not repeated", browser: true, hostile: func(w *world) {
			w.deny = "access_denied"
			w.callback = func(u *url.URL) {
				inQuery("iss", "https://honest.example")(u)
				inQuery("error_description", "call 0900-SCAM")(u)
			}
		}, want: ErrMismatch},
		{name: "the answer has another state", browser: true, hostile: func(w *world) { w.callback = inQuery("state", "guess") }, want: ErrTimeout,
			options: Options{SignInTimeout: 300 * time.Millisecond}},
		{name: "the answer has no code", browser: true, hostile: func(w *world) { w.callback = inQuery("code", "") }, want: ErrTimeout,
			options: Options{SignInTimeout: 300 * time.Millisecond}},
		{name: "the answer has the state twice", browser: true, hostile: func(w *world) {
			w.callback = func(u *url.URL) { u.RawQuery += "&state=" + url.QueryEscape(u.Query().Get("state")) }
		}, want: ErrTimeout, options: Options{SignInTimeout: 300 * time.Millisecond}},

		// The token endpoint.
		{name: "the token endpoint answers with HTML", hostile: func(w *world) { w.handle["as /token"] = body(200, "text/html", "<html>") }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint fails with HTML", hostile: func(w *world) { w.handle["as /token"] = body(502, "text/html", "<html>secret</html>") }, browser: true, token: true, says: "status 502"},
		{name: "the token endpoint is endless", hostile: func(w *world) { w.handle["as /token"] = endless }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint redirects", hostile: func(w *world) { w.handle["as /token"] = redirect(victim.URL + "/steal") }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint gives no token", hostile: func(w *world) { w.token = set("access_token", nil) }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint gives a token with a line break", hostile: func(w *world) { w.token = set("access_token", "a\r\nX-Evil: 1") }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint gives a token of 100 KiB", hostile: func(w *world) { w.token = set("access_token", strings.Repeat("a", 100<<10)) }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint gives a token of an unknown type", hostile: func(w *world) { w.token = set("token_type", "mac") }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint gives a DPoP token that nobody asked for", hostile: func(w *world) { w.token = set("token_type", "DPoP") }, want: ErrBadAnswer, browser: true, token: true},
		{name: "the token endpoint gives an error with status 200", hostile: func(w *world) {
			w.token = set("error", "bad_verification_code")
		}, browser: true, token: true, says: "bad_verification_code"},

		// The options.
		{name: "the server names another issuer than the client's", hostile: func(*world) {}, want: ErrMismatch,
			options: Options{ClientID: "me", ClientSecret: NewSecret("s"), Issuer: "https://idp.example"}},
		{name: "a bound token was demanded and a bearer token came", hostile: func(*world) {}, want: ErrBadAnswer, browser: true, token: true, options: Options{DPoP: DPoPAlways}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.hostile(w)
			_, _, err := w.call(w.client(test.options), "x")
			if err == nil {
				t.Fatal("no error")
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("the error is %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v, and does not say %q", err, test.says)
			}
			for _, never := range append(w.seen, "0900", "\x1b", "\u202e", "\x07", "secret</html>") {
				if strings.Contains(err.Error(), never) {
					t.Errorf("the error %q repeats %q", err, never)
				}
			}
			if got := w.count("browser"); got > 0 && !test.browser || got > 1 {
				t.Errorf("a browser was opened %d times", got)
			}
			if got := w.count("as /token"); got > 0 && !test.token {
				t.Errorf("a code was sent %d times", got)
			}
			select {
			case request := <-reached:
				t.Errorf("the victim was reached: %s", request)
			default:
			}
		})
	}
}

func challengeTo(address string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+address+`"`)
		rw.WriteHeader(http.StatusUnauthorized)
	}
}

func inQuery(name, value string) func(*url.URL) {
	return func(u *url.URL) {
		query := u.Query()
		query.Set(name, value)
		if value == "" {
			query.Del(name)
		}
		u.RawQuery = query.Encode()
	}
}

// Junk at the callback neither ends a sign-in nor looks like its success.
func TestForeignCallbacksAreIgnored(t *testing.T) {
	w := newWorld(t)
	var answers []string
	c := w.client(Options{Open: func(ctx context.Context, address string) error {
		u, _ := url.Parse(address)
		back, _ := url.Parse(u.Query().Get("redirect_uri"))
		state := u.Query().Get("state")
		for _, junk := range []struct{ method, path, query, host string }{
			{"GET", back.Path, "code=x", ""},
			{"GET", back.Path, "code=x&state=", ""},
			{"GET", back.Path, "code=x&state=" + state[:len(state)-1], ""},
			{"GET", back.Path, "code=x&state=" + state + "x", ""},
			{"GET", back.Path, "code=x&state=" + state + "&state=" + state, ""},
			{"GET", back.Path, "code=x&code=y&state=" + state, ""},
			{"GET", back.Path, "code=x&error=y&state=" + state, ""},
			{"GET", back.Path, "state=" + state, ""},
			{"GET", back.Path, "error=access_denied&state=guess", ""},
			{"GET", back.Path, "code=x&state=" + state, "evil.example"},
			{"GET", back.Path, "code=x&state=" + state, "127.0.0.1"},
			{"GET", back.Path, "code=x;state=" + state, ""},
			{"POST", back.Path, "code=x&state=" + state, ""},
			{"HEAD", back.Path, "code=x&state=" + state, ""},
			{"GET", "/callback", "code=x&state=" + state, ""},
			{"GET", "/", "code=x&state=" + state, ""},
			{"GET", back.Path + "/", "code=x&state=" + state, ""},
			{"GET", "/oauth/callback", "code=x&state=" + state, ""},
		} {
			r, _ := http.NewRequestWithContext(ctx, junk.method, "http://"+back.Host+junk.path+"?"+junk.query, nil)
			if junk.host != "" {
				r.Host = junk.host
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				return err
			}
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			answers = append(answers, fmt.Sprintf("%s %s?%s: %d %s", junk.method, junk.path, junk.query, answer.StatusCode, text))
			if answer.StatusCode < 400 || strings.Contains(string(text), "Signed in") {
				t.Errorf("junk was welcome: %s", answers[len(answers)-1])
			}
		}
		return w.browse(ctx, address)
	}})
	w.mustCall(c, "x")
	if len(answers) != 18 {
		t.Errorf("%d answers: %q", len(answers), answers)
	}
	w.wantCounts(map[string]int{"as /token": 1})
}

// A browser is told "signed in" after the exchange, and the failure if that is what came.
func TestTheBrowserIsToldWhatCameOfIt(t *testing.T) {
	for name, test := range map[string]struct {
		token http.HandlerFunc
		want  string
	}{
		"it worked":                      {nil, "Signed in"},
		"the exchange failed with a tag": {body(400, "application/json", `{"error":"invalid_grant","error_description":"<script>alert(1)</script>"}`), "&lt;script&gt;"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.handle["as /token"] = test.token
			pages := make(chan string, 1)
			c := w.client(Options{Open: func(_ context.Context, address string) error {
				answer, err := http.Get(address)
				if err != nil {
					return err
				}
				defer answer.Body.Close()
				text, _ := io.ReadAll(answer.Body)
				if answer.Header.Get("Content-Security-Policy") == "" || answer.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("the page has the headers %v", answer.Header)
				}
				pages <- string(text)
				return nil
			}})
			_, _, _ = w.call(c, "x")
			if got := <-pages; !strings.Contains(got, test.want) || strings.Contains(got, "<script>") {
				t.Errorf("the page is %s", got)
			}
		})
	}
}

// What a server on the internet may make this machine connect to is decided when it is
// dialled.
func TestAPublicServerLeadsToPublicAddressesOnly(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	fetchFrom := func(server string, resolved ...string) *fetcher {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		f := newFetcher(Policy{RequestTimeout: 2 * time.Second}, u, nil)
		f.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
		f.lookup = func(context.Context, string) ([]netip.Addr, error) {
			var all []netip.Addr
			for _, text := range resolved {
				all = append(all, netip.MustParseAddr(text))
			}
			return all, nil
		}
		return f
	}
	for _, test := range []struct {
		name   string
		from   *fetcher
		target string
	}{
		{"a name of loopback, from a public name", fetchFrom("https://mcp.example", "8.8.8.8"), "https://localtest.invalid:" + port + "/"},
		{"localhost, from a public name", fetchFrom("https://mcp.example", "8.8.8.8"), "https://localhost:" + port + "/"},
		{"loopback by address, from a public name", fetchFrom("https://mcp.example", "8.8.8.8"), "https://127.0.0.1:" + port + "/"},
		{"loopback in IPv6 clothes", fetchFrom("https://mcp.example", "8.8.8.8"), "https://[::ffff:127.0.0.1]:" + port + "/"},
		{"the unspecified address", fetchFrom("https://mcp.example", "8.8.8.8"), "https://0.0.0.0:" + port + "/"},
		{"the metadata service of a cloud", fetchFrom("https://mcp.example", "8.8.8.8"), "https://169.254.169.254/latest"},
		{"a private address", fetchFrom("https://mcp.example", "8.8.8.8"), "https://10.0.0.1/"},
		{"loopback, from a name that says it is loopback too", fetchFrom("https://mcp.example", "127.0.0.1"), "https://127.0.0.1:" + port + "/"},
		{"loopback, from a name with a public and a private address", fetchFrom("https://mcp.example", "10.0.0.9", "8.8.8.8"), "https://10.0.0.1/"},
		{"loopback, from a private address", fetchFrom("https://10.1.2.3"), "https://127.0.0.1:" + port + "/"},
		{"a private address, from a public one", fetchFrom("https://8.8.8.8"), "https://192.168.1.1/"},
		{"plain http on loopback, from a public name", fetchFrom("https://mcp.example", "8.8.8.8"), inside.URL},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.target, "localtest") {
				// A name that resolves to loopback at the moment it is dialled.
				transport := test.from.client.Transport.(*http.Transport)
				dial := transport.DialContext
				transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return dial(ctx, network, "127.0.0.1:"+port)
				}
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := test.from.do(r)
			if err == nil {
				answer.Body.Close()
			}
			if !errors.Is(err, ErrForbiddenAddress) {
				t.Errorf("the error is %v, want ErrForbiddenAddress", err)
			}
		})
	}
}

// Behind a proxy, which resolves names, at least an address that says what it is is refused.
func TestAProxyIsNoWayToThisMachine(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the proxy was asked for %s", r.Host) }))
	defer proxy.Close()
	through, _ := url.Parse(proxy.URL)
	server, _ := url.Parse("https://8.8.8.8/mcp")
	f := newFetcher(Policy{RequestTimeout: 2 * time.Second}, server, nil)
	f.proxy = func(*http.Request) (*url.URL, error) { return through, nil }
	for _, target := range []string{"https://127.0.0.1/", "https://localhost/", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.do(r); !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestWhereAServerMayLead(t *testing.T) {
	for _, test := range []struct {
		server string
		addrs  string
		want   reach
	}{
		{"http://127.0.0.1:1", "", loopback},
		{"http://localhost:1", "", loopback},
		{"https://10.0.0.1", "", private},
		{"https://8.8.8.8", "", public},
		{"https://a.example", "8.8.8.8", public},
		{"https://a.example", "10.0.0.1", private},
		{"https://a.example", "127.0.0.1", private},
	} {
		u, _ := url.Parse(test.server)
		f := newFetcher(Policy{}, u, nil)
		f.lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(test.addrs)}, nil
		}
		if got, err := f.serverReach(t.Context()); err != nil || got != test.want {
			t.Errorf("%s (%s) may lead to %v (%v), want %v", test.server, test.addrs, got, err, test.want)
		}
	}
}

// Policy.PrivateHosts opens one door: to the named host, on a network of an organization, by https.
func TestAPrivateHostThatIsAllowed(t *testing.T) {
	for _, test := range []struct {
		name           string
		server, target string
		address        string // that the target is dialled at
		allowed        bool
	}{
		{"the host on a private network", "https://mcp.example", "https://sso.corp.example/token", "10.0.0.5:443", true},
		{"in other spelling and at another port", "https://mcp.example", "https://SSO.corp.example:8443/token", "192.168.1.5:8443", true},
		{"by IPv6", "https://mcp.example", "https://sso.corp.example/", "[fd12:3456::1]:443", true},
		{"on a network such as Tailscale's", "https://mcp.example", "https://sso.corp.example/", "100.100.1.1:443", true},
		{"that is public after all", "https://mcp.example", "https://sso.corp.example/", "8.8.4.4:443", true},
		{"by address", "https://mcp.example", "https://10.9.9.9/", "10.9.9.9:443", true},
		{"from a server that is an address", "https://8.8.8.8", "https://10.9.9.9/", "10.9.9.9:443", true},
		{"by plain http", "https://mcp.example", "http://sso.corp.example/", "10.0.0.5:80", false},
		{"on this machine", "https://mcp.example", "https://sso.corp.example/", "127.0.0.1:443", false},
		{"on this machine, by IPv6", "https://mcp.example", "https://sso.corp.example/", "[::1]:443", false},
		{"on this machine, in other clothes", "https://mcp.example", "https://sso.corp.example/", "[::ffff:127.0.0.1]:443", false},
		{"at the unspecified address", "https://mcp.example", "https://sso.corp.example/", "0.0.0.0:443", false},
		{"at the metadata service of a cloud", "https://mcp.example", "https://sso.corp.example/", "169.254.169.254:443", false},
		{"at the metadata service of a cloud, by IPv6", "https://mcp.example", "https://sso.corp.example/", "[fd00:ec2::254]:443", false},
		{"next to the wire", "https://mcp.example", "https://sso.corp.example/", "[fe80::1]:443", false},
		{"at an address of many", "https://mcp.example", "https://sso.corp.example/", "224.0.0.1:443", false},
		{"another host of that network", "https://mcp.example", "https://wiki.corp.example/", "10.0.0.6:443", false},
		{"a host below it", "https://mcp.example", "https://x.sso.corp.example/", "10.0.0.6:443", false},
		{"a host with that name in front", "https://mcp.example", "https://sso.corp.example.evil.example/", "10.0.0.6:443", false},
		{"another address of that network", "https://mcp.example", "https://10.9.9.8/", "10.9.9.8:443", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, _ := url.Parse(test.server)
			f := newFetcher(Policy{PrivateHosts: []string{"sso.corp.example", "10.9.9.9"}}, server, nil)
			f.proxy = nil
			f.lookup = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			}
			target, _ := url.Parse(test.target)
			err := f.check(target)
			if err == nil {
				var b bounds
				if b, err = f.boundsFor(t.Context(), target); err == nil {
					err = b.check(test.address)
				}
			}
			if test.allowed != (err == nil) || err != nil && !errors.Is(err, ErrForbiddenAddress) {
				t.Errorf("%v, want allowed %v", err, test.allowed)
			}
		})
	}
}

// Who is refused learns which host it was about.
func TestAPrivateHostThatIsRefusedIsNamed(t *testing.T) {
	server, _ := url.Parse("https://mcp.example")
	f := newFetcher(Policy{RequestTimeout: 2 * time.Second}, server, nil)
	f.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	f.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
	}
	transport := f.client.Transport.(*http.Transport)
	for name, address := range map[string]string{"sso.corp.example": "10.0.0.5:443", "10.0.0.5": "10.0.0.5:443"} {
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+name+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.do(r)
		var refused *PrivateHostError
		if !errors.As(err, &refused) || refused.Host != name || !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s: %v", name, err)
		}
		transport.DialContext = dial
	}
}

func TestPrivateHostsAreHosts(t *testing.T) {
	for _, bad := range []string{"", "https://sso.corp.example", "sso.corp.example:443", "sso.corp.example/x", "*.corp.example", "10.0.0.0/8", "localhost", "127.0.0.1", "::1", "169.254.169.254", "a b", "[fd00::1]"} {
		if c, err := New(Options{Store: Memory(), Policy: Policy{PrivateHosts: []string{bad}}}); err == nil {
			c.Close()
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"sso", "sso.corp.example", "SSO.corp.example", "10.0.0.5", "fd00::1", "münchen.example"} {
		c, err := New(Options{Store: Memory(), Policy: Policy{PrivateHosts: []string{good}}})
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		c.Close()
	}
}

func TestTheAddressOfAServerIsChecked(t *testing.T) {
	for _, bad := range []string{
		"", "mcp.example", "ftp://mcp.example/", "http://mcp.example/mcp", "https://", "https:///mcp", "https://a:b@mcp.example/mcp", "javascript:alert(1)",
		"https://mcp.example/a b", "https://mcp.example/\x00", "https:\\\\mcp.example", "http://10.0.0.1/mcp", "https://mcp.example/" + strings.Repeat("a", maxURL),
	} {
		if _, err := parseServer(bad, Policy{}); err == nil {
			t.Errorf("%.40q is taken for a server", bad)
		}
	}
	for given, want := range map[string]string{
		"https://MCP.example:443/mcp/#x": "https://mcp.example/mcp", "http://127.0.0.1:80": "http://127.0.0.1",
		"http://localhost:8787/mcp": "http://localhost:8787/mcp", "https://mcp.example/mcp?tenant=1": "https://mcp.example/mcp?tenant=1",
	} {
		if got, err := parseServer(given, Policy{}); err != nil || got.String() != want {
			t.Errorf("%s is %s (%v), want %s", given, got, err, want)
		}
	}
	if _, err := parseServer("http://10.0.0.1/mcp", Policy{AllowHTTP: true}); err != nil {
		t.Errorf("plain http where it is allowed: %v", err)
	}
}
