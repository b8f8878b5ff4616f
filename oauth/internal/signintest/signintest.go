// Package signintest drives a whole sign-in against a login, over real HTTP.
package signintest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/causeway-mcp/causeway/oauth"
)

const (
	client   = "test"
	redirect = "http://127.0.0.1:7000/cb"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// A Site is a provider with one client and one browser.
type Site struct {
	URL     string
	Logs    strings.Builder
	browser *http.Client
}

// A Page is an answer to the browser.
type Page struct {
	Status   int
	Location string
	Body     string
}

// New starts a provider whose resource tells who calls and with which props.
func New(t *testing.T, login oauth.Login) *Site {
	t.Helper()
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	site := &Site{URL: srv.URL}
	p := &oauth.Provider{
		Issuer: srv.URL, Login: login,
		Clients: []oauth.Client{{ID: client, RedirectURIs: []string{redirect}}},
		Logger:  slog.New(slog.NewTextHandler(&site.Logs, nil)),
	}
	var err error
	handler, err = p.Protect(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", auth.TokenInfoFromContext(r.Context()).UserID, oauth.Props[jsontext.Value](r.Context()))
	}))
	if err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	site.browser = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return site
}

// Allow begins a sign-in, with parameters besides the usual ones (names and values in turn), allows
// it, and returns where the login sends the browser.
func (s *Site) Allow(t *testing.T, params ...string) Page {
	t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	asked := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for i := 0; i < len(params); i += 2 {
		asked.Set(params[i], params[i+1])
	}
	consent := s.Get(t, s.URL+"/authorize?"+asked.Encode())
	return s.post(t, s.URL+"/consent", consent, "decision", "allow")
}

// Get opens an address in the browser. Redirects are not followed.
func (s *Site) Get(t *testing.T, url string) Page {
	t.Helper()
	return s.do(t, func() (*http.Response, error) { return s.browser.Get(url) })
}

// Answer posts the form of a page of the login.
func (s *Site) Answer(t *testing.T, page Page, fields ...string) Page {
	t.Helper()
	return s.post(t, s.URL+"/callback", page, fields...)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

func (s *Site) post(t *testing.T, to string, page Page, fields ...string) Page {
	t.Helper()
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page.Body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return s.do(t, func() (*http.Response, error) { return s.browser.PostForm(to, form) })
}

func (s *Site) do(t *testing.T, send func() (*http.Response, error)) Page {
	t.Helper()
	resp, err := send()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Page{resp.StatusCode, resp.Header.Get("Location"), string(body)}
}

// Result is what the client is told at the end of a sign-in.
func (s *Site) Result(t *testing.T, end Page) url.Values {
	t.Helper()
	to, err := url.Parse(end.Location)
	if err != nil || !strings.HasPrefix(end.Location, redirect) {
		t.Fatalf("the sign-in did not end: %d %q %s %s", end.Status, end.Location, end.Body, s.Logs.String())
	}
	return to.Query()
}

// Call redeems the code that a sign-in ended with and calls the resource.
func (s *Site) Call(t *testing.T, end Page) string {
	t.Helper()
	code := s.Result(t, end).Get("code")
	answer := s.do(t, func() (*http.Response, error) {
		return http.PostForm(s.URL+"/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "code_verifier": {verifier}})
	})
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &tokens); err != nil || tokens.AccessToken == "" {
		t.Fatalf("token: %d %s", answer.Status, answer.Body)
	}
	req, err := http.NewRequest(http.MethodPost, s.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	return s.do(t, func() (*http.Response, error) { return http.DefaultClient.Do(req) }).Body
}
