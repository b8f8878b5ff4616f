package oauth

import (
	"net/url"
	"strings"
	"testing"
)

func TestRFC8252(t *testing.T) {
	const app = "com.example.app:/cb"
	holds(t, "RFC 8252", nil, []rule{
		{"6", "a native program is a public client, and uses PKCE", func(w *world) {
			client := w.registers("http://127.0.0.1/cb")
			_, q := w.browser().get(w.asks(client, "code_challenge", "")).location()
			if q.Get("error") != "invalid_request" {
				w.Errorf("got %v", q)
			}
		}},
		{"7.1", "private-use schemes are off, as any program may claim them, and where allowed are reversed domain names", func(w *world) {
			w.registersAs(map[string]any{"redirect_uris": []string{app}}).wantError(w, 400, "invalid_redirect_uri")
			on := newWorld(w.T, func(p *Provider) { p.CustomSchemes = true })
			client := on.registers(app)
			to, q := on.browser().allows(on.asks(client, "redirect_uri", app), "alice").location()
			if to != app || q.Get("code") == "" {
				w.Errorf("got %s %v", to, q)
			}
			for _, uri := range []string{"myapp:/cb", "javascript:alert(1)", "com.example.app://host/cb#x"} {
				on.registersAs(map[string]any{"redirect_uris": []string{uri}}).wantError(on, 400, "invalid_redirect_uri")
			}
		}},
		{"7.2", "https addresses claimed by a program work as any other", func(w *world) {
			client := w.registers("https://app.example/cb")
			if to, q := w.browser().allows(w.asks(client, "redirect_uri", "https://app.example/cb"), "alice").location(); to != "https://app.example/cb" || q.Get("code") == "" {
				w.Errorf("got %s %v", to, q)
			}
		}},
		{"7.3", "on loopback any port will do, for IPv4 and IPv6; everything else is compared", func(w *world) {
			client := w.registers("http://127.0.0.1/cb", "http://[::1]/cb")
			for redirect, want := range map[string]bool{
				"http://127.0.0.1:49152/cb": true, "http://[::1]:1/cb": true, "http://127.0.0.1:49152/other": false, "https://127.0.0.1:49152/cb": false,
				"http://127.0.0.2:49152/cb": false, "http://127.0.0.1:49152/cb?x=1": false, "http://127.0.0.1.evil.example:1/cb": false, "http://127.0.0.1:1@evil.example/cb": false,
			} {
				a := w.browser().get(w.asks(client, "redirect_uri", redirect))
				if (a.status == 200) != want {
					w.Errorf("%s: %d", redirect, a.status)
				}
			}
		}},
		{"8.3", "localhost is not recommended, and works: with any port, for public clients", func(w *world) {
			client := w.registers("http://localhost/cb")
			w.wantStatus("another port", w.browser().get(w.asks(client, "redirect_uri", "http://localhost:3000/cb")), 200)
			w.wantStatus("another host", w.browser().get(w.asks(client, "redirect_uri", "http://127.0.0.1:3000/cb")), 400)
		}},
		{"8.4", "redirect addresses are registered whole", func(w *world) {
			client := w.registers("https://app.example/cb")
			w.wantStatus("a path below", w.browser().get(w.asks(client, "redirect_uri", "https://app.example/cb/x")), 400)
			w.wantStatus("a parameter more", w.browser().get(w.asks(client, "redirect_uri", "https://app.example/cb?x="+url.QueryEscape("y"))), 400)
		}},
		{"8.5", "a secret in a program that people have proves nothing: such clients get none", func(w *world) {
			m := w.registersAs(map[string]any{"redirect_uris": []string{"http://127.0.0.1/cb"}, "token_endpoint_auth_method": "none"}).json(w)
			if m["client_secret"] != nil {
				w.Errorf("got %v", m)
			}
		}},
		{"8.6", "a program that others could pass for is asked for every time", func(w *world) {
			public := newWorld(w.T, func(p *Provider) { p.Clients = []Client{{ID: "public", RedirectURIs: []string{testRedirect}}} })
			if a := public.browser().get(public.asks("public")); strings.Contains(a.body, `name="remember"`) {
				w.Error("it may be remembered")
			}
			if a := w.browser().get(w.asks(w.registers())); !strings.Contains(a.body, `name="remember"`) {
				w.Error("a registered one may not")
			}
		}},
		{"8.10", "the answer names its issuer, so that a client of several is not mixed up", func(w *world) {
			if _, q := w.browser().allows(w.asks(w.registers()), "alice").location(); q.Get("iss") != w.srv.URL {
				w.Errorf("got %v", q)
			}
		}},
	})
}
