// Package github signs people in with GitHub.
package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	json "github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/oauth"
)

const (
	timeout = 10 * time.Second
	maxUser = 1 << 20
)

// A User is what GitHub says of a person.
type User struct {
	ID    int64  `json:"id"` // never changes hands, unlike the login
	Login string `json:"login"`
	Name  string `json:"name"`
	Email string `json:"email"` // the public one; often empty
}

// Options are what else a [Login] can be told. Nil is the zero value.
type Options struct {
	// Scopes are GitHub's scopes. Nil asks for none: who it is needs no scope.
	Scopes []string
	// WebURL and APIURL are for GitHub Enterprise Server: "https://HOST" and
	// "https://HOST/api/v3". Empty is github.com.
	WebURL, APIURL string
	// Client is the HTTP client for GitHub. Nil is one with a time limit.
	Client *http.Client
	// ForgetToken keeps only who the person is. By default the token is kept, sealed in the
	// grant, for oauth.UpstreamToken; one that ends (of a GitHub App, 8 hours) is renewed.
	ForgetToken bool
}

// Login signs people in with a GitHub OAuth app (Settings, Developer settings, OAuth
// Apps), whose callback URL is that of the provider with /callback. ToPerson makes the
// person, and may refuse with oauth.ErrNotAllowed; the token is for GitHub's API. Nil
// makes one whose props are the [User]. An empty ID becomes "github:" and GitHub's number.
func Login(clientID, clientSecret string, toPerson func(context.Context, *User, *oauth2.Token) (*oauth.Person, error)) oauth.Login {
	return LoginWith(clientID, clientSecret, toPerson, nil)
}

// LoginWith is [Login] with options.
func LoginWith(clientID, clientSecret string, toPerson func(context.Context, *User, *oauth2.Token) (*oauth.Person, error), o *Options) oauth.Login {
	l := &login{toPerson: toPerson}
	if o != nil {
		l.options = *o
	}
	if l.options.WebURL == "" {
		l.options.WebURL = "https://github.com"
	}
	if l.options.APIURL == "" {
		l.options.APIURL = "https://api.github.com"
	}
	if l.options.Client == nil {
		l.options.Client = &http.Client{Timeout: timeout}
	}
	if l.toPerson == nil {
		l.toPerson = func(_ context.Context, u *User, _ *oauth2.Token) (*oauth.Person, error) {
			return &oauth.Person{Name: u.Login, Props: u}, nil
		}
	}
	l.config = oauth2.Config{
		ClientID: clientID, ClientSecret: clientSecret, Scopes: l.options.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:   l.options.WebURL + "/login/oauth/authorize",
			TokenURL:  l.options.WebURL + "/login/oauth/access_token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	return l
}

type login struct {
	config   oauth2.Config
	options  Options
	toPerson func(context.Context, *User, *oauth2.Token) (*oauth.Person, error)
}

func (l *login) at(a *oauth.Attempt) *oauth2.Config {
	c := l.config
	c.RedirectURL = a.Callback
	return &c
}

// Check implements oauth.Checker.
func (l *login) Check() error {
	if l.config.ClientID == "" || l.config.ClientSecret == "" {
		return errors.New("the GitHub login needs the client id and the secret of an OAuth app (GitHub: Settings, Developer settings)")
	}
	return nil
}

// Start implements oauth.Login.
func (l *login) Start(w http.ResponseWriter, r *http.Request, a *oauth.Attempt) error {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.Secret)}
	if a.Again {
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	http.Redirect(w, r, l.at(a).AuthCodeURL(a.State, options...), http.StatusSeeOther)
	return nil
}

// Finish implements oauth.Login.
func (l *login) Finish(r *http.Request, a *oauth.Attempt) (*oauth.Person, error) {
	q := r.URL.Query()
	switch {
	case q.Get("error") == "access_denied":
		return nil, oauth.ErrDenied
	case len(q["code"]) != 1:
		return nil, errors.New("GitHub answered without a code")
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, l.options.Client)
	token, err := l.at(a).Exchange(ctx, q.Get("code"), oauth2.VerifierOption(a.Secret))
	if err != nil {
		return nil, fmt.Errorf("exchanging the code at GitHub: %w", withoutBody(err))
	}
	user, err := l.user(ctx, token)
	if err != nil {
		return nil, err
	}
	p, err := l.toPerson(ctx, user, token)
	if err != nil {
		return nil, err
	}
	if p.ID == "" {
		p.ID = "github:" + strconv.FormatInt(user.ID, 10)
	}
	if p.Upstream == nil && !l.options.ForgetToken {
		p.Upstream = token
	}
	return p, nil
}

// RenewUpstream implements oauth.Renewer, for the tokens of GitHub Apps that end.
func (l *login) RenewUpstream(ctx context.Context, t *oauth2.Token) (*oauth2.Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, l.options.Client)
	fresh, err := l.config.TokenSource(ctx, &oauth2.Token{RefreshToken: t.RefreshToken}).Token()
	var e *oauth2.RetrieveError
	switch {
	case errors.As(err, &e) && (e.ErrorCode == "bad_refresh_token" || e.ErrorCode == "invalid_grant"):
		return nil, oauth.ErrSignInAgain
	case err != nil:
		return nil, fmt.Errorf("refreshing a token at GitHub: %w", withoutBody(err))
	}
	return fresh, nil
}

// RevokeUpstream implements oauth.UpstreamRevoker.
func (l *login) RevokeUpstream(ctx context.Context, t *oauth2.Token) error {
	body, err := json.Marshal(map[string]string{"access_token": t.AccessToken})
	if err != nil {
		return errors.New("revoking a token at GitHub: encoding it")
	}
	url := l.options.APIURL + "/applications/" + l.config.ClientID + "/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("revoking a token at GitHub: %w", err)
	}
	req.SetBasicAuth(l.config.ClientID, l.config.ClientSecret)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.options.Client.Do(req)
	if err != nil {
		return fmt.Errorf("revoking a token at GitHub: %w", err)
	}
	defer resp.Body.Close()
	// 404 and 422: it was over before.
	if s := resp.StatusCode; s != http.StatusNoContent && s != http.StatusNotFound && s != http.StatusUnprocessableEntity {
		return fmt.Errorf("revoking a token at GitHub: status %d", s)
	}
	return nil
}

// withoutBody drops what was written beside the error code: it may repeat secrets.
func withoutBody(err error) error {
	var e *oauth2.RetrieveError
	if errors.As(err, &e) {
		return fmt.Errorf("status %d, %q", e.Response.StatusCode, e.ErrorCode)
	}
	return err
}

func (l *login) user(ctx context.Context, token *oauth2.Token) (*User, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.options.APIURL+"/user", nil)
	if err != nil {
		return nil, fmt.Errorf("asking GitHub who it is: %w", err)
	}
	token.SetAuthHeader(req)
	req.Header.Set("Accept", "application/vnd.github+json")
	resp, err := l.options.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking GitHub who it is: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking GitHub who it is: status %d", resp.StatusCode)
	}
	u := new(User)
	if err := json.UnmarshalRead(io.LimitReader(resp.Body, maxUser), u); err != nil {
		return nil, fmt.Errorf("asking GitHub who it is: %w", err)
	}
	if u.ID == 0 {
		return nil, errors.New("asking GitHub who it is: the answer is not a user")
	}
	return u, nil
}
