package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
)

// tokenIssuer is an issuer whose refresh tokens are good once.
func tokenIssuer(t *testing.T, revoked *[]string) *httptest.Server {
	mux := http.NewServeMux()
	var srv *httptest.Server
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(strings.ReplaceAll(`{"issuer":"@","authorization_endpoint":"@/auth","token_endpoint":"@/token","jwks_uri":"@/keys","revocation_endpoint":"@/revoke"}`, "@", srv.URL)))
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.FormValue("refresh_token") {
		case "good":
			w.Write([]byte(`{"access_token":"new","refresh_token":"next","token_type":"Bearer","expires_in":3600}`))
		case "kept":
			w.Write([]byte(`{"access_token":"new","token_type":"Bearer","expires_in":3600}`))
		case "down":
			http.Error(w, "secret words of a gateway", http.StatusBadGateway)
		default:
			w.WriteHeader(http.StatusBadRequest)
			w.Write([]byte(`{"error":"invalid_grant","error_description":"secret words about old"}`))
		}
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != "app" || secret != "s" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		*revoked = append(*revoked, r.FormValue("token"))
	})
	srv = httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func TestTokensAreRenewedAtTheIssuer_OIDC_Core_12(t *testing.T) {
	srv := tokenIssuer(t, new([]string))
	var l oauth.Renewer = &oidc.Login{Issuer: srv.URL, ClientID: "app", ClientSecret: "s"}
	for _, c := range []struct {
		name, refresh, next string
		again, fails        bool
	}{
		{"a good refresh token is rotated", "good", "next", false, false},
		{"one that the issuer keeps is kept", "kept", "kept", false, false},
		{"one that is over asks for a new sign-in", "old", "", true, true},
		{"an issuer that is down ends nothing", "down", "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := l.RenewUpstream(t.Context(), &oauth2.Token{AccessToken: "before", RefreshToken: c.refresh})
			if (err != nil) != c.fails || errors.Is(err, oauth.ErrSignInAgain) != c.again {
				t.Fatalf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret words") {
				t.Errorf("the issuer's text is repeated: %v", err)
			}
			if err == nil && (got.AccessToken != "new" || got.RefreshToken != c.next || got.Expiry.IsZero()) {
				t.Errorf("got %q %q", got.AccessToken, got.RefreshToken)
			}
		})
	}
}

func TestTokensAreRevokedAtTheIssuer_RFC7009(t *testing.T) {
	var revoked []string
	srv := tokenIssuer(t, &revoked)
	var l oauth.UpstreamRevoker = &oidc.Login{Issuer: srv.URL, ClientID: "app", ClientSecret: "s"}
	for _, tok := range []*oauth2.Token{{AccessToken: "a", RefreshToken: "r"}, {AccessToken: "a"}} {
		if err := l.RevokeUpstream(context.Background(), tok); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(revoked, " ") != "r a" {
		t.Errorf("revoked %q, want the refresh token, and where there is none the access token", revoked)
	}
	wrong := &oidc.Login{Issuer: srv.URL, ClientID: "app", ClientSecret: "wrong"}
	if err := wrong.RevokeUpstream(t.Context(), &oauth2.Token{AccessToken: "a"}); err == nil {
		t.Error("a refusal was taken for a revocation")
	}
}
