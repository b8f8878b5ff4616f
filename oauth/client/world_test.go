package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A world is a MCP server and an authorization server that do what the RFCs say, and the
// person between them. Tests replace parts of it.
type world struct {
	t   testing.TB
	mcp *httptest.Server
	as  *httptest.Server

	mu      sync.Mutex
	counts  map[string]int
	clients map[string]map[string]any // registrations
	codes   map[string]url.Values     // authorization requests by code
	access  map[string]string         // live access tokens and their scopes
	refresh map[string]string         // live refresh tokens and their scopes
	seen    []string                  // everything secret that was handed out
	forms   []url.Values              // token requests
	auths   []url.Values              // authorization requests
	headers []http.Header             // of requests to the MCP server
	serial  int

	// Replacements; nil: as it should be.
	handle     map[string]http.HandlerFunc // by "mcp /path" or "as /path"
	resource   func(map[string]any)        // changes the protected resource metadata
	metadata   func(map[string]any)        // changes the authorization server metadata
	registered func(map[string]any)
	token      func(map[string]any)
	challenge  string // appended to Bearer challenges
	needs      map[string]string
	lifetime   int // expires_in of tokens
	deny       string
	callback   func(*url.URL) // changes the redirect to the client
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, counts: map[string]int{}, clients: map[string]map[string]any{}, codes: map[string]url.Values{}, access: map[string]string{},
		refresh: map[string]string{}, handle: map[string]http.HandlerFunc{}, needs: map[string]string{}, lifetime: 3600,
	}
	w.mu.Lock() // a request of another process is ordered with this by nothing else
	defer w.mu.Unlock()
	w.mcp = httptest.NewServer(w.routes("mcp", map[string]http.HandlerFunc{
		"/mcp": w.serveMCP, "/.well-known/oauth-protected-resource/mcp": w.serveResource,
	}))
	w.as = httptest.NewServer(w.routes("as", map[string]http.HandlerFunc{
		"/.well-known/oauth-authorization-server": w.serveMetadata, "/register": w.serveRegister, "/authorize": w.serveAuthorize,
		"/token": w.serveToken, "/revoke": w.serveRevoke,
	}))
	t.Cleanup(w.mcp.Close)
	t.Cleanup(w.as.Close)
	return w
}

func (w *world) routes(host string, own map[string]http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.counts[host+" "+r.URL.Path]++
		h := w.handle[host+" "+r.URL.Path]
		w.mu.Unlock()
		if h == nil {
			h = own[r.URL.Path]
		}
		if h == nil {
			http.NotFound(rw, r)
			return
		}
		h(rw, r)
	})
}

func (w *world) server() string { return w.mcp.URL + "/mcp" }

func (w *world) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[what]
}

// secret makes up something that must not be seen again.
func (w *world) secret(kind string) string {
	w.serial++
	text := fmt.Sprintf("%s-%s-%d", kind, randomText(), w.serial)
	w.seen = append(w.seen, text)
	return text
}

func writeJSON(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v)
}

func (w *world) serveMCP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.headers = append(w.headers, r.Header.Clone())
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	scope, ok := w.access[token]
	body, _ := io.ReadAll(r.Body)
	switch {
	case kind != "Bearer" || !ok:
		rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+w.mcp.URL+`/.well-known/oauth-protected-resource/mcp"`+w.challenge)
		rw.WriteHeader(http.StatusUnauthorized)
	case !covers(strings.Fields(scope), strings.Fields(w.needs[string(body)])):
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+w.needs[string(body)]+`"`)
		rw.WriteHeader(http.StatusForbidden)
	default:
		fmt.Fprintf(rw, "hello %s", body)
	}
}

func (w *world) serveResource(rw http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{"resource": w.server(), "authorization_servers": []string{w.as.URL}}
	if w.resource != nil {
		w.resource(doc)
	}
	writeJSON(rw, 200, doc)
}

func (w *world) serveMetadata(rw http.ResponseWriter, _ *http.Request) {
	base := w.as.URL
	doc := map[string]any{
		"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token",
		"registration_endpoint": base + "/register", "revocation_endpoint": base + "/revoke",
		"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{"none", "client_secret_basic", "client_secret_post"},
		"authorization_response_iss_parameter_supported": true,
	}
	if w.metadata != nil {
		w.metadata(doc)
	}
	writeJSON(rw, 200, doc)
}

func (w *world) serveRegister(rw http.ResponseWriter, r *http.Request) {
	var request map[string]any
	_ = json.NewDecoder(r.Body).Decode(&request)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	id := fmt.Sprintf("client-%d", w.serial)
	w.clients[id] = request
	request["client_id"] = id
	answer := maps.Clone(request)
	if w.registered != nil {
		w.registered(answer)
	}
	writeJSON(rw, 201, answer)
}

func (w *world) serveAuthorize(rw http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.auths = append(w.auths, query)
	to, err := url.Parse(query.Get("redirect_uri"))
	if err != nil || query.Get("code_challenge_method") != "S256" || query.Get("resource") == "" || query.Get("response_type") != "code" {
		http.Error(rw, "bad authorization request", http.StatusBadRequest)
		return
	}
	code := w.secret("code")
	w.codes[code] = query
	answer := url.Values{"state": {query.Get("state")}, "iss": {w.as.URL}}
	if w.deny != "" {
		answer.Set("error", w.deny)
	} else {
		answer.Set("code", code)
	}
	to.RawQuery = answer.Encode()
	if w.callback != nil {
		w.callback(to)
	}
	http.Redirect(rw, r, to.String(), http.StatusFound)
}

func (w *world) serveToken(rw http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forms = append(w.forms, r.PostForm)
	w.counts["grant "+r.PostForm.Get("grant_type")]++
	scope := ""
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		asked, ok := w.codes[r.PostForm.Get("code")]
		delete(w.codes, r.PostForm.Get("code"))
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") || asked.Get("redirect_uri") != r.PostForm.Get("redirect_uri") ||
			asked.Get("resource") != r.PostForm.Get("resource") {
			writeJSON(rw, 400, map[string]any{"error": "invalid_grant"})
			return
		}
		scope = asked.Get("scope")
	case "refresh_token":
		old := r.PostForm.Get("refresh_token")
		var ok bool
		scope, ok = w.refresh[old]
		delete(w.refresh, old)
		if !ok || r.PostForm.Get("resource") == "" {
			writeJSON(rw, 400, map[string]any{"error": "invalid_grant"})
			return
		}
	default:
		writeJSON(rw, 400, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	answer := map[string]any{"access_token": w.secret("access"), "token_type": "Bearer", "expires_in": w.lifetime, "refresh_token": w.secret("refresh"), "scope": scope}
	w.access[answer["access_token"].(string)] = scope
	w.refresh[answer["refresh_token"].(string)] = scope
	if w.token != nil {
		w.token(answer)
	}
	writeJSON(rw, 200, answer)
}

func (w *world) serveRevoke(_ http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.access, r.PostForm.Get("token"))
	delete(w.refresh, r.PostForm.Get("token"))
}

// endAccess makes all access tokens worthless, as a server's restart may.
func (w *world) endAccess() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.access)
}

// browse is a person who consents: it follows the redirects as a browser does.
func (w *world) browse(ctx context.Context, address string) error {
	w.mu.Lock()
	w.counts["browser"]++
	w.mu.Unlock()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// client makes a Client with options that fit the world.
func (w *world) client(options Options) *Client {
	w.t.Helper()
	if options.Store == nil {
		options.Store = Memory()
	}
	if options.Open == nil {
		options.Open = w.browse
	}
	if options.ImportFrom == "" {
		options.ImportFrom = NoImport
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c, err := New(options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// call sends one request through a client and returns the answer's status and body.
func (w *world) call(c *Client, body string) (int, string, error) {
	w.t.Helper()
	transport, err := c.Transport(w.server(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return send(w.t, transport, w.server(), body)
}

func send(t testing.TB, transport http.RoundTripper, address, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(content), err
}

// mustCall is call, and the answer is good.
func (w *world) mustCall(c *Client, body string) {
	w.t.Helper()
	status, text, err := w.call(c, body)
	if err != nil || status != 200 || text != "hello "+body {
		w.t.Fatalf("the call came to %d %q (%v)", status, text, err)
	}
}

// wantCounts compares what happened at the servers.
func (w *world) wantCounts(want map[string]int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(want)) {
		if w.counts[what] != want[what] {
			w.t.Errorf("%s happened %d times, not %d", what, w.counts[what], want[what])
		}
	}
}
