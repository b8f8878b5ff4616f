package oauth

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

// keySet reads /jwks as anybody does.
func (w *world) keySet() *jose.JSONWebKeySet {
	w.Helper()
	set := new(jose.JSONWebKeySet)
	if err := json.Unmarshal([]byte(w.browser().get(w.metadata()["jwks_uri"].(string)).body), set); err != nil {
		w.Fatal(err)
	}
	return set
}

// accessKey is the key that the provider signs access tokens with: who has it can forge.
func (w *world) accessKey() jose.SigningKey {
	w.Helper()
	private, err := deriveP256(w.s.provider.Keys.active.master)
	if err != nil {
		w.Fatal(err)
	}
	return jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: w.s.provider.Keys.ID() + "-ES256"}}
}

func (w *world) accessClaims(changes ...change) map[string]any {
	return changed(map[string]any{
		"iss": w.srv.URL, "sub": "test:alice", "aud": w.url("/signed"), "client_id": "c", "scope": "read", "jti": newID() + "." + newID(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}, changes)
}

func TestRFC9068(t *testing.T) {
	signed := func(w *world, more ...string) tokenAnswer {
		w.Helper()
		_, tok := w.signsIn("alice", append([]string{"resource", w.url("/signed")}, more...)...)
		return tok
	}
	verifier := func(w *world) *JWTVerifier { return &JWTVerifier{Issuer: w.srv.URL} }
	holds(t, "RFC 9068", extended, []rule{
		{"2.1", "typ is at+jwt, and it is signed, never \"none\"", func(w *world) {
			parsed, err := jwt.ParseSigned(signed(w).AccessToken, []jose.SignatureAlgorithm{jose.ES256})
			if err != nil || parsed.Headers[0].ExtraHeaders["typ"] != "at+jwt" {
				w.Fatalf("got %v %v", parsed, err)
			}
		}},
		{"2.1", "RS256 is among what is supported, and its key outlives the process", func(w *world) {
			keys, records := NewKeys(), store.NewMemory()
			defer records.Close()
			names := map[string]bool{}
			for range 2 {
				w := newWorld(w.T, func(p *Provider) {
					p.Records, p.Keys = records, keys
					p.Resources = append(p.Resources, Resource{Path: "/signed", Scopes: testScopes, JWT: &JWT{Alg: "RS256"}})
				})
				tok := signed(w)
				w.wantStatus("call", w.calls("/signed", tok.AccessToken), 200)
				if v, err := verifier(w).Validate(w.Context(), w.url("/signed"), tok.AccessToken); v == nil || err != nil {
					w.Errorf("not good elsewhere: %v %v", v, err)
				}
				thumbprint, _ := w.keySet().Keys[0].Thumbprint(5)
				names[string(thumbprint)] = true
			}
			if len(names) != 1 {
				w.Error("a restart made another key")
			}
		}},
		{"2.1", "nodes that start at the same time agree on the key", func(w *world) {
			keys, records := NewKeys(), store.NewMemory()
			defer records.Close()
			texts := make(chan string)
			for range 4 {
				go func() {
					s, err := (&Provider{
						Issuer: "http://127.0.0.1:1", Login: askName{}, Records: records, Keys: keys, Resources: []Resource{{Path: "/mcp", JWT: &JWT{Alg: "RS256"}}},
					}).Protect(w.Context(), nil)
					if err != nil {
						texts <- err.Error()
						return
					}
					rec := httptest.NewRecorder()
					s.ServeHTTP(rec, httptest.NewRequest("GET", "/jwks", nil))
					texts <- rec.Body.String()
				}()
			}
			first := <-texts
			for range 3 {
				if other := <-texts; other != first || !strings.Contains(first, `"RSA"`) {
					w.Errorf("%s and %s", first, other)
				}
			}
		}},
		{"2.1", "EdDSA works alike", func(w *world) {
			w = newWorld(w.T, func(p *Provider) {
				p.Resources = append(p.Resources, Resource{Path: "/signed", Scopes: testScopes, JWT: &JWT{Alg: "EdDSA"}})
			})
			tok := signed(w)
			w.wantStatus("call", w.calls("/signed", tok.AccessToken), 200)
			if v, err := verifier(w).Validate(w.Context(), w.url("/signed"), tok.AccessToken); v == nil || err != nil {
				w.Errorf("not good elsewhere: %v %v", v, err)
			}
		}},
		{"2.2", "it has iss, exp, aud, sub, client_id, iat and jti", func(w *world) {
			tok := signed(w)
			m := w.payload(tok.AccessToken)
			exp, _ := m["exp"].(float64)
			left := time.Until(time.Unix(int64(exp), 0))
			if m["iss"] != w.srv.URL || m["sub"] != "test:alice" || m["client_id"] == nil || m["iat"] == nil || m["jti"] == nil || left > defaultJWTTTL || left < defaultJWTTTL-time.Minute || tok.ExpiresIn > int64(defaultJWTTTL/time.Second) {
				w.Errorf("got %v, expires_in %d", m, tok.ExpiresIn)
			}
			if aud, _ := m["aud"].([]any); m["aud"] != w.url("/signed") && (len(aud) != 1 || aud[0] != w.url("/signed")) {
				w.Errorf("aud %v", m["aud"])
			}
		}},
		{"2.2.3", "it has the scope that was granted", func(w *world) {
			if m := w.payload(signed(w, "scope", "write read").AccessToken); m["scope"] != "read write" {
				w.Errorf("got %v", m["scope"])
			}
		}},
		{"2.2", "no props of the person are in it", func(w *world) {
			tok := signed(w)
			if strings.Contains(tok.AccessToken, upstreamSecret) || len(w.payload(tok.AccessToken)) > 8 {
				w.Errorf("got %v", w.payload(tok.AccessToken))
			}
			if a := w.calls("/signed", tok.AccessToken); !strings.HasPrefix(a.body, "test:alice alice ") {
				w.Errorf("but they are there where it is checked: %s", a.body)
			}
		}},
		{"3", "the audience is the resource asked for, which is one (§5: a token for several could be used across them)", func(w *world) {
			tok := signed(w)
			w.wantStatus("elsewhere", w.calls("/mcp", tok.AccessToken), 401)
			w.wantStatus("there", w.calls("/signed", tok.AccessToken), 200)
		}},
		{"4", "the keys are published where the metadata say, public parts only", func(w *world) {
			set := w.keySet()
			if len(set.Keys) != 1 || !set.Keys[0].IsPublic() || set.Keys[0].Algorithm != "ES256" || set.Keys[0].Use != "sig" || set.Keys[0].KeyID == "" {
				w.Errorf("got %+v", set.Keys)
			}
			if strings.Contains(w.browser().get(w.url("/jwks")).body, `"d"`) {
				w.Error("a private key")
			}
		}},
		{"4", "no keys are announced or served where no token is a JWT", func(w *world) {
			w = newWorld(w.T, nil)
			if w.metadata()["jwks_uri"] != nil || w.browser().get(w.url("/jwks")).body != "404 page not found\n" {
				w.Error("they are")
			}
		}},
		{"4", "a rotated key still verifies what it signed, the new one signs, and a retired one does not verify", func(w *world) {
			records := store.NewMemory()
			defer records.Close()
			old, renewed := newKeyText(), newKeyText()
			ring := func(text string) *KeyRing {
				r, err := ParseKeys([]byte(text))
				if err != nil {
					w.Fatal(err)
				}
				return r
			}
			older := strings.Replace(string(old), "active", "older", 1)
			issuer := w.srv.URL // one address for all three
			under := func(keys *KeyRing) *world {
				return newWorld(w.T, func(p *Provider) {
					p.Records, p.Keys, p.Issuer = records, keys, issuer
					p.Resources = []Resource{{Path: "/signed", Scopes: testScopes, JWT: &JWT{}}}
				})
			}
			issue := func(in *world) string {
				answer, err := in.s.grants.createDirect(w.Context(), grant{Client: "c", User: "u", Resource: issuer + "/signed", Scopes: []string{"read"}}, []byte("null"), "", time.Time{})
				if err != nil {
					w.Fatal(err)
				}
				return parseAnswer(w.T, answer).AccessToken
			}
			first := under(ring(string(old)))
			token := issue(first)
			second := under(ring(string(renewed) + older))
			w.wantStatus("the old one after a rotation", second.calls("/signed", token), 200)
			if string(second.keySetAt(second.srv.URL)) == string(first.keySetAt(first.srv.URL)) {
				w.Error("the set did not change")
			}
			parsed, _ := jwt.ParseSigned(issue(second), []jose.SignatureAlgorithm{jose.ES256})
			if kid := parsed.Headers[0].KeyID; !strings.HasPrefix(kid, ring(string(renewed)).ID()) {
				w.Errorf("signed by %s", kid)
			}
			third := under(ring(string(renewed) + "retired " + ring(string(old)).ID()))
			w.wantStatus("the old one after its key was retired", third.calls("/signed", token), 401)
		}},
		{"4", "another typ is refused, so that no other JWT passes for an access token", func(w *world) {
			for _, typ := range []string{"JWT", "", "dpop+jwt", identityTyp, assertionTyp} {
				text := w.signsWith(w.accessKey(), typ, w.accessClaims())
				if v, err := verifier(w).Validate(w.Context(), w.url("/signed"), text); v != nil {
					w.Errorf("typ %q: %v %v", typ, v, err)
				}
				w.wantStatus("typ "+typ, w.calls("/signed", text), 401)
			}
			text := w.signsWith(w.accessKey(), "application/at+jwt", w.accessClaims())
			if v, err := verifier(w).Validate(w.Context(), w.url("/signed"), text); v == nil {
				w.Errorf("the long form of the typ: %v", err)
			}
		}},
		{"4", "iss, aud, exp, sub, client_id, jti and iat are checked", func(w *world) {
			for _, c := range []change{
				{"iss", "https://evil.example"}, {"iss", nil}, {"aud", w.url("/mcp")}, {"aud", nil}, {"aud", "signed"}, {"exp", time.Now().Add(-time.Second).Unix()}, {"exp", nil},
				{"sub", nil}, {"client_id", nil}, {"jti", nil}, {"iat", nil}, {"iat", time.Now().Add(time.Hour).Unix()},
			} {
				text := w.signsWith(w.accessKey(), accessTyp, w.accessClaims(c))
				if v, _ := verifier(w).Validate(w.Context(), w.url("/signed"), text); v != nil {
					w.Errorf("%v passes", c)
				}
			}
			text := w.signsWith(w.accessKey(), accessTyp, w.accessClaims())
			if v, err := verifier(w).Validate(w.Context(), w.url("/signed"), text); v == nil {
				w.Errorf("a good one does not: %v", err)
			}
		}},
		{"4", "the signature is checked: another key, another algorithm, none, one bit", func(w *world) {
			tok := signed(w).AccessToken
			parts := strings.Split(tok, ".")
			sum := sha256.Sum256([]byte(tok))
			hmacKey := jose.SigningKey{Algorithm: jose.HS256, Key: sum[:]}
			for name, text := range map[string]string{
				"another key":        w.signs(accessTyp, w.accessClaims()),
				"a shared key":       w.signsWith(hmacKey, accessTyp, w.accessClaims()),
				"none":               "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + ".",
				"no signature":       parts[0] + "." + parts[1] + ".",
				"another payload":    parts[0] + "." + strings.Split(signed(w).AccessToken, ".")[1] + "." + parts[2],
				"another last byte":  tok[:len(tok)-8] + "AAAAAAAA",
				"too long":           tok + strings.Repeat("A", maxJWT),
				"the jti on its own": w.payload(tok)["jti"].(string),
			} {
				if v, _ := verifier(w).Validate(w.Context(), w.url("/signed"), text); v != nil {
					w.Errorf("%s passes elsewhere", name)
				}
				w.wantStatus(name, w.calls("/signed", text), 401)
			}
		}},
		{"4", "what the provider signed but did not grant is not good at the provider", func(w *world) {
			w.wantStatus("a forged one", w.calls("/signed", w.signsWith(w.accessKey(), accessTyp, w.accessClaims())), 401)
		}},
		{"5", "a client that acts for itself cannot be taken for a person", func(w *world) {
			tok := w.as("robot", "/token", "grant_type", "client_credentials", "resource", w.url("/signed")).good(w)
			if m := w.payload(tok.AccessToken); m["sub"] != "client:robot" || m["client_id"] != "robot" {
				w.Errorf("got %v", m)
			}
			if _, err := encodePerson(&Person{ID: "client:robot"}); err == nil {
				w.Error("a person may be called so")
			}
		}},
		{"6", "revocation: at once here, at the end of the token where nobody is asked", func(w *world) {
			client, tok := w.signsIn("alice", "resource", w.url("/signed"))
			v := verifier(w)
			w.posts("/revoke", asForm("token", tok.RefreshToken, "client_id", client))
			w.wantStatus("here", w.calls("/signed", tok.AccessToken), 401)
			if good, err := v.Validate(w.Context(), w.url("/signed"), tok.AccessToken); good == nil || time.Until(good.Expires) > defaultJWTTTL {
				w.Errorf("elsewhere: %v %v", good, err)
			}
		}},
	})
}

func (w *world) keySetAt(base string) []byte {
	return []byte(w.do(http.DefaultClient, request("GET", base+"/jwks", "")).body)
}

func FuzzAccessJWT(f *testing.F) {
	m := &mint{prefix: "cw", keys: NewKeys()}
	s := &Server{mint: m, provider: Provider{Issuer: "https://as.example", Keys: m.keys, AccessTTL: time.Hour}}
	signed, err := s.newSignedTokens(f.Context(), JWT{})
	if err != nil {
		f.Fatal(err)
	}
	m.signed = map[string]*signedTokens{"https://as.example/mcp": signed}
	g := &grant{ID: newID(), Client: "c", User: "u", Resource: "https://as.example/mcp"}
	good := m.issueAccess(g, &accessSlot{Expires: time.Now().Add(time.Hour)}, time.Now())
	if _, err := m.parseAccess(good.text); err != nil {
		f.Fatal(err)
	}
	f.Add(good.text)
	f.Add("eyJ.eyJ.")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := m.parseAccess(text); err == nil && text != good.text {
			t.Errorf("%q passes for a token of %s", text, got.id)
		}
	})
}
