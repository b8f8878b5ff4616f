// Package upstream has the shapes of what examples sign people in with and call: GitHub,
// an OpenID Connect issuer. They believe every name, keep codes and PKCE to the letter,
// and are for tests.
package upstream

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"
)

// The one client that is known.
const (
	ClientID     = "our-app"
	ClientSecret = "our-secret"
)

// A Site is the upstream. People sign in with any name, in the field "login".
type Site struct {
	*httptest.Server
	// Mux takes what else the site serves.
	Mux *http.ServeMux

	t   *testing.T
	key *rsa.PrivateKey

	mu     sync.Mutex
	codes  map[string]url.Values // what was asked for, and "login"
	tokens map[string]string     // access token → login
	scopes map[string]string     // access token → scopes
}

// New starts a site that ends with the test.
func New(t *testing.T) *Site {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &Site{t: t, key: key, Mux: http.NewServeMux(), codes: map[string]url.Values{}, tokens: map[string]string{}, scopes: map[string]string{}}
	s.Mux.HandleFunc("GET /login/oauth/authorize", s.ask)
	s.Mux.HandleFunc("POST /login/oauth/authorize", s.answer)
	s.Mux.HandleFunc("POST /login/oauth/access_token", s.token)
	s.Mux.HandleFunc("GET /user", s.user)
	s.Mux.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	s.Mux.HandleFunc("GET /keys", s.keys)
	s.Server = httptest.NewServer(s.Mux)
	t.Cleanup(s.Close)
	return s
}

// ask is a page with one field.
func (s *Site) ask(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("state") == "" {
		http.Error(w, "not what we registered", http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, `<form method="post" action="/login/oauth/authorize"><input type="hidden" name="asked" value="%s"><input name="login" value=""><button name="do" value="in">Sign in</button></form>`, html.EscapeString(r.URL.RawQuery))
}

func (s *Site) answer(w http.ResponseWriter, r *http.Request) {
	asked, err := url.ParseQuery(r.PostFormValue("asked"))
	login := r.PostFormValue("login")
	if err != nil || login == "" {
		http.Error(w, "who?", http.StatusBadRequest)
		return
	}
	asked.Set("login", login)
	code := rand.Text()
	s.mu.Lock()
	s.codes[code] = asked
	s.mu.Unlock()
	http.Redirect(w, r, asked.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {asked.Get("state")}}.Encode(), http.StatusFound)
}

func (s *Site) token(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	s.mu.Lock()
	asked := s.codes[r.PostFormValue("code")]
	delete(s.codes, r.PostFormValue("code"))
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if asked == nil || id != ClientID || secret != ClientSecret || oauth2.S256ChallengeFromVerifier(r.PostFormValue("code_verifier")) != asked.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	token, login := "up_"+rand.Text(), asked.Get("login")
	s.mu.Lock()
	s.tokens[token], s.scopes[token] = login, asked.Get("scope")
	s.mu.Unlock()
	answer := map[string]any{"access_token": token, "token_type": "bearer", "scope": asked.Get("scope")}
	if strings.Contains(asked.Get("scope"), "openid") {
		answer["id_token"] = s.Sign("JWT", map[string]any{
			"iss": s.URL, "sub": fmt.Sprint(number(login)), "aud": ClientID, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"nonce": asked.Get("nonce"), "name": login, "email": login + "@example.com", "email_verified": true, "hd": "example.com",
		})
	}
	s.write(w, answer)
}

// Sign makes a JWT with the site's key.
func (s *Site) Sign(typ string, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		s.t.Error(err)
		return ""
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		s.t.Error(err)
	}
	return text
}

// Who is the person behind an access token of the site, and what it was granted.
func (s *Site) Who(r *http.Request) (login, scope string) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[token], s.scopes[token]
}

func (s *Site) user(w http.ResponseWriter, r *http.Request) {
	login, _ := s.Who(r)
	if login == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.write(w, map[string]any{"id": number(login), "login": login, "name": strings.ToUpper(login)})
}

// number is a person's, for ever.
func number(login string) uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, login)
	return h.Sum32()
}

func (s *Site) metadata(w http.ResponseWriter, _ *http.Request) {
	s.write(w, map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/login/oauth/authorize", "token_endpoint": s.URL + "/login/oauth/access_token",
		"jwks_uri": s.URL + "/keys", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
	})
}

func (s *Site) keys(w http.ResponseWriter, _ *http.Request) {
	s.write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
}

func (s *Site) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Error(err)
	}
}
