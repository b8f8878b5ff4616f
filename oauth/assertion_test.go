package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// keyed is a client that signs.
type keyed struct {
	*testing.T
	key *ecdsa.PrivateKey
}

func newKeyed(t *testing.T) *keyed {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &keyed{t, key}
}

func (k *keyed) set() string {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		k.Fatal(err)
	}
	return string(b)
}

func (k *keyed) document(more string) string {
	return strings.Replace(goodDocument(more), `"none"`, `"private_key_jwt"`, 1)
}

func (k *keyed) assertion(w *world, typ string, change func(map[string]any)) string {
	id := make([]byte, 8)
	rand.Read(id)
	claims := map[string]any{
		"iss": documentID, "sub": documentID, "aud": w.srv.URL, "jti": fmt.Sprintf("%x", id),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	if change != nil {
		change(claims)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		k.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		k.Fatal(err)
	}
	return text
}

// asks sends a token request with an assertion. Who is let in gets invalid_grant.
func (w *world) asserts(assertion string, more ...string) answer {
	w.Helper()
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return w.posts("/token", v)
}

func TestAClientProvesItselfWithItsKey_RFC7523_2_2(t *testing.T) {
	w, k := newWorld(t, nil), newKeyed(t)
	withOrigin(w.s.documents, k.document(`,"jwks":`+k.set()))
	code := w.browser().mustAllow(w.asks(documentID), "alice")
	w.sends(documentID, code).wantError(w, 401, "invalid_client")
	a := w.sends(documentID, code, "client_assertion_type", assertionType, "client_assertion", k.assertion(w, "JWT", nil))
	if a.status != 200 {
		t.Fatalf("got %d %s %s", a.status, a.body, w.logs)
	}
	m := w.browser().get(w.url("/.well-known/oauth-authorization-server"))
	if !strings.Contains(m.body, `"private_key_jwt"`) || !strings.Contains(m.body, `"ES256"`) {
		t.Errorf("the metadata do not say so: %s", m.body)
	}
}

func TestAssertionsThatAreRefused_RFC7523_3(t *testing.T) {
	w, k := newWorld(t, nil), newKeyed(t)
	withOrigin(w.s.documents, k.document(`,"jwks":`+k.set()))
	set := func(name string, v any) func(map[string]any) {
		return func(c map[string]any) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
	}
	w.asserts(k.assertion(w, "JWT", nil)).wantError(w, 400, "invalid_grant")
	w.asserts(k.assertion(w, "JWT", set("aud", w.url("/token")))).wantError(w, 400, "invalid_grant")
	w.asserts(k.assertion(w, assertionTyp, nil)).wantError(w, 400, "invalid_grant")
	twice := k.assertion(w, "JWT", nil)
	w.asserts(twice).wantError(w, 400, "invalid_grant")
	for name, text := range map[string]string{
		"used twice":                          twice,
		"another issuer":                      k.assertion(w, "JWT", set("iss", "https://evil.example/c")),
		"another audience":                    k.assertion(w, "JWT", set("aud", "https://evil.example")),
		"two audiences":                       k.assertion(w, "JWT", set("aud", []string{w.srv.URL, "https://evil.example"})),
		"no audience":                         k.assertion(w, "JWT", set("aud", nil)),
		"the token endpoint by the newer typ": k.assertion(w, assertionTyp, set("aud", w.url("/token"))),
		"no expiry":                           k.assertion(w, "JWT", set("exp", nil)),
		"expired":                             k.assertion(w, "JWT", set("exp", time.Now().Add(-2*time.Minute).Unix())),
		"good for a day":                      k.assertion(w, "JWT", set("exp", time.Now().Add(24*time.Hour).Unix())),
		"from the future":                     k.assertion(w, "JWT", set("nbf", time.Now().Add(time.Hour).Unix())),
		"no jti":                              k.assertion(w, "JWT", set("jti", nil)),
		"another key":                         newKeyed(t).assertion(w, "JWT", nil),
		"no signature":                        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
		"no JWT":                              "x",
		"too long":                            strings.Repeat("x", maxAssertion+1),
	} {
		t.Run(name, func(t *testing.T) { w.asserts(text).wantError(w, 401, "invalid_client") })
	}
	t.Run("another client_id beside it", func(t *testing.T) {
		w.asserts(k.assertion(w, "JWT", nil), "client_id", w.registers()).wantError(w, 401, "invalid_client")
	})
	t.Run("a secret beside it", func(t *testing.T) {
		w.asserts(k.assertion(w, "JWT", nil), "client_secret", "x").wantError(w, 400, "invalid_request")
	})
	t.Run("another type of assertion", func(t *testing.T) {
		w.asserts(k.assertion(w, "JWT", nil), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer").wantError(w, 401, "invalid_client")
	})
	t.Run("from a client that registered no key", func(t *testing.T) {
		other := w.registers()
		w.asserts(k.assertion(w, "JWT", func(c map[string]any) { c["iss"], c["sub"] = other, other })).wantError(w, 401, "invalid_client")
	})
}

func TestKeysAreFetchedAndFollowARotation(t *testing.T) {
	w, first := newWorld(t, nil), newKeyed(t)
	second := newKeyed(t)
	served, fetches := first.set(), 0
	w.s.documents.http.Transport = roundTrip(func(r *http.Request) *http.Response {
		rec := httptest.NewRecorder()
		if strings.HasSuffix(r.URL.Path, "/keys") {
			fetches++
			fmt.Fprint(rec, served)
		} else {
			fmt.Fprint(rec, first.document(`,"jwks_uri":"https://app.example/keys"`))
		}
		return rec.Result()
	})
	for range 3 {
		w.asserts(first.assertion(w, "JWT", nil)).wantError(w, 400, "invalid_grant")
	}
	if fetches != 1 {
		t.Errorf("fetched %d times", fetches)
	}
	served = second.set()
	keys := w.s.documents.keys
	for uri, kept := range keys.sets { // as if a while had passed
		kept.fetched, kept.tried = kept.fetched.Add(-keySetFresh), kept.tried.Add(-keySetRefresh)
		keys.sets[uri] = kept
	}
	for range 3 {
		w.asserts(first.assertion(w, "JWT", nil)).wantError(w, 401, "invalid_client")
	}
	w.asserts(second.assertion(w, "JWT", nil)).wantError(w, 400, "invalid_grant")
	if fetches != 2 {
		t.Errorf("fetched %d times", fetches)
	}
	served = "broken"
	for uri, kept := range keys.sets {
		kept.fetched, kept.tried = kept.fetched.Add(-keySetFresh), kept.tried.Add(-keySetRefresh)
		keys.sets[uri] = kept
	}
	for range 3 {
		w.asserts(second.assertion(w, "JWT", nil)).wantError(w, 401, "invalid_client")
	}
	if fetches != 3 {
		t.Errorf("fetched %d times from an origin that fails", fetches)
	}
}

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestDocumentsAndTheirKeys(t *testing.T) {
	k := newKeyed(t)
	private, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.key, KeyID: "1"}}})
	for name, more := range map[string]string{
		"a private key":           `,"jwks":` + string(private),
		"a shared key":            `,"jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"no key":                  "",
		"keys at an http address": `,"jwks_uri":"http://app.example/keys"`,
		"keys that are no set":    `,"jwks":[]`,
	} {
		if _, err := parseDocument(documentID, []byte(k.document(more))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := parseDocument(documentID, []byte(k.document(`,"jwks":`+k.set()+`,"token_endpoint_auth_methods_supported":["private_key_jwt","none"]`)))
	if err != nil || c.Method != authAssertion || !c.alsoNone {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseKeySet(text)
		if err != nil {
			return
		}
		for _, key := range set.Keys {
			if !key.IsPublic() {
				t.Error("a key that is not public")
			}
		}
		assertedClient(string(text))
	})
}
