package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// identity is an assertion of the trusted issuer with changes.
func (w *world) identity(changes ...change) string {
	w.Helper()
	return w.signs(identityTyp, w.identityClaims(changes...))
}

func (w *world) identityClaims(changes ...change) map[string]any {
	return changed(map[string]any{
		"iss": testIdP, "sub": "42", "aud": w.srv.URL, "client_id": "desk", "resource": w.url("/mcp"), "scope": "read write", "jti": newID(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "email": "alice@example.com",
	}, changes)
}

// asserted is a request of RFC 7523 §2.1.
func (w *world) asserted(client, assertion string, more ...string) answer {
	w.Helper()
	return w.as(client, "/token", append([]string{"grant_type", grantJWTBearer, "assertion", assertion}, more...)...)
}

func TestIdentityAssertions(t *testing.T) {
	holds(t, "ID-JAG", extended, []rule{
		{"7", "the grant and its profile are announced, and only when configured", func(w *world) {
			m := w.metadata()
			if !w.has(m["grant_types_supported"], grantJWTBearer) || !w.has(m["authorization_grant_profiles_supported"], profileIDJAG) {
				w.Errorf("got %v", m)
			}
			off := newWorld(w.T, func(p *Provider) { p.Clients = []Client{{ID: "desk", Secret: testSecret}} })
			off.asserted("desk", w.identity()).wantError(off, 400, "unsupported_grant_type")
			if off.metadata()["authorization_grant_profiles_supported"] != nil {
				w.Error("announced while off")
			}
		}},
		{"4.4", "a good assertion gives an access token, and no refresh token", func(w *world) {
			a := w.asserted("desk", w.identity())
			tok := a.good(w)
			if tok.RefreshToken != "" || tok.TokenType != "Bearer" || tok.Scope != "read write" || a.header.Get("Cache-Control") != "no-store" {
				w.Errorf("got %s", a.body)
			}
			if b := w.calls("/mcp", tok.AccessToken); b.status != 200 || !strings.HasPrefix(b.body, testIdP+"#42 ") || !strings.Contains(b.body, "desk") {
				w.Errorf("got %d %s", b.status, b.body)
			}
		}},
		{"4.4.1", "each claim is checked, and the answer does not say which failed", func(w *world) {
			for _, c := range []change{
				{"iss", "https://evil.example"}, {"iss", nil}, {"sub", nil}, {"sub", ""}, {"aud", nil}, {"aud", "https://evil.example"}, {"aud", w.url("/token")},
				{"aud", []string{w.srv.URL, "https://evil.example"}}, {"client_id", "stranger"}, {"client_id", nil}, {"jti", nil}, {"jti", ""}, {"exp", nil}, {"iat", nil},
				{"exp", time.Now().Add(-2 * time.Minute).Unix()}, {"exp", time.Now().Add(time.Hour).Unix()}, {"iat", time.Now().Add(-time.Hour).Unix()},
				{"iat", time.Now().Add(time.Hour).Unix()}, {"nbf", time.Now().Add(time.Hour).Unix()}, {"resource", "https://evil.example/mcp"},
				{"resource", []string{w.url("/mcp"), w.url("/other")}}, {"resource", nil}, {"authorization_details", []any{map[string]any{"type": "x"}}},
				{"cnf", map[string]any{"jkt": "x"}}, {"cnf", map[string]any{}},
			} {
				a := w.asserted("desk", w.identity(c))
				if a.status != 400 || a.json(w)["error"] != "invalid_grant" || a.json(w)["error_description"] != "the assertion is not valid" {
					w.Errorf("%v: %d %s", c, a.status, a.body)
				}
			}
		}},
		{"4.4.1", "typ is oauth-id-jag+jwt: an ID token or an access token of the issuer is not enough", func(w *world) {
			for _, typ := range []string{"JWT", "at+jwt", assertionTyp, ""} {
				w.asserted("desk", w.signs(typ, w.identityClaims())).wantError(w, 400, "invalid_grant")
			}
		}},
		{"4.4.1", "the signature is that of the trusted issuer", func(w *world) {
			other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				w.Fatal(err)
			}
			forged := w.signsWith(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: other, KeyID: "1"}}, identityTyp, w.identityClaims())
			w.asserted("desk", forged).wantError(w, 400, "invalid_grant")
			shared := w.signsWith(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("x", 32))}, identityTyp, w.identityClaims())
			w.asserted("desk", shared).wantError(w, 400, "invalid_grant")
			for _, text := range []string{"x", "a.b.c", strings.Repeat("x", maxAssertion+1), "eyJhbGciOiJub25lIn0.e30."} {
				w.asserted("desk", text).wantError(w, 400, "invalid_grant")
			}
			w.asserted("desk", "").wantError(w, 400, "invalid_request")
		}},
		{"4.4.1", "an assertion is good once, and a request that fails does not use it up", func(w *world) {
			text := w.identity()
			w.asserted("desk", text, "scope", "admin").wantError(w, 400, "invalid_scope")
			w.asserted("desk", text, "resource", w.url("/other")).wantError(w, 400, "invalid_target")
			w.wantStatus("the first time", w.asserted("desk", text), 200)
			w.asserted("desk", text).wantError(w, 400, "invalid_grant")
		}},
		{"4.4.1", "of many requests with one assertion at the same time one wins", func(w *world) {
			text, statuses := w.identity(), make(chan int)
			for range 20 {
				go func() {
					req := request("POST", w.url("/token"), asForm("grant_type", grantJWTBearer, "assertion", text).Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, basic("desk", testSecret)...)...)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						statuses <- 0
						return
					}
					resp.Body.Close()
					statuses <- resp.StatusCode
				}()
			}
			won := 0
			for range 20 {
				if <-statuses == 200 {
					won++
				}
			}
			if won != 1 {
				w.Errorf("%d won", won)
			}
		}},
		{"4.4", "another client, one without a secret, and one that does not authenticate are refused", func(w *world) {
			w.asserted("stranger", w.identity()).wantError(w, 400, "invalid_grant")
			w.asserted("stranger", w.identity(change{"client_id", "stranger"})).wantError(w, 400, "invalid_grant")
			public := w.registers()
			w.posts("/token", asForm("grant_type", grantJWTBearer, "assertion", w.identity(change{"client_id", public}), "client_id", public)).wantError(w, 400, "unauthorized_client")
			w.posts("/token", asForm("grant_type", grantJWTBearer, "assertion", w.identity())).wantError(w, 401, "invalid_client")
		}},
		{"4.4", "scopes are those of the assertion, within the configuration, and may be narrowed", func(w *world) {
			if tok := w.asserted("desk", w.identity(change{"scope", "admin write"})).good(w); tok.Scope != "write" {
				w.Errorf("got %q", tok.Scope)
			}
			if tok := w.asserted("desk", w.identity(), "scope", "read").good(w); tok.Scope != "read" {
				w.Errorf("got %q", tok.Scope)
			}
			w.asserted("desk", w.identity(change{"scope", "read"}), "scope", "write").wantError(w, 400, "invalid_scope")
			w.asserted("desk", w.identity(change{"scope", "nonsense"})).wantError(w, 400, "invalid_scope")
			if tok := w.asserted("desk", w.identity(change{"scope", nil})).good(w); tok.Scope != "read" {
				w.Errorf("without scopes: %q", tok.Scope)
			}
		}},
		{"5", "an assertion bound to a key needs its proof (RFC 9449)", func(w *world) {
			p := w.prover()
			text := w.identity(change{"cnf", map[string]any{"jkt": p.thumbprint()}})
			form := asForm("grant_type", grantJWTBearer, "assertion", text)
			w.asserted("desk", text).wantError(w, 400, "invalid_grant")
			w.prover().sends(form, basic("desk", testSecret)...).wantError(w, 400, "invalid_grant")
			if tok := p.sends(form, basic("desk", testSecret)...).good(w); tok.TokenType != "DPoP" {
				w.Errorf("got %s", tok.TokenType)
			}
		}},
		{"4.4", "the author says who it is, and may refuse", func(w *world) {
			w = newWorld(w.T, func(p *Provider) {
				extended(p)
				p.TrustedIssuers[0].Person = func(_ context.Context, id *Identity) (*Person, error) {
					if !strings.Contains(string(id.Claims), `"email":"alice@example.com"`) || id.Client != "desk" || !strings.HasSuffix(id.Resource, "/mcp") {
						return nil, ErrNotAllowed
					}
					return &Person{ID: "employee:" + id.Subject, Props: testPerson{Login: id.Email}}, nil
				}
			})
			tok := w.asserted("desk", w.identity()).good(w)
			if a := w.calls("/mcp", tok.AccessToken); !strings.HasPrefix(a.body, "employee:42 alice@example.com") {
				w.Errorf("got %s", a.body)
			}
			w.asserted("desk", w.identity(change{"email", "bob@example.com"})).wantError(w, 400, "invalid_grant")
		}},
		{"4.4", "the person sees the grant at /account, and ending it ends the token", func(w *world) {
			tok := w.asserted("desk", w.identity()).good(w)
			live, err := w.s.grants.ofUser(w.Context(), testIdP+"#42")
			if err != nil || len(live) != 1 || live[0].Kind != kindAsserted {
				w.Fatalf("got %v %v", live, err)
			}
			if err := w.s.grants.revoke(w.Context(), live[0].ID, "test", func(*grant) bool { return true }); err != nil {
				w.Fatal(err)
			}
			w.wantStatus("after that", w.calls("/mcp", tok.AccessToken), 401)
		}},
		{"7", "keys are found through the issuer's metadata, which must be its own", func(w *world) {
			issuer, asked := "", 0
			idp := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				asked++
				switch r.URL.Path {
				case "/.well-known/openid-configuration":
					fmt.Fprintf(rw, `{"issuer":%q,"jwks_uri":%q}`, issuer, "http://"+r.Host+"/keys")
				case "/keys":
					fmt.Fprint(rw, publicKeys())
				default:
					http.NotFound(rw, r)
				}
			}))
			defer idp.Close()
			trusting := func() *world {
				return newWorld(w.T, func(p *Provider) {
					extended(p)
					p.TrustedIssuers = []TrustedIssuer{{Issuer: idp.URL, Clients: []string{"desk"}}}
				})
			}
			issuer = "https://evil.example"
			w = trusting()
			for range 5 {
				w.asserted("desk", w.identity(change{"iss", idp.URL})).wantError(w, 400, "invalid_grant")
			}
			if asked > 3 {
				w.Errorf("an issuer that fails was asked %d times", asked)
			}
			issuer, asked = idp.URL, 0
			w = trusting()
			for range 5 {
				w.wantStatus("found", w.asserted("desk", w.identity(change{"iss", idp.URL})), 200)
			}
			if asked != 2 {
				w.Errorf("asked %d times", asked)
			}
		}},
	})
}

func TestRFC7523(t *testing.T) {
	assertion := func(w *world, changes ...change) []string {
		return []string{"client_assertion_type", assertionType, "client_assertion", w.signs("JWT", changed(map[string]any{
			"iss": "signer", "sub": "signer", "aud": w.srv.URL, "jti": newID(), "exp": time.Now().Add(time.Minute).Unix(),
		}, changes))}
	}
	ask := func(w *world, with []string) answer {
		return w.posts("/token", asForm(append([]string{"grant_type", "client_credentials", "resource", w.url("/mcp")}, with...)...))
	}
	holds(t, "RFC 7523", extended, []rule{
		{"2.2", "a configured client with keys proves itself with them", func(w *world) {
			if tok := ask(w, assertion(w)).good(w); tok.Scope != "read" {
				w.Errorf("got %q", tok.Scope)
			}
		}},
		{"3", "and with nothing else", func(w *world) {
			w.posts("/token", asForm("grant_type", "client_credentials", "client_id", "signer")).wantError(w, 401, "invalid_client")
			w.as("signer", "/token", "grant_type", "client_credentials").wantError(w, 401, "invalid_client")
			twice := assertion(w)
			w.wantStatus("once", ask(w, twice), 200)
			ask(w, twice).wantError(w, 401, "invalid_client")
			for _, c := range []change{{"iss", "robot"}, {"sub", "robot"}, {"aud", "https://evil.example"}, {"exp", nil}, {"jti", nil}, {"exp", time.Now().Add(-2 * time.Minute).Unix()}} {
				ask(w, assertion(w, c)).wantError(w, 401, "invalid_client")
			}
		}},
		{"2.2", "keys may be published at an address", func(w *world) {
			keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, publicKeys()) }))
			defer keys.Close()
			w = newWorld(w.T, func(p *Provider) {
				p.Clients = []Client{{ID: "signer", KeysURL: keys.URL, Service: []Access{{Resource: p.Issuer + "/mcp", Scopes: []string{"read"}}}}}
				p.NoClientDocuments = true
			})
			w.wantStatus("with the key there", ask(w, assertion(w)), 200)
			if m := w.metadata(); !w.has(m["token_endpoint_auth_methods_supported"], "private_key_jwt") || !w.has(m["token_endpoint_auth_signing_alg_values_supported"], "ES256") {
				w.Errorf("not announced: %v", m)
			}
		}},
	})
}

func FuzzIntrospection(f *testing.F) {
	f.Add([]byte(`{"active":true,"aud":["https://a.example/mcp"],"sub":"x","exp":1}`))
	f.Add([]byte(`{"active":true,"aud":"https://a.example/mcp/","sub":"x","exp":1,"act":{"sub":"a","act":{"sub":"b"}},"cnf":{"jkt":"k"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parseIntrospection(body, "https://as.example", "https://a.example/mcp")
		if v != nil && (err != nil || v.User == "" || v.Resource == "" || v.Expires.IsZero() || len(v.Actors) > maxActors+1) {
			t.Errorf("accepted %+v", v)
		}
	})
}

func FuzzCalledTools(f *testing.F) {
	f.Add([]byte(`{"method":"tools/call","params":{"name":"send"}}`))
	f.Add([]byte(`[{"Method":"tools\/call","params":{"NAME":"send","name":"x"}},{}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if tools, err := calledTools(body); err != nil && tools != nil {
			t.Error("tools of something that is not JSON")
		}
	})
}

// The word of an issuer is no consent: when a person has ended what they allowed on the
// page, the page comes again.
func TestAnAssertionKeepsNoConsentAlive(t *testing.T) {
	w := newWorld(t, nil)
	tr := &transaction{Presumed: "u", Person: &signedIn{ID: "u"}, Request: authRequest{Client: "c", Resource: w.url("/mcp")}}
	for _, c := range []struct {
		kind grantKind
		want bool
	}{{kindAsserted, false}, {"", true}} {
		if _, err := w.s.grants.createDirect(t.Context(), grant{Kind: c.kind, Client: "c", User: "u", Resource: w.url("/mcp")}, []byte("null"), "", time.Time{}); err != nil {
			t.Fatal(err)
		}
		if ok, err := w.s.stillGranted(request("GET", w.url("/authorize"), ""), tr); ok != c.want || err != nil {
			t.Errorf("%q: %v %v", c.kind, ok, err)
		}
	}
}
