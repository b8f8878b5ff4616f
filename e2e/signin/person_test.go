package signin

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// A person reads pages and posts the forms on them, with nothing but a cookie jar: what a
// script, or a browser without JavaScript, can do.
type person struct {
	name  string
	deny  bool // when asked whether a program may act for them
	http  *http.Client
	pages []string // the titles of what was shown
}

func newPerson(name string) *person {
	jar, _ := cookiejar.New(nil)
	return &person{name: name, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// maxSteps is more pages and redirects than any sign-in has.
const maxSteps = 20

// answers opens an authorization request and deals with every page, until the browser is
// sent to where the client waits. That address is returned, and not opened.
func (p *person) answers(authorize string) (string, error) {
	u, err := url.Parse(authorize)
	if err != nil {
		return "", fmt.Errorf("the authorization request: %w", err)
	}
	back := u.Query().Get("redirect_uri")
	if back == "" {
		return "", fmt.Errorf("the authorization request %s has no redirect_uri", authorize)
	}
	return p.browses(authorize, func(address string) bool { return strings.HasPrefix(address, back) })
}

// browses goes on from an address until arrived says so.
func (p *person) browses(address string, arrived func(string) bool) (string, error) {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	for range maxSteps {
		if err != nil {
			return "", err
		}
		var next *http.Request
		next, err = p.step(req)
		if err == nil && next.Method == http.MethodGet && arrived(next.URL.String()) {
			return next.URL.String(), nil
		}
		req = next
	}
	return "", fmt.Errorf("%s leads nowhere; pages on the way: %q", address, p.pages)
}

// step makes one request, and says what a browser would do next.
func (p *person) step(req *http.Request) (*http.Request, error) {
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusFound || resp.StatusCode == http.StatusSeeOther:
		to, err := resp.Location()
		if err != nil {
			return nil, fmt.Errorf("a redirect of %s: %w", req.URL.Path, err)
		}
		return http.NewRequest(http.MethodGet, to.String(), nil)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s %s was answered with %d: %s", req.Method, req.URL.Path, resp.StatusCode, body)
	}
	page, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		return nil, fmt.Errorf("a page of %s: %w", req.URL.Path, err)
	}
	p.pages = append(p.pages, textOf(find(page, "title")))
	form := find(page, "form")
	if form == nil {
		return nil, fmt.Errorf("the page of %s has no form: %s", req.URL.Path, body)
	}
	return p.fillsIn(req.URL, form)
}

// fillsIn is the request that a form becomes.
func (p *person) fillsIn(at *url.URL, form *html.Node) (*http.Request, error) {
	action, err := at.Parse(attr(form, "action"))
	if err != nil {
		return nil, fmt.Errorf("the action of a form: %w", err)
	}
	values := url.Values{}
	pressed := false
	for n := range form.Descendants() {
		name := attr(n, "name")
		switch {
		case n.Data == "button" && n.Type == html.ElementNode && !pressed:
			if name == "decision" && p.deny && attr(n, "value") != "deny" {
				continue
			}
			if pressed = true; name != "" {
				values.Set(name, attr(n, "value"))
			}
		case n.Data != "input" || n.Type != html.ElementNode || name == "" || attr(n, "type") == "checkbox":
		case attr(n, "type") == "text" || attr(n, "type") == "email":
			values.Set(name, p.name)
		case attr(n, "type") == "password":
			values.Set(name, "a password of "+p.name)
		default:
			values.Set(name, attr(n, "value"))
		}
	}
	req, err := http.NewRequest(http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

func find(n *html.Node, tag string) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == tag {
			return d
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
