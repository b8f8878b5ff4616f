package github_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login/github"
)

func TestTokensAreRenewedAndRevokedAtGitHub(t *testing.T) {
	var revoked string
	status := http.StatusNoContent
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("refresh_token") != "ghr_good" || r.FormValue("client_secret") != "app-secret" {
			fmt.Fprint(w, `{"error":"bad_refresh_token","error_description":"secret words"}`) // with 200, as GitHub has it
			return
		}
		fmt.Fprint(w, `{"access_token":"ghu_new","refresh_token":"ghr_next","expires_in":28800,"token_type":"bearer"}`)
	})
	mux.HandleFunc("DELETE /api/v3/applications/app/token", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Token string `json:"access_token"`
		}
		if id, secret, _ := r.BasicAuth(); id == "app" && secret == "app-secret" && json.NewDecoder(r.Body).Decode(&body) == nil {
			revoked = body.Token
		}
		w.WriteHeader(status)
	})
	gh := httptest.NewServer(mux)
	defer gh.Close()
	login := github.LoginWith("app", "app-secret", nil, at(gh))
	renewer, revoker := login.(oauth.Renewer), login.(oauth.UpstreamRevoker)

	got, err := renewer.RenewUpstream(t.Context(), &oauth2.Token{RefreshToken: "ghr_good"})
	if err != nil || got.AccessToken != "ghu_new" || got.RefreshToken != "ghr_next" || got.Expiry.IsZero() {
		t.Errorf("got %v", err)
	}
	if _, err = renewer.RenewUpstream(t.Context(), &oauth2.Token{RefreshToken: "ghr_old"}); !errors.Is(err, oauth.ErrSignInAgain) {
		t.Errorf("an old refresh token: %v", err)
	}
	gh2 := httptest.NewServer(http.NotFoundHandler())
	gh2.Close()
	away := github.LoginWith("app", "app-secret", nil, at(gh2)).(oauth.Renewer)
	if _, err = away.RenewUpstream(t.Context(), &oauth2.Token{RefreshToken: "ghr_good"}); err == nil || errors.Is(err, oauth.ErrSignInAgain) || strings.Contains(err.Error(), "ghr_good") {
		t.Errorf("GitHub is away: %v", err)
	}
	for _, status = range []int{http.StatusNoContent, http.StatusNotFound, http.StatusUnprocessableEntity} {
		if err := revoker.RevokeUpstream(t.Context(), &oauth2.Token{AccessToken: "ghu_new"}); err != nil || revoked != "ghu_new" {
			t.Errorf("status %d: %v, revoked %q", status, err, revoked)
		}
	}
	status = http.StatusInternalServerError
	if err := revoker.RevokeUpstream(t.Context(), &oauth2.Token{AccessToken: "ghu_new"}); err == nil {
		t.Error("a failure was taken for a revocation")
	}
}
