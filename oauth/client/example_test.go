package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"

	"github.com/causeway-mcp/causeway/oauth/client"
)

// notes is a MCP server that is its own authorization server.
func notes() *httptest.Server {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	document := func(path string, doc map[string]any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(doc) })
	}
	challenge := ""
	document("/.well-known/oauth-protected-resource/mcp", map[string]any{"resource": server.URL + "/mcp", "authorization_servers": []string{server.URL}})
	document("/.well-known/oauth-authorization-server", map[string]any{
		"issuer": server.URL, "authorization_endpoint": server.URL + "/authorize", "token_endpoint": server.URL + "/token",
		"registration_endpoint": server.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
	})
	document("/register", map[string]any{"client_id": "notes-client"})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		challenge = r.FormValue("code_challenge")
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+url.Values{"code": {"one"}, "state": {r.FormValue("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if r.PostFormValue("grant_type") == "authorization_code" && base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600})
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			w.Header().Set("WWW-Authenticate", `Bearer scope="notes"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "three notes")
	})
	return server
}

// person is a browser whose user agrees to everything.
func person(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// A http.Client whose requests are signed in. The first one is answered 401, which sends
// the person to a browser; then it is repeated.
func Example() {
	server := notes()
	defer server.Close()
	c, err := client.New(client.Options{Store: client.Memory(), Open: person, ImportFrom: client.NoImport})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	transport, err := c.Transport(server.URL+"/mcp", nil)
	if err != nil {
		panic(err)
	}
	answer, err := (&http.Client{Transport: transport}).Post(server.URL+"/mcp", "application/json", strings.NewReader("{}"))
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(text))
	// Output: 200 three notes
}

// Signing in ahead of time, looking at what is kept, and signing out.
func ExampleClient_Login() {
	server := notes()
	defer server.Close()
	c, err := client.New(client.Options{Store: client.Memory(), Open: person, ImportFrom: client.NoImport})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	ctx := context.Background()
	if err := c.Login(ctx, server.URL+"/mcp"); err != nil {
		panic(err)
	}
	all, _ := c.Tokens(ctx)
	fmt.Println(all[0].ClientID, all[0].Type, all[0].Scopes, all[0].Refreshable)
	if err := c.Logout(ctx, server.URL+"/mcp"); err != nil {
		panic(err)
	}
	all, _ = c.Tokens(ctx)
	fmt.Println(len(all), "left")
	// Output:
	// notes-client Bearer [notes] false
	// 0 left
}

// A program that is its own user signs in with a secret, at the one server it was
// registered at.
func ExampleClientCredentials() {
	server := notes()
	defer server.Close()
	c, err := client.New(client.Options{
		Store: client.Memory(), ImportFrom: client.NoImport, Issuer: server.URL,
		Grant: client.ClientCredentials{}, ClientID: "nightly", ClientSecret: client.NewSecret(os.Getenv("EXAMPLE_SECRET") + "secret"),
	})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println(c.Login(context.Background(), server.URL+"/mcp"))
	// Output: <nil>
}

// What a Secret is printed as.
func ExampleSecret() {
	s := client.NewSecret("hunter2")
	fmt.Printf("%v %s %q %#v %d\n", s, s, s, s, s)
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	log.Info("signing in", "secret", s)
	fmt.Println(len(s.Reveal()))
	// Output:
	// [redacted] [redacted] [redacted] [redacted] [redacted]
	// level=INFO msg="signing in" secret=[redacted]
	// 7
}

// A Store in a folder of one's own.
func ExampleFolder() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store := &client.Folder{Path: dir, NoKeychain: true}
	if err := store.Put(context.Background(), "server.a", []byte("a token")); err != nil {
		panic(err)
	}
	value, err := store.Get(context.Background(), "server.a")
	fmt.Println(string(value), err)
	// Output: a token <nil>
}
