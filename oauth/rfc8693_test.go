package oauth

import (
	"strings"
	"testing"
	"time"
)

// exchanges is a request of RFC 8693 §2.1 with changes.
func (w *world) exchanges(client, subject string, more ...string) answer {
	w.Helper()
	v := asForm("grant_type", grantTokenExchange, "subject_token", subject, "subject_token_type", typeAccessToken)
	for i := 0; i < len(more); i += 2 {
		v.Del(more[i])
		if more[i+1] != "" {
			v.Set(more[i], more[i+1])
		}
	}
	return w.posts("/token", v, basic(client, testSecret)...)
}

func TestRFC8693(t *testing.T) {
	holds(t, "RFC 8693", extended, []rule{
		{"2", "the grant type is announced", func(w *world) {
			if !w.has(w.metadata()["grant_types_supported"], grantTokenExchange) {
				w.Error("not announced")
			}
		}},
		{"2", "it is off until configured", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.Clients = []Client{{ID: "gateway", Secret: testSecret}} })
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", tok.AccessToken).wantError(w, 400, "unsupported_grant_type")
			if w.has(w.metadata()["grant_types_supported"], grantTokenExchange) {
				w.Error("announced")
			}
		}},
		{"2.1", "a client that was not allowed to exchanges nothing, not even its own token", func(w *world) {
			client, tok := w.signsIn("alice")
			w.exchanges("stranger", tok.AccessToken).wantError(w, 400, "unauthorized_client")
			w.posts("/token", asForm("grant_type", grantTokenExchange, "client_id", client, "subject_token", tok.AccessToken, "subject_token_type", typeAccessToken)).wantError(w, 400, "unauthorized_client")
		}},
		{"2.1", "subject_token and its type are required", func(w *world) {
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", "").wantError(w, 400, "invalid_request")
			w.exchanges("gateway", tok.AccessToken, "subject_token_type", "").wantError(w, 400, "invalid_request")
			w.exchanges("gateway", tok.AccessToken, "subject_token_type", "urn:ietf:params:oauth:token-type:id_token").wantError(w, 400, "invalid_request")
		}},
		{"2.1", "actor_token_type comes with an actor_token, and only with one", func(w *world) {
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", tok.AccessToken, "actor_token_type", typeAccessToken).wantError(w, 400, "invalid_request")
			w.exchanges("gateway", tok.AccessToken, "actor_token", tok.AccessToken).wantError(w, 400, "invalid_request")
		}},
		{"2.1", "a requested type other than an access token is refused", func(w *world) {
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", tok.AccessToken, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token").wantError(w, 400, "invalid_request")
			w.wantStatus("an access token", w.exchanges("gateway", tok.AccessToken, "requested_token_type", typeAccessToken), 200)
		}},
		{"2.1", "the subject token is validated", func(w *world) {
			client, tok := w.signsIn("alice")
			w.exchanges("gateway", "nonsense").wantError(w, 400, "invalid_request")
			w.exchanges("gateway", tok.RefreshToken).wantError(w, 400, "invalid_request")
			w.posts("/revoke", asForm("token", tok.AccessToken, "client_id", client))
			w.exchanges("gateway", tok.AccessToken).wantError(w, 400, "invalid_request")
		}},
		{"2.1", "the actor token is validated, and must have been given to who brings it", func(w *world) {
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", tok.AccessToken, "actor_token", "nonsense", "actor_token_type", typeAccessToken).wantError(w, 400, "invalid_request")
			_, bobs := w.signsIn("bob")
			w.exchanges("gateway", tok.AccessToken, "actor_token", bobs.AccessToken, "actor_token_type", typeAccessToken).wantError(w, 400, "invalid_request")
			own := w.serves("gateway").good(w)
			w.wantStatus("its own", w.exchanges("gateway", tok.AccessToken, "actor_token", own.AccessToken, "actor_token_type", typeAccessToken), 200)
		}},
		{"2.2.1", "the answer names the type that was issued, Bearer, an end, the scope, and no refresh token", func(w *world) {
			_, tok := w.signsIn("alice")
			a := w.exchanges("gateway", tok.AccessToken)
			m := a.json(w)
			if m["issued_token_type"] != typeAccessToken || m["token_type"] != "Bearer" || m["refresh_token"] != nil || m["scope"] != "read" || m["expires_in"] == nil || a.header.Get("Cache-Control") != "no-store" {
				w.Errorf("got %v", m)
			}
			b := w.calls("/mcp", m["access_token"].(string))
			if b.status != 200 || !strings.HasPrefix(b.body, "test:alice alice [read] gateway") {
				w.Errorf("got %d %s", b.status, b.body)
			}
		}},
		{"2.2.2", "a target that is unknown, or that the client may not have, is invalid_target", func(w *world) {
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", tok.AccessToken, "resource", "https://evil.example/mcp").wantError(w, 400, "invalid_target")
			w.exchanges("gateway", tok.AccessToken, "audience", "https://evil.example/mcp").wantError(w, 400, "invalid_target")
			w.exchanges("gateway", tok.AccessToken, "resource", w.url("/other")).wantError(w, 400, "invalid_target")
			w.exchanges("gateway", tok.AccessToken, "resource", w.url("/mcp"), "audience", w.url("/signed")).wantError(w, 400, "invalid_target")
		}},
		{"2.1", "a token for a resource that the client may not bring is refused", func(w *world) {
			_, tok := w.signsIn("alice")
			w.exchanges("robot", tok.AccessToken).wantError(w, 400, "invalid_request")
		}},
		{"2.1", "the target may be named by resource or by audience, and the token is good there only", func(w *world) {
			_, tok := w.signsIn("alice")
			for _, by := range []string{"resource", "audience"} {
				made := w.exchanges("gateway", tok.AccessToken, by, w.url("/signed")).good(w)
				w.wantStatus("at the target", w.calls("/signed", made.AccessToken), 200)
				w.wantStatus("elsewhere", w.calls("/mcp", made.AccessToken), 401)
			}
		}},
		{"5", "scopes narrow, and never widen", func(w *world) {
			_, tok := w.signsIn("alice", "scope", "write")
			for asked, want := range map[string]string{"": "write", "read": "read", "write": "write", "write read read": "write read"} {
				if made := w.exchanges("gateway", tok.AccessToken, "scope", asked).good(w); made.Scope != want {
					w.Errorf("asked for %q: %q", asked, made.Scope)
				}
			}
			for _, asked := range []string{"admin", "write admin", "nonsense"} {
				w.exchanges("gateway", tok.AccessToken, "scope", asked).wantError(w, 400, "invalid_scope")
				w.exchanges("gateway", tok.AccessToken, "scope", asked, "resource", w.url("/signed")).wantError(w, 400, "invalid_scope")
			}
			narrow := w.exchanges("gateway", tok.AccessToken, "scope", "read").good(w)
			w.exchanges("gateway", narrow.AccessToken, "scope", "write").wantError(w, 400, "invalid_scope")
		}},
		{"5", "it ends no later than the token that it was made from", func(w *world) {
			_, tok := w.signsIn("alice", "resource", w.url("/signed")) // good for 10 minutes, others for an hour
			made := w.exchanges("gateway", tok.AccessToken, "resource", w.url("/mcp")).good(w)
			if made.ExpiresIn > tok.ExpiresIn || made.ExpiresIn < tok.ExpiresIn-5 {
				w.Errorf("%d s out of %d s", made.ExpiresIn, tok.ExpiresIn)
			}
		}},
		{"5", "a token that ends within a minute is not exchanged", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { extended(p); p.AccessTTL = time.Minute; p.Resources[len(p.Resources)-1].JWT = nil })
			_, tok := w.signsIn("alice")
			w.exchanges("gateway", tok.AccessToken).wantError(w, 400, "invalid_request")
		}},
		{"5", "revoking the grant ends what was made from it", func(w *world) {
			client, tok := w.signsIn("alice")
			made := w.exchanges("gateway", tok.AccessToken).good(w)
			again := w.exchanges("gateway", made.AccessToken).good(w)
			w.posts("/revoke", asForm("token", tok.RefreshToken, "client_id", client))
			w.wantStatus("made from it", w.calls("/mcp", made.AccessToken), 401)
			w.wantStatus("made from that", w.calls("/mcp", again.AccessToken), 401)
		}},
		{"5", "its holder may revoke it, and that ends nothing else; the first client may not", func(w *world) {
			client, tok := w.signsIn("alice")
			made := w.exchanges("gateway", tok.AccessToken).good(w)
			w.posts("/revoke", asForm("token", made.AccessToken, "client_id", client))
			w.wantStatus("after the first client tried", w.calls("/mcp", made.AccessToken), 200)
			w.as("gateway", "/revoke", "token", made.AccessToken)
			w.wantStatus("after its holder did", w.calls("/mcp", made.AccessToken), 401)
			w.wantStatus("the person's own", w.calls("/mcp", tok.AccessToken), 200)
		}},
		{"5", "any number of exchanges leaves the person's own tokens alone", func(w *world) {
			_, tok := w.signsIn("alice")
			var last tokenAnswer
			for range maxAccess + maxExchanged + 3 {
				last = w.exchanges("gateway", tok.AccessToken).good(w)
			}
			w.wantStatus("the person's own", w.calls("/mcp", tok.AccessToken), 200)
			w.wantStatus("the newest", w.calls("/mcp", last.AccessToken), 200)
		}},
		{"1.1", "delegation says who acts; impersonation, where configured, does not", func(w *world) {
			_, tok := w.signsIn("alice")
			claims := w.payload(w.exchanges("gateway", tok.AccessToken, "resource", w.url("/signed")).good(w).AccessToken)
			if act, _ := claims["act"].(map[string]any); claims["sub"] != "test:alice" || act["sub"] != "client:gateway" || claims["client_id"] != "gateway" {
				w.Errorf("got %v", claims)
			}
			made := w.exchanges("puppet", tok.AccessToken).good(w)
			if m := w.as("rs", "/introspect", "token", made.AccessToken).json(w); m["act"] != nil || m["client_id"] != "puppet" {
				w.Errorf("got %v", m)
			}
		}},
		{"4.1", "an actor that is acted for is nested, and a chain has an end", func(w *world) {
			_, tok := w.signsIn("alice")
			at := tok.AccessToken
			for range maxActors {
				at = w.exchanges("gateway", at).good(w).AccessToken
			}
			m := w.as("rs", "/introspect", "token", at).json(w)
			for range maxActors {
				act, _ := m["act"].(map[string]any)
				if act["sub"] != "client:gateway" {
					w.Fatalf("got %v", m)
				}
				m = act
			}
			w.exchanges("gateway", at).wantError(w, 400, "invalid_request")
		}},
		{"5", "a bound token is exchanged only with a proof of its key", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			w.exchanges("gateway", tok.AccessToken).wantError(w, 400, "invalid_request")
			form := asForm("grant_type", grantTokenExchange, "subject_token", tok.AccessToken, "subject_token_type", typeAccessToken)
			w.prover().sends(form, basic("gateway", testSecret)...).wantError(w, 400, "invalid_request")
			if made := p.sends(form, basic("gateway", testSecret)...).good(w); made.TokenType != "DPoP" {
				w.Errorf("got %s", made.TokenType)
			}
		}},
	})
}
