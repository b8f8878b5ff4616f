package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/causeway-mcp/causeway/examples/internal/upstream"
)

func TestMain(m *testing.M) { program.TestMain(m, main) }

const (
	resource = "https://mcp.example.com/mcp"
	apiKey   = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func TestTokensFromElsewhereAreVerified(t *testing.T) {
	site := upstream.New(t)
	sum := sha256.Sum256([]byte(apiKey))
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{%q: "robot"}`, hex.EncodeToString(sum[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ISSUER", site.URL)
	t.Setenv("RESOURCE", resource)
	t.Setenv("API_KEYS", file)
	p := program.Start(t)
	token := func(change ...any) string {
		claims := map[string]any{"iss": site.URL, "aud": resource, "sub": "ada", "client_id": "editor", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "1"}
		for i := 0; i < len(change); i += 2 {
			claims[change[i].(string)] = change[i+1]
		}
		return site.Sign("at+jwt", claims)
	}
	call := func(token string) (int, string, string) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", p.URL()+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "whoami"} {
			r.Header.Set(name, value)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), resp.Header.Get("WWW-Authenticate")
	}
	for want, good := range map[string]string{"You are ada, by way of editor.": token(), "You are robot, by way of api-key.": apiKey} {
		if status, body, _ := call(good); status != 200 || !strings.Contains(body, want) {
			t.Errorf("got %d %s, want %q", status, body, want)
		}
	}
	for name, bad := range map[string]string{
		"none":               "",
		"a wrong key":        strings.ToUpper(apiKey),
		"another audience":   token("aud", "https://other.example.com/mcp"),
		"another issuer":     token("iss", "https://evil.example"),
		"expired":            token("exp", time.Now().Add(-time.Hour).Unix()),
		"an ID token":        site.Sign("JWT", map[string]any{"iss": site.URL, "aud": resource, "sub": "ada", "exp": time.Now().Add(time.Minute).Unix()}),
		"of another signer":  upstream.New(t).Sign("at+jwt", map[string]any{"iss": site.URL, "aud": resource, "sub": "ada", "client_id": "x", "exp": time.Now().Add(time.Minute).Unix()}),
		"one that was cut":   token()[:100],
		"one without a user": token("sub", ""),
	} {
		status, body, challenge := call(bad)
		if status != 401 || strings.Contains(body, "You are") || !strings.Contains(challenge, `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`) {
			t.Errorf("%s: %d %s %q", name, status, body, challenge)
		}
	}
}
