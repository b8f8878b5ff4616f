package expose

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const redirect = "http://127.0.0.1:1/callback"

// signIn is a person at a browser without JavaScript, and a client that registers, up to
// the access token.
func (x *exposed) signIn(t *testing.T, name string) string {
	t.Helper()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	var client struct {
		ID string `json:"client_id"`
	}
	post(t, browser, x.url+"/register", "application/json", `{"client_name":"e2e","redirect_uris":["`+redirect+`"],"token_endpoint_auth_method":"none"}`, &client)
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {client.ID}, "redirect_uri": {redirect}, "state": {"s"}, "resource": {x.url + "/mcp"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	req, _ := http.NewRequest(http.MethodGet, x.url+"/authorize?"+q.Encode(), nil)
	var code string
	for range 10 {
		var err error
		if req, err = step(browser, req, name); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(req.URL.String(), redirect) {
			code = req.URL.Query().Get("code")
			break
		}
	}
	if code == "" {
		t.Fatalf("no code: %s", req.URL)
	}
	var token struct {
		Access string `json:"access_token"`
	}
	post(t, browser, x.url+"/token", "application/x-www-form-urlencoded", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect},
		"client_id": {client.ID}, "code_verifier": {verifier}, "resource": {x.url + "/mcp"}}.Encode(), &token)
	if token.Access == "" {
		t.Fatal("no access token")
	}
	return token.Access
}

func post(t *testing.T, c *http.Client, to, kind, body string, into any) {
	t.Helper()
	resp, err := c.Post(to, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(raw, into); err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s: status %d: %s", to, resp.StatusCode, raw)
	}
}

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"`)
	inputTag = regexp.MustCompile(`<(?:input|button)[^>]*>`)
	attrs    = regexp.MustCompile(`(name|value|type)="([^"]*)"`)
)

// step makes a request and says what a browser would do next, given the name of the
// person and leave to go on.
func step(c *http.Client, req *http.Request, name string) (*http.Request, error) {
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 3 {
		to, err := resp.Location()
		if err != nil {
			return nil, err
		}
		return http.NewRequest(http.MethodGet, to.String(), nil)
	}
	form := formTag.FindSubmatch(page)
	if resp.StatusCode != http.StatusOK || form == nil {
		return nil, fmt.Errorf("%s: status %d: %s", req.URL.Path, resp.StatusCode, page)
	}
	values, pressed := url.Values{}, false
	for _, tag := range inputTag.FindAllString(string(page), -1) {
		a := map[string]string{}
		for _, m := range attrs.FindAllStringSubmatch(tag, -1) {
			a[m[1]] = html.UnescapeString(m[2])
		}
		switch {
		case a["name"] == "" || a["type"] == "checkbox":
		case strings.HasPrefix(tag, "<button"):
			if !pressed && a["value"] != "deny" {
				values.Set(a["name"], a["value"])
				pressed = true
			}
		case a["type"] == "text":
			values.Set(a["name"], name)
		default:
			values.Set(a["name"], a["value"])
		}
	}
	to, err := req.URL.Parse(html.UnescapeString(string(form[1])))
	if err != nil {
		return nil, err
	}
	next, err := http.NewRequest(http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err == nil {
		next.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return next, err
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// A person is signed in and has a client that can be asked things.
type person struct {
	*mcp.ClientSession
	t        *testing.T
	progress chan float64
	updated  chan string
}

func (x *exposed) connect(t *testing.T, name, token, version string) *person {
	t.Helper()
	p := &person{t: t, progress: make(chan float64, 100), updated: make(chan string, 100)}
	c := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": name, "check": true, "firstLine": "a line of " + name}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "e2e", Role: "assistant", Content: &mcp.TextContent{Text: "the model of " + name}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { p.progress <- r.Params.Progress },
		ResourceUpdatedHandler:      func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { p.updated <- r.Params.URI },
	})
	c.AddRoots(&mcp.Root{URI: "file:///", Name: "everything"})
	cs, err := c.Connect(soon(t), &mcp.StreamableClientTransport{Endpoint: x.url + "/mcp", HTTPClient: &http.Client{Transport: bearer(token)}}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connecting as %s: %v", name, err)
	}
	t.Cleanup(func() { cs.Close() })
	p.ClientSession = cs
	return p
}

func (p *person) call(tool string, args map[string]any) string {
	p.t.Helper()
	text, err := p.try(tool, args)
	if err != nil {
		p.t.Fatalf("%s: %v", tool, err)
	}
	return text
}

func (p *person) try(tool string, args map[string]any) (string, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: args}
	params.SetProgressToken(tool)
	res, err := p.CallTool(soon(p.t), params)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, c := range res.Content {
		if tc, ok := c.(*mcp.TextContent); ok {
			b.WriteString(tc.Text + "\n")
		}
	}
	if res.IsError {
		return "", fmt.Errorf("the tool failed: %s", b.String())
	}
	return b.String(), nil
}
