package oauth

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRFC9700(t *testing.T) {
	holds(t, "RFC 9700", nil, []rule{
		{"2.1", "redirect addresses are compared exactly, but for the port of loopback", func(w *world) {
			client := w.registers("https://app.example/cb")
			for _, r := range []string{"https://app.example/cb/", "https://app.example/CB", "https://APP.example/cb", "https://app.example:443/cb", "https://app.example/cb?", "https://app.example/x/../cb"} {
				w.page(r, w.browser().get(w.asks(client, "redirect_uri", r)))
			}
		}},
		{"2.1", "there is no open redirector: nothing is followed that was not registered", func(w *world) {
			w.page("an unknown client", w.browser().get(w.asks(newID(), "redirect_uri", "https://evil.example")))
		}},
		{"2.1.1", "PKCE is for all clients; a code asked for without it does not exist", func(w *world) {
			w.told("none", w.asks(w.registers(), "code_challenge", "", "code_challenge_method", ""), "invalid_request")
		}},
		{"2.1.1", "a verifier where there was no challenge, or none where there was one, fails (downgrade)", func(w *world) {
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.sends(client, code, "code_verifier", strings.Repeat("b", 43)).wantError(w, 400, "invalid_grant")
			w.sends(client, code, "code_verifier", "").wantError(w, 400, "invalid_request")
		}},
		{"2.1.2", "no token comes from the authorization endpoint", func(w *world) {
			if _, q := w.browser().allows(w.asks(w.registers()), "alice").location(); q.Has("access_token") || q.Has("id_token") {
				w.Errorf("got %v", q)
			}
			w.told("token", w.asks(w.registers(), "response_type", "token"), "unsupported_response_type")
		}},
		{"2.2.1", "tokens can be bound to a key of the client (RFC 9449)", func(w *world) {
			w = newWorld(w.T, extended)
			_, tok := w.prover().boundTokens("alice")
			w.wantStatus("stolen", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"2.2.2, 4.14.2", "refresh tokens of public clients are rotated, and a superseded one ends the family", func(w *world) {
			client, tok := w.signsIn("alice")
			second := w.refreshes(client, tok.RefreshToken).good(w)
			third := w.refreshes(client, second.RefreshToken).good(w)
			w.refreshes(client, tok.RefreshToken).wantError(w, 400, "invalid_grant")
			w.refreshes(client, third.RefreshToken).wantError(w, 400, "invalid_grant")
			w.wantStatus("its access token", w.calls("/mcp", third.AccessToken), 401)
			if !strings.Contains(w.logs.String(), "superseded refresh token") {
				w.Error("nobody hears of it")
			}
		}},
		{"4.14.2", "Strict ends the family at any second use", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.Strict = true })
			client, tok := w.signsIn("alice")
			next := w.refreshes(client, tok.RefreshToken).good(w)
			w.refreshes(client, tok.RefreshToken).wantError(w, 400, "invalid_grant")
			w.refreshes(client, next.RefreshToken).wantError(w, 400, "invalid_grant")
		}},
		{"4.14.2", "refresh tokens are bound to the scope and the resource that were allowed, and end when idle", func(w *world) {
			client, tok := w.signsIn("alice")
			w.refreshes(client, tok.RefreshToken, "scope", "admin").wantError(w, 400, "invalid_scope")
			w.refreshes(client, tok.RefreshToken, "resource", w.url("/other")).wantError(w, 400, "invalid_target")
			if p := w.s.provider; p.IdleTTL > 90*24*time.Hour || p.GrantTTL > 400*24*time.Hour {
				w.Errorf("%v %v", p.IdleTTL, p.GrantTTL)
			}
		}},
		{"2.3", "tokens are for one resource and few scopes", func(w *world) {
			_, tok := w.signsIn("alice")
			w.wantStatus("elsewhere", w.calls("/other", tok.AccessToken), 401)
			if tok.Scope != "read" {
				w.Errorf("without asking: %q", tok.Scope)
			}
		}},
		{"2.4", "the password grant is not there", func(w *world) {
			w.posts("/token", asForm("grant_type", "password", "client_id", w.registers())).wantError(w, 400, "unsupported_grant_type")
		}},
		{"2.5", "clients may prove themselves with a key, and such a proof is good once", func(w *world) {
			if !w.has(w.metadata()["token_endpoint_auth_methods_supported"], "private_key_jwt") {
				w.Error("not announced")
			}
		}},
		{"2.6", "metadata are published (RFC 8414), and CORS is not for the authorization endpoint", func(w *world) {
			if a := w.browser().get(w.asks(w.registers()), "Origin", "https://app.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
				w.Errorf("got %v", a.header)
			}
			a := w.do(http.DefaultClient, request("OPTIONS", w.url("/token"), "", "Origin", "https://app.example"))
			if a.header.Get("Access-Control-Allow-Origin") != "*" {
				w.Errorf("got %v", a.header)
			}
		}},
		{"4.2.4", "pages send no referrer with a code, and load nothing from elsewhere", func(w *world) {
			a := w.browser().get(w.asks(w.registers()))
			if a.header.Get("Referrer-Policy") == "" || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
				w.Errorf("got %v", a.header)
			}
		}},
		{"4.3.1", "a code is good once and for a short time, so that one in a history is worth nothing", func(w *world) {
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.tokens(client, code)
			w.sends(client, code).wantError(w, 400, "invalid_grant")
		}},
		{"4.4", "iss is sent, against mix-up", func(w *world) {
			if _, q := w.browser().allows(w.asks(w.registers()), "alice").location(); q.Get("iss") != w.srv.URL {
				w.Errorf("got %v", q)
			}
		}},
		{"4.5", "a stolen code is worth nothing to another client, nor put into the victim's own", func(w *world) {
			client, thief := w.registers(), w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.sends(thief, code).wantError(w, 400, "invalid_grant")
			w.sends(client, code, "code_verifier", strings.Repeat("t", 43)).wantError(w, 400, "invalid_grant")
			w.wantStatus("and the owner keeps it", w.sends(client, code), 200)
		}},
		{"4.7", "a person is asked in their own browser: a consent cannot be answered from another site", func(w *world) {
			b := w.browser()
			page := b.get(w.asks(w.registers()))
			a := b.post(w.url("/consent"), page.fields("decision", "allow"), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
			if a.status < 400 {
				w.Errorf("got %d", a.status)
			}
		}},
		{"4.9.1", "a resource server that is broken into has no token for another one", func(w *world) {
			_, tok := w.signsIn("alice", "resource", w.url("/other"))
			w.wantStatus("elsewhere", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"4.10", "a token is not in an address", func(w *world) {
			_, tok := w.signsIn("alice")
			w.wantStatus("in the address", w.do(http.DefaultClient, request("POST", w.url("/mcp?access_token="+tok.AccessToken), "")), 401)
		}},
		{"4.11", "the authorization server is no open redirector", func(w *world) {
			client := w.registers()
			w.page("foreign", w.browser().get(w.asks(client, "redirect_uri", "https://evil.example", "prompt", "none")))
		}},
		{"4.12", "the redirect after a form is a 303: what was posted is not posted again", func(w *world) {
			if a := w.browser().allows(w.asks(w.registers()), "alice"); a.status != 303 {
				w.Errorf("got %d", a.status)
			}
		}},
		{"4.13", "behind a proxy, headers of the request say nothing about who asks", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.Limits.Token = 0.05 })
			w.posts("/token", asForm("grant_type", "x"), "X-Forwarded-For", "192.0.2.1")
			a := w.posts("/token", asForm("grant_type", "x"), "X-Forwarded-For", "192.0.2.2")
			w.wantStatus("another address in a header", a, 429)
		}},
		{"4.15", "a client cannot have the name of a person", func(w *world) {
			w = newWorld(w.T, extended)
			tok := w.serves("robot").good(w)
			if a := w.calls("/mcp", tok.AccessToken); !strings.HasPrefix(a.body, "client:robot ") {
				w.Errorf("got %s", a.body)
			}
			if _, err := encodePerson(&Person{ID: "client:robot"}); err == nil {
				w.Error("a person may be called so")
			}
		}},
		{"4.16", "pages are not shown in frames", func(w *world) {
			if a := w.browser().get(w.asks(w.registers())); a.header.Get("X-Frame-Options") != "DENY" {
				w.Errorf("got %v", a.header)
			}
		}},
	})
}
