package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/bridge"
	"github.com/causeway-mcp/causeway/oauth/client"
)

func TestConnectFlags(t *testing.T) {
	t.Setenv("CONNECT_TEST_KEY", "secret-1")
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("# who we are\nX-Team: core\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want func(*connectSettings) bool
	}{
		"a URL alone": {[]string{"https://a.example/mcp"}, func(s *connectSettings) bool {
			return len(s.bridge.Servers) == 1 && s.bridge.Servers[0].URL == "https://a.example/mcp" && s.cookies &&
				s.bridge.Protocol == bridge.ProtocolAuto && s.signIn.SignInTimeout == 5*time.Minute && s.transport.Proxy && s.bridge.PingInterval == 0
		}},
		"flags before the URL": {[]string{"--transport", "sse-only", "--allow-http", "http://a.example/sse"}, func(s *connectSettings) bool {
			return s.bridge.TransportOrder == bridge.SSEOnly && s.bridge.AllowHTTP && s.signIn.Policy.AllowHTTP
		}},
		"flags after the URL, and the port": {[]string{"https://a.example/mcp", "3334", "--protocol=legacy", "-debug"}, func(s *connectSettings) bool {
			return s.signIn.CallbackPort == 3334 && s.bridge.Protocol == bridge.ProtocolLegacy
		}},
		"several servers, with names and without": {[]string{"docs=https://a.example/mcp?x=1", "https://b.example/mcp?a=b"}, func(s *connectSettings) bool {
			return len(s.bridge.Servers) == 2 && s.bridge.Servers[0].Name == "docs" && s.bridge.Servers[0].URL == "https://a.example/mcp?x=1" &&
				s.bridge.Servers[1].Name == "" && s.bridge.Servers[1].URL == "https://b.example/mcp?a=b"
		}},
		"headers, from the environment and from a file": {[]string{"https://a.example/mcp", "--header", "X-Key: ${CONNECT_TEST_KEY}", "--header", "x-other:${CONNECT_TEST_NOT_SET}", "--header-file", file}, func(s *connectSettings) bool {
			h := s.bridge.Servers[0].Header
			return h.Get("X-Key") == "secret-1" && h.Get("X-Other") == "${CONNECT_TEST_NOT_SET}" && h.Get("X-Team") == "core"
		}},
		"patterns": {[]string{"https://a.example/mcp", "--ignore-tool", "del*", "--ignore-tool", "rm", "--allow-tool", "*", "--read-only"}, func(s *connectSettings) bool {
			return strings.Join(s.bridge.IgnoreTools, " ") == "del* rm" && len(s.bridge.AllowTools) == 1 && s.bridge.ReadOnly
		}},
		"sign-in on a private network": {[]string{"https://a.example/mcp", "--allow-private", "sso.corp.example", "--allow-private", "10.0.0.5"}, func(s *connectSettings) bool {
			return strings.Join(s.signIn.Policy.PrivateHosts, " ") == "sso.corp.example 10.0.0.5" && s.loginFlags
		}},
		"timeouts": {[]string{"https://a.example/mcp", "--connect-timeout", "3", "--headers-timeout", "0", "--body-timeout", "7", "--auth-timeout", "30", "--ping-interval", "9"}, func(s *connectSettings) bool {
			return s.transport.ConnectTimeout == 3*time.Second && s.transport.HeadersTimeout > 24*time.Hour && s.bridge.IdleTimeout == 7*time.Second &&
				s.signIn.SignInTimeout == 30*time.Second && s.bridge.PingInterval == 9*time.Second
		}},
		"a client that is registered": {[]string{"https://a.example/mcp", "--static-oauth-client-info", `{"client_id":"me","client_secret":"${CONNECT_TEST_KEY}"}`, "--client-credentials"}, func(s *connectSettings) bool {
			return s.signIn.ClientID == "me" && s.signIn.ClientSecret.Reveal() == "secret-1" && s.signIn.Grant == client.ClientCredentials{}
		}},
		"everything else of the sign-in": {[]string{"https://a.example/mcp", "--host", "localhost", "--callback-path", "/cb", "--resource", "urn:x", "--authorize-param", "audience=y",
			"--use-id-token", "--device-code", "--disable-cookies", "--ipv4", "--enable-proxy=false", "--static-oauth-client-metadata", `{"scope":"a b"}`}, func(s *connectSettings) bool {
			return s.signIn.CallbackHost == "localhost" && s.signIn.CallbackPath == "/cb" && s.signIn.Resource == "urn:x" && s.signIn.AuthorizeParams.Get("audience") == "y" &&
				s.signIn.UseIDToken && !s.cookies && s.transport.IPv4 && !s.transport.Proxy && strings.Join(s.signIn.Scopes, " ") == "a b"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			s, err := parseConnect(newFlags("connect", connectUsage, &stderr), tc.args)
			if err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			if !tc.want(s) {
				t.Errorf("settings %+v", s)
			}
			if strings.Contains(stderr.String(), "secret-1") {
				t.Errorf("a secret on stderr: %s", &stderr)
			}
		})
	}
}

func TestConnectFlagsThatAreRefused(t *testing.T) {
	t.Setenv("CONNECT_TEST_KEY", "secret-1")
	for name, tc := range map[string]struct {
		args string
		says string
	}{
		"nothing":                   {"", "which server?"},
		"a flag that is misspelt":   {"https://a.example/mcp --alow-http", "--allow-http?"},
		"a flag that is cut":        {"https://a.example/mcp --header-fil x", "--header-file?"},
		"a flag nobody knows":       {"https://a.example/mcp --xyzzy", "no flag --xyzzy"},
		"no URL":                    {"a.example/mcp", "https://"},
		"a file":                    {"file:///etc/passwd", "https://"},
		"a port before the URL":     {"3334 https://a.example/mcp", "comes after the URL"},
		"a port that is none":       {"https://a.example/mcp 70000", "from 1 to 65535"},
		"a port of zero":            {"https://a.example/mcp 0", "leave it out"},
		"a URL with no such port":   {"http://127.0.0.1:99999/mcp", "from 1 to 65535"},
		"two ports":                 {"https://a.example/mcp 3334 3335", "second port"},
		"http to another machine":   {"http://a.example/mcp", "--allow-http"},
		"another transport":         {"https://a.example/mcp --transport quic", "sse-first"},
		"another protocol":          {"https://a.example/mcp --protocol old", "legacy"},
		"a header without a value":  {"https://a.example/mcp --header secret-1", "--header"},
		"a header file that is not": {"https://a.example/mcp --header-file /nowhere/h", "/nowhere/h"},
		"two ways to sign in":       {"https://a.example/mcp --device-code --client-credentials", "choose one"},
		"client info that is none":  {"https://a.example/mcp --static-oauth-client-info secret-1", "not a JSON object"},
		"a private URL":             {"https://a.example/mcp --allow-private https://sso.corp.example", "--allow-private"},
		"this machine as private":   {"https://a.example/mcp --allow-private localhost", "--allow-private"},
		"all private hosts":         {"https://a.example/mcp --allow-private *", "--allow-private"},
		"a negative timeout":        {"https://a.example/mcp --connect-timeout -1", "seconds"},
		"a ping every 0 seconds":    {"https://a.example/mcp --ping-interval 0", "seconds"},
		"a pattern of another kind": {"https://a.example/mcp --ignore-tool [a-z]", "pattern"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := runConnect(context.Background(), strings.Fields(tc.args), strings.NewReader(""), &stdout, &stderr)
			if err == nil {
				t.Fatal("no error")
			}
			said := stderr.String() + err.Error()
			if !strings.Contains(said, tc.says) || stdout.Len() > 0 {
				t.Errorf("it says %q (and %q on stdout), want %q", said, &stdout, tc.says)
			}
			if strings.Contains(said, "secret-1") {
				t.Errorf("it shows a secret: %q", said)
			}
		})
	}
}

// A whole run, with a secret in every place that a user can put one: it reaches the server
// and is shown nowhere.
func TestConnectShowsNoSecret(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MCP_REMOTE_CONFIG_DIR"} {
		t.Setenv(name, home)
	}
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		http.Error(w, "no", http.StatusTeapot)
	}))
	defer s.Close()
	var stdout, stderr bytes.Buffer
	in := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"planted-1"}}}` + "\n")
	url := strings.Replace(s.URL, "http://", "http://u:planted-2@", 1) + "/planted-3?key=planted-4"
	err := runConnect(context.Background(), []string{url, "--debug", "--header", "X-Key: planted-5"}, in, &stdout, &stderr)
	if err == nil && got.Get("X-Key") != "planted-5" {
		t.Errorf("the server got %v", got)
	}
	said := stdout.String() + stderr.String()
	if err != nil {
		said += err.Error()
	}
	for _, secret := range []string{"planted-2", "planted-3", "planted-4", "planted-5"} {
		if strings.Contains(said, secret) {
			t.Errorf("%s is shown:\n%s", secret, said)
		}
	}
}

// Without anybody to ask, the host hears what its user has to do, and the log hears it once.
func TestConnectWithoutASignInSaysWhatToRun(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MCP_REMOTE_CONFIG_DIR"} {
		t.Setenv(name, home)
	}
	t.Setenv("CAUSEWAY_AUTH_DIR", filepath.Join(home, "auth"))
	t.Setenv("CAUSEWAY_KEYCHAIN", "off")
	url := guarded(t, func(string) {})
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"plain", []string{url}, "run: causeway login " + url + `"`},
		{"with a flag that login needs too", []string{url, "--resource", "urn:x"}, "run: causeway login " + url + " with the flags of this connect"},
		{"with something that may be secret in the URL", []string{url + "?key=planted-2"}, "run: causeway login " + url + "?…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			hostReads, stdout := io.Pipe()
			stdin, hostWrites := io.Pipe()
			var stderr written
			ended := make(chan error, 1)
			go func() {
				ended <- runConnect(t.Context(), append(test.args, "--non-interactive"), stdin, stdout, &stderr)
			}()
			answers, said := bufio.NewReader(hostReads), ""
			for id := range 3 {
				fmt.Fprintf(hostWrites, `{"jsonrpc":"2.0","id":%d,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"1"}}}`+"\n", id)
				answer, err := answers.ReadString('\n')
				if err != nil || !strings.Contains(answer, test.want) || !strings.Contains(answer, `"error"`) {
					t.Errorf("the host hears %s (%v)", answer, err)
				}
				said += answer
			}
			hostWrites.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n := strings.Count(stderr.String(), "\n"); n != 1 || !strings.Contains(stderr.String(), "causeway login") {
				t.Errorf("the log has %d lines:\n%s", n, stderr.String())
			}
			if said += stderr.String(); strings.Contains(said, "planted-") {
				t.Errorf("a secret is shown: %s", said)
			}
		})
	}
}

// A public server whose sign-in is on a private network: who is told of it learns how to allow
// that one host, and under which condition.
func TestAPrivateSignInIsExplained(t *testing.T) {
	refused := roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("signing in: %w", &client.PrivateHostError{Host: "sso.corp.example"})
	})
	_, err := remedied{refused, "causeway login https://mcp.example/mcp"}.RoundTrip(httptest.NewRequest("GET", "https://mcp.example/mcp", nil))
	if err == nil || !strings.Contains(err.Error(), "--allow-private sso.corp.example") || !strings.Contains(err.Error(), "your organization") || !errors.Is(err, client.ErrForbiddenAddress) || !errors.Is(err, bridge.ErrSignIn) {
		t.Errorf("%v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
