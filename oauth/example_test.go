package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/causeway-mcp/causeway/oauth/login/github"
	"github.com/causeway-mcp/causeway/store"
)

// On one's own machine an issuer and a login are enough.
func ExampleProvider_Protect() {
	tools := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", oauth.Props[login.DevPerson](r.Context()).Name)
	})
	p := &oauth.Provider{Issuer: "http://127.0.0.1:8787", Login: login.Dev()}
	h, err := p.Protect(context.Background(), tools)
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/mcp", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// 401 Bearer resource_metadata="http://127.0.0.1:8787/.well-known/oauth-protected-resource/mcp"
}

// Elsewhere there are a store and keys, and scopes that the consent page tells in words.
func ExampleProvider() {
	ctx := context.Background()
	engine := store.NewMemory() // or store/local, which keeps what it is given
	defer engine.Close()
	keys, err := oauth.ParseKeys([]byte("active MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")) // or oauth.OpenKeyFile
	if err != nil {
		fmt.Println(err)
		return
	}
	p := &oauth.Provider{
		Issuer:  "https://mcp.example.com",
		Login:   github.Login("client id", "client secret", nil),
		Records: engine,
		Keys:    keys,
		Resources: []oauth.Resource{{
			Path:    "/mcp",
			Name:    "Example Mail",
			Scopes:  []oauth.Scope{{Name: "mail:read", Words: "read your mail"}, {Name: "mail:send", Words: "send mail as you", Includes: []string{"mail:read"}}},
			Require: []string{"mail:read"},
		}},
	}
	h, err := p.Protect(ctx, http.NotFoundHandler())
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/oauth-protected-resource/mcp", nil))
	fmt.Println(w.Body)
	// Output:
	// {"resource":"https://mcp.example.com/mcp","authorization_servers":["https://mcp.example.com"],"scopes_supported":["mail:read","mail:send"],"bearer_methods_supported":["header"],"resource_name":"Example Mail"}
}

// A handler that needs more scopes than its mount.
func ExampleRequire() {
	mux := http.NewServeMux()
	mux.Handle("/mcp/admin", oauth.Require("admin")(http.NotFoundHandler()))
	// Not behind Protect, it lets nobody in.
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", "/mcp/admin", nil))
	fmt.Println(w.Code)
	// Output: 401
}
