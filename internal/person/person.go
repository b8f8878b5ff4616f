// Package person is a person with a browser, for tests: it opens addresses, follows
// redirects and fills in forms, as any script can where pages need no JavaScript.
package person

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// Callback is where the programs that people use take answers. Nobody listens there: the
// person carries them over.
const Callback = "http://127.0.0.1:7999/callback"

// maxSteps bounds how many pages and redirects lie between a click and its end.
const maxSteps = 20

// A Person fills in forms by what Fields say of the names of their inputs and buttons.
// What they do not name is sent as the page has it, and of the buttons the first.
type Person struct {
	Fields map[string]string

	http *http.Client
	mu   sync.Mutex
	seen []Page
}

// A Page is what the person was shown.
type Page struct {
	URL    string
	Status int
	Header http.Header
	Body   string
}

// New is a person with a browser of their own. The fields are names and values.
func New(fields ...string) *Person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it has no options that could be wrong
	}
	p := &Person{Fields: map[string]string{}, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
	for i := 0; i+1 < len(fields); i += 2 {
		p.Fields[fields[i]] = fields[i+1]
	}
	return p
}

// Use has the person's browser and programs go through a transport, one that trusts the
// certificate of a test, say.
func (p *Person) Use(transport http.RoundTripper) { p.http.Transport = transport }

// Seen are the pages the person was shown, in order.
func (p *Person) Seen() []Page {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Page(nil), p.seen...)
}

// Open opens an address and shows the page that it leads to, whatever redirects there.
func (p *Person) Open(ctx context.Context, address string) (Page, error) {
	page, _, err := p.walk(ctx, http.MethodGet, address, nil, "")
	return page, err
}

// Submit fills in a form of a page, the one that has the given button, and shows the page
// that follows.
func (p *Person) Submit(ctx context.Context, page Page, button, value string) (Page, error) {
	action, form, ok := p.fill(page, button, value)
	if !ok {
		return Page{}, fmt.Errorf("no form with the button %s=%s on the page %s", button, value, page.URL)
	}
	next, _, err := p.walk(ctx, http.MethodPost, action, form, "")
	return next, err
}

// SignIn opens an address and does what the pages ask for until the browser is sent to
// the end, whose parameters are returned.
func (p *Person) SignIn(ctx context.Context, address, end string) (url.Values, error) {
	page, result, err := p.walk(ctx, http.MethodGet, address, nil, end)
	for range maxSteps {
		if err != nil || result != nil {
			return result, err
		}
		action, form, ok := p.fill(page, "", "")
		if !ok || page.Status != http.StatusOK {
			return nil, fmt.Errorf("the sign-in stands still at %s: %d %s", page.URL, page.Status, page.Body)
		}
		page, result, err = p.walk(ctx, http.MethodPost, action, form, end)
	}
	return nil, fmt.Errorf("the sign-in has no end; it is at %s", page.URL)
}

// walk sends one request and follows redirects to a page, or to the end.
func (p *Person) walk(ctx context.Context, method, address string, form url.Values, end string) (Page, url.Values, error) {
	for range maxSteps {
		if end != "" && strings.HasPrefix(address, end) {
			u, err := url.Parse(address)
			if err != nil {
				return Page{}, nil, err
			}
			return Page{}, u.Query(), nil
		}
		page, next, err := p.send(ctx, method, address, form)
		if err != nil || next == "" {
			return page, nil, err
		}
		method, address, form = http.MethodGet, next, nil
	}
	return Page{}, nil, fmt.Errorf("too many redirects; the last is to %s", address)
}

func (p *Person) send(ctx context.Context, method, address string, form url.Values) (page Page, next string, err error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return Page{}, "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return Page{}, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Page{}, "", err
	}
	if to, err := resp.Location(); err == nil {
		return Page{}, to.String(), nil
	}
	page = Page{address, resp.StatusCode, resp.Header, string(text)}
	p.mu.Lock()
	p.seen = append(p.seen, page)
	p.mu.Unlock()
	return page, "", nil
}

var (
	formTag      = regexp.MustCompile(`(?s)<form\b([^>]*)>(.*?)</form>`)
	inputTag     = regexp.MustCompile(`<input\b([^>]*)>`)
	buttonTag    = regexp.MustCompile(`<button\b([^>]*)>`)
	attributeTag = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
)

func attributes(tag string) map[string]string {
	all := map[string]string{}
	for _, m := range attributeTag.FindAllStringSubmatch(tag, -1) {
		all[m[1]] = html.UnescapeString(m[2])
	}
	return all
}

// fill answers the first form of a page, or the one with the given button.
func (p *Person) fill(page Page, button, value string) (action string, form url.Values, ok bool) {
	for _, f := range formTag.FindAllStringSubmatch(page.Body, -1) {
		form = url.Values{}
		for _, in := range inputTag.FindAllStringSubmatch(f[2], -1) {
			a := attributes(in[1])
			given, known := p.Fields[a["name"]]
			switch {
			case known:
				form.Set(a["name"], given)
			case a["type"] != "checkbox":
				form.Set(a["name"], a["value"])
			}
		}
		pressed := button == ""
		for i, b := range buttonTag.FindAllStringSubmatch(f[2], -1) {
			a := attributes(b[1])
			given, known := p.Fields[a["name"]]
			switch {
			case button != "" && a["name"] == button && (value == "" || a["value"] == value):
				form.Set(button, a["value"])
				pressed = true
			case button == "" && a["name"] != "" && known:
				form.Set(a["name"], given)
			case button == "" && a["name"] != "" && i == 0:
				form.Set(a["name"], a["value"])
			}
		}
		if !pressed {
			continue
		}
		base, err := url.Parse(page.URL)
		if err != nil {
			return "", nil, false
		}
		to, err := base.Parse(attributes(f[1])["action"])
		if err != nil {
			return "", nil, false
		}
		return to.String(), form, true
	}
	return "", nil, false
}

// Program is the SDK's client at work for the person: it finds the way to sign in by
// itself, registers as the named program, and hands every page to the person.
func (p *Person) Program(name string) (auth.OAuthHandler, error) {
	return p.program(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: name, RedirectURIs: []string{Callback},
			GrantTypes: []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		}},
	})
}

// Known is Program with the id of a client that the server was told of beforehand.
func (p *Person) Known(clientID string) (auth.OAuthHandler, error) {
	return p.program(&auth.AuthorizationCodeHandlerConfig{
		PreregisteredClient: &oauthex.ClientCredentials{ClientID: clientID}, RedirectURL: Callback,
	})
}

func (p *Person) program(config *auth.AuthorizationCodeHandlerConfig) (auth.OAuthHandler, error) {
	config.Client = p.client()
	config.AuthorizationCodeFetcher = func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
		q, err := p.SignIn(ctx, args.URL, Callback)
		if err != nil {
			return nil, err
		}
		if q.Has("error") {
			return nil, fmt.Errorf("sign-in: %s: %s", q.Get("error"), q.Get("error_description"))
		}
		return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
	}
	return auth.NewAuthorizationCodeHandler(config)
}

// Connect connects a new program of the person's to the MCP server at the endpoint, until
// the test ends.
func (p *Person) Connect(t *testing.T, endpoint string) *mcp.ClientSession {
	t.Helper()
	s, err := p.TryConnect(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TryConnect is Connect that may fail.
func (p *Person) TryConnect(ctx context.Context, endpoint string) (*mcp.ClientSession, error) {
	h, err := p.Program("Test program")
	if err != nil {
		return nil, err
	}
	return via(ctx, p.client(), endpoint, h, "")
}

// client is what the person's programs send requests with; nil is the default.
func (p *Person) client() *http.Client {
	if p.http.Transport == nil {
		return nil
	}
	return &http.Client{Transport: p.http.Transport}
}

// Via connects a program that signs in through h and speaks the given version of the
// protocol, or the newest for "".
func Via(ctx context.Context, endpoint string, h auth.OAuthHandler, version string) (*mcp.ClientSession, error) {
	return via(ctx, nil, endpoint, h, version)
}

func via(ctx context.Context, hc *http.Client, endpoint string, h auth.OAuthHandler, version string) (*mcp.ClientSession, error) {
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	return c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: hc, OAuthHandler: h, DisableStandaloneSSE: true}, &mcp.ClientSessionOptions{ProtocolVersion: version})
}

// Text is the text of a tool's result; an error of any kind ends the test.
func Text(t *testing.T, s *mcp.ClientSession, tool string, args any) string {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	text := ""
	for _, c := range res.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	if res.IsError {
		t.Fatalf("%s: %s", tool, text)
	}
	return text
}
