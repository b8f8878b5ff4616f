package oauth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

func TestRFC7009(t *testing.T) {
	revoke := func(w *world, client, token string, more ...string) answer {
		w.Helper()
		return w.posts("/revoke", asForm(append([]string{"token", token, "client_id", client}, more...)...))
	}
	holds(t, "RFC 7009", nil, []rule{
		{"2", "refresh tokens and access tokens can be revoked", func(w *world) {
			client, tok := w.signsIn("alice")
			w.wantStatus("access", revoke(w, client, tok.AccessToken), 200)
			w.wantStatus("it ends", w.calls("/mcp", tok.AccessToken), 401)
			next := w.refreshes(client, tok.RefreshToken).good(w)
			w.wantStatus("refresh", revoke(w, client, next.RefreshToken), 200)
			w.refreshes(client, next.RefreshToken).wantError(w, 400, "invalid_grant")
		}},
		{"2", "the endpoint is announced, takes POST only, and needs TLS as everything does", func(w *world) {
			if w.metadata()["revocation_endpoint"] != w.url("/revoke") {
				w.Error("not announced")
			}
			w.wantStatus("GET", w.browser().get(w.url("/revoke?token=x")), 405)
		}},
		{"2.1", "token is required", func(w *world) {
			revoke(w, w.registers(), "").wantError(w, 400, "invalid_request")
		}},
		{"2.1", "the client authenticates as it does at the token endpoint", func(w *world) {
			m := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}}).json(w)
			id := m["client_id"].(string)
			revoke(w, id, "x").wantError(w, 401, "invalid_client")
			revoke(w, id, "x", "client_secret", "wrong").wantError(w, 401, "invalid_client")
			w.posts("/revoke", asForm("token", "x")).wantError(w, 401, "invalid_client")
			w.wantStatus("with it", w.posts("/revoke", asForm("token", "x"), basic(id, m["client_secret"].(string))...), 200)
		}},
		{"2.1", "a client revokes its own tokens only", func(w *world) {
			_, tok := w.signsIn("alice")
			other := w.registers()
			revoke(w, other, tok.AccessToken)
			revoke(w, other, tok.RefreshToken)
			w.wantStatus("after another client tried", w.calls("/mcp", tok.AccessToken), 200)
		}},
		{"2.1", "revoking the refresh token ends the access tokens of the grant, at once", func(w *world) {
			client, tok := w.signsIn("alice")
			next := w.refreshes(client, tok.RefreshToken).good(w)
			w.wantStatus("before", w.calls("/mcp", next.AccessToken), 200)
			revoke(w, client, next.RefreshToken)
			w.wantStatus("the newest", w.calls("/mcp", next.AccessToken), 401)
			w.wantStatus("the one before", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"2.1", "revoking an access token leaves the grant", func(w *world) {
			client, tok := w.signsIn("alice")
			revoke(w, client, tok.AccessToken)
			w.wantStatus("refresh", w.refreshes(client, tok.RefreshToken), 200)
		}},
		{"2.1", "a hint that is wrong or not known changes nothing", func(w *world) {
			for _, hint := range []string{"refresh_token", "access_token", "nonsense"} {
				client, tok := w.signsIn("alice")
				revoke(w, client, tok.AccessToken, "token_type_hint", hint)
				w.wantStatus(hint, w.calls("/mcp", tok.AccessToken), 401)
			}
		}},
		{"2.2", "a token that is not known, or was revoked before, is a 200 as well", func(w *world) {
			client, tok := w.signsIn("alice")
			for _, text := range []string{"nonsense", tok.RefreshToken, tok.RefreshToken, tok.AccessToken} {
				w.wantStatus(text, revoke(w, client, text), 200)
			}
		}},
		{"2.2.1", "an outage is a 503 that says when to come again", func(w *world) {
			client, tok := w.signsIn("alice")
			w.s.grants.records = &failing{w.s.records}
			if a := revoke(w, client, tok.RefreshToken); a.status != 503 || a.header.Get("Retry-After") == "" {
				w.Errorf("got %d %v", a.status, a.header)
			}
		}},
		{"2.3", "scripts of any origin may call it", func(w *world) {
			a := w.do(http.DefaultClient, request("OPTIONS", w.url("/revoke"), "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST"))
			if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "*" {
				w.Errorf("got %d %v", a.status, a.header)
			}
		}},
		{"5", "an answer does not tell whether a token was good", func(w *world) {
			client, tok := w.signsIn("alice")
			good, bad := revoke(w, client, tok.AccessToken), revoke(w, client, "nonsense")
			if good.status != bad.status || good.body != bad.body {
				w.Errorf("%v and %v", good, bad)
			}
		}},
	})
}

func TestRFC7636(t *testing.T) {
	holds(t, "RFC 7636", nil, []rule{
		{"4.1", "a verifier has 43 to 128 unreserved characters", func(w *world) {
			client := w.registers()
			for _, v := range []string{strings.Repeat("a", 42), strings.Repeat("a", 129), strings.Repeat("a", 42) + "!", strings.Repeat("a", 42) + "ü", strings.Repeat("a", 42) + "\n"} {
				code := w.browser().mustAllow(w.asks(client, "code_challenge", challengeOf(v)), "alice")
				w.sends(client, code, "code_verifier", v).wantError(w, 400, "invalid_grant")
			}
			for _, v := range []string{strings.Repeat("a", 43), strings.Repeat("-._~", 32)} {
				code := w.browser().mustAllow(w.asks(client, "code_challenge", challengeOf(v)), "alice")
				w.wantStatus(v, w.sends(client, code, "code_verifier", v), 200)
			}
		}},
		{"4.2", "S256 is what is offered, and announced", func(w *world) {
			if m := w.metadata()["code_challenge_methods_supported"].([]any); len(m) != 1 || m[0] != "S256" {
				w.Errorf("got %v", m)
			}
		}},
		{"4.2", "a challenge is 43 characters of base64url", func(w *world) {
			client := w.registers()
			for _, c := range []string{"short", strings.Repeat("a", 44), strings.Repeat("=", 43), base64.StdEncoding.EncodeToString(make([]byte, 32))} {
				w.told(c, w.asks(client, "code_challenge", c), "invalid_request")
			}
		}},
		{"4.3", "plain, which is also what no method means, is refused", func(w *world) {
			client := w.registers()
			for _, m := range []string{"plain", "", "s256", "S512"} {
				w.told(m, w.asks(client, "code_challenge_method", m), "invalid_request")
			}
		}},
		{"4.4", "the challenge is kept with the code, on the server", func(w *world) {
			code := w.browser().mustAllow(w.asks(w.registers()), "alice")
			if strings.Contains(code, challengeOf(testVerifier)) {
				w.Error("it is in the code")
			}
		}},
		{"4.4.1", "without a challenge: invalid_request", func(w *world) {
			w.told("none", w.asks(w.registers(), "code_challenge", "", "code_challenge_method", ""), "invalid_request")
		}},
		{"4.5", "the verifier is required at the token endpoint", func(w *world) {
			client := w.registers()
			w.sends(client, w.browser().mustAllow(w.asks(client), "alice"), "code_verifier", "").wantError(w, 400, "invalid_request")
		}},
		{"4.6", "another verifier: invalid_grant, and the code is not used up", func(w *world) {
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			for _, v := range []string{strings.Repeat("b", 43), challengeOf(testVerifier), testVerifier + "x"} {
				w.sends(client, code, "code_verifier", v).wantError(w, 400, "invalid_grant")
			}
			w.wantStatus("the right one", w.sends(client, code), 200)
		}},
		{"7.2", "clients with a secret are not exempt", func(w *world) {
			m := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}}).json(w)
			w.told("no challenge", w.asks(m["client_id"].(string), "code_challenge", ""), "invalid_request")
		}},
	})
}

func TestRFC8707(t *testing.T) {
	holds(t, "RFC 8707", nil, []rule{
		{"2", "a resource is absolute, without a fragment; another is invalid_target", func(w *world) {
			client := w.registers()
			for _, r := range []string{"/mcp", "mcp", w.url("/mcp") + "#x", w.url("/mcp") + "?x", "https://evil.example/mcp", "urn:x", w.url("/mcp/below")} {
				w.told(r, w.asks(client, "resource", r), "invalid_target")
				w.sends(client, w.browser().mustAllow(w.asks(client), "alice"), "resource", r).wantError(w, 400, "invalid_target")
			}
		}},
		{"2", "one resource in a request: a token for several could be used across them", func(w *world) {
			client := w.registers()
			w.told("two", w.asks(client)+"&resource="+w.url("/other"), "invalid_target")
			code := w.browser().mustAllow(w.asks(client), "alice")
			v := asForm("grant_type", "authorization_code", "client_id", client, "code", code, "code_verifier", testVerifier, "resource", w.url("/mcp"), "resource", w.url("/other"))
			w.posts("/token", v).wantError(w, 400, "invalid_target")
		}},
		{"2", "without one the only resource is meant; of several none", func(w *world) {
			w.told("of several", w.asks(w.registers(), "resource", ""), "invalid_target")
			one := newWorld(w.T, func(p *Provider) { p.Resources = p.Resources[:1] })
			client := one.registers()
			tok := one.tokens(client, one.browser().mustAllow(one.asks(client, "resource", ""), "alice"))
			one.wantStatus("the only one", one.calls("/mcp", tok.AccessToken), 200)
		}},
		{"2.1", "spellings that mean the same are the same", func(w *world) {
			client := w.registers()
			for _, r := range []string{w.url("/mcp/"), strings.Replace(w.url("/mcp"), "http:", "HTTP:", 1)} {
				tok := w.tokens(client, w.browser().mustAllow(w.asks(client, "resource", r), "alice"))
				w.wantStatus(r, w.calls("/mcp", tok.AccessToken), 200)
			}
		}},
		{"2.2", "the token endpoint gives no other resource than the one allowed, by code and by refresh", func(w *world) {
			client := w.registers()
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.sends(client, code, "resource", w.url("/other")).wantError(w, 400, "invalid_target")
			tok := w.sends(client, code, "resource", w.url("/mcp")).good(w)
			w.refreshes(client, tok.RefreshToken, "resource", w.url("/other")).wantError(w, 400, "invalid_target")
			w.wantStatus("the same", w.refreshes(client, tok.RefreshToken, "resource", w.url("/mcp")), 200)
		}},
		{"2.2", "the token is good at that resource only", func(w *world) {
			_, tok := w.signsIn("alice", "resource", w.url("/other"))
			w.wantStatus("there", w.calls("/other", tok.AccessToken), 200)
			w.wantStatus("elsewhere", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"3", "the person sees which resource it is for", func(w *world) {
			if a := w.browser().get(w.asks(w.registers())); !strings.Contains(a.body, "Mail") {
				w.Error("they do not")
			}
		}},
	})
}

func TestRFC9207(t *testing.T) {
	holds(t, "RFC 9207", nil, []rule{
		{"2", "iss is in the answer with a code", func(w *world) {
			if _, q := w.browser().allows(w.asks(w.registers()), "alice").location(); len(q["iss"]) != 1 || q.Get("iss") != w.srv.URL {
				w.Errorf("got %v", q)
			}
		}},
		{"2", "and in the one with an error, whatever it is", func(w *world) {
			client := w.registers()
			w.told("a bad request", w.asks(client, "response_type", "token"), "unsupported_response_type")
			b := w.browser()
			_, q := b.post(w.url("/consent"), b.get(w.asks(client)).fields("decision", "deny")).location()
			if q.Get("iss") != w.srv.URL {
				w.Errorf("denied: %v", q)
			}
			if _, q := w.browser().allows(w.asks(client), "mallory").location(); q.Get("error") != "access_denied" || q.Get("iss") != w.srv.URL {
				w.Errorf("not allowed: %v", q)
			}
		}},
		{"2", "it is the issuer of the metadata, to the byte", func(w *world) {
			_, q := w.browser().allows(w.asks(w.registers()), "alice").location()
			if w.metadata()["issuer"] != q.Get("iss") {
				w.Errorf("%v and %v", w.metadata()["issuer"], q.Get("iss"))
			}
		}},
		{"2.3", "the metadata say that it is sent", func(w *world) {
			if w.metadata()["authorization_response_iss_parameter_supported"] != true {
				w.Error("they do not")
			}
		}},
	})
}
