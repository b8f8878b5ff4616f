package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// guarded is a MCP server that is its own authorization server and lets everybody in.
func guarded(t *testing.T, revoked func(token string)) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	base := server.URL
	document := func(path string, doc map[string]any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(doc) })
	}
	document("/.well-known/oauth-protected-resource/mcp", map[string]any{"resource": base + "/mcp", "authorization_servers": []string{base}, "scopes_supported": []string{"notes"}})
	document("/.well-known/oauth-authorization-server", map[string]any{
		"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "registration_endpoint": base + "/register",
		"revocation_endpoint": base + "/revoke", "code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
	})
	document("/register", map[string]any{"client_id": "cli"})
	document("/token", map[string]any{"access_token": "planted-access", "refresh_token": "planted-refresh", "token_type": "Bearer", "expires_in": 3600})
	mux.HandleFunc("/revoke", func(_ http.ResponseWriter, r *http.Request) { revoked(r.PostFormValue("token")) })
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		answer := url.Values{"code": {"planted-code"}, "state": {r.FormValue("state")}}
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	return base + "/mcp"
}

// written is a bytes.Buffer for a writer and a reader at once.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// A finder calls found with the first match in what is written through it.
type finder struct {
	written
	pattern *regexp.Regexp
	found   func(match string)
	once    sync.Once
}

func (f *finder) Write(p []byte) (int, error) {
	n, err := f.written.Write(p)
	if match := f.pattern.FindString(f.String()); match != "" {
		f.once.Do(func() { go f.found(match) })
	}
	return n, err
}

func TestLoginTokensAndLogout(t *testing.T) {
	t.Setenv("CAUSEWAY_AUTH_DIR", filepath.Join(t.TempDir(), "auth"))
	t.Setenv("CAUSEWAY_KEYCHAIN", "off")
	t.Setenv("MCP_REMOTE_CONFIG_DIR", t.TempDir())
	var mu sync.Mutex
	var revoked []string
	server := guarded(t, func(token string) { mu.Lock(); revoked = append(revoked, token); mu.Unlock() })

	// The person opens the address on another machine and pastes where that ends.
	stdin, typed := io.Pipe()
	var stdout written
	stderr := &finder{pattern: regexp.MustCompile(`http\S+/authorize\?\S+`), found: func(address string) {
		browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := browser.Get(address)
		if err != nil {
			t.Error(err)
			return
		}
		answer.Body.Close()
		fmt.Fprintf(typed, "nonsense\n%s\n", answer.Header.Get("Location"))
	}}
	if err := runLogin(t.Context(), []string{server, "--no-browser"}, stdin, &stdout, stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if got := stdout.String(); !strings.Contains(got, "Signed in to "+server+" for notes") || !strings.Contains(got, "encrypted") {
		t.Errorf("login says %q", got)
	}

	var listed bytes.Buffer
	if err := runTokens(t.Context(), []string{"--json"}, &listed, io.Discard); err != nil {
		t.Fatal(err)
	}
	var report tokensReport
	if err := json.Unmarshal(listed.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Tokens) != 1 || report.Tokens[0].Server != server || report.Tokens[0].ClientID != "cli" || !report.Tokens[0].Refreshable {
		t.Errorf("tokens --json says %s", listed.String())
	}
	var table bytes.Buffer
	if err := runTokens(t.Context(), nil, &table, io.Discard); err != nil || !strings.Contains(table.String(), "then renewed") {
		t.Errorf("tokens says %q (%v)", table.String(), err)
	}

	// A server that nobody signed in to is said to be none, and the other stays.
	var none bytes.Buffer
	if err := runLogout(t.Context(), []string{server + "x"}, &none, io.Discard); err != nil || none.String() != "There was nothing to sign out of at "+server+"x. Did you mean \""+server+"\"?\n" || len(revoked) != 0 {
		t.Errorf("logout says %q (%v)", none.String(), err)
	}

	var out bytes.Buffer
	if err := runLogout(t.Context(), []string{server}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "Signed out of "+server) {
		t.Errorf("logout says %q (%v)", out.String(), err)
	}
	if len(revoked) != 2 {
		t.Errorf("%d tokens were revoked", len(revoked))
	}
	none.Reset()
	if err := runLogout(t.Context(), []string{"-all"}, &none, io.Discard); err != nil || none.String() != "There was nothing to sign out of\n" {
		t.Errorf("logout -all says %q (%v)", none.String(), err)
	}
	var after bytes.Buffer
	if err := runTokens(t.Context(), []string{"--json"}, &after, io.Discard); err != nil || strings.Contains(after.String(), server) {
		t.Errorf("after the logout, tokens says %s (%v)", after.String(), err)
	}
	for _, said := range []string{stdout.String(), stderr.String(), listed.String(), table.String(), out.String()} {
		if strings.Contains(said, "planted-") {
			t.Errorf("something secret was printed: %s", said)
		}
	}
}

func TestLoginMistakesAreExplained(t *testing.T) {
	t.Setenv("CAUSEWAY_AUTH_DIR", t.TempDir())
	for _, test := range []struct {
		run  func(args []string, stderr io.Writer) error
		args []string
		want error
		says string
	}{
		{mistakenLogin, nil, errUsage, "which server"},
		{mistakenLogin, []string{"-h"}, flag.ErrHelp, "-no-browser"},
		{mistakenLogin, []string{"https://mcp.example", "--nonesuch"}, errUsage, "--nonesuch"},
		{mistakenLogin, []string{"--no-browser"}, errUsage, "which server"},
		{mistakenLogout, nil, errUsage, "want the URLs"},
		{mistakenLogout, []string{"--all", "https://mcp.example"}, errUsage, "want the URLs"},
		{mistakenLogout, []string{"-h"}, flag.ErrHelp, "Usage: causeway logout"},
		{mistakenTokens, []string{"what"}, errUsage, "want no arguments"},
	} {
		var stderr bytes.Buffer
		if err := test.run(test.args, &stderr); !errors.Is(err, test.want) || !strings.Contains(stderr.String(), test.says) {
			t.Errorf("%q: %v, %q", test.args, err, stderr.String())
		}
	}
}

func mistakenLogin(args []string, stderr io.Writer) error {
	return runLogin(context.Background(), args, strings.NewReader(""), io.Discard, stderr)
}

func mistakenLogout(args []string, stderr io.Writer) error {
	return runLogout(context.Background(), args, io.Discard, stderr)
}

func mistakenTokens(args []string, stderr io.Writer) error {
	return runTokens(context.Background(), args, io.Discard, stderr)
}

func TestALoginThatFailsNamesTheDoctor(t *testing.T) {
	t.Setenv("CAUSEWAY_AUTH_DIR", t.TempDir())
	t.Setenv("CAUSEWAY_KEYCHAIN", "off")
	t.Setenv("MCP_REMOTE_CONFIG_DIR", t.TempDir())
	err := mistakenLogin([]string{"http://127.0.0.1:1/mcp?key=hush", "-no-browser"}, io.Discard)
	if err == nil || !strings.HasSuffix(err.Error(), "(causeway doctor http://127.0.0.1:1/mcp?… says more)") {
		t.Error(err)
	}
}
