package oauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRFC8414(t *testing.T) {
	holds(t, "RFC 8414", nil, []rule{
		{"2", "issuer, endpoints and response types are there, and the issuer is exactly the configured one", func(w *world) {
			m := w.metadata()
			if m["issuer"] != w.srv.URL || m["authorization_endpoint"] != w.url("/authorize") || m["token_endpoint"] != w.url("/token") || !w.has(m["response_types_supported"], "code") {
				w.Errorf("got %v", m)
			}
		}},
		{"2", "an issuer has no query and no fragment, and is https but on loopback", func(w *world) {
			for _, issuer := range []string{"https://a.example?x", "https://a.example/?", "https://a.example#x", "http://a.example", "https://u@a.example", "https://a.example/", "a.example", ""} {
				if _, err := (&Provider{Issuer: issuer, Login: askName{}}).Protect(w.Context(), nil); err == nil {
					w.Errorf("%q: accepted", issuer)
				}
			}
		}},
		{"2", "methods with a signature come with their algorithms, none of which is \"none\"", func(w *world) {
			m := w.metadata()
			algs := m["token_endpoint_auth_signing_alg_values_supported"]
			if !w.has(m["token_endpoint_auth_methods_supported"], "private_key_jwt") || !w.has(algs, "RS256") || w.has(algs, "none") {
				w.Errorf("got %v", m)
			}
		}},
		{"2", "what is configured is announced, and nothing else", func(w *world) {
			names := []string{"jwks_uri", "introspection_endpoint", "dpop_signing_alg_values_supported", "authorization_grant_profiles_supported"}
			plain, all := w.metadata(), newWorld(w.T, extended).metadata()
			for _, name := range names {
				if plain[name] != nil || all[name] == nil {
					w.Errorf("%s: %v and %v", name, plain[name], all[name])
				}
			}
			if len(plain["grant_types_supported"].([]any)) != 2 || len(all["grant_types_supported"].([]any)) != 5 {
				w.Errorf("%v and %v", plain["grant_types_supported"], all["grant_types_supported"])
			}
		}},
		{"3", "the document is at the well-known path, between host and path of the issuer", func(w *world) {
			s, err := (&Provider{Issuer: "http://127.0.0.1:1/tenant", Login: askName{}}).Protect(w.Context(), nil)
			if err != nil {
				w.Fatal(err)
			}
			for path, want := range map[string]int{"/.well-known/oauth-authorization-server/tenant": 200, "/.well-known/oauth-authorization-server": 404, "/tenant/.well-known/oauth-authorization-server": 404} {
				rec := httptest.NewRecorder()
				s.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
				if rec.Code != want {
					w.Errorf("%s: %d", path, rec.Code)
				}
			}
		}},
		{"3.1", "it is read with GET", func(w *world) {
			a := w.do(http.DefaultClient, request("POST", w.url("/.well-known/oauth-authorization-server"), ""))
			w.wantStatus("POST", a, 405)
		}},
		{"3.2", "it is JSON, without empty members", func(w *world) {
			a := w.browser().get(w.url("/.well-known/oauth-authorization-server"))
			if a.header.Get("Content-Type") != "application/json" || strings.Contains(a.body, "[]") || strings.Contains(a.body, `""`) || strings.Contains(a.body, "null") {
				w.Errorf("got %v %s", a.header, a.body)
			}
		}},
		{"6.2", "it does not depend on who asks, or by what name", func(w *world) {
			req := request("GET", w.url("/.well-known/oauth-authorization-server"), "", "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example")
			req.Host = "evil.example"
			if a := w.do(http.DefaultClient, req); strings.Contains(a.body, "evil") {
				w.Errorf("got %s", a.body)
			}
		}},
		{"3.1", "scripts of any origin may read it", func(w *world) {
			a := w.browser().get(w.url("/.well-known/oauth-authorization-server"), "Origin", "https://app.example")
			if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
				w.Errorf("got %v", a.header)
			}
		}},
	})
}

func TestRFC9728(t *testing.T) {
	document := func(w *world, path string) map[string]any {
		w.Helper()
		return w.browser().get(w.url("/.well-known/oauth-protected-resource" + path)).json(w)
	}
	holds(t, "RFC 9728", nil, []rule{
		{"2", "resource is there, https and without a fragment, and who issues tokens for it", func(w *world) {
			m := document(w, "/mcp")
			if m["resource"] != w.url("/mcp") || !w.has(m["authorization_servers"], w.srv.URL) || m["resource_name"] != "Mail" {
				w.Errorf("got %v", m)
			}
			for _, id := range []string{"http://rs.example/mcp", "https://rs.example/mcp#x", "https://rs.example/mcp?x", "rs.example"} {
				if _, err := (&Provider{Issuer: w.srv.URL, Login: askName{}, Resources: []Resource{{ID: id}}}).Protect(w.Context(), nil); err == nil {
					w.Errorf("%s: accepted", id)
				}
			}
		}},
		{"2", "scopes are those of the resource, bearer methods are \"header\" alone", func(w *world) {
			m := document(w, "/mcp")
			if len(m["scopes_supported"].([]any)) != 3 || w.has(m["scopes_supported"], "offline_access") || len(m["bearer_methods_supported"].([]any)) != 1 {
				w.Errorf("got %v", m)
			}
			if m := document(w, "/other"); m["scopes_supported"] != nil {
				w.Errorf("empty members are left out: %v", m)
			}
		}},
		{"3", "the well-known path comes between host and path of the resource", func(w *world) {
			w.wantStatus("of /mcp", w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp")), 200)
			w.wantStatus("below it", w.browser().get(w.url("/mcp/.well-known/oauth-protected-resource")), 401)
		}},
		{"3", "a resource at the root has it at the root", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.Resources = []Resource{{ID: p.Issuer, Path: "/"}} })
			if m := document(w, ""); m["resource"] != w.srv.URL {
				w.Errorf("got %v", m)
			}
			tok := second(w.signsIn("alice", "resource", w.srv.URL))
			w.wantStatus("anywhere", w.calls("/mcp", tok.AccessToken), 200)
			w.wantStatus("without a token", w.browser().get(w.url("/open")), 401)
		}},
		{"3.1", "it is read with GET, by anybody", func(w *world) {
			a := w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp"), "Origin", "https://app.example")
			if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Content-Type") != "application/json" {
				w.Errorf("got %d %v", a.status, a.header)
			}
			w.wantStatus("POST", w.do(http.DefaultClient, request("POST", w.url("/.well-known/oauth-protected-resource/mcp"), "")), 405)
		}},
		{"3.3", "the resource in it is the one that clients are told of in the challenge", func(w *world) {
			challenge := w.do(http.DefaultClient, request("POST", w.url("/mcp"), "")).header.Get("WWW-Authenticate")
			_, rest, _ := strings.Cut(challenge, `resource_metadata="`)
			address, _, _ := strings.Cut(rest, `"`)
			if m := w.browser().get(address).json(w); m["resource"] != w.url("/mcp") {
				w.Errorf("at %s: %v", address, m)
			}
		}},
		{"4", "the authorization server names its resources", func(w *world) {
			m := w.metadata()
			if !w.has(m["protected_resources"], w.url("/mcp")) || !w.has(m["protected_resources"], w.url("/other")) {
				w.Errorf("got %v", m)
			}
		}},
		{"5.1", "every challenge has resource_metadata: without a token, with a bad one, and without a scope", func(w *world) {
			_, tok := w.signsIn("alice")
			want := `resource_metadata="` + w.url("/.well-known/oauth-protected-resource/mcp") + `"`
			for _, a := range []answer{w.do(http.DefaultClient, request("GET", w.url("/mcp/x"), "")), w.calls("/mcp", "junk"), w.calls("/mcp/admin", tok.AccessToken)} {
				if !strings.Contains(a.header.Get("WWW-Authenticate"), want) {
					w.Errorf("%d %v", a.status, a.header)
				}
			}
		}},
		{"7.3", "a token is checked for its audience", func(w *world) {
			_, tok := w.signsIn("alice", "resource", w.url("/other"))
			w.wantStatus("elsewhere", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"7.7", "addresses are configured, and never taken from a request", func(w *world) {
			req := request("POST", w.url("/mcp"), "", "X-Forwarded-Host", "evil.example")
			req.Host = "evil.example"
			if a := w.do(http.DefaultClient, req); strings.Contains(a.header.Get("WWW-Authenticate"), "evil") {
				w.Errorf("got %v", a.header)
			}
		}},
	})
}
