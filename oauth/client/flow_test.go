package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestA401SignsInAndRepeatsTheRequest(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "one")
	w.mustCall(c, "two")
	w.wantCounts(map[string]int{"as /register": 1, "browser": 1, "as /token": 1, "mcp /mcp": 3})
}

func TestAServerThatAsksForNothingSeesOneRequest(t *testing.T) {
	var hits []string
	open := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		hits = append(hits, r.URL.Path)
		io.WriteString(rw, "open")
	}))
	defer open.Close()
	w := newWorld(t)
	transport, err := w.client(Options{}).Transport(open.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, text, err := send(t, transport, open.URL+"/mcp", "x"); err != nil || text != "open" {
		t.Fatal(text, err)
	}
	if !slices.Equal(hits, []string{"/mcp"}) {
		t.Errorf("the server saw %q", hits)
	}
}

func TestEveryTokenRequestNamesTheResource(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "one")
	w.endAccess()
	w.mustCall(c, "two")
	for _, form := range w.forms {
		if form.Get("resource") != w.server() {
			t.Errorf("grant_type %s has the resource %q", form.Get("grant_type"), form.Get("resource"))
		}
	}
	w.wantCounts(map[string]int{"as /token": 2, "grant refresh_token": 1, "browser": 1})
}

func TestADeadRefreshTokenLeadsToASignIn(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "one")
	w.endAccess()
	w.mu.Lock()
	clear(w.refresh)
	w.mu.Unlock()
	w.mustCall(c, "two")
	w.wantCounts(map[string]int{"as /register": 1, "browser": 2})
}

func TestAnAuthorizationServerThatIsDownIsNoReasonToSignIn(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "one")
	w.endAccess()
	w.mu.Lock()
	w.handle["as /token"] = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }
	w.mu.Unlock()
	if _, _, err := w.call(c, "two"); err == nil {
		t.Fatal("no error")
	}
	w.mu.Lock()
	delete(w.handle, "as /token")
	w.mu.Unlock()
	w.mustCall(c, "three")
	w.wantCounts(map[string]int{"browser": 1})
}

func TestATokenIsRenewedBeforeItEnds(t *testing.T) {
	w := newWorld(t)
	w.lifetime = 1000
	c := w.client(Options{})
	w.mustCall(c, "one")
	// The token is in the last tenth of its life, and still good.
	c.now = func() time.Time { return time.Now().Add(985 * time.Second) }
	w.mustCall(c, "two")
	deadline := time.Now().Add(20 * time.Second)
	for w.count("grant refresh_token") == 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	w.wantCounts(map[string]int{"grant refresh_token": 1, "browser": 1})
}

func TestAnExpiredTokenIsNotSent(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "one")
	c.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	w.mustCall(c, "two")
	w.wantCounts(map[string]int{"grant refresh_token": 1, "browser": 1, "mcp /mcp": 3})
}

func TestAStepUpAsksForTheUnionOfScopes(t *testing.T) {
	w := newWorld(t)
	w.challenge = `, scope="read"`
	w.needs["erase"] = "write"
	c := w.client(Options{})
	w.mustCall(c, "look")
	w.mustCall(c, "erase")
	w.mustCall(c, "look")
	if got := w.auths[len(w.auths)-1].Get("scope"); got != "write read" && got != "read write" {
		t.Errorf("the step-up asks for %q", got)
	}
	w.wantCounts(map[string]int{"browser": 2, "as /register": 1})
}

func TestAScopeThatIsNeverGrantedIsNotAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.needs["erase"] = "write"
	w.handle["mcp /mcp"] = func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.serveMCP(rw, r)
			return
		}
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="write"`)
		rw.WriteHeader(http.StatusForbidden)
	}
	c := w.client(Options{})
	for range 3 {
		if status, _, err := w.call(c, "erase"); err != nil || status != http.StatusForbidden {
			t.Fatalf("status %d (%v), want the server's 403", status, err)
		}
	}
	w.wantCounts(map[string]int{"browser": 2})
}

func TestAScopeThatWasNotEnoughIsRememberedOverARenewal(t *testing.T) {
	w := newWorld(t)
	w.handle["mcp /mcp"] = func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		_, live := w.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		w.mu.Unlock()
		if !live {
			w.serveMCP(rw, r)
			return
		}
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="write"`)
		rw.WriteHeader(http.StatusForbidden)
	}
	c := w.client(Options{})
	for range 3 {
		if status, _, err := w.call(c, "erase"); err != nil || status != http.StatusForbidden {
			t.Fatalf("status %d (%v), want the server's 403", status, err)
		}
		w.endAccess()
	}
	w.wantCounts(map[string]int{"browser": 2, "grant refresh_token": 2})
}

func TestASignInAgainAsksForWhatWasAskedFor(t *testing.T) {
	w := newWorld(t)
	w.challenge = `, scope="read"`
	w.needs["erase"] = "write"
	c := w.client(Options{})
	w.mustCall(c, "erase")
	w.endAccess()
	w.mu.Lock()
	clear(w.refresh)
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") == "refresh_token" {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		w.serveToken(rw, r)
	}
	w.mu.Unlock()
	if err := c.Login(t.Context(), w.server()); err != nil {
		t.Fatal(err)
	}
	if got := scopesOf(w.auths[len(w.auths)-1].Get("scope")); !covers(got, []string{"read", "write"}) {
		t.Errorf("it asks for %q", got)
	}
}

func TestTwoLoginsHearOfOneRefusal(t *testing.T) {
	w := newWorld(t)
	w.deny = "access_denied"
	store := Memory()
	opened, release := make(chan struct{}), make(chan struct{})
	first := w.client(Options{Store: store, Open: func(ctx context.Context, address string) error {
		close(opened)
		<-release
		return w.browse(ctx, address)
	}})
	results := make(chan error, 2)
	go func() { results <- first.Login(t.Context(), w.server()) }()
	<-opened
	second := w.client(Options{Store: store, Open: func(context.Context, string) error { t.Error("the person was asked again"); return nil }})
	waiting := w.count("mcp /mcp")
	go func() { results <- second.Login(t.Context(), w.server()) }()
	for w.count("mcp /mcp") == waiting { // it has begun
		time.Sleep(time.Millisecond)
	}
	waitFor(t, "the second to wait", func() bool {
		s, err := second.session(w.server())
		if err != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.flight != nil
	})
	close(release)
	for range 2 {
		if err := <-results; err == nil || !strings.Contains(err.Error(), "access_denied") {
			t.Errorf("a login ended with %v", err)
		}
	}
}

func TestAFreshTokenThatIsRefusedEndsThere(t *testing.T) {
	w := newWorld(t)
	w.handle["mcp /mcp"] = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) }
	c := w.client(Options{})
	if status, _, err := w.call(c, "x"); err != nil || status != http.StatusUnauthorized {
		t.Fatalf("status %d (%v), want the server's 401", status, err)
	}
	for range 3 { // renewing is tried, another browser tab is not
		if status, _, err := w.call(c, "x"); err == nil && status != http.StatusUnauthorized {
			t.Fatalf("status %d (%v)", status, err)
		}
	}
	w.wantCounts(map[string]int{"browser": 1})
}

func TestRequestsAtOnceShareOneSignIn(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { w.mustCallAsync(c) })
	}
	all.Wait()
	w.wantCounts(map[string]int{"as /register": 1, "browser": 1, "as /token": 1})
}

func (w *world) mustCallAsync(c *Client) {
	if status, text, err := w.call(c, "x"); err != nil || status != 200 {
		w.t.Errorf("the call came to %d %q (%v)", status, text, err)
	}
}

func TestARequestThatGivesUpLeavesTheSignInToTheNext(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	c := w.client(Options{Open: func(ctx context.Context, address string) error {
		<-release
		return w.browse(ctx, address)
	}})
	transport, err := c.Transport(w.server(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.server(), strings.NewReader("x"))
	if _, err := transport.RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the request that gave up got %v", err)
	}
	close(release)
	w.mustCall(c, "two")
	w.wantCounts(map[string]int{"browser": 1, "as /register": 1})
}

func TestARefusalOfThePersonIsNotAskedAboutAgain(t *testing.T) {
	w := newWorld(t)
	w.deny = "access_denied"
	c := w.client(Options{})
	for range 3 {
		_, _, err := w.call(c, "x")
		if err == nil || !strings.Contains(err.Error(), "access_denied") {
			t.Fatalf("the error is %v", err)
		}
	}
	w.wantCounts(map[string]int{"browser": 1})
	w.mu.Lock()
	w.deny = ""
	w.mu.Unlock()
	if err := c.Login(t.Context(), w.server()); err != nil {
		t.Fatalf("an explicit login after a refusal: %v", err)
	}
	w.mustCall(c, "x")
}

func TestNobodyComesInTime(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{SignInTimeout: 200 * time.Millisecond, Open: func(context.Context, string) error { return nil }})
	if _, _, err := w.call(c, "x"); !errors.Is(err, ErrTimeout) {
		t.Fatalf("the error is %v, want ErrTimeout", err)
	}
}

func TestWithoutAPersonASignInIsAnError(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{NonInteractive: true})
	if _, _, err := w.call(c, "x"); !errors.Is(err, ErrSignInNeeded) {
		t.Fatalf("the error is %v, want ErrSignInNeeded", err)
	}
	w.wantCounts(map[string]int{"browser": 0, "as /register": 0})
}

func TestATokenGoesToItsServerOnly(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{Headers: http.Header{"X-Gateway": {"key"}}})
	w.mustCall(c, "x")
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Gateway") != "" {
			t.Errorf("another server got %v", r.Header)
		}
	}))
	defer other.Close()
	transport, _ := c.Transport(w.server(), nil)
	if _, _, err := send(t, transport, other.URL+"/mcp", "x"); err != nil {
		t.Fatal(err)
	}
	if got := w.headers[len(w.headers)-1].Get("X-Gateway"); got != "key" {
		t.Errorf("the server itself got the header %q", got)
	}
}

func TestAnAuthorizationOfTheCallersOwnIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{Headers: http.Header{"Authorization": {"Bearer mine"}}})
	transport, _ := c.Transport(w.server(), nil)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server(), nil)
	r.Header.Set("Authorization", "Bearer mine")
	answer, err := transport.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%v %v", answer, err)
	}
	answer.Body.Close()
	w.wantCounts(map[string]int{"browser": 0})
}

func TestABodyWithoutGetBodyIsSentAgain(t *testing.T) {
	w := newWorld(t)
	transport, _ := w.client(Options{}).Transport(w.server(), nil)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server(), io.NopCloser(strings.NewReader("once")))
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); string(text) != "hello once" {
		t.Errorf("the server read %q", text)
	}
}

func TestABodyThatCannotBeRepeatedGetsTheServersAnswer(t *testing.T) {
	w := newWorld(t)
	transport, _ := w.client(Options{}).Transport(w.server(), nil)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server(), io.NopCloser(bytes.NewReader(make([]byte, maxReplay+1))))
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestANewAuthorizationServerSeesNothingOfTheOldOne(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "x")
	w.endAccess()
	w.mu.Lock()
	w.resource = func(doc map[string]any) { doc["authorization_servers"] = []string{other.as.URL} }
	w.mu.Unlock()
	_, _, _ = w.call(c, "x") // the MCP server does not take the other's tokens here
	if other.count("as /register") != 1 || other.count("as /token") != 1 {
		t.Errorf("the new server saw %v", other.counts)
	}
	for _, form := range other.forms {
		for _, secret := range w.seen {
			if strings.Contains(form.Encode(), url.QueryEscape(secret)) {
				t.Errorf("the new server got a secret of the old one")
			}
		}
	}
	if w.count("grant refresh_token") != 0 {
		t.Error("the old server was asked to renew")
	}
}

func TestARegistrationIsKeptPerIssuerAndUsedAgain(t *testing.T) {
	w := newWorld(t)
	store := Memory()
	w.mustCall(w.client(Options{Store: store}), "x")
	first := w.client(Options{Store: store})
	if err := first.Login(t.Context(), w.server()); err != nil {
		t.Fatal(err)
	}
	w.wantCounts(map[string]int{"as /register": 1, "browser": 2})
	if a, b := w.auths[0].Get("redirect_uri"), w.auths[1].Get("redirect_uri"); a != b {
		t.Errorf("the redirect URI was %s and is %s", a, b)
	}
}

func TestALostRegistrationIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	store := Memory()
	w.mustCall(w.client(Options{Store: store}), "x")
	w.mu.Lock()
	lost := w.auths[0].Get("client_id")
	w.handle["as /authorize"] = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("client_id") == lost {
			http.Error(rw, "nobody knows this client", http.StatusBadRequest)
			return
		}
		w.serveAuthorize(rw, r)
	}
	w.mu.Unlock()
	c := w.client(Options{Store: store})
	c.now = func() time.Time { return time.Now().Add(2 * lately) }
	if err := c.Login(t.Context(), w.server()); err != nil {
		t.Fatal(err)
	}
	w.wantCounts(map[string]int{"as /register": 2, "browser": 2})
}

func TestARegistrationThatIsRefusedAtTheRenewalIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "x")
	w.endAccess()
	w.mu.Lock()
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") == "refresh_token" {
			writeJSON(rw, 401, map[string]any{"error": "invalid_client"})
			return
		}
		w.serveToken(rw, r)
	}
	w.mu.Unlock()
	w.mustCall(c, "y")
	w.wantCounts(map[string]int{"as /register": 2, "browser": 2})
}

func TestAServerCannotOpenTabsForEver(t *testing.T) {
	for name, hostile := range map[string]func(w *world, request int){
		"with tokens that end at once": func(w *world, _ int) { w.lifetime = 1; w.token = set("refresh_token", nil) },
		"with new scopes": func(w *world, request int) {
			w.handle["mcp /mcp"] = func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					w.serveMCP(rw, r)
					return
				}
				rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="more-%d"`, w.count("mcp /mcp")))
				rw.WriteHeader(http.StatusForbidden)
			}
		},
		"with a token endpoint that fails": func(w *world, _ int) { w.handle["as /token"] = body(500, "text/html", "no") },
		"with new authorization servers": func(w *world, request int) {
			other := newWorld(w.t)
			w.resource = set("authorization_servers", []string{other.as.URL})
			w.access = map[string]string{}
		},
		"with tokens that it does not take": func(w *world, _ int) { w.access = map[string]string{}; w.token = set("access_token", "worthless") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := Memory()
			for request := range 12 {
				w.mu.Lock()
				hostile(w, request)
				w.mu.Unlock()
				_, _, _ = w.call(w.client(Options{Store: store, SignInTimeout: 2 * time.Second}), "x")
			}
			if got := w.count("browser"); got == 0 || got > brakeCount {
				t.Errorf("a browser was opened %d times", got)
			}
		})
	}
}

func TestAClientOfAnIssuerIsNotShownToAnother(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	c := w.client(Options{ClientID: "mine", ClientSecret: NewSecret("my-secret")})
	w.mustCall(c, "x")
	w.endAccess()
	w.mu.Lock()
	w.resource = set("authorization_servers", []string{other.as.URL})
	w.mu.Unlock()
	if _, _, err := w.call(c, "y"); !errors.Is(err, ErrMismatch) {
		t.Errorf("the error is %v", err)
	}
	if n := other.count("as /token") + other.count("as /authorize"); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

func TestOfSeveralServersTheKnownOneIsKept(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "x")
	w.mu.Lock()
	w.resource = set("authorization_servers", []string{other.as.URL, w.as.URL})
	w.mu.Unlock()
	w.endAccess()
	w.mustCall(c, "y")
	w.wantCounts(map[string]int{"browser": 1, "grant refresh_token": 1})
	if other.count("as /register") != 0 {
		t.Error("the other server was used")
	}
}

func TestALoginAtAnOpenServerIsAnError(t *testing.T) {
	open := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mcp" {
			http.NotFound(rw, r)
		}
	}))
	defer open.Close()
	if err := newWorld(t).client(Options{}).Login(t.Context(), open.URL+"/mcp"); !errors.Is(err, ErrNoSignIn) {
		t.Errorf("the error is %v", err)
	}
}

func TestASecretInTheServersURLIsNotSaid(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	c := w.client(Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.handle["as /token"] = body(500, "text/html", "no")
	transport, err := c.Transport(w.server()+"?api_key=planted", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.handle[resourcePath] = http.NotFound // what the server publishes of itself is its own affair
	w.handle["mcp /authorize"], w.handle["mcp /token"], w.handle["mcp /register"] = w.serveAuthorize, w.handle["as /token"], w.serveRegister
	w.callback = inQuery("iss", "")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server()+"?api_key=planted", nil)
	_, err = transport.RoundTrip(r)
	c.Close()
	if err == nil || strings.Contains(err.Error()+log.String(), "planted") {
		t.Errorf("error %v, log %s", err, log.String())
	}
	if len(w.auths) == 0 {
		t.Error("nobody was asked")
	}
	for _, request := range w.auths {
		if strings.Contains(request.Encode(), "planted") {
			t.Errorf("the authorization server was told: %v", request)
		}
	}
}

func TestAServerThatTakesOnlyTheNameOfLoopback(t *testing.T) {
	w := newWorld(t)
	w.handle["as /register"] = func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("127.0.0.1")) {
			writeJSON(rw, 400, map[string]any{"error": "invalid_redirect_uri"})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.serveRegister(rw, r)
	}
	w.mustCall(w.client(Options{}), "x")
	if got := w.auths[0].Get("redirect_uri"); !strings.HasPrefix(got, "http://localhost:") {
		t.Errorf("the redirect URI is %s", got)
	}
}

func TestLogoutRevokesAndForgets(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	w.mustCall(c, "x")
	if err := c.Logout(t.Context(), w.server()); err != nil {
		t.Fatal(err)
	}
	if len(w.access) != 0 || len(w.refresh) != 0 {
		t.Error("tokens outlive the logout at the server")
	}
	if all, err := c.Tokens(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("after the logout there is %+v (%v)", all, err)
	}
}

func TestTokensAreListedWithoutThem(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{Scopes: []string{"read"}})
	w.mustCall(c, "x")
	all, err := c.Tokens(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v (%v)", all, err)
	}
	got := all[0]
	if got.Server != w.server() || got.Issuer != w.as.URL || got.Type != "Bearer" || !got.Refreshable || !slices.Equal(got.Scopes, []string{"read"}) || got.Expires.IsZero() {
		t.Errorf("the list says %+v", got)
	}
}

func TestARedirectCopiedByHandSignsIn(t *testing.T) {
	w := newWorld(t)
	addresses := make(chan string, 1)
	c := w.client(Options{Open: func(context.Context, string) error { return nil }, Prompt: func(p Prompt) { addresses <- p.URL }})
	done := make(chan error, 1)
	go func() { done <- c.Login(t.Context(), w.server()) }()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get(<-addresses)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if c.Complete("http://127.0.0.1:1/callback?code=x&state=guessed") {
		t.Error("an address with another state was taken")
	}
	if !c.Complete(" " + answer.Header.Get("Location") + "\n") {
		t.Error("the address was not taken")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsASignIn(t *testing.T) {
	w := newWorld(t)
	opened := make(chan struct{})
	c := w.client(Options{Open: func(context.Context, string) error { close(opened); return nil }})
	done := make(chan error, 1)
	go func() { done <- c.Login(t.Context(), w.server()) }()
	<-opened
	c.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the login ended with %v", err)
	}
}

func TestCloseLetsARenewalLand(t *testing.T) {
	w := newWorld(t)
	store := Memory()
	first := w.client(Options{Store: store})
	w.mustCall(first, "x")
	w.endAccess()
	rotated, release := make(chan struct{}), make(chan struct{})
	w.mu.Lock()
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		close(rotated)
		<-release
		w.serveToken(rw, r)
	}
	w.mu.Unlock()
	go func() { _, _, _ = w.call(first, "y") }()
	<-rotated
	closed := make(chan error, 1)
	go func() { closed <- first.Close() }()
	<-first.ctx.Done()
	close(release)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	delete(w.handle, "as /token")
	w.mu.Unlock()
	w.mustCall(w.client(Options{Store: store}), "z")
	w.wantCounts(map[string]int{"browser": 1, "as /token": 2})
}

func TestAClosedClientSaysSo(t *testing.T) {
	w := newWorld(t)
	c := w.client(Options{})
	c.Close()
	if _, _, err := w.call(c, "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
}

// Everything that a sign-in, a renewal, a refusal and a failure say, at the level Debug,
// has none of the secrets.
func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	w.registered = func(answer map[string]any) {
		answer["client_secret"] = w.secret("client")
		answer["token_endpoint_auth_method"] = "client_secret_post"
	}
	var log bytes.Buffer
	c := w.client(Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	var said []string
	w.mustCall(c, "one")
	w.endAccess()
	w.mustCall(c, "two")
	w.mu.Lock()
	clear(w.refresh)
	w.handle["as /authorize"] = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }
	w.mu.Unlock()
	w.endAccess()
	c.options.SignInTimeout = 100 * time.Millisecond
	_, _, err := w.call(c, "three")
	said = append(said, err.Error())
	c.Close()
	all := log.String() + strings.Join(said, "\n")
	if !strings.Contains(all, "signed in") || len(w.seen) < 5 {
		t.Fatalf("the test saw too little: %d secrets, log %s", len(w.seen), all)
	}
	for _, secret := range w.seen {
		if strings.Contains(all, secret) {
			t.Errorf("%q was said", secret)
		}
	}
	for _, form := range w.forms {
		for _, name := range []string{"code_verifier", "code", "refresh_token", "client_secret"} {
			if value := form.Get(name); value != "" && strings.Contains(all, value) {
				t.Errorf("the %s was said", name)
			}
		}
	}
}
