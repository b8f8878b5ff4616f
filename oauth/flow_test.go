package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestAPersonSignsInAndAClientCallsAsThem(t *testing.T) {
	w := newWorld(t, nil)
	client, tok := w.signsIn("alice")
	a := w.calls("/mcp", tok.AccessToken)
	if want := "test:alice alice [read] " + client + " true"; a.status != 200 || a.body != want {
		t.Errorf("got %d %q, want %q", a.status, a.body, want)
	}
	if a := w.calls("/mcp/below", tok.AccessToken); a.status != 200 {
		t.Errorf("below the resource: %d", a.status)
	}
}

func TestTheAnswerOfTheAuthorizationEndpoint_RFC6749_4_1_2_RFC9207_2(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers(testRedirect, "https://app.example/cb?x=1")
	for _, redirect := range []string{testRedirect, "https://app.example/cb?x=1"} {
		a := w.browser().allows(w.asks(client, "redirect_uri", redirect), "alice")
		to, q := a.location()
		base, _, _ := strings.Cut(redirect, "?")
		if a.status != http.StatusSeeOther || to != base {
			t.Errorf("redirect %d to %s", a.status, to)
		}
		if q.Get("state") != "xyz&=" || q.Get("iss") != w.srv.URL || q.Get("code") == "" {
			t.Errorf("parameters %v", q)
		}
		if strings.Contains(redirect, "?") && q.Get("x") != "1" {
			t.Error("the query of the redirect URI is lost")
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Error("the redirect may be cached")
		}
	}
}

// Errors before the client and its redirect URI are known to belong together are pages;
// nothing is ever redirected (RFC 6749 §4.1.2.1, RFC 9700 §4.1.1).
func TestWhatTheAuthorizationEndpointNeverRedirects_RFC6749_4_1_2_1(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers("https://app.example/cb", testRedirect, "http://localhost:8080/cb", "http://[::1]/cb")
	for name, authorize := range map[string]string{
		"no client":                    w.asks(""),
		"unknown client":               w.asks(newID()),
		"malformed client":             w.asks("../../key"),
		"no redirect of several":       w.asks(client, "redirect_uri", ""),
		"another host":                 w.asks(client, "redirect_uri", "https://evil.example/cb"),
		"one byte more":                w.asks(client, "redirect_uri", "https://app.example/cb/"),
		"another case":                 w.asks(client, "redirect_uri", "https://app.example/CB"),
		"a query":                      w.asks(client, "redirect_uri", "https://app.example/cb?a=b"),
		"a fragment":                   w.asks(client, "redirect_uri", "https://app.example/cb#x"),
		"a port":                       w.asks(client, "redirect_uri", "https://app.example:444/cb"),
		"a user":                       w.asks(client, "redirect_uri", "https://x@app.example/cb"),
		"another scheme":               w.asks(client, "redirect_uri", "http://app.example/cb"),
		"a script":                     w.asks(client, "redirect_uri", "javascript:alert(1)"),
		"dots":                         w.asks(client, "redirect_uri", "https://app.example/x/../cb"),
		"another loopback path":        w.asks(client, "redirect_uri", "http://127.0.0.1:7000/other"),
		"another loopback address":     w.asks(client, "redirect_uri", "http://127.0.0.2:7000/cb"),
		"loopback with https":          w.asks(client, "redirect_uri", "https://127.0.0.1:7000/cb"),
		"loopback with a user":         w.asks(client, "redirect_uri", "http://a@127.0.0.1:7000/cb"),
		"loopback as host prefix":      w.asks(client, "redirect_uri", "http://127.0.0.1.evil.example/cb"),
		"loopback with a foreign port": w.asks(client, "redirect_uri", "http://127.0.0.1:7000@evil.example/cb"),
		"another spelling of loopback": w.asks(client, "redirect_uri", "http://127.1:7000/cb"),
		"a redirect given twice":       w.asks(client) + "&redirect_uri=" + url.QueryEscape("https://evil.example/cb"),
		"a client given twice":         w.asks(client) + "&client_id=" + w.registers("https://evil.example/cb"),
		"a malformed query":            w.asks(client) + "&x=%zz",
		"bad type and bad redirect":    w.asks(client, "response_type", "token", "redirect_uri", "https://evil.example/"),
	} {
		t.Run(name, func(t *testing.T) {
			a := w.browser().get(authorize)
			if a.status != http.StatusBadRequest || a.header.Get("Location") != "" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("got %d %v", a.status, a.header)
			}
			if strings.Contains(a.body, "evil.example") {
				t.Error("the page repeats what was sent")
			}
		})
	}
}

func TestWhatTheClientIsToldAtItsRedirect_RFC6749_4_1_2_1(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	for _, c := range []struct{ name, url, code string }{
		{"no response type", w.asks(client, "response_type", ""), "invalid_request"},
		{"the implicit grant, RFC 9700 §2.1.2", w.asks(client, "response_type", "token"), "unsupported_response_type"},
		{"no challenge, RFC 7636 §4.4.1", w.asks(client, "code_challenge", ""), "invalid_request"},
		{"a plain challenge, RFC 9700 §2.1.1", w.asks(client, "code_challenge_method", "plain"), "invalid_request"},
		{"no method, which means plain, RFC 7636 §4.3", w.asks(client, "code_challenge_method", ""), "invalid_request"},
		{"an unknown method", w.asks(client, "code_challenge_method", "s256"), "invalid_request"},
		{"a short challenge, RFC 7636 §4.2", w.asks(client, "code_challenge", "abc"), "invalid_request"},
		{"a fragment response", w.asks(client, "response_mode", "fragment"), "invalid_request"},
		{"a request object", w.asks(client, "request", "eyJ"), "request_not_supported"},
		{"an unknown resource, RFC 8707 §2", w.asks(client, "resource", "https://evil.example/mcp"), "invalid_target"},
		{"a relative resource", w.asks(client, "resource", "/mcp"), "invalid_target"},
		{"a resource with a fragment", w.asks(client, "resource", w.url("/mcp#x")), "invalid_target"},
		{"two resources", w.asks(client) + "&resource=" + url.QueryEscape(w.url("/other")), "invalid_target"},
		{"no resource of several", w.asks(client, "resource", ""), "invalid_target"},
		{"no scope of the resource, §3.3", w.asks(client, "scope", "root"), "invalid_scope"},
		{"a scope given twice, §3.1", w.asks(client) + "&scope=read&scope=admin", "invalid_request"},
		{"a challenge given twice", w.asks(client) + "&code_challenge=x", "invalid_request"},
		{"silent sign-in", w.asks(client, "prompt", "none"), "interaction_required"},
		{"silent and not, OIDC Core §3.1.2.1", w.asks(client, "prompt", "none login"), "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.browser().get(c.url)
			to, q := a.location()
			if a.status != http.StatusSeeOther || to != testRedirect || q.Get("error") != c.code {
				t.Errorf("got %d %s %v", a.status, to, q)
			}
			if q.Get("iss") != w.srv.URL || q.Get("state") != "xyz&=" || q.Has("code") {
				t.Errorf("parameters %v", q)
			}
		})
	}
}

func TestLoopbackPorts_RFC8252_7_3(t *testing.T) {
	for _, c := range []struct {
		registered, asked string
		public, want      bool
	}{
		{"http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", true, true},
		{"http://127.0.0.1:80/cb", "http://127.0.0.1:5000/cb", false, true},
		{"http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true, true},
		{"http://[::1]:1/cb", "http://[::1]:2/cb", true, true},
		{"http://127.4.5.6/cb", "http://127.4.5.6:9/cb", true, true},
		{"http://localhost/cb", "http://localhost:5000/cb", true, true},
		{"http://localhost/cb", "http://localhost:5000/cb", false, false},
		{"http://localhost/cb", "http://127.0.0.1:5000/cb", true, false},
		{"http://127.0.0.1/cb", "http://[::1]:5000/cb", true, false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:5000/cb?x", true, false},
		{"http://127.0.0.1/cb", "HTTP://127.0.0.1:5000/cb", true, false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:5000\\@evil.example/cb", true, false},
		{"https://a.example/cb", "https://a.example:5000/cb", true, false},
	} {
		if got := matchRedirect([]string{"https://first.example/", c.registered}, c.asked, c.public); got != c.want {
			t.Errorf("%s for %s (public %v): %v", c.asked, c.registered, c.public, got)
		}
	}
	w := newWorld(t, nil)
	client := w.registers("http://127.0.0.1/cb")
	port := "http://127.0.0.1:49152/cb"
	code := w.browser().mustAllow(w.asks(client, "redirect_uri", port), "alice")
	if a := w.sends(client, code, "redirect_uri", "http://127.0.0.1:49153/cb"); a.status != 400 {
		t.Errorf("another port at the token endpoint: %d", a.status)
	}
	if a := w.sends(client, code, "redirect_uri", port); a.status != 200 {
		t.Errorf("the port of the request: %d %s", a.status, a.body)
	}
}

func TestRedirectsThatNobodyMayRegister_RFC8252_7_RFC9700_2_1(t *testing.T) {
	for _, uri := range []string{
		"", "/cb", "cb", "http://app.example/cb", "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)", "\x00javascript:x",
		"data:text/html,x", "vbscript:x", "file:///etc/passwd", "mailto:a@b", "blob:https://a/b", "https://app.example/cb#", "https://app.example/cb#x",
		"https://u:p@app.example/", "https:///cb", "https:cb", "https://app.example/\ncb", "https://app.example/\u202ecb", "myapp:/cb", "com.example.app:/cb",
		"https://app.example/<script>", "http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/", "ws://app.example/", strings.Repeat("https://a.example/", 200),
	} {
		if safeRedirect(uri, false) {
			t.Errorf("%q may be registered", uri)
		}
	}
	for _, uri := range []string{"https://app.example/cb", "https://app.example", "http://127.0.0.1/cb", "http://localhost:8080/cb?x=1", "http://[::1]:1/"} {
		if !safeRedirect(uri, false) {
			t.Errorf("%q may not be registered", uri)
		}
	}
	if !safeRedirect("com.example.app:/cb", true) || safeRedirect("myapp:/cb", true) || safeRedirect("javascript:x", true) {
		t.Error("private-use schemes are those in reverse domain form, if they are allowed (RFC 8252 §7.1)")
	}
}

func TestTheTokenEndpointRefuses_RFC6749_5_2(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	other := w.registers()
	code := w.browser().mustAllow(w.asks(client), "alice")
	for _, c := range []struct {
		name   string
		change []string
		status int
		code   string
	}{
		{"no grant type", []string{"grant_type", ""}, 400, "invalid_request"},
		{"the password grant, RFC 9700 §2.4", []string{"grant_type", "password"}, 400, "unsupported_grant_type"},
		{"no client", []string{"client_id", ""}, 401, "invalid_client"},
		{"an unknown client", []string{"client_id", newID()}, 401, "invalid_client"},
		{"another client, §4.1.3", []string{"client_id", other}, 400, "invalid_grant"},
		{"a secret from a client without one", []string{"client_secret", "x"}, 401, "invalid_client"},
		{"no code", []string{"code", ""}, 400, "invalid_request"},
		{"a code that is none", []string{"code", "cw_code_nonsense"}, 400, "invalid_grant"},
		{"no verifier, RFC 7636 §4.5", []string{"code_verifier", ""}, 400, "invalid_request"},
		{"a wrong verifier, RFC 7636 §4.6", []string{"code_verifier", strings.Repeat("a", 43)}, 400, "invalid_grant"},
		{"a short verifier, RFC 7636 §4.1", []string{"code_verifier", "short"}, 400, "invalid_grant"},
		{"the challenge as verifier", []string{"code_verifier", challengeOf(testVerifier)}, 400, "invalid_grant"},
		{"another redirect", []string{"redirect_uri", "http://127.0.0.1:7000/other"}, 400, "invalid_grant"},
		{"another resource, RFC 8707 §2.2", []string{"resource", w.url("/other")}, 400, "invalid_target"},
		{"an unknown resource", []string{"resource", "https://evil.example"}, 400, "invalid_target"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.sends(client, code, c.change...)
			a.wantError(w, c.status, c.code)
			if a.header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
		})
	}
	raw := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "code_verifier": {testVerifier}}.Encode()
	post := func(body string, header ...string) answer {
		return w.do(http.DefaultClient, request("POST", w.url("/token"), body, header...))
	}
	t.Run("a parameter given twice, §3.2", func(t *testing.T) {
		post(raw+"&code="+code, "Content-Type", "application/x-www-form-urlencoded").wantError(w, 400, "invalid_request")
	})
	t.Run("another content type", func(t *testing.T) {
		for _, ct := range []string{"application/json", "text/plain", "application/x-www-form-urlencodedx", "", "multipart/form-data; boundary=x"} {
			post(raw, "Content-Type", ct).wantError(w, 400, "invalid_request")
		}
	})
	t.Run("parameters in the address, §2.3.1", func(t *testing.T) {
		a := w.do(http.DefaultClient, request("POST", w.url("/token?"+raw), "", "Content-Type", "application/x-www-form-urlencoded"))
		a.wantError(w, 401, "invalid_client")
	})
	t.Run("GET", func(t *testing.T) {
		if a := w.browser().get(w.url("/token?" + raw)); a.status != 405 || a.header.Get("Allow") == "" {
			t.Errorf("got %d", a.status)
		}
	})
	t.Run("too much", func(t *testing.T) {
		post(raw+"&x="+strings.Repeat("x", maxFormBody), "Content-Type", "application/x-www-form-urlencoded").wantError(w, 413, "invalid_request")
	})
	t.Run("and none of that consumed the code", func(t *testing.T) {
		if a := post(raw, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8"); a.status != 200 {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
}

func TestClientAuthentication_RFC6749_2_3_1(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Clients = []Client{{ID: "conf:id", Secret: "a secret with : and %", RedirectURIs: []string{testRedirect}}}
	})
	register := func(method string) (id, secret string) {
		m := map[string]any{"redirect_uris": []string{testRedirect}}
		if method != "" {
			m["token_endpoint_auth_method"] = method
		}
		a := w.registersAs(m).json(w)
		return a["client_id"].(string), a["client_secret"].(string)
	}
	basic := func(id, secret string) []string {
		return []string{"Authorization", "bAsIc " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))}
	}
	form := func(more ...string) url.Values {
		v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"cw_rt_none"}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return v
	}
	// An authenticated client with a bad refresh token gets invalid_grant.
	in := func(name string, a answer) {
		t.Helper()
		if a.json(w)["error"] != "invalid_grant" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	out := func(name string, a answer, challenged bool) {
		t.Helper()
		if a.status != 401 || a.json(w)["error"] != "invalid_client" || (a.header.Get("WWW-Authenticate") != "") != challenged {
			t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header.Get("WWW-Authenticate"))
		}
	}
	either, eitherSecret := register("")
	onlyBasic, basicSecret := register("client_secret_basic")
	onlyPost, postSecret := register("client_secret_post")

	in("Basic", w.posts("/token", form(), basic(onlyBasic, basicSecret)...))
	in("post", w.posts("/token", form("client_id", onlyPost, "client_secret", postSecret)))
	in("either by Basic", w.posts("/token", form(), basic(either, eitherSecret)...))
	in("either by post", w.posts("/token", form("client_id", either, "client_secret", eitherSecret)))
	in("a configured client whose id and secret are form encoded", w.posts("/token", form(), basic("conf:id", "a secret with : and %")...))

	out("post for Basic", w.posts("/token", form("client_id", onlyBasic, "client_secret", basicSecret)), false)
	out("Basic for post", w.posts("/token", form(), basic(onlyPost, postSecret)...), true)
	out("none for Basic", w.posts("/token", form("client_id", onlyBasic)), false)
	out("a wrong secret", w.posts("/token", form(), basic(onlyBasic, postSecret)...), true)
	out("another id in the body", w.posts("/token", form("client_id", either), basic(onlyBasic, basicSecret)...), true)
	out("an unknown id", w.posts("/token", form(), basic(newID(), basicSecret)...), true)
	for _, h := range []string{"Basic", "Basic !", "Basic " + base64.StdEncoding.EncodeToString([]byte("nocolon")), "Basic " + base64.StdEncoding.EncodeToString([]byte("%zz:x")), "Basic " + base64.StdEncoding.EncodeToString([]byte(":x"))} {
		out(h, w.posts("/token", form(), "Authorization", h), true)
	}
	w.posts("/token", form("client_id", either, "client_secret", eitherSecret), basic(either, eitherSecret)...).wantError(w, 400, "invalid_request")
}

func TestAConfidentialClientNeedsPKCEToo_RFC9700_2_1_1(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Clients = []Client{{ID: "conf", Secret: "sixteen characters", RedirectURIs: []string{testRedirect}}}
	})
	_, q := w.browser().get(w.asks("conf", "code_challenge", "", "code_challenge_method", "")).location()
	if q.Get("error") != "invalid_request" {
		t.Errorf("without a challenge: %v", q)
	}
	code := w.browser().mustAllow(w.asks("conf"), "alice")
	// The downgrade: a wrong verifier first, then none.
	w.sends("conf", code, "client_secret", "sixteen characters", "code_verifier", strings.Repeat("b", 43)).wantError(w, 400, "invalid_grant")
	w.sends("conf", code, "client_secret", "sixteen characters", "code_verifier", "").wantError(w, 400, "invalid_request")
	w.sends("conf", code).wantError(w, 401, "invalid_client")
	if a := w.sends("conf", code, "client_secret", "sixteen characters"); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestACodeStolenByAnotherClientIsWorthNothing_RFC9700_4_5(t *testing.T) {
	w := newWorld(t, nil)
	client, thief := w.registers(), w.registers()
	code := w.browser().mustAllow(w.asks(client), "alice")
	w.sends(thief, code).wantError(w, 400, "invalid_grant")
	// Injected into the victim's own client, whose verifier is another.
	w.sends(client, code, "code_verifier", strings.Repeat("v", 64)).wantError(w, 400, "invalid_grant")
	if tok := w.tokens(client, code); w.calls("/mcp", tok.AccessToken).status != 200 {
		t.Error("the attempt cost the rightful client its code")
	}
}

func TestRefreshAndRevokeOverHTTP_RFC6749_6_RFC7009_2(t *testing.T) {
	w := newWorld(t, nil)
	client, tok := w.signsIn("alice", "scope", "write offline_access")
	if tok.Scope != "write" {
		t.Errorf("scope %q", tok.Scope)
	}
	refresh := func(client, token string, more ...string) answer {
		v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {client}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return w.posts("/token", v)
	}
	refresh(w.registers(), tok.RefreshToken).wantError(w, 400, "invalid_grant")
	refresh(client, tok.RefreshToken, "resource", w.url("/other")).wantError(w, 400, "invalid_target")
	refresh(client, tok.RefreshToken, "scope", "admin").wantError(w, 400, "invalid_scope")
	refresh(client, tok.AccessToken).wantError(w, 400, "invalid_grant")
	a := refresh(client, tok.RefreshToken, "resource", w.url("/mcp"))
	if a.status != 200 || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("refresh: %d %s", a.status, a.body)
	}
	next := parseAnswer(t, []byte(a.body))
	revoke := func(token, client string) {
		t.Helper()
		if a := w.posts("/revoke", url.Values{"token": {token}, "client_id": {client}, "token_type_hint": {"access_token"}}); a.status != 200 || a.body != "" {
			t.Errorf("revoke: %d %q", a.status, a.body)
		}
	}
	revoke(next.RefreshToken, w.registers())
	revoke("nonsense", client)
	if w.calls("/mcp", next.AccessToken).status != 200 {
		t.Error("another client revoked the grant")
	}
	w.posts("/revoke", url.Values{"client_id": {client}}).wantError(w, 400, "invalid_request")
	revoke(next.RefreshToken, client)
	if w.calls("/mcp", next.AccessToken).status != 401 || w.calls("/mcp", tok.AccessToken).status != 401 {
		t.Error("a revoked grant has live tokens")
	}
	refresh(client, next.RefreshToken).wantError(w, 400, "invalid_grant")
}

func TestRegistration_RFC7591_2_3(t *testing.T) {
	w := newWorld(t, nil)
	ok := func(more map[string]any) map[string]any {
		m := map[string]any{"redirect_uris": []string{"https://app.example/cb"}}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	for _, c := range []struct {
		name, code string
		metadata   map[string]any
	}{
		{"no redirect", "invalid_redirect_uri", map[string]any{}},
		{"an empty list of redirects", "invalid_redirect_uri", map[string]any{"redirect_uris": []string{}}},
		{"one unsafe redirect among good ones", "invalid_redirect_uri", map[string]any{"redirect_uris": []string{"https://a.example", "javascript:alert(1)"}}},
		{"a custom scheme that is not allowed", "invalid_redirect_uri", map[string]any{"redirect_uris": []string{"com.example.app:/cb"}}},
		{"redirects that are no strings", "invalid_client_metadata", map[string]any{"redirect_uris": []int{1}}},
		{"an unknown method", "invalid_client_metadata", ok(map[string]any{"token_endpoint_auth_method": "tls_client_auth"})},
		{"the implicit grant only", "invalid_client_metadata", ok(map[string]any{"grant_types": []string{"implicit"}})},
		{"a refresh token without a code", "invalid_client_metadata", ok(map[string]any{"grant_types": []string{"refresh_token"}})},
		{"response types that do not fit", "invalid_client_metadata", ok(map[string]any{"response_types": []string{"token"}})},
		{"a script as logo", "invalid_client_metadata", ok(map[string]any{"logo_uri": "javascript:alert(1)"})},
		{"a script as policy", "invalid_client_metadata", ok(map[string]any{"policy_uri": "data:text/html,x"})},
		{"a name that turns the direction", "invalid_client_metadata", ok(map[string]any{"client_name": "a\u202eb"})},
		{"an endless name", "invalid_client_metadata", ok(map[string]any{"client_name": strings.Repeat("x", 201)})},
		{"an unknown kind of application", "invalid_client_metadata", ok(map[string]any{"application_type": "toaster"})},
	} {
		t.Run(c.name, func(t *testing.T) { w.registersAs(c.metadata).wantError(w, 400, c.code) })
	}
	t.Run("the defaults are filled in and echoed, with a secret", func(t *testing.T) {
		a := w.registersAs(ok(map[string]any{"client_name": "App", "client_id": "mine"}))
		m := a.json(w)
		if a.status != 201 || m["token_endpoint_auth_method"] != "client_secret_basic" || m["client_name"] != "App" || m["client_id"] == "mine" ||
			m["client_secret"] == nil || m["client_secret_expires_at"] != 0.0 || m["client_id_issued_at"] == 0.0 || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("a public client gets no secret", func(t *testing.T) {
		m := w.registersAs(ok(map[string]any{"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"}})).json(w)
		if m["client_secret"] != nil || m["client_secret_expires_at"] != nil || !slices.Equal(m["grant_types"].([]any), []any{"authorization_code", "refresh_token"}) {
			t.Errorf("got %v", m)
		}
	})
	t.Run("what is no JSON object, is there twice or is too large", func(t *testing.T) {
		post := func(body, ct string) answer {
			return w.do(http.DefaultClient, request("POST", w.url("/register"), body, "Content-Type", ct))
		}
		post("[]", "application/json").wantError(w, 400, "invalid_client_metadata")
		post(`{"redirect_uris":["https://a.example"],"redirect_uris":["https://b.example"]}`, "application/json").wantError(w, 400, "invalid_client_metadata")
		post("{}", "text/plain").wantError(w, 400, "invalid_request")
		post(`{"x":"`+strings.Repeat("x", maxFormBody)+`"}`, "application/json").wantError(w, 413, "invalid_request")
	})
}

func TestRegistrationsThatNobodyUsesAreBounded_RFC7591_5(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Limits.Unused = 3 })
	for range 3 {
		client := w.registers()
		w.browser().mustAllow(w.asks(client), "alice") // a client in use does not count
	}
	for range 3 {
		w.registers()
	}
	a := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}})
	a.wantError(w, 429, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestRequestsOfOneAddressAreBounded(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Limits = Limits{Register: 2, Token: 0.1, Pages: 0.1} })
	w.registers()
	w.registers()
	w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}}).wantError(w, 429, "temporarily_unavailable")
	for range 2 {
		w.posts("/token", url.Values{}).wantError(w, 401, "invalid_client")
	}
	w.posts("/revoke", url.Values{}).wantError(w, 429, "temporarily_unavailable")
	for range 2 {
		w.browser().get(w.url("/authorize"))
	}
	if a := w.browser().get(w.url("/authorize")); a.status != 429 {
		t.Errorf("pages: %d", a.status)
	}
}

func TestMetadata_RFC8414_3_RFC9728_3(t *testing.T) {
	w := newWorld(t, nil)
	a := w.browser().get(w.url("/.well-known/oauth-authorization-server"))
	m := a.json(w)
	for key, want := range map[string]any{
		"issuer": w.srv.URL, "authorization_endpoint": w.url("/authorize"), "token_endpoint": w.url("/token"), "revocation_endpoint": w.url("/revoke"),
		"registration_endpoint": w.url("/register"), "authorization_response_iss_parameter_supported": true, "client_id_metadata_document_supported": true,
	} {
		if m[key] != want {
			t.Errorf("%s is %v, want %v", key, m[key], want)
		}
	}
	if !slices.Equal(m["code_challenge_methods_supported"].([]any), []any{"S256"}) || !slices.Equal(m["response_types_supported"].([]any), []any{"code"}) {
		t.Errorf("got %s", a.body)
	}
	if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", a.header)
	}
	r := w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp"))
	p := r.json(w)
	if p["resource"] != w.url("/mcp") || !slices.Equal(p["authorization_servers"].([]any), []any{w.srv.URL}) || !slices.Equal(p["bearer_methods_supported"].([]any), []any{"header"}) {
		t.Errorf("got %s", r.body)
	}
	if strings.Contains(r.body, "offline_access") || r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("got %s %v", r.body, r.header)
	}
	for _, path := range []string{"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server", "/token", "/register", "/revoke"} {
		pre := w.do(http.DefaultClient, request("OPTIONS", w.url(path), "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST"))
		if pre.status != 204 || pre.header.Get("Access-Control-Allow-Origin") != "*" || pre.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight of %s: %d %v", path, pre.status, pre.header)
		}
	}
}

func TestAnIssuerWithAPath_RFC8414_3_1(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Issuer += "/auth" })
	m := w.browser().get(w.url("/.well-known/oauth-authorization-server/auth")).json(w)
	if m["issuer"] != w.url("/auth") || m["token_endpoint"] != w.url("/auth/token") {
		t.Errorf("got %v", m)
	}
	if p := w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp")).json(w); p["resource"] != w.url("/mcp") {
		t.Errorf("got %v", p)
	}
}

func TestWhatIsNotProtectedIsUntouched(t *testing.T) {
	w := newWorld(t, nil)
	a := w.browser().get(w.url("/open"))
	if a.body != "open" || a.header.Get("Cache-Control") != "" || a.header.Get("Set-Cookie") != "" {
		t.Errorf("got %q %v", a.body, a.header)
	}
	if a := w.browser().get(w.url("/mcpx")); a.status != 404 {
		t.Errorf("a path that only begins like the resource: %d", a.status)
	}
}

// Scopes that were ignored at the authorization endpoint are ignored at a refresh too: a
// client that repeats them (mcp-remote does) would be signed out otherwise.
func TestARefreshIgnoresTheScopesThatTheSignInIgnored_RFC6749_3_3_6(t *testing.T) {
	w := newWorld(t, nil)
	refresh := func(client, token, resource, scope string) answer {
		return w.posts("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {client}, "resource": {w.url(resource)}, "scope": {scope}})
	}
	client, tok := w.signsIn("alice", "scope", "read openid email", "resource", w.url("/mcp"))
	a := refresh(client, tok.RefreshToken, "/mcp", "read openid email")
	if a.status != 200 || parseAnswer(t, []byte(a.body)).Scope != "read" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	next := parseAnswer(t, []byte(a.body))
	refresh(client, next.RefreshToken, "/mcp", "read write openid").wantError(w, 400, "invalid_scope")
	refresh(client, next.RefreshToken, "/mcp", "openid").wantError(w, 400, "invalid_scope")
	if again := refresh(client, tok.RefreshToken, "/mcp", "email read"); again.body != a.body {
		t.Errorf("the same question got another answer: %d %s", again.status, again.body)
	}

	client, tok = w.signsIn("alice", "scope", "openid email", "resource", w.url("/other"))
	if a := refresh(client, tok.RefreshToken, "/other", "openid email"); a.status != 200 {
		t.Errorf("a resource without scopes: %d %s", a.status, a.body)
	}
}
