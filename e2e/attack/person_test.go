package attack

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// here is where the clients of these tests wait for their codes.
const here = "http://127.0.0.1:45123/callback"

const verifier = "a-verifier-of-forty-three-characters-at-least-0123456789"

// A person is a browser with cookies, and the name its user signs in with.
type person struct {
	name string
	http *http.Client
}

func newPerson(name string) *person {
	jar, _ := cookiejar.New(nil)
	return &person{name, &http.Client{Jar: jar, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// A client is a program that registered, and what it was given.
type client struct {
	s       *server
	id      string
	access  string
	refresh string
}

func (s *server) registers(t *testing.T) *client {
	t.Helper()
	a := s.sends(t, "POST", "/register", `{"client_name":"attack","redirect_uris":["`+here+`"],"token_endpoint_auth_method":"none"}`, "Content-Type", "application/json")
	var c struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &c); err != nil || a.status != http.StatusCreated {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	return &client{s: s, id: c.ID}
}

// asks is an honest authorization request, with changes: pairs of name and value, where "-" leaves the name out.
func (c *client) asks(changes ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"client_id": {c.id}, "redirect_uri": {here}, "response_type": {"code"}, "state": {"a state"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {c.s.url + "/mcp"}}
	for i := 0; i < len(changes); i += 2 {
		if q.Set(changes[i], changes[i+1]); changes[i+1] == "-" {
			q.Del(changes[i])
		}
	}
	return c.s.url + "/authorize?" + q.Encode()
}

// code has the person sign in and agree.
func (c *client) code(t *testing.T, p *person) string {
	t.Helper()
	back := p.answers(t, c.asks())
	if back.Get("iss") != c.s.url || back.Get("state") != "a state" {
		t.Errorf("the answer names the issuer %q and the state %q", back.Get("iss"), back.Get("state"))
	}
	return back.Get("code")
}

func (c *client) redeems(t *testing.T, code string, changes ...string) answer {
	t.Helper()
	return c.asksForTokens(t, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {here}, "client_id": {c.id}, "code_verifier": {verifier}}, changes...)
}

func (c *client) refreshes(t *testing.T, token string, changes ...string) answer {
	t.Helper()
	return c.asksForTokens(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.id}}, changes...)
}

func (c *client) asksForTokens(t *testing.T, form url.Values, changes ...string) answer {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if form.Set(changes[i], changes[i+1]); changes[i+1] == "-" {
			form.Del(changes[i])
		}
	}
	return c.s.sends(t, "POST", "/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// takes keeps the tokens of an answer, which must have some.
func (c *client) takes(t *testing.T, a answer) {
	t.Helper()
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &tokens); err != nil || a.status != http.StatusOK {
		t.Fatalf("token: %d %s", a.status, a.body)
	}
	c.access, c.refresh = tokens.Access, tokens.Refresh
}

// signsIn is all of it, for /mcp.
func (s *server) signsIn(t *testing.T, p *person) *client {
	t.Helper()
	return s.signsInFor(t, p, "/mcp")
}

func (s *server) signsInFor(t *testing.T, p *person, path string) *client {
	t.Helper()
	c := s.registers(t)
	c.takes(t, c.redeems(t, p.answers(t, c.asks("resource", s.url+path)).Get("code")))
	return c
}

// answers deals with every page until the browser is sent to the client.
func (p *person) answers(t *testing.T, address string) url.Values {
	t.Helper()
	req, err := http.NewRequest("GET", address, nil)
	for range 20 {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(req.URL.String(), here) {
			return req.URL.Query()
		}
		resp, err2 := p.http.Do(req)
		if err2 != nil {
			t.Fatal(err2)
		}
		req, err = p.next(t, req, resp)
	}
	t.Fatalf("%s leads nowhere", address)
	return nil
}

func (p *person) next(t *testing.T, req *http.Request, resp *http.Response) (*http.Request, error) {
	t.Helper()
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusFound || resp.StatusCode == http.StatusSeeOther {
		to, err := resp.Location()
		if err != nil {
			return nil, err
		}
		return http.NewRequest("GET", to.String(), nil)
	}
	body, _ := io.ReadAll(resp.Body)
	page, err := html.Parse(strings.NewReader(string(body)))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s (%v)", req.URL.Path, resp.StatusCode, body, err)
	}
	return p.fillsIn(req.URL, page)
}

// fillsIn presses the first button of the form, with its hidden fields and the name.
func (p *person) fillsIn(at *url.URL, page *html.Node) (*http.Request, error) {
	action, values, pressed := at, url.Values{}, false
	for n := range page.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		a := make(map[string]string)
		for _, attr := range n.Attr {
			a[attr.Key] = attr.Val
		}
		switch {
		case n.Data == "form":
			action, _ = at.Parse(a["action"])
		case n.Data == "button" && !pressed:
			if pressed = true; a["name"] != "" {
				values.Set(a["name"], a["value"])
			}
		case n.Data != "input" || a["name"] == "" || a["type"] == "checkbox":
		case a["type"] == "text":
			values.Set(a["name"], p.name)
		default:
			values.Set(a["name"], a["value"])
		}
	}
	req, err := http.NewRequest("POST", action.String(), strings.NewReader(values.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

type answer struct {
	status int
	header http.Header
	body   string
}

var direct = &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// sends makes a request without cookies, and follows nothing. Headers come in pairs; Host is one, too.
func (s *server) sends(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// posts sends a message of the old eras in a session, or of 2026-07-28 where there is none.
func (c *client) posts(t *testing.T, session, method, params string, header ...string) answer {
	t.Helper()
	h := []string{"Authorization", "Bearer " + c.access, "Content-Type", "application/json", "Accept", "application/json, text/event-stream"}
	if session != "" {
		h = append(h, "Mcp-Session-Id", session, "MCP-Protocol-Version", "2025-11-25")
	} else if method != "initialize" {
		h = append(h, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method)
		params = `{` + meta + params[1:]
	}
	return c.s.sends(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"`+method+`","params":`+params+`}`, append(h, header...)...)
}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}},`

func (c *client) opens(t *testing.T) (session string) {
	t.Helper()
	a := c.posts(t, "", "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}`)
	if session = a.header.Get("Mcp-Session-Id"); a.status != http.StatusOK || session == "" {
		t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	return session
}

func (c *client) is(t *testing.T, name string) {
	t.Helper()
	if a := c.posts(t, "", "tools/call", `{"name":"whoami","arguments":{}}`, "Mcp-Name", "whoami"); a.status != http.StatusOK || !strings.Contains(a.body, "You are "+name) {
		t.Errorf("whoami: %d %s, want %s", a.status, a.body, name)
	}
}

func (c *client) isNobody(t *testing.T) {
	t.Helper()
	if a := c.posts(t, "", "tools/call", `{"name":"whoami","arguments":{}}`, "Mcp-Name", "whoami"); a.status != http.StatusUnauthorized {
		t.Errorf("whoami: %d %s, want 401", a.status, a.body)
	}
}
