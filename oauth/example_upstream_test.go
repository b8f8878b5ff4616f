package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
)

// A tool acts at the login's own API in the name of who called it.
func ExampleUpstreamToken() {
	tool := func(ctx context.Context) (string, error) {
		token, err := oauth.UpstreamToken(ctx)
		if errors.Is(err, oauth.ErrNoUpstream) {
			return "sign in with GitHub first", nil
		}
		if err != nil {
			return "", err
		}
		return "asking GitHub with a token of type " + token.TokenType, nil
	}
	fmt.Println(tool(context.Background())) // nobody is signed in here
	// Output: sign in with GitHub first <nil>
}

// A client for the login's API, whose token stays fresh for as long as the session is open.
func ExampleUpstreamSource() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		github := oauth2.NewClient(r.Context(), oauth.UpstreamSource(r.Context()))
		if _, err := github.Get("https://api.github.com/user"); errors.Is(err, oauth.ErrNoUpstream) {
			fmt.Fprint(w, "no token")
		}
	}
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest("GET", "/mcp", nil))
	fmt.Println(w.Body)
	// Output: no token
}

// A program that works for people who are not there needs an Escrow.
func ExamplePropsOf() {
	ctx := context.Background()
	p := &oauth.Provider{Issuer: "http://127.0.0.1:8787", Login: login.Dev()}
	server, err := p.Protect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = oauth.PropsOf[login.DevPerson](ctx, server, "the grant that a request came with")
	fmt.Println(errors.Is(err, oauth.ErrSealed))

	p.Escrow = &oauth.Escrow{}
	if server, err = p.Protect(ctx, nil); err != nil {
		fmt.Println(err)
		return
	}
	_, err = oauth.PropsOf[login.DevPerson](ctx, server, "aaaaaaaaaaaaaaaaaaaaaaaaaa")
	fmt.Println(errors.Is(err, oauth.ErrNoGrant))
	// Output:
	// true
	// true
}

// Whenever tokens are handed out, the author may look the person up again.
func ExampleRenewal() {
	suspended := map[string]bool{"github:2": true}
	p := &oauth.Provider{
		Issuer: "http://127.0.0.1:8787", Login: login.Dev(),
		Renew: func(_ context.Context, r *oauth.Renewal) error {
			if suspended[r.User] {
				return oauth.ErrSignInAgain // and the login will say no
			}
			return nil
		},
	}
	fmt.Println(p.Renew(context.Background(), &oauth.Renewal{User: "github:2"}))
	// Output: oauth: the person has to sign in again
}

// Who leaves loses everything at once.
func ExampleServer_RevokeUser() {
	ctx := context.Background()
	p := &oauth.Provider{Issuer: "http://127.0.0.1:8787", Login: login.Dev()}
	server, err := p.Protect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.RevokeUser(ctx, "github:2"))
	grants, err := server.Grants(ctx, "github:2")
	fmt.Println(len(grants), err)
	// Output:
	// <nil>
	// 0 <nil>
}
