package oauth

import (
	"net/http"
	"strings"
	"testing"
)

func TestRFC7591(t *testing.T) {
	with := func(more ...any) map[string]any {
		m := map[string]any{"redirect_uris": []string{"https://app.example/cb"}}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	holds(t, "RFC 7591", nil, []rule{
		{"2", "a client that uses redirects registers them", func(w *world) {
			w.registersAs(map[string]any{}).wantError(w, 400, "invalid_redirect_uri")
			w.registersAs(map[string]any{"redirect_uris": []string{}}).wantError(w, 400, "invalid_redirect_uri")
		}},
		{"2", "what is not said has its default: Basic, authorization_code, code", func(w *world) {
			m := w.registersAs(with()).json(w)
			if m["token_endpoint_auth_method"] != "client_secret_basic" || !w.has(m["grant_types"], "authorization_code") || !w.has(m["response_types"], "code") {
				w.Errorf("got %v", m)
			}
		}},
		{"2", "metadata that are not known are ignored", func(w *world) {
			a := w.registersAs(with("favourite_colour", "blue", "jwks_uri", "https://app.example/keys"))
			if m := a.json(w); a.status != 201 || m["favourite_colour"] != nil {
				w.Errorf("got %d %s", a.status, a.body)
			}
		}},
		{"2.1", "grant types and response types have to fit", func(w *world) {
			w.registersAs(with("grant_types", []string{"implicit"})).wantError(w, 400, "invalid_client_metadata")
			w.registersAs(with("response_types", []string{"token"})).wantError(w, 400, "invalid_client_metadata")
			w.registersAs(with("grant_types", []string{"client_credentials"})).wantError(w, 400, "invalid_client_metadata")
		}},
		{"3", "it is a POST of JSON", func(w *world) {
			w.wantStatus("GET", w.browser().get(w.url("/register")), 405)
			for _, ct := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
				w.do(http.DefaultClient, request("POST", w.url("/register"), `{"redirect_uris":["https://app.example/cb"]}`, "Content-Type", ct)).wantError(w, 400, "invalid_request")
			}
		}},
		{"3.1", "what a client sends as its id or secret is not taken", func(w *world) {
			m := w.registersAs(with("client_id", "mine", "client_secret", "mine")).json(w)
			if m["client_id"] == "mine" || m["client_secret"] == "mine" {
				w.Errorf("got %v", m)
			}
		}},
		{"3.2.1", "the answer is a 201 with the id, the secret and its end, and all that was registered; nobody keeps it", func(w *world) {
			a := w.registersAs(with("client_name", "App", "client_uri", "https://app.example"))
			m := a.json(w)
			if a.status != 201 || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || m["client_id"] == nil || m["client_secret"] == nil ||
				m["client_secret_expires_at"] != 0.0 || m["client_id_issued_at"] == nil || m["client_name"] != "App" || m["client_uri"] != "https://app.example" || !w.has(m["redirect_uris"], "https://app.example/cb") {
				w.Errorf("got %d %v %s", a.status, a.header, a.body)
			}
		}},
		{"3.2.1", "what was replaced is told as it is now", func(w *world) {
			m := w.registersAs(with("grant_types", []string{"authorization_code", "implicit", "refresh_token"})).json(w)
			if w.has(m["grant_types"], "implicit") || !w.has(m["grant_types"], "refresh_token") {
				w.Errorf("got %v", m["grant_types"])
			}
		}},
		{"3.2.2", "errors are 400 with JSON", func(w *world) {
			w.registersAs(with("redirect_uris", []string{"javascript:alert(1)"})).wantError(w, 400, "invalid_redirect_uri")
			w.registersAs(with("token_endpoint_auth_method", "magic")).wantError(w, 400, "invalid_client_metadata")
			for _, body := range []string{"", "[]", "{", `"x"`, `{"redirect_uris":"x"}`} {
				a := w.do(http.DefaultClient, request("POST", w.url("/register"), body, "Content-Type", "application/json"))
				if a.status != 400 || a.json(w)["error"] == nil {
					w.Errorf("%q: %d %s", body, a.status, a.body)
				}
			}
		}},
		{"5", "registrations are bounded: by address, and by how many wait for their first use", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.Limits.Register = 2 })
			statuses := []int{}
			for range 3 {
				statuses = append(statuses, w.registersAs(with()).status)
			}
			if statuses[0] != 201 || statuses[2] != 429 {
				w.Errorf("got %v", statuses)
			}
			w = newWorld(w.T, func(p *Provider) { p.Limits.Unused = 1 })
			if a, b := w.registersAs(with()), w.registersAs(with()); a.status != 201 || b.status != 429 {
				w.Errorf("got %d and %d", a.status, b.status)
			}
		}},
		{"5", "pictures and links of a client are not fetched, and must be web addresses", func(w *world) {
			for _, name := range []string{"logo_uri", "client_uri", "tos_uri", "policy_uri"} {
				w.registersAs(with(name, "javascript:alert(1)")).wantError(w, 400, "invalid_client_metadata")
				w.registersAs(with(name, "file:///etc/passwd")).wantError(w, 400, "invalid_client_metadata")
			}
		}},
		{"5", "the person is told that a registered client chose its name itself", func(w *world) {
			if a := w.browser().get(w.asks(w.registers())); !strings.Contains(a.body, "nobody has checked it") {
				w.Error("they are not")
			}
		}},
		{"5", "a secret is kept as a hash", func(w *world) {
			secret := w.registersAs(with()).json(w)["client_secret"].(string)
			for r, err := range w.s.records.List(w.Context(), clientPrefix) {
				if err != nil || strings.Contains(string(r.Value), secret[strings.Index(secret, ".")+1:]) {
					w.Errorf("%v %s", err, r.Key)
				}
			}
		}},
		{"3", "it can be turned off, and is not announced then", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { p.NoRegistration = true })
			if w.metadata()["registration_endpoint"] != nil {
				w.Error("announced")
			}
			w.wantStatus("POST", w.registersAs(with()), 404)
		}},
	})
}
