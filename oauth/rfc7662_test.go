package oauth

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRFC7662(t *testing.T) {
	introspect := func(w *world, client, token string, more ...string) map[string]any {
		w.Helper()
		a := w.as(client, "/introspect", append([]string{"token", token}, more...)...)
		w.wantStatus("introspect", a, 200)
		return a.json(w)
	}
	inactive := func(w *world, what string, m map[string]any) {
		w.Helper()
		if m["active"] != false || len(m) != 1 {
			w.Errorf("%s: %v", what, m)
		}
	}
	holds(t, "RFC 7662", extended, []rule{
		{"2", "the endpoint is announced in the metadata with its methods", func(w *world) {
			m := w.metadata()
			if m["introspection_endpoint"] != w.url("/introspect") || !w.has(m["introspection_endpoint_auth_methods_supported"], "client_secret_basic") || w.has(m["introspection_endpoint_auth_methods_supported"], "none") {
				w.Errorf("got %v", m)
			}
		}},
		{"2", "it is not there until a resource server is configured", func(w *world) {
			w = newWorld(w.T, nil)
			if w.metadata()["introspection_endpoint"] != nil {
				w.Error("announced")
			}
			w.wantStatus("POST", w.as("rs", "/introspect", "token", "x"), 404)
		}},
		{"2.1", "a GET is refused, so that no token is in an address", func(w *world) {
			w.wantStatus("GET", w.browser().get(w.url("/introspect?token=x")), 405)
		}},
		{"2.1", "who does not authenticate learns nothing", func(w *world) {
			_, tok := w.signsIn("alice")
			w.posts("/introspect", asForm("token", tok.AccessToken)).wantError(w, 401, "invalid_client")
			a := w.posts("/introspect", asForm("token", tok.AccessToken), basic("rs", "wrong")...)
			a.wantError(w, 401, "invalid_client")
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
				w.Error("no challenge")
			}
			w.posts("/introspect", asForm("token", tok.AccessToken), "Authorization", "Bearer "+tok.AccessToken).wantError(w, 401, "invalid_client")
		}},
		{"2.1", "a client that is no resource server may not ask, not even about its own token", func(w *world) {
			client, tok := w.signsIn("alice")
			w.posts("/introspect", asForm("token", tok.AccessToken, "client_id", client)).wantError(w, 403, "unauthorized_client")
			w.as("stranger", "/introspect", "token", tok.AccessToken).wantError(w, 403, "unauthorized_client")
		}},
		{"2.1", "token is required, and there once", func(w *world) {
			w.as("rs", "/introspect").wantError(w, 400, "invalid_request")
			w.as("rs", "/introspect", "token", "a", "token", "b").wantError(w, 400, "invalid_request")
		}},
		{"2.1", "a hint that is wrong or unknown changes nothing", func(w *world) {
			_, tok := w.signsIn("alice")
			for _, hint := range []string{"refresh_token", "nonsense"} {
				if m := introspect(w, "rs", tok.AccessToken, "token_type_hint", hint); m["active"] != true {
					w.Errorf("%s: %v", hint, m)
				}
			}
		}},
		{"2.2", "a good token: active, with scope, client, subject, audience, issuer, type and end", func(w *world) {
			client, tok := w.signsIn("alice", "scope", "read write")
			m := introspect(w, "rs", tok.AccessToken)
			exp, _ := m["exp"].(float64)
			left := time.Until(time.Unix(int64(exp), 0))
			if m["active"] != true || m["scope"] != "read write" || m["client_id"] != client || m["sub"] != "test:alice" || m["aud"] != w.url("/mcp") ||
				m["iss"] != w.srv.URL || m["token_type"] != "Bearer" || left < 59*time.Minute || left > time.Hour {
				w.Errorf("got %v", m)
			}
		}},
		{"2.2", "what is not a good token is inactive, and nothing more is said", func(w *world) {
			client, tok := w.signsIn("alice")
			inactive(w, "nonsense", introspect(w, "rs", "nonsense"))
			inactive(w, "a refresh token", introspect(w, "rs", tok.RefreshToken))
			inactive(w, "of another server", introspect(w, "rs", (&mint{prefix: "cw", keys: NewKeys()}).issue(kindAccess, newID()).text))
			w.posts("/revoke", asForm("token", tok.AccessToken, "client_id", client))
			inactive(w, "a revoked one", introspect(w, "rs", tok.AccessToken))
		}},
		{"2.2", "a token for another resource server's resource is inactive to this one", func(w *world) {
			_, tok := w.signsIn("alice", "resource", w.url("/other"))
			w.wantStatus("at its resource", w.calls("/other", tok.AccessToken), 200)
			inactive(w, "to rs", introspect(w, "rs", tok.AccessToken))
		}},
		{"2.2", "the props of a person are told only to who may have them", func(w *world) {
			_, tok := w.signsIn("alice")
			if m := introspect(w, "rs", tok.AccessToken); m["props"] != nil {
				w.Errorf("got %v", m)
			}
			if m := introspect(w, "rs-props", tok.AccessToken); m["props"].(map[string]any)["Secret"] != upstreamSecret {
				w.Errorf("got %v", m)
			}
		}},
		{"2.2", "a JWT access token is known here as well, and its revocation at once", func(w *world) {
			client, tok := w.signsIn("alice", "resource", w.url("/signed"))
			if m := introspect(w, "rs", tok.AccessToken); m["active"] != true || m["aud"] != w.url("/signed") {
				w.Errorf("got %v", m)
			}
			w.posts("/revoke", asForm("token", tok.AccessToken, "client_id", client))
			inactive(w, "revoked", introspect(w, "rs", tok.AccessToken))
		}},
		{"2.2", "the key of a bound token is told (RFC 9449 §6.2)", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			m := introspect(w, "rs", tok.AccessToken)
			if cnf, _ := m["cnf"].(map[string]any); cnf["jkt"] != p.thumbprint() || m["token_type"] != "DPoP" {
				w.Errorf("got %v", m)
			}
		}},
		{"2.2", "who acts is told (RFC 8693 §4.1)", func(w *world) {
			_, tok := w.signsIn("alice")
			made := w.exchanges("gateway", tok.AccessToken).good(w)
			m := introspect(w, "rs", made.AccessToken)
			if act, _ := m["act"].(map[string]any); act["sub"] != "client:gateway" || m["sub"] != "test:alice" || m["client_id"] != "gateway" {
				w.Errorf("got %v", m)
			}
		}},
		{"2.3", "the answer may not be cached, and errors are those of RFC 6749", func(w *world) {
			a := w.as("rs", "/introspect", "token", "x")
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
				w.Errorf("got %v", a.header)
			}
		}},
		{"4", "no token is logged", func(w *world) {
			_, tok := w.signsIn("alice")
			introspect(w, "rs", tok.AccessToken)
			if strings.Contains(w.logs.String(), tok.AccessToken) {
				w.Error("it is")
			}
		}},
	})
}

func TestAnswersOfIntrospectionThatSayTooLittle_RFC7662_4(t *testing.T) {
	const as, rs = "https://as.example", "https://rs.example/mcp"
	for answer, want := range map[string]string{
		`{"active":true,"sub":"u","exp":9999999999,"aud":"https://rs.example/mcp","iss":"https://as.example"}`: "good",
		`{"active":true,"sub":"u","exp":9999999999,"aud":["https://x.example","https://RS.example:443/mcp/"]}`: "good",
		`{"active":false,"sub":"u","exp":9999999999,"aud":"https://rs.example/mcp"}`:                           "no",
		`{"sub":"u","exp":9999999999,"aud":"https://rs.example/mcp"}`:                                          "no",
		`{}`: "no",
		`{"active":true,"sub":"u","exp":9999999999,"aud":"https://rs.example/mcp","iss":"https://evil.example"}`: "refused",
		`{"active":true,"sub":"u","exp":9999999999,"aud":"https://rs.example/other"}`:                            "refused",
		`{"active":true,"sub":"u","exp":9999999999}`:                                                             "refused",
		`{"active":true,"exp":9999999999,"aud":"https://rs.example/mcp"}`:                                        "refused",
		`{"active":true,"sub":"u","aud":"https://rs.example/mcp"}`:                                               "refused",
		`{"active":"true"}`: "outage",
		`[]`:                "outage",
		``:                  "outage",
	} {
		v, err := parseIntrospection([]byte(answer), as, rs)
		got := "no"
		switch {
		case errors.Is(err, ErrUnavailable):
			got = "outage"
		case err != nil:
			got = "refused"
		case v != nil:
			got = "good"
		}
		if got != want || err != nil && v != nil {
			t.Errorf("%s: %s (%v), want %s", answer, got, err, want)
		}
	}
}
