package oauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Behaviours of the original (docs/security-behaviours.md) that no other test shows.

func TestEachResourceReachesItsOwnHandler(t *testing.T) {
	w := newWorld(t, nil)
	mux := http.NewServeMux()
	for _, path := range []string{"/mcp", "/other"} {
		mux.HandleFunc(path, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "handler of "+path) })
	}
	w.s.gate.next = mux
	for _, path := range []string{"/mcp", "/other"} {
		_, tok := w.signsIn("alice", "resource", w.url(path))
		if a := w.calls(path, tok.AccessToken); a.body != "handler of "+path {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
	}
}

func TestEveryLifetimeIsCheckedWhenTheProgramStarts(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(p *Provider, d time.Duration)
		good []time.Duration
		bad  []time.Duration
	}{
		{"CodeTTL", func(p *Provider, d time.Duration) { p.CodeTTL = d }, []time.Duration{0, time.Second, 10 * time.Minute}, []time.Duration{-1, time.Millisecond, 10*time.Minute + 1}},
		{"AccessTTL", func(p *Provider, d time.Duration) { p.AccessTTL = d }, []time.Duration{0, 60 * time.Second}, []time.Duration{-1, 59 * time.Second, 31 * 24 * time.Hour}},
		{"IdleTTL", func(p *Provider, d time.Duration) { p.IdleTTL = d }, []time.Duration{0, time.Minute}, []time.Duration{-1, time.Second}},
		{"GrantTTL", func(p *Provider, d time.Duration) { p.GrantTTL = d }, []time.Duration{0, time.Minute}, []time.Duration{-1, time.Second}},
		{"Grace", func(p *Provider, d time.Duration) { p.Grace = d }, []time.Duration{0, time.Second}, []time.Duration{-1, time.Millisecond, time.Hour}},
		{"Escrow.Ahead", func(p *Provider, d time.Duration) { p.Escrow = &Escrow{Ahead: d} }, []time.Duration{0, time.Minute, -1}, []time.Duration{time.Second}},
	} {
		for _, d := range append(c.good, c.bad...) {
			p := &Provider{Issuer: "http://127.0.0.1:9", Login: askName{}}
			c.set(p, d)
			_, err := p.Protect(t.Context(), nil)
			if want := slices.Contains(c.bad, d); (err != nil) != want {
				t.Errorf("%s %v: %v", c.name, d, err)
			}
		}
	}
}

func TestRefusedRegistrationsLeaveNothing(t *testing.T) {
	w := newWorld(t, nil)
	before := count(t, w.s.records, "oauth/")
	for _, m := range []map[string]any{
		{"redirect_uris": []string{testRedirect}, "token_endpoint_auth_method": "magic"},
		{"redirect_uris": []string{testRedirect}, "grant_types": []string{"password"}},
		{"redirect_uris": []string{testRedirect}, "response_types": []string{"token"}},
		{"redirect_uris": []string{testRedirect, "javascript:x"}},
		{"redirect_uris": []string{}},
	} {
		if a := w.registersAs(m); a.status != 400 {
			t.Errorf("%v: %d", m, a.status)
		}
	}
	if n := count(t, w.s.records, "oauth/"); n != before {
		t.Errorf("%d records are left", n-before)
	}
}

// Extension grants are for clients that the operator knows: nobody registers for them.
func TestARegistrationGetsNoExtensionGrants(t *testing.T) {
	w := newWorld(t, nil)
	m := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}, "grant_types": []string{"authorization_code", grantTokenExchange, grantJWTBearer, grantClientCredentials}}).json(w)
	if got := fmt.Sprint(m["grant_types"]); got != "[authorization_code]" {
		t.Errorf("got %s", got)
	}
	id, secret := m["client_id"].(string), m["client_secret"].(string)
	for _, grant := range []string{grantTokenExchange, grantJWTBearer, grantClientCredentials} {
		a := w.posts("/token", url.Values{"grant_type": {grant}, "client_id": {id}, "client_secret": {secret}})
		if a.status != 400 || a.json(w)["access_token"] != nil {
			t.Errorf("%s: %d %s", grant, a.status, a.body)
		}
	}
}

func TestARegistrationLivesByItsUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := ownServer(t, nil)
		register := func() string {
			r := httptest.NewRequest("POST", "/register", strings.NewReader(`{"redirect_uris":["`+testRedirect+`"],"token_endpoint_auth_method":"none"}`))
			answer, err := s.keepClient(r, &clientMetadata{RedirectURIs: []string{testRedirect}, AuthMethod: authNone}, authNone)
			if err != nil {
				t.Fatal(err)
			}
			return answer.ClientID
		}
		there := func(id string) bool { _, err := s.client(t.Context(), id); return err == nil }
		use := func(id string) {
			c, err := s.client(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			s.touch(t.Context(), c)
		}
		never, once, often := register(), register(), register()
		use(once)
		time.Sleep(unusedTTL + time.Second)
		if there(never) {
			t.Error("one that nobody signed in to is kept for more than an hour")
		}
		if _, err := s.records.Get(t.Context(), unusedPrefix+once); err == nil {
			t.Error("one in use counts as unused")
		}
		_ = often
		often = register()
		use(often)
		for range 4 {
			time.Sleep(clientTTL/2 + time.Hour) // into its second half, where a use prolongs it
			use(often)
		}
		if there(once) {
			t.Error("one that was not used for 90 days is kept")
		}
		if !there(often) {
			t.Error("one that is used is not")
		}
		if _, ok := s.clients[testClient]; !ok || !there(testClient) {
			t.Error("a configured client is gone")
		}
	})
}

func TestConfiguredClientsNeedNoRegistration(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.NoRegistration, p.NoClientDocuments = true, true
		p.Clients = []Client{{ID: "known", RedirectURIs: []string{testRedirect}}, {ID: "https://known.example/client", RedirectURIs: []string{testRedirect}}}
	})
	for _, id := range []string{"known", "https://known.example/client"} {
		tok := w.tokens(id, w.browser().mustAllow(w.asks(id), "alice"))
		if a := w.calls("/mcp", tok.AccessToken); a.status != 200 {
			t.Errorf("%s: %d", id, a.status)
		}
	}
	if a := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}}); a.status != 404 {
		t.Errorf("a registration: %d", a.status)
	}
}

func TestAMissingResponseTypeIsToldBeforePKCE(t *testing.T) {
	w := newWorld(t, nil)
	_, q := w.browser().get(w.asks(w.registers(), "response_type", "", "code_challenge", "", "code_challenge_method", "")).location()
	if q.Get("error") != "invalid_request" || !strings.Contains(q.Get("error_description"), "response_type") {
		t.Errorf("got %v", q)
	}
}

func TestTheTokenEndpointTakesWhatClientsSend(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code_verifier": {testVerifier}}
	for media, want := range map[string]int{
		"application/x-www-form-urlencoded; charset=UTF-8": 200,
		"Application/X-WWW-Form-Urlencoded":                200,
		"application/x-www-form-urlencoded-not":            400,
		"multipart/form-data; boundary=x":                  400,
		"application/json":                                 400,
		";":                                                400,
	} {
		form.Set("code", w.browser().mustAllow(w.asks(client), "alice")) // and no redirect_uri: the verifier is enough (OAuth 2.1 §4.1.3)
		a := w.do(http.DefaultClient, request("POST", w.url("/token"), form.Encode(), "Content-Type", media))
		if (a.status == 200) != (want == 200) || a.status >= 500 {
			t.Errorf("%q: %d %s", media, a.status, a.body)
		}
	}
}

func TestAWrongSecretDoesNotConsumeTheCodeAndTheReasonIsInTheLogOnly(t *testing.T) {
	w := newWorld(t, nil)
	m := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}, "token_endpoint_auth_method": "client_secret_post"}).json(w)
	id, secret := m["client_id"].(string), m["client_secret"].(string)
	code := w.browser().mustAllow(w.asks(id), "alice")
	wrong := w.sends(id, code, "client_secret", secret[:len(secret)-1]+"A")
	wrong.wantError(w, 401, "invalid_client")
	basic := w.posts("/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {testVerifier}},
		"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	basic.wantError(w, 401, "invalid_client")
	if wrong.json(w)["error_description"] != basic.json(w)["error_description"] {
		t.Error("the answers tell a wrong secret from a wrong method")
	}
	if !strings.Contains(w.logs.String(), "registered=client_secret_post") || !strings.Contains(w.logs.String(), "used=client_secret_basic") {
		t.Error("the log does not say why")
	}
	if a := w.sends(id, code, "client_secret", secret); a.status != 200 {
		t.Errorf("then with the right one: %d %s", a.status, a.body)
	}
}

// A grant as it was written before grants held tokens of the login. Its tokens work on.
func TestTokensFromBeforeAnUpgradeWork(t *testing.T) {
	record, err := os.ReadFile("testdata/grant-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := os.ReadFile("testdata/grant-v1.tokens")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(tokens)) // a key, an access and a refresh token, made for this test and good nowhere
	keys, err := ParseKeys([]byte("active " + words[0]))
	if err != nil {
		t.Fatal(err)
	}
	memory := store.NewMemory()
	defer memory.Close()
	s := testGrants(t, memory, testPolicy())
	s.mint = &mint{prefix: "cw", keys: keys}
	tok, err := s.mint.parse(kindRefresh, words[2])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := memory.Put(t.Context(), grantPrefix+tok.id, record, 0, nil); err != nil {
		t.Fatal(err)
	}
	if !s.works(t, words[1]) {
		t.Error("the access token does not work")
	}
	if a := s.mustRotate(t, words[2]); !s.works(t, a.AccessToken) {
		t.Error("the refreshed one does not work")
	}
}

func TestResourcesOfAllFormsOfHosts(t *testing.T) {
	for _, host := range []string{"[::1]:8080", "127.0.0.1:8080", "localhost:8080"} {
		p := &Provider{Issuer: "http://" + host, Login: askName{}}
		s, err := p.Protect(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]bool{
			"http://" + host + "/mcp":                                     true,
			"HTTP://" + strings.ToUpper(host) + "/mcp":                    true,
			"http://" + host + "/mcp/":                                    true, // clients spell it so
			"http://" + host + "/MCP":                                     false,
			"http://" + host + "/mcpv2":                                   false,
			"http://" + host + "/mcp/below":                               false,
			"https://" + host + "/mcp":                                    false,
			"http://" + strings.Replace(host, "8080", "8081", 1) + "/mcp": false,
			"http://evil.example/mcp":                                     false,
			"http://" + host + "/mcp?x=1":                                 false, // RFC 8707 §2
			"http://user@" + host + "/mcp":                                false,
		} {
			if got := s.resourceByID(id) != nil; got != want {
				t.Errorf("%s: %v", id, got)
			}
		}
	}
}

func TestTheQueryOfARequestIsNoPartOfTheResource(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice")
	for _, path := range []string{"/mcp?x=1", "/mcp/below?resource=other", "/mcp/?"} {
		if a := w.calls(path, tok.AccessToken); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := w.calls("/mcpv2", tok.AccessToken); a.status != 404 {
		t.Errorf("a sibling: %d", a.status) // it is not protected, nor is it the resource
	}
}

func TestAPathBelowAnotherResourceIsItsOwn(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Resources = append(p.Resources, Resource{Path: "/mcp/inner"}) })
	_, outer := w.signsIn("alice")
	_, inner := w.signsIn("alice", "resource", w.url("/mcp/inner"))
	for path, want := range map[string][2]int{"/mcp/x": {200, 401}, "/mcp/inner": {401, 200}, "/mcp/inner/x": {401, 200}} {
		if got := [2]int{w.calls(path, outer.AccessToken).status, w.calls(path, inner.AccessToken).status}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestChallengesAndMetadataNeverNameOfflineAccess(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice", "scope", "read offline_access")
	for _, a := range []answer{
		w.calls("/mcp", "x"), w.do(http.DefaultClient, request("POST", w.url("/mcp"), "")), w.calls("/mcp/admin", tok.AccessToken),
		w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp")),
	} {
		if strings.Contains(a.body+fmt.Sprint(a.header), "offline_access") {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
}

func TestADocumentThatIsSentSlowlyIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		defer memory.Close()
		d := newDocuments(memory, testGrants(t, memory, testPolicy()).log)
		d.http.Transport = roundTrip(func(r *http.Request) *http.Response {
			body, w := io.Pipe()
			go func() {
				defer w.Close()
				for r.Context().Err() == nil {
					if _, err := w.Write([]byte(" ")); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
				w.CloseWithError(r.Context().Err())
			}()
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r}
		})
		start := time.Now()
		if _, err := d.client(t.Context(), documentID); err == nil {
			t.Error("there is a client")
		}
		if took := time.Since(start); took > documentTimeout+2*time.Second {
			t.Errorf("given up after %v of the clock of this test", took)
		}
		synctest.Wait()
	})
}

func TestADocumentThatFailsAtTheTokenEndpointIsInvalidClientAndTheReasonInTheLog(t *testing.T) {
	w := newWorld(t, nil)
	o := withOrigin(w.s.documents, "")
	o.serve = func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusInternalServerError) }
	a := w.sends(documentID, "cw_code_none")
	a.wantError(w, 401, "invalid_client")
	if strings.Contains(a.body, "500") || strings.Contains(a.body, "app.example") {
		t.Errorf("the answer says too much: %s", a.body)
	}
	if !strings.Contains(w.logs.String(), "app.example") {
		t.Errorf("the log does not say why: %s", w.logs)
	}
}

func TestCORSIsForWhatReadsNoCookie(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.AllowedOrigins = []string{"https://app.example"} })
	origin := []string{"Origin", "https://app.example"}
	for _, path := range []string{"/token", "/register", "/revoke"} {
		a := w.do(http.DefaultClient, request("POST", w.url(path), "", origin...))
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	for _, path := range []string{"/authorize", "/consent", "/account", "/account.json", "/callback"} {
		for _, method := range []string{"GET", "OPTIONS"} {
			a := w.do(w.browser().http, request(method, w.url(path), "", origin...))
			if a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s: %v", method, path, a.header)
			}
		}
	}
	for from, want := range map[string]string{"https://app.example": "https://app.example", "https://evil.example": "", "": ""} {
		var header []string
		if from != "" {
			header = []string{"Origin", from}
		}
		a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), "", header...))
		if a.header.Get("Access-Control-Allow-Origin") != want || want != "" && !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			t.Errorf("the challenge for %q: %v", from, a.header)
		}
	}
	w.s.gate.next = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Access-Control-Expose-Headers", "Mine")
	})
	_, tok := w.signsIn("alice")
	if a := w.calls("/mcp", tok.AccessToken, origin...); a.header.Get("Access-Control-Expose-Headers") != "Mine" {
		t.Errorf("the handler's own headers: %v", a.header)
	}
}

func TestConsentsAndSignInsEndByThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := ownServer(t, nil)
		for _, k := range []kind{kindConsent, kindLogin} {
			handle, err := s.begin(t.Context(), k, "browser", &transaction{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(transactionTTL + time.Second)
			if _, _, err := s.take(t.Context(), k, handle.text, []string{"browser"}); err == nil {
				t.Errorf("%s is good for ever", k)
			}
		}
	})
}

func TestClientsThatProveThemselvesAreBoundedFromAllAddressesTogether(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Limits.Client = 0.1 // two at once
		p.Clients = []Client{
			{ID: "one", Secret: "sixteen characters", RedirectURIs: []string{testRedirect}},
			{ID: "two", Secret: "sixteen characters", RedirectURIs: []string{testRedirect}},
		}
		n := byte(0)
		p.ClientAddr = func(*http.Request) netip.Addr { n++; return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	})
	ask := func(id, secret string) int {
		return w.posts("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {id}, "client_secret": {secret}}).status
	}
	for range 5 {
		if got := ask("one", "a guess of sixteen"); got != 401 {
			t.Errorf("a guess: %d", got) // and it takes nothing from who knows the secret
		}
	}
	got := []int{ask("one", "sixteen characters"), ask("one", "sixteen characters"), ask("one", "sixteen characters"), ask("two", "sixteen characters")}
	if want := []int{400, 400, 429, 400}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !strings.Contains(w.logs.String(), "too many requests of one client") {
		t.Error("nobody is told")
	}
}

// A miss costs no read of the store, however it looks; a token that was ours costs one.
func TestMissesCostTheSame(t *testing.T) {
	memory := store.NewMemory()
	defer memory.Close()
	counting := &everyRead{Records: memory}
	s := testGrants(t, counting, testPolicy())
	a := s.mustRedeem(t, s.mustCreate(t))
	head, secret, _ := strings.Cut(a.AccessToken, ".")
	guess := []byte(secret)
	for i := range guess {
		guess[i] = 'A' + (guess[i]+13)%26
	}
	foreign := (&mint{prefix: "cw", keys: NewKeys()}).issue(kindAccess, newID())
	for name, text := range map[string]string{
		"nothing": "", "junk": "junk", "the grant of somebody and a guess": head + "." + string(guess), "a token of another server": foreign.text,
		"another kind": a.RefreshToken, "endless": strings.Repeat("a", 1<<20), "its own with a changed end": a.AccessToken[:len(a.AccessToken)-1] + "-",
	} {
		before := counting.reads.Load()
		if v, err := s.validate(t.Context(), text); v != nil || err != nil {
			t.Errorf("%s: %v %v", name, v, err)
		}
		if n := counting.reads.Load() - before; n != 0 {
			t.Errorf("%s costs %d reads", name, n)
		}
	}
}

type everyRead struct {
	store.Records
	reads atomic.Int64
}

func (c *everyRead) Get(ctx context.Context, key string) (store.Record, error) {
	c.reads.Add(1)
	return c.Records.Get(ctx, key)
}

func (c *everyRead) GetCached(ctx context.Context, key string) (store.Record, time.Duration, error) {
	c.reads.Add(1)
	return c.Records.GetCached(ctx, key)
}

var behaviourRow = regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \| (.*) \|$`)

// TestTheListOfBehavioursIsComplete keeps docs/security-behaviours.md honest: every one of
// the 191 is there, and each either names tests that exist or says why it has none.
func TestTheListOfBehavioursIsComplete(t *testing.T) {
	doc, err := os.ReadFile("../docs/security-behaviours.md")
	if err != nil {
		t.Fatal(err)
	}
	names, source := testsOf(t, ".", "login", "login/github", "login/oidc")
	rows := behaviourRow.FindAllStringSubmatch(string(doc), -1)
	if len(rows) != 191 {
		t.Fatalf("%d rows, want 191", len(rows))
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	for i, row := range rows {
		if row[1] != strconv.Itoa(i+1) {
			t.Errorf("row %d has number %s", i+1, row[1])
		}
		shown := quoted.FindAllStringSubmatch(row[3], -1)
		reasoned := strings.Contains(row[3], "Not applicable:") || strings.Contains(row[3], "Better rule:")
		tests := 0
		for _, s := range shown {
			name, sub, _ := strings.Cut(s[1], "/")
			if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") {
				continue
			}
			tests++
			if !names[name] {
				t.Errorf("behaviour %s names %s, which is not there", row[1], name)
			}
			if sub != "" && !strings.Contains(source, sub) {
				t.Errorf("behaviour %s names %q of %s, which is not there", row[1], sub, name)
			}
		}
		if tests == 0 && !reasoned {
			t.Errorf("behaviour %s has neither a test nor a reason", row[1])
		}
	}
}

func testsOf(t *testing.T, dirs ...string) (names map[string]bool, source string) {
	names = map[string]bool{}
	var all strings.Builder
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			b, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(b, -1) {
				names[string(m[1])] = true
			}
		}
	}
	return names, all.String()
}
