package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth/internal/signintest"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
)

// issuer is an OpenID Connect issuer whose ID tokens a test can change.
type issuer struct {
	*httptest.Server
	key    *rsa.PrivateKey
	signer *rsa.PrivateKey
	change func(claims map[string]any)
	nonce  string
	pkce   string
	told   map[string]any // what the userinfo endpoint says; nil is no such endpoint
}

func newIssuer(t *testing.T) *issuer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, signer: key, change: func(map[string]any) {}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		metadata := map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		}
		if i.told != nil {
			metadata["userinfo_endpoint"] = i.URL + "/userinfo"
		}
		answer(w, metadata)
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer op-secret" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		answer(w, i.told)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		i.nonce, i.pkce = q.Get("nonce"), q.Get("code_challenge")
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {"op-code"}, "state": {q.Get("state")}, "iss": {i.URL}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("code") != "op-code" || oauth2.S256ChallengeFromVerifier(r.FormValue("code_verifier")) != i.pkce {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]string{"error": "invalid_grant"})
			return
		}
		answer(w, map[string]any{"access_token": "op-secret", "token_type": "Bearer", "expires_in": 60, "id_token": i.idToken(t)})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) idToken(t *testing.T) string {
	claims := map[string]any{
		"iss": i.URL, "sub": "user-1", "aud": "app", "nonce": i.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		"name": "Ada", "email": "ada@example.com", "email_verified": true,
	}
	i.change(claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.signer, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAPersonSignsInAtAnIssuer(t *testing.T) {
	i := newIssuer(t)
	site := signintest.New(t, &oidc.Login{Issuer: i.URL, ClientID: "app", ClientSecret: "s"})
	end := site.Get(t, site.Get(t, site.Allow(t).Location).Location)
	want := i.URL + `#user-1 {"sub":"user-1","name":"Ada","email":"ada@example.com","email_verified":true}`
	if got := site.Call(t, end); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsNotInTheIDTokenIsAsked_OIDC_Core_5_4(t *testing.T) {
	withoutName := func(c map[string]any) { delete(c, "name"); delete(c, "email"); delete(c, "email_verified") }
	i := newIssuer(t)
	i.change = withoutName
	i.told = map[string]any{"sub": "user-1", "name": "Ada", "email": "ada@example.com", "email_verified": true}
	site := signintest.New(t, &oidc.Login{Issuer: i.URL, ClientID: "app", ClientSecret: "s"})
	end := site.Get(t, site.Get(t, site.Allow(t).Location).Location)
	want := i.URL + `#user-1 {"sub":"user-1","name":"Ada","email":"ada@example.com","email_verified":true}`
	if got := site.Call(t, end); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, told := range map[string]map[string]any{
		"about another person, §5.3.2": {"sub": "user-2", "name": "Eve", "email": "eve@example.com"},
		"about nobody, §5.3.2":         {"name": "Eve"},
	} {
		i := newIssuer(t)
		i.change, i.told = withoutName, told
		site := signintest.New(t, &oidc.Login{Issuer: i.URL, ClientID: "app"})
		end := site.Get(t, site.Get(t, site.Allow(t).Location).Location)
		if got := site.Result(t, end); got.Get("error") != "server_error" || got.Has("code") {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestIDTokensThatAreRefused_OIDC_Core_3_1_3_7(t *testing.T) {
	for name, spoil := range map[string]func(*issuer){
		"another issuer":    func(i *issuer) { i.change = func(c map[string]any) { c["iss"] = "https://evil.example" } },
		"another audience":  func(i *issuer) { i.change = func(c map[string]any) { c["aud"] = "other" } },
		"expired":           func(i *issuer) { i.change = func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() } },
		"another nonce":     func(i *issuer) { i.change = func(c map[string]any) { c["nonce"] = "x" } },
		"no nonce":          func(i *issuer) { i.change = func(c map[string]any) { delete(c, "nonce") } },
		"another signature": func(i *issuer) { i.signer, _ = rsa.GenerateKey(rand.Reader, 2048) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			spoil(i)
			site := signintest.New(t, &oidc.Login{Issuer: i.URL, ClientID: "app"})
			end := site.Get(t, site.Get(t, site.Allow(t).Location).Location)
			if got := site.Result(t, end); got.Get("error") != "server_error" || got.Has("code") {
				t.Errorf("got %v", got)
			}
		})
	}
	t.Run("an answer that names another issuer, RFC 9207 §2.4", func(t *testing.T) {
		i := newIssuer(t)
		site := signintest.New(t, &oidc.Login{Issuer: i.URL, ClientID: "app"})
		back := site.Get(t, site.Allow(t).Location)
		u, _ := url.Parse(back.Location)
		q := u.Query()
		q.Set("iss", "https://evil.example")
		u.RawQuery = q.Encode()
		if got := site.Result(t, site.Get(t, u.String())); got.Get("error") != "server_error" {
			t.Errorf("got %v", got)
		}
	})
}

func TestAClientMayHaveThePersonSignInAnew(t *testing.T) {
	i := newIssuer(t)
	for _, tt := range []struct {
		name, asked string
		own         map[string]string
		want        string
	}{
		{"nothing is said", "", nil, ""},
		{"the author's own prompt stays", "", map[string]string{"prompt": "consent"}, "consent"},
		{"login", "login", nil, "login"},
		{"the other word for it", "select_account", nil, "login"},
		{"together with the author's", "consent login", map[string]string{"prompt": "consent"}, "consent login"},
		{"against the author's", "login", map[string]string{"prompt": "none"}, "login"},
		{"consent is ours to ask for", "consent", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site := signintest.New(t, &oidc.Login{Issuer: i.URL, ClientID: "id", ClientSecret: "secret", AuthParams: tt.own})
			to, err := url.Parse(site.Allow(t, "prompt", tt.asked).Location)
			if err != nil || to.Query().Get("prompt") != tt.want {
				t.Errorf("the issuer is asked %q, want %q (%v)", to.Query().Get("prompt"), tt.want, err)
			}
			if tt.own != nil && len(tt.own) != 1 {
				t.Errorf("the author's own params became %v", tt.own)
			}
		})
	}
}
