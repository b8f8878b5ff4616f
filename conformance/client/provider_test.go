package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/client"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// somebody is a browser whose person is ada and allows everything: it fills in the pages of
// Causeway's own provider as they come.
type somebody struct {
	browser  *http.Client
	sessions atomic.Int32
}

func newSomebody() *somebody {
	jar, _ := cookiejar.New(nil)
	return &somebody{browser: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)
)

func (p *somebody) open(ctx context.Context, address string) error {
	p.sessions.Add(1)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for range 12 {
		answer, err := p.browser.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return err
		}
		here := request.URL
		if to := answer.Header.Get("Location"); to != "" {
			next, err := here.Parse(to)
			if err != nil {
				return err
			}
			if request, err = http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil); err != nil {
				return err
			}
			continue
		}
		action := formAction.FindSubmatch(body)
		if action == nil {
			return nil // the last page
		}
		next, err := here.Parse(html.UnescapeString(string(action[1])))
		if err != nil {
			return err
		}
		form := url.Values{"decision": {"allow"}, "name": {"ada"}}
		for _, field := range hidden.FindAllSubmatch(body, -1) {
			form.Set(string(field[1]), html.UnescapeString(string(field[2])))
		}
		if request, err = http.NewRequestWithContext(ctx, http.MethodPost, next.String(), strings.NewReader(form.Encode())); err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", here.Scheme+"://"+here.Host)
	}
	return errors.New("the pages do not end")
}

// ours is Causeway's provider before a resource that says who calls.
func ours(t *testing.T) string {
	t.Helper()
	// The issuer is known once the server listens. The channel orders the handler with requests of
	// other processes.
	var handler http.Handler
	ready := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-ready; handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	provider := &oauth.Provider{
		Issuer: server.URL, Login: login.Dev(),
		Resources: []oauth.Resource{{
			Path: "/mcp", Scopes: []oauth.Scope{{Name: "notes:read", Words: "read your notes"}, {Name: "notes:write", Words: "change your notes"}}, Require: []string{"notes:read"},
		}},
	}
	var err error
	handler, err = provider.Protect(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, auth.TokenInfoFromContext(r.Context()).UserID)
	}))
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	return server.URL + "/mcp"
}

// spoiler spoils the token of the next request.
type spoiler struct{ next atomic.Bool }

func (s *spoiler) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.next.CompareAndSwap(true, false) {
		r.Header.Set("Authorization", r.Header.Get("Authorization")+"x")
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestOurClientSignsInAtOurProvider(t *testing.T) {
	server := ours(t)
	person := newSomebody()
	c, err := client.New(client.Options{Store: client.Memory(), Open: person.open, ImportFrom: client.NoImport})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	spoiler := new(spoiler)
	transport, err := c.Transport(server, spoiler)
	if err != nil {
		t.Fatal(err)
	}
	call := func() {
		t.Helper()
		answer, err := (&http.Client{Transport: transport}).Post(server, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if text, _ := io.ReadAll(answer.Body); string(text) != "dev:ada" {
			t.Fatalf("status %d, %q", answer.StatusCode, text)
		}
	}
	call()
	first, err := c.Tokens(t.Context())
	if err != nil || len(first) != 1 || !first[0].Refreshable {
		t.Fatalf("%+v (%v)", first, err)
	}
	// The server takes the token no more; the call renews it and asks nobody.
	spoiler.next.Store(true)
	call()
	later, err := c.Tokens(t.Context())
	if err != nil || !later[0].Obtained.After(first[0].Obtained) {
		t.Errorf("the token was not renewed: %+v (%v)", later, err)
	}
	if err := c.Logout(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	call()
	if n := person.sessions.Load(); n != 2 {
		t.Errorf("the person was asked %d times, not twice", n)
	}
}
