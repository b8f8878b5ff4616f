package oauth

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	json "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// testPerson is what the login of these tests keeps of a person.
type testPerson struct{ Login, Secret string }

const upstreamSecret = "upstream-token-that-nobody-may-see"

// askName is a login that asks for a name and believes it, but for some.
type askName struct{}

func (askName) Start(w http.ResponseWriter, _ *http.Request, a *Attempt) error {
	return a.Ask(w, Question{Title: "Name?", Fields: []Field{{Name: "name", Label: "Name"}}})
}

func (askName) Finish(r *http.Request, _ *Attempt) (*Person, error) {
	switch name := r.PostFormValue("name"); name {
	case "":
		return nil, ErrDenied
	case "mallory":
		return nil, ErrNotAllowed
	case "typo":
		return nil, Retry("There is nobody of that name.")
	case "broken":
		return nil, fmt.Errorf("upstream said %s", "no")
	default:
		return &Person{ID: "test:" + name, Name: name, Props: testPerson{Login: name, Secret: upstreamSecret}}, nil
	}
}

// world is a provider on a real listener, with a resource behind it that tells who asks.
type world struct {
	*testing.T
	srv  *httptest.Server
	s    *Server
	logs *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var testScopes = []Scope{{Name: "read", Words: "read your mail"}, {Name: "write", Words: "send mail", Includes: []string{"read"}}, {Name: "admin"}}

func newWorld(t *testing.T, change func(*Provider)) *world {
	t.Helper()
	w := &world{T: t, logs: new(logBuffer)}
	w.srv = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.s.ServeHTTP(rw, r) }))
	t.Cleanup(w.srv.Close)
	p := &Provider{
		Issuer:    w.srv.URL,
		Login:     askName{},
		Resources: []Resource{{Path: "/mcp", Name: "Mail", Scopes: testScopes, Require: []string{"read"}}, {Path: "/other"}},
		Limits:    Limits{Token: -1, Pages: -1, Register: -1},
		Logger:    slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(p)
	}
	mux := http.NewServeMux()
	tell := http.HandlerFunc(tellIdentity)
	mux.Handle("/mcp", tell)
	mux.Handle("/mcp/admin", Require("admin")(tell))
	mux.Handle("/mcp/", tell)
	mux.Handle("/other", tell)
	mux.Handle("/signed", tell)
	mux.HandleFunc("/open", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "open") })
	s, err := p.Protect(t.Context(), mux)
	if err != nil {
		t.Fatal(err)
	}
	w.s = s
	return w
}

func tellIdentity(w http.ResponseWriter, r *http.Request) {
	info := auth.TokenInfoFromContext(r.Context())
	if info == nil {
		io.WriteString(w, "nobody")
		return
	}
	p := Props[testPerson](r.Context())
	fmt.Fprintf(w, "%s %s %v %v %v", info.UserID, p.Login, info.Scopes, info.Extra[ExtraClient], HasScope(r.Context(), "read"))
}

// browser is one person's browser. It follows no redirect by itself.
type browser struct {
	w    *world
	http *http.Client
}

func (w *world) browser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{w: w, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(c *http.Client, req *http.Request) answer {
	w.Helper()
	resp, err := c.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func request(method, url, body string, header ...string) *http.Request {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

func (b *browser) get(url string, header ...string) answer {
	b.w.Helper()
	return b.w.do(b.http, request("GET", url, "", header...))
}

func (b *browser) post(url string, form url.Values, header ...string) answer {
	b.w.Helper()
	return b.w.do(b.http, request("POST", url, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...))
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// fields are the hidden fields of a page, and more.
func (a answer) fields(more ...string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(a.body, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

// location is where a redirect leads, and its parameters.
func (a answer) location() (string, url.Values) {
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" {
		return "", url.Values{}
	}
	q := u.Query()
	u.RawQuery = ""
	return u.String(), q
}

func (w *world) url(path string) string { return w.srv.URL + path }

const testRedirect = "http://127.0.0.1:7000/cb"

// registers registers a public client.
func (w *world) registers(redirects ...string) string {
	w.Helper()
	if len(redirects) == 0 {
		redirects = []string{testRedirect}
	}
	a := w.registersAs(map[string]any{"redirect_uris": redirects, "token_endpoint_auth_method": "none", "client_name": "Test <b>client</b>"})
	if a.status != http.StatusCreated {
		w.Fatalf("register: %d %s", a.status, a.body)
	}
	return a.json(w)["client_id"].(string)
}

func (w *world) registersAs(m map[string]any) answer {
	w.Helper()
	body, _ := json.Marshal(m)
	return w.do(http.DefaultClient, request("POST", w.url("/register"), string(body), "Content-Type", "application/json"))
}

func (a answer) json(w *world) map[string]any {
	w.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		w.Fatalf("not JSON: %d %q", a.status, a.body)
	}
	return m
}

// asks is the address of a good authorization request, with changes: a name and a value
// each; an empty value leaves the parameter out.
func (w *world) asks(client string, change ...string) string {
	v := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {testRedirect}, "state": {"xyz&="},
		"code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"}, "resource": {w.url("/mcp")},
	}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "" {
			v.Del(change[i])
		}
	}
	return w.url("/authorize?" + v.Encode())
}

// allows goes all the way from an authorization request to the redirect with the code.
func (b *browser) allows(authorize, name string, more ...string) answer {
	b.w.Helper()
	page := b.get(authorize)
	if page.status != http.StatusOK || !strings.Contains(page.body, "Allow") {
		b.w.Fatalf("no consent page: %d %s %v", page.status, page.body, page.header)
	}
	login := b.post(b.w.url("/consent"), page.fields(append([]string{"decision", "allow"}, more...)...))
	if login.status != http.StatusOK {
		b.w.Fatalf("no login page: %d %s", login.status, login.body)
	}
	return b.post(b.w.url("/callback"), login.fields("name", name))
}

func (b *browser) mustAllow(authorize, name string, more ...string) (code string) {
	b.w.Helper()
	_, q := b.allows(authorize, name, more...).location()
	if q.Get("code") == "" {
		b.w.Fatalf("no code: %v", q)
	}
	return q.Get("code")
}

// sends is a token request; as for asks, an empty value leaves a parameter out.
func (w *world) sends(client, code string, change ...string) answer {
	w.Helper()
	v := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "code_verifier": {testVerifier}, "redirect_uri": {testRedirect}}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "" {
			v.Del(change[i])
		}
	}
	return w.posts("/token", v)
}

func (w *world) posts(path string, v url.Values, header ...string) answer {
	w.Helper()
	return w.do(http.DefaultClient, request("POST", w.url(path), v.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...))
}

func (w *world) tokens(client, code string) tokenAnswer {
	w.Helper()
	a := w.sends(client, code)
	if a.status != http.StatusOK {
		w.Fatalf("token: %d %s", a.status, a.body)
	}
	return parseAnswer(w.T, []byte(a.body))
}

func (w *world) signsIn(name string, change ...string) (client string, t tokenAnswer) {
	w.Helper()
	client = w.registers()
	return client, w.tokens(client, w.browser().mustAllow(w.asks(client, change...), name))
}

func (w *world) calls(path, token string, header ...string) answer {
	w.Helper()
	return w.do(http.DefaultClient, request("POST", w.url(path), "", append([]string{"Authorization", "Bearer " + token}, header...)...))
}

func (a answer) wantError(w *world, status int, code string) {
	w.Helper()
	if a.status != status || a.json(w)["error"] != code {
		w.Errorf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
}
