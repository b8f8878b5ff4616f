// Package login says who a person is, for an oauth.Provider. Here are a login for
// trials on one's own machine and one that asks for what the author wants to ask for;
// oauth/login/oidc and oauth/login/github send people to sign in elsewhere.
package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/causeway-mcp/causeway/oauth"
)

// Dev is a login that believes everyone: it asks for a name and signs that person in.
// It is for demos and tests on one's own machine, and refuses to work for an issuer or
// a browser anywhere else. Its people are "dev:NAME", with props {"name": NAME}.
func Dev() oauth.Login { return dev{} }

type dev struct{}

// DevPerson is the props of people whom [Dev] signs in.
type DevPerson struct {
	Name string `json:"name"`
}

var errNotLoopback = errors.New("login.Dev believes everyone and works on loopback only")

func (dev) Start(w http.ResponseWriter, r *http.Request, a *oauth.Attempt) error {
	if err := onLoopback(r, a); err != nil {
		return err
	}
	return a.Ask(w, oauth.Question{
		Title:  "Who do you want to be?",
		Text:   "This server runs on your own machine and believes any name.",
		Fields: []oauth.Field{{Name: "name", Label: "Name", Value: "developer", Autocomplete: "username"}},
	})
}

func (dev) Finish(r *http.Request, a *oauth.Attempt) (*oauth.Person, error) {
	if err := onLoopback(r, a); err != nil {
		return nil, err
	}
	name := strings.TrimSpace(r.PostFormValue("name"))
	if name == "" || len(name) > 100 {
		return nil, oauth.Retry("Please give a name of at most 100 characters.")
	}
	return &oauth.Person{ID: "dev:" + name, Name: name, Props: DevPerson{Name: name}}, nil
}

// forwarding are headers that proxies add. A request with one of them came from somewhere
// else than its peer.
var forwarding = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Real-Ip", "Via",
	"Cf-Connecting-Ip", "True-Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "Fastly-Client-Ip", "X-Envoy-External-Address",
}

// onLoopback checks the issuer, the peer, the address it came in on and the name it used:
// a proxy in front, or a name that others can point here, would let in people from
// elsewhere.
func onLoopback(r *http.Request, a *oauth.Attempt) error {
	u, err := url.Parse(a.Issuer)
	if err != nil || !isLoopback(u.Hostname()) {
		return fmt.Errorf("%w: the issuer is elsewhere", errNotLoopback)
	}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !isLoopback(peer) {
		return fmt.Errorf("%w: the browser is elsewhere", errNotLoopback)
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && !local.IP.IsLoopback() {
		return fmt.Errorf("%w: the request came in on an address that others can reach", errNotLoopback)
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !isLoopback(strings.Trim(host, "[]")) {
		return fmt.Errorf("%w: the request is for another name", errNotLoopback)
	}
	for _, name := range forwarding {
		if _, ok := r.Header[name]; ok {
			return fmt.Errorf("%w: the request was forwarded", errNotLoopback)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// A Form is a login of one's own: a page with fields, and a function that says who
// filled them in.
type Form struct {
	// Question is the page. Its fields must not be called "state".
	Question oauth.Question
	// Check gets the value of each field by its name. It returns oauth.Retry to ask
	// again and oauth.ErrNotAllowed to refuse. It should bound guessing by itself: the
	// provider only bounds requests for each address.
	Check func(ctx context.Context, values map[string]string) (*oauth.Person, error)
}

// Start implements oauth.Login.
func (f *Form) Start(w http.ResponseWriter, _ *http.Request, a *oauth.Attempt) error {
	return a.Ask(w, f.Question)
}

// Finish implements oauth.Login.
func (f *Form) Finish(r *http.Request, _ *oauth.Attempt) (*oauth.Person, error) {
	if r.Method != http.MethodPost {
		return nil, oauth.ErrDenied // nothing was filled in
	}
	values := make(map[string]string, len(f.Question.Fields))
	for _, field := range f.Question.Fields {
		values[field.Name] = r.PostFormValue(field.Name)
	}
	return f.Check(r.Context(), values)
}
