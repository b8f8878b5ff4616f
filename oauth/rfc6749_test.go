package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// page wants a page that tells the person, and no redirect.
func (w *world) page(what string, a answer) {
	w.Helper()
	if a.status != 400 || a.header.Get("Location") != "" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		w.Errorf("%s: %d %v", what, a.status, a.header)
	}
}

// told wants the client to be told an error at its redirect URI, with its state and iss.
func (w *world) told(what, authorize, code string) {
	w.Helper()
	to, q := w.browser().get(authorize).location()
	if to != testRedirect || q.Get("error") != code || q.Get("state") != "xyz&=" || q.Get("iss") != w.srv.URL || q.Has("code") {
		w.Errorf("%s: %s %v", what, to, q)
	}
}

func TestRFC6749(t *testing.T) {
	confidential := func(w *world, more ...string) (id, secret string) {
		w.Helper()
		m := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}}).json(w)
		return m["client_id"].(string), m["client_secret"].(string)
	}
	holds(t, "RFC 6749", nil, []rule{
		{"2.2", "client identifiers are unique, and no secret", func(w *world) {
			if one, other := w.registers(), w.registers(); one == other {
				w.Error("two clients have the same")
			}
		}},
		{"2.3", "a client uses one method of authentication in a request", func(w *world) {
			id, secret := confidential(w)
			w.posts("/token", asForm("grant_type", "refresh_token", "refresh_token", "x", "client_id", id, "client_secret", secret), basic(id, secret)...).wantError(w, 400, "invalid_request")
		}},
		{"2.3.1", "Basic is supported for clients with a secret, id and secret form encoded", func(w *world) {
			id, secret := confidential(w)
			w.posts("/token", asForm("grant_type", "refresh_token", "refresh_token", "x"), basic(id, secret)...).wantError(w, 400, "invalid_grant")
		}},
		{"2.3.1", "credentials in the address are not looked at", func(w *world) {
			id, secret := confidential(w)
			q := asForm("client_id", id, "client_secret", secret, "grant_type", "refresh_token", "refresh_token", "x")
			w.posts("/token?"+q.Encode(), url.Values{}).wantError(w, 401, "invalid_client")
		}},
		{"2.3.1", "guessing of secrets is bounded", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.Limits.Token = 1 })
			for range 20 {
				w.posts("/token", asForm("grant_type", "refresh_token"), basic("x", "y")...)
			}
			a := w.posts("/token", asForm("grant_type", "refresh_token"), basic("x", "y")...)
			if a.status != 429 || a.header.Get("Retry-After") == "" {
				w.Errorf("got %d", a.status)
			}
		}},
		{"3.1", "the authorization endpoint takes GET, and POST", func(w *world) {
			client := w.registers()
			u, _ := url.Parse(w.asks(client))
			w.wantStatus("GET", w.browser().get(u.String()), 200)
			b := w.browser()
			posted := b.post(w.url("/authorize"), u.Query())
			w.wantStatus("POST", posted, 303)
			w.wantStatus("what it leads to", b.get(posted.header.Get("Location")), 200)
		}},
		{"3.1", "a parameter without a value is as if it were not there, and one that is not known is ignored", func(w *world) {
			client := w.registers()
			w.wantStatus("both", w.browser().get(w.asks(client)+"&scope=&response_mode=&foo=bar"), 200)
		}},
		{"3.1", "no parameter is there twice", func(w *world) {
			client := w.registers()
			w.told("two scopes", w.asks(client)+"&scope=read&scope=read", "invalid_request")
			w.told("two response types", w.asks(client)+"&response_type=code", "invalid_request")
			_, q := w.browser().get(w.asks(client) + "&state=2").location()
			if q.Get("error") != "invalid_request" || q.Has("state") {
				w.Errorf("two states: %v", q)
			}
			w.page("two redirects", w.browser().get(w.asks(client)+"&redirect_uri="+url.QueryEscape(testRedirect)))
		}},
		{"3.1.1", "response_type is required, and only code is offered", func(w *world) {
			client := w.registers()
			w.told("none", w.asks(client, "response_type", ""), "invalid_request")
			for _, v := range []string{"token", "id_token", "code token", "CODE"} {
				w.told(v, w.asks(client, "response_type", v), "unsupported_response_type")
			}
		}},
		{"3.1.2", "a redirect URI is absolute, without a fragment, and keeps its query", func(w *world) {
			for _, uri := range []string{"/cb", "app.example/cb", "https://app.example/cb#x"} {
				w.registersAs(map[string]any{"redirect_uris": []string{uri}}).wantError(w, 400, "invalid_redirect_uri")
			}
			client := w.registers("https://app.example/cb?tenant=1")
			a := w.browser().allows(w.asks(client, "redirect_uri", "https://app.example/cb?tenant=1"), "alice")
			if _, q := a.location(); q.Get("tenant") != "1" || q.Get("code") == "" {
				w.Errorf("got %v", a.header)
			}
		}},
		{"3.1.2.3", "with several redirect URIs one has to be named, and the whole is compared", func(w *world) {
			client := w.registers("https://app.example/a", "https://app.example/b")
			w.page("none", w.browser().get(w.asks(client, "redirect_uri", "")))
			w.page("a prefix", w.browser().get(w.asks(client, "redirect_uri", "https://app.example/")))
			w.page("more", w.browser().get(w.asks(client, "redirect_uri", "https://app.example/a/b")))
			w.wantStatus("one", w.browser().get(w.asks(client, "redirect_uri", "https://app.example/b")), 200)
		}},
		{"3.1.2.4", "an invalid redirect URI is told to the person, and never followed", func(w *world) {
			client := w.registers()
			w.page("foreign", w.browser().get(w.asks(client, "redirect_uri", "https://evil.example/cb")))
			w.page("foreign, with another error", w.browser().get(w.asks(client, "redirect_uri", "https://evil.example/cb", "response_type", "token")))
		}},
		{"3.1.2.5", "the page at the end has no script, and what is around the code is not kept", func(w *world) {
			a := w.browser().allows(w.asks(w.registers()), "alice")
			if a.status != 303 || a.body != "" || a.header.Get("Cache-Control") != "no-store" {
				w.Errorf("got %d %q", a.status, a.body)
			}
		}},
		{"3.2", "the token endpoint takes POST only, no parameter twice, and ignores unknown ones", func(w *world) {
			for _, method := range []string{"GET", "PUT", "DELETE", "HEAD"} {
				if a := w.do(http.DefaultClient, request(method, w.url("/token"), "")); a.status != 405 || a.header.Get("Allow") == "" {
					w.Errorf("%s: %d", method, a.status)
				}
			}
			client, tok := w.signsIn("alice")
			v := asForm("grant_type", "refresh_token", "refresh_token", tok.RefreshToken, "client_id", client, "foo", "bar")
			w.posts("/token", asForm("grant_type", "refresh_token", "refresh_token", tok.RefreshToken, "refresh_token", tok.RefreshToken, "client_id", client)).wantError(w, 400, "invalid_request")
			w.wantStatus("unknown", w.posts("/token", v), 200)
		}},
		{"3.2.1", "a client with a secret has to authenticate when it redeems and when it refreshes", func(w *world) {
			id, secret := confidential(w)
			code := w.browser().mustAllow(w.asks(id), "alice")
			w.sends(id, code).wantError(w, 401, "invalid_client")
			tok := w.sends(id, code, "client_secret", secret).good(w)
			w.refreshes(id, tok.RefreshToken).wantError(w, 401, "invalid_client")
			w.wantStatus("with it", w.refreshes(id, tok.RefreshToken, "client_secret", secret), 200)
		}},
		{"3.3", "scopes are a list without order; what was granted is told where it differs from what was asked", func(w *world) {
			client := w.registers()
			for asked, want := range map[string]string{"write read": "read write", "read nonsense": "read", "": "read", "offline_access": "read"} {
				if tok := w.tokens(client, w.browser().mustAllow(w.asks(client, "scope", asked), "alice")); tok.Scope != want {
					w.Errorf("asked for %q: %q", asked, tok.Scope)
				}
			}
			w.told("nothing that can be granted", w.asks(client, "scope", "nonsense"), "invalid_scope")
		}},
		{"4.1.1", "state is given back unchanged, with the code and with an error", func(w *world) {
			client := w.registers()
			_, q := w.browser().allows(w.asks(client, "state", "a b&c=%41ü"), "alice").location()
			if q.Get("state") != "a b&c=%41ü" {
				w.Errorf("got %q", q.Get("state"))
			}
			_, q = w.browser().allows(w.asks(client, "state", ""), "alice").location()
			if q.Has("state") || q.Get("code") == "" {
				w.Errorf("without a state: %v", q)
			}
		}},
		{"4.1.2", "a code ends soon", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.CodeTTL = time.Second })
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			time.Sleep(1100 * time.Millisecond)
			w.sends(client, code).wantError(w, 400, "invalid_grant")
			if w := newWorld(w.T, nil); w.s.provider.CodeTTL > 10*time.Minute {
				w.Error("the default is longer than ten minutes")
			}
		}},
		{"4.1.2", "a code is good once; its second use later revokes what it gave", func(w *world) {
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			tok := w.tokens(client, code)
			w.sends(client, code).wantError(w, 400, "invalid_grant")
			w.wantStatus("a double submit costs nothing", w.calls("/mcp", tok.AccessToken), 200)
			w.backdate(code, -time.Minute)
			w.sends(client, code).wantError(w, 400, "invalid_grant")
			w.wantStatus("a replay ends the grant", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"4.1.2", "a code is bound to its client and its redirect URI", func(w *world) {
			client, other := w.registers(testRedirect, "http://127.0.0.1:7000/b"), w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.sends(other, code).wantError(w, 400, "invalid_grant")
			w.sends(client, code, "redirect_uri", "http://127.0.0.1:7000/b").wantError(w, 400, "invalid_grant")
			w.wantStatus("its own", w.sends(client, code), 200)
		}},
		{"4.1.2.1", "errors before the client and its redirect URI are known are pages; the others go to the client", func(w *world) {
			client := w.registers()
			w.page("no client", w.browser().get(w.asks("")))
			w.page("an unknown client", w.browser().get(w.asks(newID())))
			w.told("a missing challenge", w.asks(client, "code_challenge", ""), "invalid_request")
			b := w.browser()
			deny := b.post(w.url("/consent"), b.get(w.asks(client)).fields("decision", "deny"))
			if to, q := deny.location(); to != testRedirect || q.Get("error") != "access_denied" || q.Get("state") != "xyz&=" {
				w.Errorf("denied: %s %v", to, q)
			}
		}},
		{"4.1.2.1", "descriptions have no character outside what is allowed, and repeat nothing that was sent", func(w *world) {
			client := w.registers()
			for _, authorize := range []string{w.asks(client, "response_type", "<script>"), w.asks(client, "scope", "\"\\<x>"), w.asks(client, "resource", "https://evil.example/\n")} {
				_, q := w.browser().get(authorize).location()
				d := q.Get("error_description")
				if d == "" || strings.ContainsAny(d, "\"\\<>\n") || strings.ContainsFunc(d, func(c rune) bool { return c < ' ' || c > '~' }) || strings.Contains(d, "evil") {
					w.Errorf("got %q", d)
				}
			}
		}},
		{"4.1.3", "grant_type and code are required", func(w *world) {
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.sends(client, code, "grant_type", "").wantError(w, 400, "invalid_request")
			w.sends(client, "").wantError(w, 400, "invalid_request")
			w.wantStatus("nothing was used up by that", w.sends(client, code), 200)
		}},
		{"4.1.4, 5.1", "a good answer is JSON with token, type and end, and is kept by nobody", func(w *world) {
			client := w.registers()
			a := w.sends(client, w.browser().mustAllow(w.asks(client), "alice"))
			m := a.json(w)
			if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" ||
				m["access_token"] == nil || m["token_type"] != "Bearer" || m["expires_in"].(float64) != 3600 && m["expires_in"].(float64) != 3599 || m["scope"] != "read" {
				w.Errorf("got %v %s", a.header, a.body)
			}
		}},
		{"4.2, 4.3", "neither the implicit nor the password grant is there (OAuth 2.1 §10)", func(w *world) {
			m := w.metadata()
			if len(m["response_types_supported"].([]any)) != 1 || w.has(m["grant_types_supported"], "password") || w.has(m["grant_types_supported"], "implicit") {
				w.Errorf("got %v", m)
			}
			client := w.registers()
			w.posts("/token", asForm("grant_type", "password", "client_id", client, "username", "a", "password", "b")).wantError(w, 400, "unsupported_grant_type")
		}},
		{"5.2", "invalid_client is a 401, with a challenge for the scheme that was tried", func(w *world) {
			a := w.posts("/token", asForm("grant_type", "refresh_token", "refresh_token", "x"), basic("nobody", "x")...)
			a.wantError(w, 401, "invalid_client")
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") || a.header.Get("Cache-Control") != "no-store" {
				w.Errorf("got %v", a.header)
			}
		}},
		{"5.2", "errors are 400 with JSON of ASCII, and say nothing of what is inside", func(w *world) {
			client := w.registers()
			for _, a := range []answer{w.sends(client, "cw_code_x"), w.sends(client, "x", "grant_type", "x"), w.sends(client, "")} {
				if a.status != 400 || a.header.Get("Content-Type") != "application/json" || strings.ContainsFunc(a.body, func(c rune) bool { return c > '~' }) {
					w.Errorf("got %d %s", a.status, a.body)
				}
			}
		}},
		{"6", "a refresh may narrow the scope, and never widen it; the grant stays as it was", func(w *world) {
			client, tok := w.signsIn("alice", "scope", "read write")
			w.refreshes(client, tok.RefreshToken, "scope", "admin").wantError(w, 400, "invalid_scope")
			next := w.refreshes(client, tok.RefreshToken, "scope", "read").good(w)
			if next.Scope != "read" {
				w.Errorf("got %q", next.Scope)
			}
			if all := w.refreshes(client, next.RefreshToken).good(w); all.Scope != "read write" {
				w.Errorf("got %q", all.Scope)
			}
		}},
		{"6", "a refresh token is bound to its client, and a new one replaces it", func(w *world) {
			client, tok := w.signsIn("alice")
			w.refreshes(w.registers(), tok.RefreshToken).wantError(w, 400, "invalid_grant")
			if next := w.refreshes(client, tok.RefreshToken).good(w); next.RefreshToken == tok.RefreshToken || next.RefreshToken == "" {
				w.Error("it was not replaced")
			}
		}},
		{"10.3, 10.10", "tokens have at least 160 random bits, and codes as well", func(w *world) {
			if randomSize*8 < 160 {
				w.Errorf("%d", randomSize*8)
			}
			seen := map[string]bool{}
			m := w.s.mint
			for range 1000 {
				seen[m.issue(kindAccess, "a").text] = true
			}
			if len(seen) != 1000 {
				w.Error("two are the same")
			}
		}},
		{"10.3", "tokens are not kept in plain text", func(w *world) {
			client, tok := w.signsIn("alice")
			next := w.refreshes(client, tok.RefreshToken).good(w)
			for r, err := range w.s.records.List(w.Context(), "") {
				if err != nil {
					w.Fatal(err)
				}
				for _, secret := range []string{tok.AccessToken, tok.RefreshToken, next.AccessToken, next.RefreshToken, upstreamSecret} {
					plain := secret[strings.Index(secret, ".")+1:]
					if strings.Contains(string(r.Value), plain) || strings.Contains(string(r.Value), base64.StdEncoding.EncodeToString([]byte(plain))) {
						w.Errorf("record %s holds a secret", r.Key)
					}
				}
			}
		}},
		{"10.12", "what a person allows is bound to their browser", func(w *world) {
			page := w.browser().get(w.asks(w.registers()))
			if a := w.browser().post(w.url("/consent"), page.fields("decision", "allow")); a.status < 400 {
				w.Errorf("another browser answered: %d", a.status)
			}
		}},
		{"10.13", "pages are not shown in frames", func(w *world) {
			a := w.browser().get(w.asks(w.registers()))
			if a.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				w.Errorf("got %v", a.header)
			}
		}},
		{"10.14", "what a client calls itself is shown as text", func(w *world) {
			a := w.browser().get(w.asks(w.registers()))
			if strings.Contains(a.body, "<b>client</b>") || !strings.Contains(a.body, "&lt;b&gt;client") {
				w.Error("it is HTML")
			}
		}},
	})
	holds(t, "RFC 6749", extended, []rule{
		{"4.4", "client credentials are for clients that authenticate, and that may", func(w *world) {
			public := w.registers()
			w.posts("/token", asForm("grant_type", "client_credentials", "client_id", public)).wantError(w, 400, "unauthorized_client")
			w.serves("stranger").wantError(w, 400, "unauthorized_client")
			w.posts("/token", asForm("grant_type", "client_credentials", "client_id", "robot")).wantError(w, 401, "invalid_client")
		}},
		{"4.4.2", "they give what the client may have, at the resource that it names, within its scopes", func(w *world) {
			tok := w.serves("robot").good(w)
			if a := w.calls("/mcp", tok.AccessToken); a.status != 200 || !strings.HasPrefix(a.body, "client:robot  [write] robot") {
				w.Errorf("got %d %s", a.status, a.body)
			}
			if tok := w.serves("robot", "scope", "read").good(w); tok.Scope != "read" {
				w.Errorf("an included scope: %q", tok.Scope)
			}
			w.serves("robot", "scope", "admin").wantError(w, 400, "invalid_scope")
			w.as("robot", "/token", "grant_type", "client_credentials", "resource", w.url("/other")).wantError(w, 400, "invalid_target")
			w.as("robot", "/token", "grant_type", "client_credentials").wantError(w, 400, "invalid_target")
			w.as("gateway", "/token", "grant_type", "client_credentials", "resource", w.url("/signed")).wantError(w, 400, "invalid_target")
		}},
		{"4.4.3", "there is no refresh token", func(w *world) {
			if a := w.serves("robot"); a.json(w)["refresh_token"] != nil || a.header.Get("Cache-Control") != "no-store" {
				w.Errorf("got %s", a.body)
			}
		}},
		{"4.4", "the token may be revoked by its client", func(w *world) {
			tok := w.serves("robot").good(w)
			w.as("robot", "/revoke", "token", tok.AccessToken)
			w.wantStatus("after that", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"4.4", "it is announced when configured, and only then", func(w *world) {
			if !w.has(w.metadata()["grant_types_supported"], "client_credentials") || w.has(newWorld(w.T, nil).metadata()["grant_types_supported"], "client_credentials") {
				w.Error("it is not so")
			}
		}},
		{"5.2", "a client without redirect URIs gets no code", func(w *world) {
			w.page("robot", w.browser().get(w.asks("robot")))
			w.page("robot without a redirect", w.browser().get(w.asks("robot", "redirect_uri", "")))
		}},
	})
}

// backdate moves what happened to the grant of a code into the past.
func (w *world) backdate(code string, by time.Duration) {
	w.Helper()
	t, err := w.s.mint.parse(kindCode, code)
	if err != nil {
		w.Fatal(err)
	}
	g, rev, err := w.s.grants.get(w.Context(), t.id)
	if err != nil {
		w.Fatal(err)
	}
	next := g.clone()
	slot := *g.Code
	slot.Redeemed = slot.Redeemed.Add(by)
	next.Code = &slot
	if err := w.s.grants.write(w.Context(), next, rev); err != nil {
		w.Fatal(err)
	}
}

func TestRFC6750(t *testing.T) {
	challenge := func(w *world, what string, a answer, status int, code string) {
		w.Helper()
		got := a.header.Get("WWW-Authenticate")
		if a.status != status || !strings.HasPrefix(got, "Bearer ") || strings.Contains(got, "error=") != (code != "") || code != "" && !strings.Contains(got, `error="`+code+`"`) {
			w.Errorf("%s: %d %q", what, a.status, got)
		}
	}
	holds(t, "RFC 6750", nil, []rule{
		{"2.1", "the token is taken from the header Authorization, whose scheme has no case", func(w *world) {
			_, tok := w.signsIn("alice")
			for _, scheme := range []string{"Bearer ", "bearer ", "BEARER "} {
				a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), "", "Authorization", scheme+tok.AccessToken))
				w.wantStatus(scheme, a, 200)
			}
		}},
		{"2.2, 2.3", "a token in the body or in the address is not looked at", func(w *world) {
			_, tok := w.signsIn("alice")
			challenge(w, "address", w.do(http.DefaultClient, request("POST", w.url("/mcp?access_token="+tok.AccessToken), "")), 401, "")
			challenge(w, "body", w.posts("/mcp", asForm("access_token", tok.AccessToken)), 401, "")
			m := w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp")).json(w)
			if !slices.Equal(m["bearer_methods_supported"].([]any), []any{"header"}) {
				w.Errorf("got %v", m["bearer_methods_supported"])
			}
		}},
		{"2", "there is one way in a request: two headers are refused", func(w *world) {
			_, tok := w.signsIn("alice")
			challenge(w, "two", w.calls("/mcp", tok.AccessToken, "Authorization", "Bearer x"), 400, "invalid_request")
		}},
		{"3", "who sent no token is challenged without an error code", func(w *world) {
			a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), ""))
			challenge(w, "none", a, 401, "")
			if a.body != "" || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="read"`) {
				w.Errorf("got %v %q", a.header, a.body)
			}
			challenge(w, "another scheme", w.do(http.DefaultClient, request("POST", w.url("/mcp"), "", "Authorization", "Basic eDp5")), 401, "")
		}},
		{"3", "no attribute is there twice, and values hold only what is allowed", func(w *world) {
			got := w.calls("/mcp", "junk").header.Get("WWW-Authenticate")
			for _, name := range []string{"error=", "error_description=", "scope=", "resource_metadata="} {
				if strings.Count(got, name) != 1 {
					w.Errorf("%s in %q", name, got)
				}
			}
			if strings.ContainsAny(got, "\\\n") {
				w.Errorf("got %q", got)
			}
		}},
		{"3.1", "a token that is expired, revoked, malformed or of nobody: 401 invalid_token", func(w *world) {
			client, tok := w.signsIn("alice")
			for _, bad := range []string{"junk", tok.RefreshToken, tok.AccessToken + "x", tok.AccessToken[:len(tok.AccessToken)-1]} {
				challenge(w, bad, w.calls("/mcp", bad), 401, "invalid_token")
			}
			for _, bad := range []string{"", "a b", "a,b"} {
				if a := w.calls("/mcp", bad); a.status != 401 {
					w.Errorf("%q: %d", bad, a.status)
				}
			}
			w.posts("/revoke", asForm("token", tok.AccessToken, "client_id", client))
			challenge(w, "revoked", w.calls("/mcp", tok.AccessToken), 401, "invalid_token")
		}},
		{"3.1", "a scope that is missing: 403 insufficient_scope, with the scopes that are needed", func(w *world) {
			_, tok := w.signsIn("alice")
			a := w.calls("/mcp/admin", tok.AccessToken)
			challenge(w, "admin", a, 403, "insufficient_scope")
			if !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="read admin"`) {
				w.Errorf("got %v", a.header)
			}
		}},
		{"3.1", "a scope that includes the one needed is enough", func(w *world) {
			_, tok := w.signsIn("alice", "scope", "write")
			w.wantStatus("write for read", w.calls("/mcp", tok.AccessToken), 200)
		}},
		{"4", "the answer with a token is not kept", func(w *world) {
			client := w.registers()
			if a := w.sends(client, w.browser().mustAllow(w.asks(client), "alice")); a.header.Get("Cache-Control") != "no-store" {
				w.Errorf("got %v", a.header)
			}
		}},
		{"5.2", "tokens are short-lived, bound to a resource, and never in a log", func(w *world) {
			_, tok := w.signsIn("alice")
			w.wantStatus("elsewhere", w.calls("/other", tok.AccessToken), 401)
			if tok.ExpiresIn > 3600 || strings.Contains(w.logs.String(), tok.AccessToken) {
				w.Errorf("%d s", tok.ExpiresIn)
			}
		}},
		{"5.3", "clear text is for loopback only", func(w *world) {
			for _, issuer := range []string{"http://mcp.example.com", "http://10.0.0.1", "ftp://mcp.example.com"} {
				if _, err := (&Provider{Issuer: issuer, Login: askName{}}).Protect(w.Context(), nil); err == nil {
					w.Errorf("%s: accepted", issuer)
				}
			}
		}},
	})
}
