package login_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/internal/signintest"
	"github.com/causeway-mcp/causeway/oauth/login"
)

func TestDevSignsInAnyoneOnThisMachine(t *testing.T) {
	site := signintest.New(t, login.Dev())
	page := site.Allow(t)
	if !strings.Contains(page.Body, "Who do you want to be?") {
		t.Fatalf("got %d %s", page.Status, page.Body)
	}
	again := site.Answer(t, page, "name", " ")
	if !strings.Contains(again.Body, "Please give a name") {
		t.Fatalf("an empty name: %d %s", again.Status, again.Body)
	}
	if got := site.Call(t, site.Answer(t, again, "name", "ada")); got != `dev:ada {"name":"ada"}` {
		t.Errorf("got %q", got)
	}
}

func TestDevRefusesEverythingThatIsNotLoopback(t *testing.T) {
	for name, change := range map[string]func(*http.Request, *oauth.Attempt){
		"an issuer elsewhere": func(_ *http.Request, a *oauth.Attempt) { a.Issuer = "https://mcp.example.com" },
		"a browser elsewhere": func(r *http.Request, _ *oauth.Attempt) { r.RemoteAddr = "192.0.2.1:5000" },
		"no peer":             func(r *http.Request, _ *oauth.Attempt) { r.RemoteAddr = "@" },
		"a name elsewhere":    func(r *http.Request, _ *oauth.Attempt) { r.Host = "evil.example:8787" },
		"a name like ours":    func(r *http.Request, _ *oauth.Attempt) { r.Host = "localhost.evil.example" },
		"an address as name":  func(r *http.Request, _ *oauth.Attempt) { r.Host = "192.0.2.7:8787" },
		"no name":             func(r *http.Request, _ *oauth.Attempt) { r.Host = "" },
		"a proxy":             func(r *http.Request, _ *oauth.Attempt) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"a proxy's loopback":  func(r *http.Request, _ *oauth.Attempt) { r.Header.Set("X-Forwarded-For", "127.0.0.1") },
		"an empty header":     func(r *http.Request, _ *oauth.Attempt) { r.Header["Forwarded"] = []string{""} },
		"another proxy":       func(r *http.Request, _ *oauth.Attempt) { r.Header.Set("X-Real-IP", "192.0.2.1") },
		"one by its name":     func(r *http.Request, _ *oauth.Attempt) { r.Header.Set("Via", "1.1 proxy") },
		"a tunnel":            func(r *http.Request, _ *oauth.Attempt) { r.Header.Set("CF-Connecting-IP", "192.0.2.1") },
		"an open address": func(r *http.Request, _ *oauth.Attempt) {
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "http://127.0.0.1:8787/callback", strings.NewReader("name=ada"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.RemoteAddr = "127.0.0.1:5000"
			a := &oauth.Attempt{Issuer: "http://127.0.0.1:8787"}
			if _, err := login.Dev().Finish(r, a); err != nil {
				t.Fatal(err)
			}
			change(r, a)
			if _, err := login.Dev().Finish(r, a); err == nil {
				t.Error("signed in")
			}
			if err := login.Dev().Start(httptest.NewRecorder(), r, a); err == nil {
				t.Error("asked")
			}
		})
	}
}

func TestAFormAsksForWhatTheAuthorWants(t *testing.T) {
	f := &login.Form{
		Question: oauth.Question{Title: "Members", Fields: []oauth.Field{{Name: "user", Label: "User"}, {Name: "password", Label: "Password", Type: "password"}}},
		Check: func(_ context.Context, v map[string]string) (*oauth.Person, error) {
			if v["user"] != "ada" || v["password"] != "correct horse" {
				return nil, oauth.Retry("That is not right.")
			}
			return &oauth.Person{ID: "member:1", Props: map[string]string{"plan": "pro"}}, nil
		},
	}
	site := signintest.New(t, f)
	page := site.Allow(t)
	again := site.Answer(t, page, "user", "ada", "password", "wrong")
	if !strings.Contains(again.Body, "That is not right.") || strings.Contains(again.Body, "wrong") {
		t.Fatalf("got %s", again.Body)
	}
	if got := site.Call(t, site.Answer(t, again, "user", "ada", "password", "correct horse")); got != `member:1 {"plan":"pro"}` {
		t.Errorf("got %q", got)
	}
}
