package github_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/internal/signintest"
	"github.com/causeway-mcp/causeway/oauth/login/github"
)

// newGitHub has the shape of GitHub: codes, tokens as JSON, errors with status 200.
func newGitHub(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	var challenge string
	mux.HandleFunc("GET /login/oauth/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		challenge = q.Get("code_challenge")
		if q.Get("client_id") != "app" || q.Get("code_challenge_method") != "S256" {
			t.Errorf("authorize with %v", q)
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {"gh-code"}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("code") != "gh-code" || r.FormValue("client_secret") != "app-secret" || oauth2.S256ChallengeFromVerifier(r.FormValue("code_verifier")) != challenge {
			fmt.Fprint(w, `{"error":"bad_verification_code","error_description":"gh-code is wrong"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"gho_secret","token_type":"bearer","scope":""}`)
	})
	mux.HandleFunc("GET /api/v3/user", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer gho_secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"id":583231,"login":"octocat","name":"The Octocat","email":null}`)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func at(srv *httptest.Server) *github.Options {
	return &github.Options{WebURL: srv.URL, APIURL: srv.URL + "/api/v3"}
}

func TestAPersonSignsInWithGitHub(t *testing.T) {
	gh := newGitHub(t)
	type person struct{ Login, AccessToken string }
	site := signintest.New(t, github.LoginWith("app", "app-secret", func(_ context.Context, u *github.User, tok *oauth2.Token) (*oauth.Person, error) {
		return &oauth.Person{Name: u.Name, Props: person{u.Login, tok.AccessToken}}, nil
	}, at(gh)))
	page := site.Allow(t)
	back := site.Get(t, page.Location)
	end := site.Get(t, back.Location)
	if got := site.Call(t, end); got != `github:583231 {"Login":"octocat","AccessToken":"gho_secret"}` {
		t.Errorf("got %q", got)
	}
	if again := site.Get(t, back.Location); again.Location != "" {
		t.Error("the callback is good twice")
	}
	if strings.Contains(site.Logs.String(), "gho_secret") {
		t.Error("the token is in the log")
	}
}

func TestGitHubSignInsThatEndWithoutAPerson(t *testing.T) {
	gh := newGitHub(t)
	refuse := func(context.Context, *github.User, *oauth2.Token) (*oauth.Person, error) {
		return nil, oauth.ErrNotAllowed
	}
	for name, c := range map[string]struct {
		login  oauth.Login
		change func(url.Values)
		want   string
	}{
		"the person refuses":      {github.LoginWith("app", "app-secret", nil, at(gh)), func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, "access_denied"},
		"the author refuses":      {github.LoginWith("app", "app-secret", refuse, at(gh)), func(url.Values) {}, "access_denied"},
		"a code of somebody else": {github.LoginWith("app", "app-secret", nil, at(gh)), func(q url.Values) { q.Set("code", "stolen") }, "server_error"},
		"no code":                 {github.LoginWith("app", "app-secret", nil, at(gh)), func(q url.Values) { q.Del("code") }, "server_error"},
		"a wrong app secret":      {github.LoginWith("app", "other", nil, at(gh)), func(url.Values) {}, "server_error"},
	} {
		t.Run(name, func(t *testing.T) {
			site := signintest.New(t, c.login)
			back := site.Get(t, site.Allow(t).Location)
			u, _ := url.Parse(back.Location)
			q := u.Query()
			c.change(q)
			u.RawQuery = q.Encode()
			end := site.Get(t, u.String())
			if got := site.Result(t, end); got.Get("error") != c.want || got.Has("code") {
				t.Errorf("got %v", got)
			}
			if strings.Contains(site.Logs.String(), "gh-code") || strings.Contains(end.Location, "gh-code") {
				t.Error("GitHub's text is repeated")
			}
		})
	}
}
