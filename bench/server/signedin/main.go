// Signedin is server/causeway behind sign-in and nothing else: the provider keeps its grants in
// a directory, and every request carries the access token of a person with 1 KiB of props.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/store/local"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	serve.MainSignedIn(func() (http.Handler, string, error) {
		s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
		mcphttp.AddTool(s, &mcp.Tool{Name: add.Name, Description: add.Description}, tool)
		dir, err := os.MkdirTemp("", "causeway-bench-signedin-")
		if err != nil {
			return nil, "", err
		}
		engine, err := local.Open(dir, nil)
		if err != nil {
			return nil, "", err
		}
		p := &oauth.Provider{Issuer: issuer, Login: atOnce{}, Records: engine, Keys: oauth.NewKeys(),
			Clients: []oauth.Client{{ID: client, RedirectURIs: []string{redirect}}}}
		h, err := p.Protect(context.Background(), mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil))
		if err != nil {
			return nil, "", err
		}
		token, err := signIn(h)
		return h, token, err
	})
}

func tool(_ context.Context, _ *mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Sum()}}}, nil, nil
}

const (
	issuer   = "http://127.0.0.1:1"
	client   = "bench"
	redirect = "http://127.0.0.1:2/back"
	verifier = "bench-bench-bench-bench-bench-bench-bench-bench"
)

// atOnce signs everybody in as the same person.
type atOnce struct{}

func (atOnce) Start(w http.ResponseWriter, r *http.Request, a *oauth.Attempt) error {
	http.Redirect(w, r, a.Callback+"?state="+url.QueryEscape(a.State), http.StatusSeeOther)
	return nil
}

func (atOnce) Finish(*http.Request, *oauth.Attempt) (*oauth.Person, error) {
	return &oauth.Person{ID: "bench:1", Name: "Alice", Props: strings.Repeat("x", 1022)}, nil
}

// signIn gets an access token as a client and its user do, without a network.
func signIn(h http.Handler) (string, error) {
	challenge := sha256.Sum256([]byte(verifier))
	b := &browser{h: h}
	page := b.send("GET", issuer+"/authorize?"+url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}, "resource": {issuer + "/mcp"}, "state": {"s"}}.Encode(), nil)
	for range 10 {
		to := page.Header().Get("Location")
		if strings.HasPrefix(to, redirect) {
			break
		}
		if page.Code/100 == 3 {
			page = b.send("GET", to, nil)
			continue
		}
		action := formAction.FindStringSubmatch(page.Body.String())
		if action == nil {
			return "", fmt.Errorf("no consent page: status %d: %.300s", page.Code, page.Body)
		}
		form := url.Values{"decision": {"allow"}}
		for _, m := range hidden.FindAllStringSubmatch(page.Body.String(), -1) {
			form.Set(m[1], html.UnescapeString(m[2]))
		}
		page = b.send("POST", html.UnescapeString(action[1]), form)
	}
	back, err := url.Parse(page.Header().Get("Location"))
	if err != nil {
		return "", err
	}
	answer := b.send("POST", issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "redirect_uri": {redirect},
		"code": {back.Query().Get("code")}, "code_verifier": {verifier}, "resource": {issuer + "/mcp"}})
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &token); err != nil || token.AccessToken == "" {
		return "", fmt.Errorf("no token: status %d: %.300s", answer.Code, answer.Body)
	}
	return token.AccessToken, nil
}

var (
	hidden     = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
)

// A browser keeps cookies, and is one that says where a request comes from.
type browser struct {
	h       http.Handler
	cookies []*http.Cookie
}

func (b *browser) send(method, to string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, to, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", issuer)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	b.cookies = append(b.cookies, w.Result().Cookies()...)
	return w
}
