// Package oidc signs people in at any OpenID Connect issuer: Google, Microsoft Entra,
// Okta, Auth0, Keycloak and others.
package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth"
)

// timeout bounds what the issuer is asked within one request of a person.
const timeout = 10 * time.Second

// Google is the issuer of Google accounts.
const Google = "https://accounts.google.com"

// A Login signs people in at an OpenID Connect issuer, with the code flow, PKCE and a
// nonce. At the issuer, register the provider's URL with /callback as redirect URI.
type Login struct {
	// Issuer is the URL of the issuer. Its metadata are read at the first sign-in.
	Issuer string
	// ClientID and ClientSecret are what the issuer gave. Secret may be empty.
	ClientID, ClientSecret string
	// Scopes are asked for besides "openid". Nil is "profile" and "email".
	Scopes []string
	// AuthParams are sent along with the authorization request, "prompt" for instance.
	AuthParams map[string]string
	// Person makes the person from what the issuer said. It may refuse with
	// oauth.ErrNotAllowed. Nil makes one with [Claims] as props. In any case the person's
	// ID, if empty, is that of the issuer and its subject: the one pair that never
	// changes hands (OIDC Core §5.7).
	Person func(ctx context.Context, a *Answer) (*oauth.Person, error)
	// Client is the HTTP client for the issuer. Nil is one with a time limit.
	Client *http.Client
	// ForgetToken keeps only who the person is. By default the tokens are kept, sealed in
	// the grant, for oauth.UpstreamToken, and renewed if the issuer gave a refresh token:
	// most do for the scope "offline_access", Google for the AuthParams "access_type":
	// "offline" and "prompt": "consent". An issuer that says a refresh token is over ends
	// the grant here too.
	ForgetToken bool

	mu       sync.Mutex
	provider *oidc.Provider
}

// Claims are the props of a person when Login.Person is nil.
type Claims struct {
	Subject       string `json:"sub"`
	Name          string `json:"name"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
}

// An Answer is what the issuer said.
type Answer struct {
	// IDToken has been verified: signature, issuer, audience, expiry and nonce.
	IDToken *oidc.IDToken
	// Token are the tokens for the issuer's own APIs. Keep of them in Person.Props what
	// handlers need.
	Token *oauth2.Token

	provider *oidc.Provider
	client   *http.Client
}

// Claims decodes what the issuer says of the person into v, as encoding/json does: the
// ID token, and what is not in there from the userinfo endpoint, if there is one. Many
// issuers tell name and email only there to who gets an access token too (OIDC Core §5.4).
func (a *Answer) Claims(ctx context.Context, v any) error {
	if a.provider != nil && a.provider.UserInfoEndpoint() != "" {
		info, err := a.provider.UserInfo(oidc.ClientContext(ctx, a.client), oauth2.StaticTokenSource(a.Token))
		switch {
		case err != nil:
			return fmt.Errorf("asking %s about a person failed", a.IDToken.Issuer) // err quotes the answer
		case info.Subject != a.IDToken.Subject: // OIDC Core §5.3.2
			return fmt.Errorf("%s answered about another person", a.IDToken.Issuer)
		}
		if err := info.Claims(v); err != nil {
			return fmt.Errorf("reading what %s says of a person: %w", a.IDToken.Issuer, err)
		}
	}
	if err := a.IDToken.Claims(v); err != nil {
		return fmt.Errorf("reading the claims of an ID token: %w", err)
	}
	return nil
}

// Check implements oauth.Checker.
func (l *Login) Check() error {
	if l.Issuer == "" || l.ClientID == "" {
		return errors.New("the OpenID Connect login needs an Issuer, and the ClientID that it gave")
	}
	return nil
}

// Start implements oauth.Login.
func (l *Login) Start(w http.ResponseWriter, r *http.Request, a *oauth.Attempt) error {
	config, _, err := l.config(r.Context(), a)
	if err != nil {
		return err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.Secret), oidc.Nonce(nonce(a))}
	params := maps.Clone(l.AuthParams)
	if a.Again {
		params = l.again(params)
	}
	for name, value := range params {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	http.Redirect(w, r, config.AuthCodeURL(a.State, options...), http.StatusSeeOther)
	return nil
}

// again asks the issuer to have the person sign in anew. Google knows no such prompt and
// lets them choose who they are.
func (l *Login) again(params map[string]string) map[string]string {
	word := "login"
	if l.Issuer == Google {
		word = "select_account"
	}
	prompt := slices.DeleteFunc(strings.Fields(params["prompt"]), func(p string) bool { return p == "none" || p == word })
	if params == nil {
		params = map[string]string{}
	}
	params["prompt"] = strings.Join(append(prompt, word), " ")
	return params
}

// nonce ties the ID token to the attempt. The secret itself is the PKCE verifier and
// must not be seen in the browser.
func nonce(a *oauth.Attempt) string {
	sum := sha256.Sum256([]byte("nonce " + a.Secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Finish implements oauth.Login.
func (l *Login) Finish(r *http.Request, a *oauth.Attempt) (*oauth.Person, error) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	code, err := answeredCode(r, l.Issuer)
	if err != nil {
		return nil, err
	}
	config, provider, err := l.config(ctx, a)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, l.client())
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(a.Secret))
	if err != nil {
		return nil, fmt.Errorf("exchanging the code at %s: %w", l.Issuer, withoutBody(err))
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, fmt.Errorf("%s sent no ID token", l.Issuer)
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: l.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("verifying the ID token of %s: %w", l.Issuer, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce(a))) != 1 {
		return nil, fmt.Errorf("the ID token of %s is for another sign-in", l.Issuer)
	}
	return l.person(ctx, &Answer{IDToken: id, Token: token, provider: provider, client: l.client()})
}

// answeredCode reads the answer in the address, and checks who gave it if it says so
// (RFC 9207).
func answeredCode(r *http.Request, issuer string) (string, error) {
	q := r.URL.Query()
	switch {
	case q.Has("iss") && q.Get("iss") != issuer:
		return "", errors.New("the answer comes from another issuer")
	case q.Get("error") == "access_denied":
		return "", oauth.ErrDenied
	case q.Get("error") != "":
		return "", fmt.Errorf("%s answered with an error", issuer) // its text is anybody's
	case len(q["code"]) != 1:
		return "", fmt.Errorf("%s answered without a code", issuer)
	}
	return q.Get("code"), nil
}

// withoutBody drops what the issuer wrote beside the error code: it may repeat secrets.
func withoutBody(err error) error {
	var e *oauth2.RetrieveError
	if errors.As(err, &e) {
		return fmt.Errorf("status %d, %q", e.Response.StatusCode, e.ErrorCode)
	}
	return err
}

func (l *Login) person(ctx context.Context, answer *Answer) (*oauth.Person, error) {
	build := l.Person
	if build == nil {
		build = fromClaims
	}
	p, err := build(ctx, answer)
	if err != nil {
		return nil, err
	}
	if p.ID == "" {
		p.ID = answer.IDToken.Issuer + "#" + answer.IDToken.Subject
	}
	if p.Upstream == nil && !l.ForgetToken {
		p.Upstream = answer.Token
	}
	return p, nil
}

// RenewUpstream implements oauth.Renewer (OIDC Core §12).
func (l *Login) RenewUpstream(ctx context.Context, t *oauth2.Token) (*oauth2.Token, error) {
	config, _, err := l.config(ctx, &oauth.Attempt{})
	if err != nil {
		return nil, err
	}
	fresh, err := config.TokenSource(oidc.ClientContext(ctx, l.client()), &oauth2.Token{RefreshToken: t.RefreshToken}).Token()
	var e *oauth2.RetrieveError
	switch {
	case errors.As(err, &e) && e.ErrorCode == "invalid_grant":
		return nil, oauth.ErrSignInAgain
	case err != nil:
		return nil, fmt.Errorf("refreshing a token at %s: %w", l.Issuer, withoutBody(err))
	}
	return fresh, nil
}

// RevokeUpstream implements oauth.UpstreamRevoker, at issuers with a revocation endpoint
// (RFC 7009).
func (l *Login) RevokeUpstream(ctx context.Context, t *oauth2.Token) error {
	_, provider, err := l.config(ctx, &oauth.Attempt{})
	if err != nil {
		return err
	}
	var endpoints struct {
		Revocation string `json:"revocation_endpoint"`
	}
	if err := provider.Claims(&endpoints); err != nil {
		return fmt.Errorf("reading the metadata of %s: %w", l.Issuer, err)
	}
	if endpoints.Revocation == "" {
		return nil // it offers none: its tokens end by themselves
	}
	form := url.Values{"token": {t.RefreshToken}, "token_type_hint": {"refresh_token"}}
	if t.RefreshToken == "" {
		form = url.Values{"token": {t.AccessToken}, "token_type_hint": {"access_token"}}
	}
	if l.ClientSecret == "" {
		form.Set("client_id", l.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoints.Revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("revoking a token at %s: %w", l.Issuer, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if l.ClientSecret != "" {
		req.SetBasicAuth(url.QueryEscape(l.ClientID), url.QueryEscape(l.ClientSecret))
	}
	resp, err := l.client().Do(req)
	if err != nil {
		return fmt.Errorf("revoking a token at %s: %w", l.Issuer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("revoking a token at %s: status %d", l.Issuer, resp.StatusCode)
	}
	return nil
}

func fromClaims(ctx context.Context, a *Answer) (*oauth.Person, error) {
	var c Claims
	if err := a.IDToken.Claims(&c); err != nil {
		return nil, fmt.Errorf("reading the claims of an ID token: %w", err)
	}
	if c.Name == "" || c.Email == "" {
		if err := a.Claims(ctx, &c); err != nil {
			return nil, err
		}
	}
	name := c.Name
	if name == "" {
		name = c.Email
	}
	return &oauth.Person{Name: name, Props: c}, nil
}

func (l *Login) client() *http.Client {
	if l.Client != nil {
		return l.Client
	}
	return &http.Client{Timeout: timeout}
}

// config reads the issuer's metadata at the first sign-in, and again until that worked.
func (l *Login) config(ctx context.Context, a *oauth.Attempt) (*oauth2.Config, *oidc.Provider, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.provider == nil {
		// The provider keeps the context for fetching keys later: it must not end with
		// this request.
		p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), l.client()), l.Issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the metadata of %s: %w", l.Issuer, err)
		}
		l.provider = p
	}
	scopes := l.Scopes
	if scopes == nil {
		scopes = []string{"profile", "email"}
	}
	return &oauth2.Config{
		ClientID: l.ClientID, ClientSecret: l.ClientSecret, Endpoint: l.provider.Endpoint(), RedirectURL: a.Callback,
		Scopes: append([]string{oidc.ScopeOpenID}, scopes...),
	}, l.provider, nil
}
