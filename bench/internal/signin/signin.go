// Package signin puts sign-in in front of a server under test and gets a token for it,
// without a person: a trusted issuer vouches for one.
package signin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/causeway-mcp/causeway/store"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	idp    = "https://idp.example"
	client = "bench"
	secret = "a secret of the bench"
	// PropsSize is how much the login said of the person, in bytes.
	PropsSize = 1 << 10
)

// Protect serves /mcp of next to who has the token, and to nobody else. Records may be
// nil: then grants are in memory. The address of the server need not be the issuer's.
func Protect(ctx context.Context, records store.Records, next http.Handler) (h http.Handler, token string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256"}}})
	if err != nil {
		return nil, "", err
	}
	p := &oauth.Provider{
		Issuer: "http://127.0.0.1:1", Login: login.Dev(), Records: records, Keys: oauth.NewKeys(),
		Resources: []oauth.Resource{{Path: "/mcp", Scopes: []oauth.Scope{{Name: "call"}}, Require: []string{"call"}}},
		Clients:   []oauth.Client{{ID: client, Secret: secret}},
		TrustedIssuers: []oauth.TrustedIssuer{{Issuer: idp, Keys: string(keys), Clients: []string{client}, Person: func(context.Context, *oauth.Identity) (*oauth.Person, error) {
			return &oauth.Person{ID: "bench:1", Props: strings.Repeat("x", PropsSize-2)}, nil
		}}},
		AccessTTL: 24 * time.Hour,
		Logger:    slog.New(slog.DiscardHandler),
	}
	s, err := p.Protect(ctx, next)
	if err != nil {
		return nil, "", err
	}
	token, err = redeem(s, key, p.Issuer)
	return s, token, err
}

// redeem gets an access token for an assertion of the trusted issuer.
func redeem(s http.Handler, key *ecdsa.PrivateKey, issuer string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType("oauth-id-jag+jwt"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	assertion, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": idp, "sub": "1", "aud": issuer, "client_id": client, "resource": issuer + "/mcp", "scope": "call", "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}).Serialize()
	if err != nil {
		return "", err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}, "client_id": {client}, "client_secret": {secret}}
	req := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(bytes.NewReader(rec.Body.Bytes())).Decode(&answer); err != nil || answer.Token == "" {
		return "", fmt.Errorf("no token: %d %s", rec.Code, rec.Body)
	}
	return answer.Token, nil
}
