package signin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

const goRedirect = "http://127.0.0.1:45123/callback"

// TestGoSDK signs in with the client of the official Go SDK, in both ways of being known.
func TestGoSDK(t *testing.T) {
	for _, way := range []struct {
		name  string
		start func(*testing.T) *server
		known func(*auth.AuthorizationCodeHandlerConfig)
	}{
		{"registers", startDemo, asRegistered},
		{"has a document", func(t *testing.T) *server {
			return startAuthserver(t, "-document", clientDocument, "-document-redirect", documentRedirects)
		}, asDocument},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := way.start(t)
			host := newGoHost(t, way.known)
			session := host.connects(t, s, "2026-07-28")
			host.calls(t, session, "whoami", nil, "You are alice.")
			if err := s.killAndRestart(); err != nil {
				t.Fatal(err)
			}
			host.calls(t, session, "whoami", nil, "You are alice.")

			before := host.tokens(t)
			host.expire()
			host.calls(t, session, "whoami", nil, "You are alice.")
			after := host.tokens(t)
			if after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken || host.asked != 1 {
				t.Errorf("it did not refresh quietly (asked %d times)", host.asked)
			}

			revokes(t, s, after.RefreshToken, host.config.ClientID)
			wantRefused(t, s, after.AccessToken)
			host.calls(t, session, "whoami", nil, "You are alice.")
			if host.asked != 2 {
				t.Errorf("after a revocation the person was asked %d times, want twice in all", host.asked)
			}
		})
	}
}

// A tool that needs more than was allowed makes the client ask for that as well, and the
// person is asked once more. Where there are sessions this client needs a document to keep
// its own: without one it registers anew for every sign-in (go-sdk 1.8.0), and a session
// belongs to the client that opened it.
func TestGoSDKStepsUp(t *testing.T) {
	for version, known := range map[string]func(*auth.AuthorizationCodeHandlerConfig){
		"2026-07-28": asRegistered,
		"2025-11-25": asDocument,
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startAuthserver(t, "-document", clientDocument, "-document-redirect", documentRedirects)
			host := newGoHost(t, known)
			session := host.connects(t, s, version)
			host.calls(t, session, "whoami", nil, "You are alice.")
			if scope := host.tokens(t).Extra("scope"); scope != "read" {
				t.Errorf("the first sign-in got %q", scope)
			}
			host.calls(t, session, "send", map[string]any{"to": "bob"}, "Sent to bob.")
			if scope := host.tokens(t).Extra("scope"); scope != "read write" || host.asked != 2 {
				t.Errorf("the second sign-in got %q, asked %d times", scope, host.asked)
			}
		})
	}
}

func asRegistered(c *auth.AuthorizationCodeHandlerConfig) {
	c.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
		ClientName: "go-sdk", RedirectURIs: []string{goRedirect}, TokenEndpointAuthMethod: "none", GrantTypes: []string{"authorization_code", "refresh_token"},
	}}
}

func asDocument(c *auth.AuthorizationCodeHandlerConfig) {
	c.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: clientDocument}
}

// goHost is a program with the SDK's client, and the person in front of it.
type goHost struct {
	handler *auth.AuthorizationCodeHandler
	asked   int

	mu     sync.Mutex
	ctx    context.Context
	config *oauth2.Config
	source oauth2.TokenSource
}

func newGoHost(t *testing.T, known func(*auth.AuthorizationCodeHandlerConfig)) *goHost {
	h := new(goHost)
	who := newPerson("alice")
	c := &auth.AuthorizationCodeHandlerConfig{
		RedirectURL: goRedirect,
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			h.asked++
			back, err := who.answers(args.URL)
			if err != nil {
				return nil, err
			}
			u, err := url.Parse(back)
			if err != nil {
				return nil, err
			}
			q := u.Query()
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
		NewTokenSource: func(ctx context.Context, c *oauth2.Config, tok *oauth2.Token) (oauth2.TokenSource, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ctx, h.config, h.source = ctx, c, c.TokenSource(ctx, tok)
			return h, nil
		},
	}
	known(c)
	var err error
	if h.handler, err = auth.NewAuthorizationCodeHandler(c); err != nil {
		t.Fatal(err)
	}
	return h
}

// Token implements oauth2.TokenSource.
func (h *goHost) Token() (*oauth2.Token, error) {
	h.mu.Lock()
	source := h.source
	h.mu.Unlock()
	tok, err := source.Token()
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.ErrorCode == "invalid_grant" {
		return nil, fmt.Errorf("signed out: %w", err)
	}
	return tok, err
}

func (h *goHost) tokens(t *testing.T) *oauth2.Token {
	t.Helper()
	tok, err := h.Token()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// expire makes the client believe that its access token has run out.
func (h *goHost) expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	tok, err := h.source.Token()
	if err == nil {
		old := *tok
		old.Expiry = time.Now().Add(-time.Minute)
		h.source = h.config.TokenSource(h.ctx, &old)
	}
}

func (h *goHost) connects(t *testing.T, s *server, version string) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e-go", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp", OAuthHandler: h.handler, DisableStandaloneSSE: true}
	session, err := client.Connect(t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func (h *goHost) calls(t *testing.T, session *mcp.ClientSession, tool string, args map[string]any, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if got := res.Content[0].(*mcp.TextContent).Text; got != want {
		t.Errorf("%s says %q, want %q", tool, got, want)
	}
}

// TestPlainOAuth2 signs in with golang.org/x/oauth2 alone, as a program does that knows
// nothing of MCP: no resource parameter, and its guess at how to authenticate.
func TestPlainOAuth2(t *testing.T) {
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := startDemo(t)
			config := registers(t, s, method)
			verifier := oauth2.GenerateVerifier()
			back, err := newPerson("alice").answers(config.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier)))
			if err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(back)
			if u.Query().Get("state") != "a state" || u.Query().Get("iss") != s.url {
				t.Errorf("the answer is %s", u.Redacted())
			}
			tok, err := config.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			wantPerson(t, s, tok.AccessToken, "alice")
			if err := s.killAndRestart(); err != nil {
				t.Fatal(err)
			}
			wantPerson(t, s, tok.AccessToken, "alice")

			old := *tok
			old.Expiry = time.Now().Add(-time.Minute)
			next, err := config.TokenSource(t.Context(), &old).Token()
			if err != nil {
				t.Fatal(err)
			}
			again, err := config.TokenSource(t.Context(), &old).Token()
			if err != nil || again.AccessToken != next.AccessToken || again.RefreshToken != next.RefreshToken {
				t.Errorf("a second process that refreshed at the same time was not given the same: %v", err)
			}
			wantPerson(t, s, next.AccessToken, "alice")

			if method == "none" {
				revokes(t, s, next.RefreshToken, config.ClientID)
			} else {
				revokesWith(t, s, next.RefreshToken, config, method)
			}
			wantRefused(t, s, next.AccessToken)
			next.Expiry = old.Expiry
			var refused *oauth2.RetrieveError
			if _, err := config.TokenSource(t.Context(), next).Token(); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
				t.Errorf("refreshing what was revoked: %v", err)
			}
		})
	}
}

func registers(t *testing.T, s *server, method string) *oauth2.Config {
	t.Helper()
	ask, _ := json.Marshal(map[string]any{"client_name": "plain", "redirect_uris": []string{goRedirect}, "token_endpoint_auth_method": method})
	status, body := sends(t, http.MethodPost, s.url+"/register", bytes.NewReader(ask), "Content-Type", "application/json")
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal([]byte(body), &client); err != nil || status != http.StatusCreated {
		t.Fatalf("register: %d %s", status, body)
	}
	return &oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: goRedirect,
		Endpoint: oauth2.Endpoint{AuthURL: s.url + "/authorize", TokenURL: s.url + "/token"},
	}
}

// sends makes a request. Headers come in pairs.
func sends(t *testing.T, method, address string, body io.Reader, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func calls(t *testing.T, s *server, token, tool string) (int, string) {
	t.Helper()
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	return sends(t, http.MethodPost, s.url+"/mcp", strings.NewReader(call), "Authorization", "Bearer "+token,
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
}

func wantPerson(t *testing.T, s *server, token, name string) {
	t.Helper()
	if status, body := calls(t, s, token, "whoami"); status != http.StatusOK || !strings.Contains(body, "You are "+name) {
		t.Errorf("whoami: %d %s, want %s", status, body, name)
	}
}

func wantRefused(t *testing.T, s *server, token string) {
	t.Helper()
	if status, body := calls(t, s, token, "whoami"); status != http.StatusUnauthorized {
		t.Errorf("whoami: %d %s, want 401", status, body)
	}
}

func revokes(t *testing.T, s *server, token, client string) {
	t.Helper()
	revokesForm(t, s, url.Values{"token": {token}, "client_id": {client}})
}

func revokesWith(t *testing.T, s *server, token string, c *oauth2.Config, method string) {
	t.Helper()
	if method == "client_secret_post" {
		revokesForm(t, s, url.Values{"token": {token}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}})
		return
	}
	req, _ := http.NewRequest(http.MethodPost, "/", nil)
	req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	revokesForm(t, s, url.Values{"token": {token}}, "Authorization", req.Header.Get("Authorization"))
}

func revokesForm(t *testing.T, s *server, form url.Values, header ...string) {
	t.Helper()
	header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	if status, body := sends(t, http.MethodPost, s.url+"/revoke", strings.NewReader(form.Encode()), header...); status != http.StatusOK {
		t.Fatalf("revoke: %d %s", status, body)
	}
}
