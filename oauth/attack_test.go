package oauth

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

func TestWhoHasNoGoodTokenIsChallenged_RFC6750_3_RFC9728_5_1(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice")
	metadata := `resource_metadata="` + w.url("/.well-known/oauth-protected-resource/mcp") + `"`
	for _, c := range []struct {
		name   string
		header []string
		status int
		errors string
	}{
		{"no token gets no error code", nil, 401, ""},
		{"another scheme", []string{"Authorization", "Basic YTpi"}, 401, ""},
		{"nothing after Bearer", []string{"Authorization", "Bearer "}, 401, "invalid_token"},
		{"a token that is none", []string{"Authorization", "Bearer cw_at_nonsense"}, 401, "invalid_token"},
		{"a refresh token", []string{"Authorization", "Bearer " + tok.RefreshToken}, 401, "invalid_token"},
		{"a token with something behind it", []string{"Authorization", "Bearer " + tok.AccessToken + " x"}, 401, "invalid_token"},
		{"a token with a changed byte", []string{"Authorization", "Bearer " + tok.AccessToken[:len(tok.AccessToken)-1] + "-"}, 401, "invalid_token"},
		{"two tokens", []string{"Authorization", "Bearer " + tok.AccessToken, "Authorization", "Bearer " + tok.AccessToken}, 400, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), "", c.header...))
			got := a.header.Get("WWW-Authenticate")
			if a.status != c.status || !strings.HasPrefix(got, "Bearer ") || !strings.Contains(got, metadata) || !strings.Contains(got, `scope="read"`) {
				t.Errorf("got %d %s", a.status, got)
			}
			if c.errors == "" && (strings.Contains(got, "error") || a.body != "") || c.errors != "" && !strings.Contains(got, `error="`+c.errors+`"`) {
				t.Errorf("got %s %q", got, a.body)
			}
		})
	}
}

func TestATokenOutsideTheHeaderIsNotLookedAt_RFC6750_2(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice")
	a := w.do(http.DefaultClient, request("POST", w.url("/mcp?access_token="+tok.AccessToken), url.Values{"access_token": {tok.AccessToken}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "Cookie", "access_token="+tok.AccessToken))
	if a.status != 401 {
		t.Errorf("got %d", a.status)
	}
	if a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), "", "Authorization", "bEARER "+tok.AccessToken)); a.status != 200 {
		t.Errorf("the scheme is not compared without case: %d", a.status)
	}
}

func TestATokenIsGoodAtItsOwnResourceOnly_RFC8707_2_2(t *testing.T) {
	w := newWorld(t, nil)
	client, mail := w.signsIn("alice")
	other := w.tokens(client, w.browser().mustAllow(w.asks(client, "resource", w.url("/other")), "alice"))
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/mcp", mail.AccessToken, 200}, {"/other", other.AccessToken, 200},
		{"/other", mail.AccessToken, 401}, {"/mcp", other.AccessToken, 401},
	} {
		if a := w.calls(c.path, c.token); a.status != c.want {
			t.Errorf("%s: %d, want %d", c.path, a.status, c.want)
		}
	}
	if v, err := w.s.Validate(t.Context(), w.url("/mcp"), other.AccessToken); v != nil || err != nil {
		t.Errorf("Validate: %v, %v", v, err)
	}
	if v, err := w.s.Validate(t.Context(), w.url("/other"), other.AccessToken); v == nil || err != nil || v.User != "test:alice" || v.Client != client {
		t.Errorf("Validate: %v, %v", v, err)
	}
}

func TestATokenOfAnotherIssuerIsNotGood(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := newWorld(t, nil).signsIn("alice")
	if a := w.calls("/mcp", tok.AccessToken); a.status != 401 {
		t.Errorf("got %d", a.status)
	}
}

func TestScopesAreEnforcedAndTheChallengeNamesAll_RFC6750_3_1(t *testing.T) {
	w := newWorld(t, nil)
	_, read := w.signsIn("alice")
	_, admin := w.signsIn("alice", "scope", "admin write")
	a := w.calls("/mcp/admin", read.AccessToken)
	got := a.header.Get("WWW-Authenticate")
	if a.status != 403 || !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, `scope="read admin"`) || !strings.Contains(got, "resource_metadata=") {
		t.Errorf("got %d %s", a.status, got)
	}
	if a := w.calls("/mcp/admin", admin.AccessToken); a.status != 200 || !strings.Contains(a.body, "true") {
		t.Errorf("got %d %q (write includes read)", a.status, a.body)
	}
	_, onlyAdmin := w.signsIn("alice", "scope", "admin")
	if a := w.calls("/mcp", onlyAdmin.AccessToken); a.status != 403 || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="admin read"`) {
		t.Errorf("without the scope of the mount: %d", a.status)
	}
	rec := httptest.NewRecorder()
	Require("read")(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != 401 {
		t.Errorf("Require where nothing is protected: %d", rec.Code)
	}
}

// What one router reads as a path below the resource, another does not.
func TestAPathIsProtectedHoweverItIsSpelled(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice")
	for _, path := range []string{"/mcp", "/mcp/", "/mcp/x", "/%6dcp", "/mcp%2ftools", "/mcp%2Ftools", "/mcp%00", "//mcp", "/./mcp", "/x/../mcp", "/x%2f..%2fmcp", "/mcp/../mcp", "/mcp//x", `/mcp%5cx`, "/mcp/%2e%2e/mcp"} {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("POST", "http://host/", nil)
		u, err := url.Parse("http://host" + path)
		if err != nil {
			t.Fatal(err)
		}
		req.URL = u
		w.s.ServeHTTP(rec, req)
		if rec.Code != 401 && rec.Code != 400 {
			t.Errorf("%s without a token: %d %s", path, rec.Code, rec.Body)
		}
	}
	for _, path := range []string{"/mcp", "/mcp/", "/mcp/x%20y"} {
		if a := w.calls(path, tok.AccessToken); a.status != 200 {
			t.Errorf("%s with a token: %d", path, a.status)
		}
	}
}

func TestAConsentBelongsToItsBrowser(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	attacker, victim := w.browser(), w.browser()
	victim.get(w.asks(client)) // has a cookie of its own
	page := attacker.get(w.asks(client))
	t.Run("another browser cannot answer it, session fixation", func(t *testing.T) {
		for name, b := range map[string]*browser{"victim": victim, "a browser without a cookie": w.browser()} {
			if a := b.post(w.url("/consent"), page.fields("decision", "allow")); a.status != 400 || a.header.Get("Location") != "" {
				t.Errorf("%s: %d", name, a.status)
			}
		}
	})
	login := attacker.post(w.url("/consent"), page.fields("decision", "allow"))
	t.Run("it is good once", func(t *testing.T) {
		if a := attacker.post(w.url("/consent"), page.fields("decision", "allow")); a.status != 400 {
			t.Errorf("answered twice: %d", a.status)
		}
	})
	t.Run("another browser cannot come back from the login, login CSRF", func(t *testing.T) {
		if a := victim.post(w.url("/callback"), login.fields("name", "attacker")); a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("got %d", a.status)
		}
	})
	t.Run("nobody's answer but its own consumed it", func(t *testing.T) {
		if _, q := attacker.post(w.url("/callback"), login.fields("name", "attacker")).location(); q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
		if a := attacker.post(w.url("/callback"), login.fields("name", "attacker")); a.status != 400 {
			t.Errorf("the callback twice: %d", a.status)
		}
	})
}

func TestAFormOfAnotherSiteIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		b := w.browser()
		page := b.get(w.asks(client))
		if a := b.post(w.url("/consent"), page.fields("decision", "allow"), header...); a.status != 403 {
			t.Errorf("%v: %d", header, a.status)
		}
		if a := b.post(w.url("/consent"), page.fields("decision", "allow"), "Sec-Fetch-Site", "same-origin"); a.status != 200 {
			t.Errorf("the refusal consumed it: %d", a.status)
		}
	}
	b := w.browser()
	b.get(w.asks(client))
	if a := b.post(w.url("/consent"), url.Values{"decision": {"allow"}}); a.status != 400 {
		t.Errorf("without a handle: %d", a.status)
	}
	if a := b.get(w.url("/consent?decision=allow")); a.status != 405 {
		t.Errorf("by GET: %d", a.status)
	}
}

func TestWhatIsAllowedDoesNotComeFromTheForm(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	b := w.browser()
	page := b.get(w.asks(client, "scope", "read"))
	login := b.post(w.url("/consent"), page.fields("decision", "allow", "scope", "admin", "redirect_uri", "https://evil.example/", "client_id", newID(), "resource", w.url("/other")))
	to, q := b.post(w.url("/callback"), login.fields("name", "alice", "scope", "admin", "redirect_uri", "https://evil.example/")).location()
	if to != testRedirect {
		t.Fatalf("redirected to %s", to)
	}
	if tok := w.tokens(client, q.Get("code")); tok.Scope != "read" {
		t.Errorf("scope %q", tok.Scope)
	}
}

func TestTheConsentPage(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	a := w.browser().get(w.asks(client, "scope", "write"))
	for _, want := range []string{"Test &lt;b&gt;client&lt;/b&gt;", "Mail", "send mail", "127.0.0.1", "Deny", `lang="en"`, "viewport"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, not := range []string{"read your mail", "<script", "<b>client"} {
		if strings.Contains(a.body, not) {
			t.Errorf("the page says %q", not)
		}
	}
	h := a.header
	if h.Get("X-Frame-Options") != "DENY" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
		!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") == "" {
		t.Errorf("headers %v", h)
	}
	if c := h.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
		t.Errorf("cookie %q", c)
	}
}

func TestTheCookieOfAnHTTPSIssuerIsBoundToTheHost(t *testing.T) {
	m := store.NewMemory()
	t.Cleanup(func() { m.Close() })
	s, err := (&Provider{Issuer: "https://mcp.example.com", Login: askName{}, Records: m, Keys: NewKeys()}).Protect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	s.knowBrowser(rec, httptest.NewRequest("GET", "/", nil))
	c := rec.Header().Get("Set-Cookie")
	if !strings.HasPrefix(c, "__Host-") || !strings.Contains(c, "Secure") || !strings.Contains(c, "Path=/;") || strings.Contains(c, "Domain") {
		t.Errorf("cookie %q", c)
	}
}

// A program that opens two sign-ins at once, in a browser without a cookie, has it get two.
// Both sign-ins are in that browser, and in no other.
func TestSignInsThatBeganAtTheSameMomentInANewBrowser(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	b, other := w.browser(), w.browser()
	var pages []answer
	var cookies []*http.Cookie
	for range 2 {
		a := w.browser().get(w.asks(client)) // before any answer has arrived
		pages = append(pages, a)
		cookies = append(cookies, (&http.Response{Header: a.header}).Cookies()...)
	}
	at, err := url.Parse(w.srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.http.Jar.SetCookies(at, cookies)
	other.http.Jar.SetCookies(at, cookies[:1])
	if a := other.post(w.url("/consent"), pages[1].fields("decision", "allow")); a.status != 400 {
		t.Errorf("a browser with another cookie: %d", a.status)
	}
	for _, page := range pages {
		login := b.post(w.url("/consent"), page.fields("decision", "allow"))
		if login.status != 200 {
			t.Fatalf("no login page: %d %s", login.status, login.body)
		}
		if _, q := b.post(w.url("/callback"), login.fields("name", "alice")).location(); q.Get("code") == "" {
			t.Errorf("no code: %v", q)
		}
	}
	// A cookie whose name does not follow from its value is none of ours.
	misnamed := &http.Cookie{Name: cookies[0].Name, Value: cookies[1].Value}
	again := w.browser().get(w.asks(client))
	thief := w.browser()
	thief.http.Jar.SetCookies(at, []*http.Cookie{misnamed})
	if a := thief.post(w.url("/consent"), again.fields("decision", "allow")); a.status != 400 {
		t.Errorf("a misnamed cookie: %d", a.status)
	}
}

// The upstream login must not see anybody before this client was allowed here: otherwise
// a session there would let any client in (the confused deputy).
func TestNobodyIsSentToTheLoginBeforeAllowing(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	first := w.registers()
	b.mustAllow(w.asks(first), "alice", "remember", "yes")
	second := w.registers()
	a := b.get(w.asks(second), "Sec-Fetch-Site", "none")
	if !strings.Contains(a.body, "Deny") || a.header.Get("Location") != "" {
		t.Error("another client was not asked for")
	}
	to, q := b.post(w.url("/consent"), a.fields("decision", "deny")).location()
	if to != testRedirect || q.Get("error") != "access_denied" || q.Get("iss") != w.srv.URL || q.Get("state") != "xyz&=" || q.Has("code") {
		t.Errorf("denied: %s %v", to, q)
	}
	if a := b.post(w.url("/consent"), a.fields("decision", "allow")); a.status != 400 {
		t.Errorf("allowed after denying: %d", a.status)
	}
}

func TestARememberedConsent(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers(testRedirect, "http://127.0.0.1:7000/second")
	b := w.browser()
	code := b.mustAllow(w.asks(client, "scope", "write"), "alice", "remember", "yes")
	tok := w.tokens(client, code)
	asked := func(b *browser, url string, header ...string) bool {
		t.Helper()
		return strings.Contains(b.get(url, header...).body, "Deny")
	}
	opened := []string{"Sec-Fetch-Site", "none"}
	if asked(b, w.asks(client, "scope", "write"), opened...) {
		t.Error("it was not remembered")
	}
	if asked(b, w.asks(client, "scope", "write", "prompt", "login unheard-of"), opened...) {
		t.Error("to sign in again is not to be asked again")
	}
	for name, was := range map[string]bool{
		"another browser":             asked(w.browser(), w.asks(client, "scope", "write"), opened...),
		"more scopes":                 asked(b, w.asks(client, "scope", "write admin"), opened...),
		"another redirect":            asked(b, w.asks(client, "scope", "write", "redirect_uri", "http://127.0.0.1:7000/second"), opened...),
		"another resource":            asked(b, w.asks(client, "resource", w.url("/other")), opened...),
		"another client":              asked(b, w.asks(w.registers(), "scope", "write"), opened...),
		"a link on another site":      asked(b, w.asks(client, "scope", "write"), "Sec-Fetch-Site", "cross-site"),
		"a browser that does not say": asked(b, w.asks(client, "scope", "write")),
		"a client that wants it":      asked(b, w.asks(client, "scope", "write", "prompt", "login consent"), opened...),
		"a forged cookie":             asked(w.browser(), w.asks(client, "scope", "write"), "Sec-Fetch-Site", "none", "Cookie", w.s.browserCookie(strings.Repeat("A", 43))+"="+strings.Repeat("A", 43)),
	} {
		if !was {
			t.Errorf("%s: nobody was asked", name)
		}
	}
	login := b.get(w.asks(client, "scope", "write"), opened...)
	other := b.post(w.url("/callback"), login.fields("name", "bob"))
	if !strings.Contains(other.body, "Deny") || !strings.Contains(other.body, "bob") {
		t.Errorf("another person signed in and nobody asked them: %d %s", other.status, other.body)
	}
	if _, q := b.post(w.url("/consent"), other.fields("decision", "allow")).location(); q.Get("code") == "" {
		t.Errorf("got %v", q)
	}
	if err := w.s.grants.revokeToken(t.Context(), tok.RefreshToken, client); err != nil {
		t.Fatal(err)
	}
	login = b.get(w.asks(client, "scope", "write"), opened...)
	if again := b.post(w.url("/callback"), login.fields("name", "alice")); !strings.Contains(again.body, "Deny") {
		t.Error("a revoked client was let in again without asking")
	}
}

func TestLoginsThatFail(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	for name, want := range map[string]string{"": "access_denied", "mallory": "access_denied", "broken": "server_error"} {
		to, q := w.browser().allows(w.asks(client), name).location()
		if to != testRedirect || q.Get("error") != want || q.Get("iss") == "" || strings.Contains(q.Get("error_description"), "upstream") {
			t.Errorf("%q: %s %v", name, to, q)
		}
	}
	b := w.browser()
	again := b.allows(w.asks(client), "typo")
	if again.status != 200 || !strings.Contains(again.body, "nobody of that name") {
		t.Fatalf("got %d %s", again.status, again.body)
	}
	if _, q := b.post(w.url("/callback"), again.fields("name", "alice")).location(); q.Get("code") == "" {
		t.Errorf("got %v", q)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Clients = []Client{{ID: "conf", Secret: "sixteen characters", RedirectURIs: []string{testRedirect}}}
	})
	client := w.registers()
	b := w.browser()
	code := b.mustAllow(w.asks(client), "alice", "remember", "yes")
	tok := w.tokens(client, code)
	w.sends(client, code)
	w.sends(client, code, "code_verifier", strings.Repeat("q", 43))
	w.sends("conf", code, "client_secret", "sixteen characterz")
	w.sends(w.registers(), code)
	w.posts("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {tok.RefreshToken}})
	w.calls("/mcp", tok.AccessToken)
	w.calls("/other", tok.AccessToken)
	w.calls("/mcp", tok.AccessToken+"x")
	b.allows(w.asks(client), "broken")
	b.get(w.asks(client, "redirect_uri", "https://evil.example/"+code))
	w.posts("/revoke", url.Values{"client_id": {client}, "token": {tok.RefreshToken}})
	logs := w.logs.String()
	u, _ := url.Parse(w.srv.URL)
	cookie := ""
	for _, c := range b.http.Jar.Cookies(u) {
		cookie = c.Value
	}
	for name, secret := range map[string]string{
		"code": code, "access token": tok.AccessToken, "refresh token": tok.RefreshToken, "verifier": testVerifier, "cookie": cookie,
		"upstream secret": upstreamSecret, "client secret": "sixteen character", "person": "alice",
	} {
		if _, tail, ok := strings.Cut(secret, "."); ok {
			secret = tail
		}
		if secret == "" || strings.Contains(logs, secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
	for _, want := range []string{"signed in", "code sent twice", "another client", "wrong code verifier", "another resource", "redirect URI refused", "login failed", "grant revoked"} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

func TestTheUpstreamTokenNeverReachesTheClient(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	redirect := w.browser().allows(w.asks(client), "alice")
	_, q := redirect.location()
	a := w.sends(client, q.Get("code"))
	if strings.Contains(a.body, upstreamSecret) || strings.Contains(redirect.header.Get("Location"), upstreamSecret) {
		t.Error("it does")
	}
	for r, err := range w.s.records.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(r.Value, []byte(upstreamSecret)) {
			t.Errorf("record %s holds it in clear", r.Key)
		}
	}
}

// failing is a store that answers nothing.
type failing struct{ store.Records }

var errOnFire = errors.New("disk on fire")

func (*failing) Get(context.Context, string) (store.Record, error) {
	return store.Record{}, errOnFire
}

func (*failing) GetCached(context.Context, string) (store.Record, time.Duration, error) {
	return store.Record{}, 0, errOnFire
}

func TestAStoreThatDoesNotAnswerLogsNobodyOut(t *testing.T) {
	w := newWorld(t, nil)
	client, tok := w.signsIn("alice")
	good := w.s.records
	broken := &failing{Records: good}
	w.s.records, w.s.grants.records = broken, broken
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {tok.RefreshToken}}
	a := w.posts("/token", form)
	a.wantError(w, 503, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" || strings.Contains(a.body, "fire") {
		t.Errorf("got %v %s", a.header, a.body)
	}
	if a := w.calls("/mcp", tok.AccessToken); a.status != 503 {
		t.Errorf("got %d: a client would throw its token away", a.status)
	}
	w.s.records, w.s.grants.records = good, good
	if a := w.posts("/token", form); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	m := store.NewMemory()
	t.Cleanup(func() { m.Close() })
	for name, change := range map[string]func(*Provider){
		"no issuer":                       func(p *Provider) { p.Issuer = "" },
		"http elsewhere":                  func(p *Provider) { p.Issuer = "http://mcp.example.com" },
		"an issuer with a slash":          func(p *Provider) { p.Issuer += "/" },
		"an issuer with a query":          func(p *Provider) { p.Issuer += "?x" },
		"an issuer with a fragment":       func(p *Provider) { p.Issuer += "#x" },
		"an issuer in capitals":           func(p *Provider) { p.Issuer = "https://MCP.example.com" },
		"no login":                        func(p *Provider) { p.Login = nil },
		"no store where others are":       func(p *Provider) { p.Records = nil },
		"no keys with a store":            func(p *Provider) { p.Keys = nil },
		"an access token of seconds":      func(p *Provider) { p.AccessTTL = 59 * time.Second },
		"a negative lifetime":             func(p *Provider) { p.GrantTTL = -1 },
		"a code of an hour":               func(p *Provider) { p.CodeTTL = time.Hour },
		"a path with a slash":             func(p *Provider) { p.Resources = []Resource{{Path: "/mcp/"}} },
		"a resource twice":                func(p *Provider) { p.Resources = []Resource{{Path: "/mcp"}, {Path: "/mcp"}} },
		"a scope with a space":            func(p *Provider) { p.Resources = []Resource{{Path: "/mcp", Scopes: []Scope{{Name: "a b"}}}} },
		"a scope twice":                   func(p *Provider) { p.Resources = []Resource{{Path: "/mcp", Scopes: []Scope{{Name: "a"}, {Name: "a"}}}} },
		"a required scope that is none":   func(p *Provider) { p.Resources = []Resource{{Path: "/mcp", Require: []string{"a"}}} },
		"offline_access as a scope":       func(p *Provider) { p.Resources = []Resource{{Path: "/mcp", Scopes: []Scope{{Name: "offline_access"}}}} },
		"a token prefix with a separator": func(p *Provider) { p.TokenPrefix = "a_b" },
		"a client without redirect":       func(p *Provider) { p.Clients = []Client{{ID: "x"}} },
		"a client with a short secret": func(p *Provider) {
			p.Clients = []Client{{ID: "x", Secret: "short", RedirectURIs: []string{"https://a.example"}}}
		},
		"a client with an unsafe redirect": func(p *Provider) { p.Clients = []Client{{ID: "x", RedirectURIs: []string{"javascript:x"}}} },
		"a style that leaves its element":  func(p *Provider) { p.Style = "</Style><script>" },
	} {
		t.Run(name, func(t *testing.T) {
			p := &Provider{Issuer: "https://mcp.example.com", Login: askName{}, Records: m, Keys: NewKeys()}
			p.Keys = testRing
			change(p)
			if _, err := p.Protect(t.Context(), nil); err == nil {
				t.Error("accepted")
			}
		})
	}
	t.Run("and one that is not", func(t *testing.T) {
		if _, err := (&Provider{Issuer: "https://mcp.example.com", Login: askName{}, Records: m, Keys: testRing}).Protect(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("a ring without the key that the store names", func(t *testing.T) {
		if _, err := (&Provider{Issuer: "https://mcp.example.com", Login: askName{}, Records: m, Keys: NewKeys()}).Protect(t.Context(), nil); !errors.Is(err, ErrKeyMissing) {
			t.Errorf("got %v", err)
		}
	})
}

var testRing = NewKeys()

func TestAClientThatRefreshesEveryHourStaysSignedIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		a := s.mustRedeem(t, s.mustCreate(t))
		for range 24 * 60 {
			time.Sleep(time.Hour)
			a = s.mustRotate(t, a.RefreshToken)
		}
		if !s.works(t, a.AccessToken) {
			t.Error("it was signed out within 60 days")
		}
	})
}

func FuzzParseForm(f *testing.F) {
	f.Add("a=b&a=c&resource=x&resource=y")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseForm(text)
		if err != nil {
			return
		}
		for name, v := range got.values {
			if v == "" || got.duplicatedName(name) {
				t.Errorf("%q is there with %q", name, v)
			}
		}
	})
}

func FuzzRedirects(f *testing.F) {
	f.Add("http://127.0.0.1:80/cb", "http://127.0.0.1:1/cb")
	f.Add("https://a.example/cb", "https://a.example/cb#")
	f.Fuzz(func(t *testing.T, registered, asked string) {
		if !safeRedirect(registered, false) || !matchRedirect([]string{registered}, asked, true) || registered == asked {
			return
		}
		// Another spelling is allowed on loopback only, and leads to the same host.
		a, err1 := url.Parse(registered)
		b, err2 := url.Parse(asked)
		if err1 != nil || err2 != nil || a.Hostname() != b.Hostname() || !isLoopbackHost(b.Hostname()) || a.Path != b.Path || b.User != nil {
			t.Errorf("%q passes for %q", asked, registered)
		}
	})
}

func FuzzCredentials(f *testing.F) {
	f.Add("Basic YTpi")
	f.Fuzz(func(t *testing.T, header string) {
		if id, secret, ok := parseBasic(header); ok && (id == "" || secret == "") {
			t.Error("empty credentials")
		}
		(&gate{}).credential(&http.Request{Header: http.Header{"Authorization": {header}}})
	})
}

func FuzzClientMetadata(f *testing.F) {
	f.Add([]byte(`{"redirect_uris":["https://a.example/cb"],"client_name":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, werr := parseClientMetadata(body, false)
		if werr == nil && (len(m.RedirectURIs) == 0 || !safeRedirect(m.RedirectURIs[0], false)) {
			t.Error("accepted without a safe redirect")
		}
		parseDocument("https://a.example/client", body)
	})
}

func TestTwoTabsSignInAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	one, two := w.registers(), w.registers()
	b := w.browser()
	first, second := b.get(w.asks(one)), b.get(w.asks(two))
	loginTwo := b.post(w.url("/consent"), second.fields("decision", "allow"))
	loginOne := b.post(w.url("/consent"), first.fields("decision", "allow"))
	for client, login := range map[string]answer{one: loginOne, two: loginTwo} {
		_, q := b.post(w.url("/callback"), login.fields("name", "alice")).location()
		if tok := w.tokens(client, q.Get("code")); w.calls("/mcp", tok.AccessToken).status != 200 {
			t.Error("a tab did not sign in")
		}
	}
}

func TestPropsOfAnotherTypeAreZeroAndNotLogged(t *testing.T) {
	w := newWorld(t, nil)
	w.s.gate.next = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if p := Props[struct{ Secret int }](r.Context()); p.Secret != 0 {
			t.Errorf("got %v", p)
		}
	})
	_, tok := w.signsIn("alice")
	w.calls("/mcp", tok.AccessToken)
	if logs := w.logs.String(); !strings.Contains(logs, "props are not what") || strings.Contains(logs, upstreamSecret) {
		t.Errorf("the log says %s", logs)
	}
	if p := Props[testPerson](t.Context()); p != (testPerson{}) {
		t.Errorf("nobody has props %v", p)
	}
}

func TestAHundredRedemptionsOverHTTP(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	code := w.browser().mustAllow(w.asks(client), "alice")
	answers := make([]answer, 100)
	together(100, func(i int) { answers[i] = w.sends(client, code) })
	won := 0
	for _, a := range answers {
		if a.status != 200 {
			a.wantError(w, 400, "invalid_grant")
			continue
		}
		won++
		if tok := parseAnswer(t, []byte(a.body)); w.calls("/mcp", tok.AccessToken).status != 200 {
			t.Error("the winner's token is dead")
		}
	}
	if won != 1 {
		t.Errorf("%d redemptions won", won)
	}
}
