package oauth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// splitWorld is a resource server in front of a handler, with its own address, for which
// the world is the authorization server.
type splitWorld struct {
	*world
	rs    *httptest.Server
	calls atomic.Int32 // of /introspect
}

// apart makes a world whose resources are elsewhere.
func apart(t *testing.T, res Resource, with func(*splitWorld, *ResourceServer), next http.Handler) *splitWorld {
	e := new(splitWorld)
	var h http.Handler
	e.rs = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { h.ServeHTTP(rw, r) }))
	t.Cleanup(e.rs.Close)
	res.ID = e.rs.URL + "/mcp"
	e.world = newWorld(t, func(p *Provider) {
		extended(p)
		p.Resources = append(p.Resources, Resource{ID: res.ID, Scopes: testScopes, JWT: res.JWT})
		p.Clients[0].Introspects = append(p.Clients[0].Introspects, res.ID)
		p.Clients[1].Introspects = append(p.Clients[1].Introspects, res.ID)
	})
	res.JWT = nil
	p := &ResourceServer{Issuer: e.srv.URL, Resources: []Resource{res}, Logger: slog.New(slog.DiscardHandler)}
	with(e, p)
	var err error
	if h, err = p.Protect(next); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *splitWorld) signsIn(name string, more ...string) (string, tokenAnswer) {
	e.Helper()
	return e.world.signsIn(name, append([]string{"resource", e.rs.URL + "/mcp"}, more...)...)
}

func (e *splitWorld) post(path, token, body string) answer {
	e.Helper()
	return e.do(http.DefaultClient, request("POST", e.rs.URL+path, body, "Authorization", "Bearer "+token, "Content-Type", "application/json", "Accept", "application/json, text/event-stream"))
}

// counted counts what is asked.
func (e *splitWorld) counted() *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		e.calls.Add(1)
		return http.DefaultTransport.RoundTrip(r)
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func byIntrospection(client string, cache time.Duration) func(*splitWorld, *ResourceServer) {
	return func(e *splitWorld, p *ResourceServer) {
		p.Validator = &Introspection{Endpoint: e.url("/introspect"), Issuer: e.srv.URL, ClientID: client, Secret: testSecret, Cache: cache, Client: e.counted()}
	}
}

func TestAResourceServerElsewhere(t *testing.T) {
	ways := map[string]struct {
		res  Resource
		with func(*splitWorld, *ResourceServer)
	}{
		"by introspection": {Resource{Scopes: testScopes}, byIntrospection("rs", 0)},
		"by JWT":           {Resource{Scopes: testScopes, JWT: &JWT{}}, func(e *splitWorld, p *ResourceServer) { p.Validator = &JWTVerifier{Issuer: e.srv.URL} }},
		"by an internal call": {Resource{Scopes: testScopes}, func(e *splitWorld, p *ResourceServer) {
			p.Validator = e.s
		}},
		"by introspection of a JWT": {Resource{Scopes: testScopes, JWT: &JWT{}}, byIntrospection("rs", 0)},
	}
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := auth.TokenInfoFromContext(r.Context())
		fmt.Fprintf(w, "%s %v %v %v %v %v", info.UserID, info.Scopes, info.Extra[ExtraClient], info.Extra[ExtraGrant] != "", info.Extra[ExtraResource], time.Until(info.Expiration) > 0)
	})
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			way.res.Require = []string{"read"}
			e := apart(t, way.res, way.with, tell)
			client, tok := e.signsIn("alice", "scope", "read")
			a := e.post("/mcp", tok.AccessToken, "")
			if want := fmt.Sprintf("test:alice [read] %s true %s/mcp true", client, e.rs.URL); a.status != 200 || a.body != want {
				t.Errorf("got %d %q, want %q", a.status, a.body, want)
			}
			e.wantStatus("a token for another resource", e.post("/mcp", second(e.world.signsIn("bob")).AccessToken, ""), 401)
			e.wantStatus("junk", e.post("/mcp", "junk", ""), 401)
			e.wantStatus("a refresh token", e.post("/mcp", tok.RefreshToken, ""), 401)
			other := e.do(http.DefaultClient, request("POST", e.rs.URL+"/mcp", ""))
			metadata := e.rs.URL + "/.well-known/oauth-protected-resource/mcp"
			if other.status != 401 || !strings.Contains(other.header.Get("WWW-Authenticate"), metadata) {
				t.Errorf("the challenge: %d %v", other.status, other.header)
			}
			m := e.browser().get(metadata).json(e.world)
			if m["resource"] != e.rs.URL+"/mcp" || !e.has(m["authorization_servers"], e.srv.URL) || !e.has(m["scopes_supported"], "write") {
				t.Errorf("metadata %v", m)
			}
			_, none := e.signsIn("carol", "scope", "admin")
			b := e.post("/mcp", none.AccessToken, "")
			if b.status != 403 || !strings.Contains(b.header.Get("WWW-Authenticate"), `scope="admin read"`) {
				t.Errorf("without the scope: %d %v", b.status, b.header)
			}
			c := e.do(http.DefaultClient, request("POST", e.rs.URL+"/mcp%2fx", "", "Authorization", "Bearer "+tok.AccessToken))
			e.wantStatus("an encoded slash", c, 400)
		})
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestIntrospectionIsAskedOnceInAWhileAndSeesARevocation(t *testing.T) {
	e := apart(t, Resource{Scopes: testScopes}, byIntrospection("rs", time.Second), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client, tok := e.signsIn("alice")
	for range 5 {
		e.wantStatus("good", e.post("/mcp", tok.AccessToken, ""), 200)
		e.wantStatus("junk", e.post("/mcp", "junk", ""), 401)
	}
	if n := e.calls.Load(); n != 2 {
		t.Errorf("asked %d times about two tokens", n)
	}
	e.posts("/revoke", asForm("token", tok.AccessToken, "client_id", client))
	for try := 0; e.post("/mcp", tok.AccessToken, "").status == 200; try++ {
		if try > 100 {
			t.Fatal("a revoked token is good for ever")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if i := (&Introspection{Cache: time.Hour}); i.cache() != 5*time.Second {
		t.Errorf("kept for %v", i.cache())
	}
}

func TestAnAuthorizationServerThatDoesNotAnswerIsNotALogout(t *testing.T) {
	e := apart(t, Resource{Scopes: testScopes}, byIntrospection("rs", -1), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_, tok := e.signsIn("alice")
	e.wantStatus("while it is there", e.post("/mcp", tok.AccessToken, ""), 200)
	e.srv.Close()
	a := e.post("/mcp", tok.AccessToken, "")
	if a.status != 503 || a.header.Get("WWW-Authenticate") != "" || strings.Contains(a.body, tok.AccessToken) {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
	wrong := apart(t, Resource{Scopes: testScopes}, byIntrospection("stranger", -1), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	wrong.wantStatus("not allowed to ask", wrong.post("/mcp", second(wrong.signsIn("alice")).AccessToken, ""), 503)
}

func TestPropsReachAResourceServerThatMayHaveThem(t *testing.T) {
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, Props[testPerson](r.Context()).Login) })
	for client, want := range map[string]string{"rs": "", "rs-props": "alice"} {
		e := apart(t, Resource{Scopes: testScopes}, byIntrospection(client, 0), tell)
		if a := e.post("/mcp", second(e.signsIn("alice")).AccessToken, ""); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %q", client, a.status, a.body)
		}
	}
}

// A client that hangs up while the keys are fetched must not leave the others without.
func TestWhoHangsUpDoesNotKeepTheKeysFromTheOthers(t *testing.T) {
	e := apart(t, Resource{Scopes: testScopes, JWT: &JWT{}}, func(e *splitWorld, p *ResourceServer) {
		p.Validator = &JWTVerifier{Issuer: e.srv.URL}
	}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_, tok := e.signsIn("alice")
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	v := &JWTVerifier{Issuer: e.srv.URL}
	if _, err := v.Validate(ctx, e.rs.URL+"/mcp", tok.AccessToken); err != nil {
		t.Errorf("the one who hung up: %v", err)
	}
	if good, err := v.Validate(t.Context(), e.rs.URL+"/mcp", tok.AccessToken); good == nil {
		t.Errorf("the next: %v", err)
	}
}

func TestKeysOfAnIssuerThatDoesNotAnswerAreUsedOn(t *testing.T) {
	down, asked := false, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		io.WriteString(w, publicKeys())
	}))
	defer srv.Close()
	for _, stale := range []time.Duration{issuerStale, 0} {
		down, asked = false, 0
		k := newKeySets(http.DefaultClient)
		k.stale = stale
		find := func() error { return second(k.find(t.Context(), srv.URL, "1", "ES256")) }
		later := func(by time.Duration) {
			for address, kept := range k.sets {
				kept.fetched, kept.tried = kept.fetched.Add(-by), kept.tried.Add(-by)
				k.sets[address] = kept
			}
		}
		if err := find(); err != nil {
			t.Fatal(err)
		}
		down = true
		later(keySetFresh)
		if err := find(); (err == nil) != (stale > 0) {
			t.Errorf("while it is down, stale %v: %v", stale, err)
		}
		if err := find(); (err == nil) != (stale > 0) || asked != 2 {
			t.Errorf("and again: %v, asked %d times", err, asked)
		}
		later(issuerStale)
		if err := find(); err == nil {
			t.Error("for ever")
		}
		if err := second(k.find(t.Context(), srv.URL, "2", "ES256")); err == nil {
			t.Error("a key that is not there")
		}
	}
}

func TestABoundTokenElsewhere_RFC9449_7(t *testing.T) {
	for _, on := range []bool{true, false} {
		e := apart(t, Resource{Scopes: testScopes}, func(e *splitWorld, p *ResourceServer) {
			byIntrospection("rs", 0)(e, p)
			if on {
				p.DPoP = &DPoP{NoNonces: true}
			}
		}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Authorization")) }))
		p := e.prover()
		client := e.registers()
		code := e.browser().mustAllow(e.asks(client, "resource", e.rs.URL+"/mcp"), "alice")
		tok := p.sends(asForm("grant_type", "authorization_code", "client_id", client, "code", code, "code_verifier", testVerifier)).good(e.world)
		e.wantStatus("as a bearer token", e.post("/mcp", tok.AccessToken, ""), 401)
		proof := p.proof("POST", "/mcp", tok.AccessToken, change{"htu", e.rs.URL + "/mcp"})
		a := e.do(http.DefaultClient, request("POST", e.rs.URL+"/mcp", "", "Authorization", "DPoP "+tok.AccessToken, "DPoP", proof))
		if on && (a.status != 200 || a.body != "DPoP "+tok.AccessToken) || !on && a.status != 401 {
			t.Errorf("DPoP %v: %d %s", on, a.status, a.body)
		}
	}
}

// fixed is a Validator that says what it is told to.
type fixed struct {
	v   *Validation
	err error
}

func (f fixed) Validate(context.Context, string, string) (*Validation, error) { return f.v, f.err }

func TestTheWordOfAValidatorIsCheckedAgain(t *testing.T) {
	var next http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	const id = "https://mcp.example.com/mcp"
	good := Validation{User: "u", Resource: id + "/", Expires: time.Now().Add(time.Hour)}
	for name, c := range map[string]struct {
		change func(*Validation)
		err    error
		want   int
	}{
		"good":               {func(*Validation) {}, nil, 200},
		"another resource":   {func(v *Validation) { v.Resource = "https://mcp.example.com/other" }, nil, 401},
		"no resource":        {func(v *Validation) { v.Resource = "" }, nil, 401},
		"nobody":             {func(v *Validation) { v.User = "" }, nil, 401},
		"expired":            {func(v *Validation) { v.Expires = time.Now() }, nil, 401},
		"without an end":     {func(v *Validation) { v.Expires = time.Time{} }, nil, 401},
		"bound, without how": {func(v *Validation) { v.Key = "k" }, nil, 401},
		"an outage":          {nil, ErrUnavailable, 503},
		"another error":      {nil, io.ErrUnexpectedEOF, 401},
		"no":                 {nil, nil, 401},
	} {
		f := fixed{err: c.err}
		if c.change != nil {
			v := good
			c.change(&v)
			f.v = &v
		}
		h, err := (&ResourceServer{Issuer: "https://as.example", Resources: []Resource{{ID: id}}, Validator: f, Logger: slog.New(slog.DiscardHandler)}).Protect(next)
		if err != nil {
			t.Fatal(err)
		}
		rec, req := httptest.NewRecorder(), httptest.NewRequest("POST", "/mcp", nil)
		req.Header.Set("Authorization", "Bearer x")
		h.ServeHTTP(rec, req)
		if rec.Code != c.want {
			t.Errorf("%s: %d, want %d", name, rec.Code, c.want)
		}
	}
}

func TestTokensOfOthers(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.External = validatorFunc(func(_ context.Context, resource, token string) (*Validation, error) {
			switch token {
			case "api-key":
				return &Validation{User: "key:1", Client: "cli", Resource: resource, Scopes: []string{"read"}, Expires: time.Now().Add(time.Hour)}, nil
			case "down":
				return nil, fmt.Errorf("asking: %w", ErrUnavailable)
			case "elsewhere":
				return &Validation{User: "key:1", Resource: "https://evil.example", Expires: time.Now().Add(time.Hour)}, nil
			case "":
				panic("asked about nothing")
			}
			if strings.HasPrefix(token, "cw_") {
				panic("asked about a token of ours")
			}
			return nil, nil
		})
	})
	if a := w.calls("/mcp", "api-key"); a.status != 200 || !strings.HasPrefix(a.body, "key:1  [read] cli") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	for token, want := range map[string]int{"down": 503, "elsewhere": 401, "unknown": 401, "cw_at_x.y": 401} {
		w.wantStatus(token, w.calls("/mcp", token), want)
	}
}

type validatorFunc func(context.Context, string, string) (*Validation, error)

func (f validatorFunc) Validate(ctx context.Context, resource, token string) (*Validation, error) {
	return f(ctx, resource, token)
}

func TestConfigurationsOfExtensionsThatAreRefused(t *testing.T) {
	with := func(change func(*Provider)) *Provider {
		p := &Provider{Issuer: "http://127.0.0.1:1", Login: askName{}, Resources: []Resource{{Path: "/mcp", Scopes: testScopes}, {Path: "/other"}}}
		change(p)
		return p
	}
	public := []Client{{ID: "c", RedirectURIs: []string{testRedirect}}}
	for name, change := range map[string]func(*Provider){
		"a public client that introspects": func(p *Provider) { p.Clients = public; p.Clients[0].Introspects = []string{p.Issuer + "/mcp"} },
		"one of a resource that is not there": func(p *Provider) {
			p.Clients = []Client{{ID: "c", Secret: testSecret, Introspects: []string{"https://x.example"}}}
		},
		"props without introspection": func(p *Provider) { p.Clients = []Client{{ID: "c", Secret: testSecret, IntrospectsProps: true}} },
		"a public client that acts for itself": func(p *Provider) {
			p.Clients = []Client{{ID: "c", RedirectURIs: []string{testRedirect}, Service: []Access{{Resource: p.Issuer + "/mcp"}}}}
		},
		"a scope that the resource has not": func(p *Provider) {
			p.Clients = []Client{{ID: "c", Secret: testSecret, Service: []Access{{Resource: p.Issuer + "/mcp", Scopes: []string{"x"}}}}}
		},
		"no resource of several":           func(p *Provider) { p.Clients = []Client{{ID: "c", Secret: testSecret, Service: []Access{{}}}} },
		"a secret beside keys":             func(p *Provider) { p.Clients = []Client{{ID: "c", Secret: testSecret, Keys: publicKeys()}} },
		"keys beside an address":           func(p *Provider) { p.Clients = []Client{{ID: "c", KeysURL: "https://x.example", Keys: publicKeys()}} },
		"keys that are none":               func(p *Provider) { p.Clients = []Client{{ID: "c", Keys: `{"keys":[]}`}} },
		"keys at a plain address":          func(p *Provider) { p.Clients = []Client{{ID: "c", KeysURL: "http://x.example"}} },
		"an exchange of an unknown client": func(p *Provider) { p.TokenExchanges = []TokenExchange{{Client: "c"}} },
		"an exchange of a public client": func(p *Provider) {
			p.Clients, p.TokenExchanges = []Client{{ID: "c", RedirectURIs: []string{testRedirect}}}, []TokenExchange{{Client: "c"}}
		},
		"an exchange to an unknown resource": func(p *Provider) {
			p.Clients, p.TokenExchanges = []Client{{ID: "c", Secret: testSecret}}, []TokenExchange{{Client: "c", To: []string{"x"}}}
		},
		"two exchanges of a client": func(p *Provider) {
			p.Clients, p.TokenExchanges = []Client{{ID: "c", Secret: testSecret}}, []TokenExchange{{Client: "c"}, {Client: "c"}}
		},
		"a trusted issuer without clients": func(p *Provider) { p.TrustedIssuers = []TrustedIssuer{{Issuer: testIdP, Keys: publicKeys()}} },
		"a trusted issuer at a plain address": func(p *Provider) {
			p.TrustedIssuers = []TrustedIssuer{{Issuer: "http://idp.example", Clients: []string{"c"}}}
		},
		"a trusted issuer that is this one": func(p *Provider) { p.TrustedIssuers = []TrustedIssuer{{Issuer: p.Issuer, Clients: []string{"c"}}} },
		"a trusted issuer with a public client": func(p *Provider) {
			p.Clients, p.TrustedIssuers = []Client{{ID: "c", RedirectURIs: []string{testRedirect}}}, []TrustedIssuer{{Issuer: testIdP, Clients: []string{"c"}}}
		},
		"a trusted issuer that is there twice": func(p *Provider) {
			p.TrustedIssuers = []TrustedIssuer{{Issuer: testIdP, Clients: []string{"c"}}, {Issuer: testIdP, Clients: []string{"c"}}}
		},
		"a trusted issuer with a private key": func(p *Provider) {
			p.TrustedIssuers = []TrustedIssuer{{Issuer: testIdP, Clients: []string{"c"}, Keys: `{"keys":[{"kty":"oct","k":"AAAA"}]}`}}
		},
		"a JWT of an unknown algorithm":            func(p *Provider) { p.Resources[0].JWT = &JWT{Alg: "HS256"} },
		"a JWT that lives longer than any":         func(p *Provider) { p.Resources[0].JWT = &JWT{TTL: 2 * time.Hour} },
		"a JWT that lives for a second":            func(p *Provider) { p.Resources[0].JWT = &JWT{TTL: time.Second} },
		"required proofs that nobody can give":     func(p *Provider) { p.Resources[0].RequireDPoP = true },
		"a tool whose scope is not the resource's": func(p *Provider) { p.Resources[0].Tools = map[string][]string{"t": {"x"}} },
	} {
		if _, err := with(change).Protect(t.Context(), nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := with(func(*Provider) {}).Protect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	good := ResourceServer{Issuer: "https://as.example", Resources: []Resource{{ID: "https://rs.example/mcp"}}, Validator: fixed{}}
	for name, change := range map[string]func(*ResourceServer){
		"no issuer":           func(p *ResourceServer) { p.Issuer = "" },
		"a plain issuer":      func(p *ResourceServer) { p.Issuer = "http://as.example" },
		"no validator":        func(p *ResourceServer) { p.Validator = nil },
		"no resources":        func(p *ResourceServer) { p.Resources = nil },
		"a resource by path":  func(p *ResourceServer) { p.Resources = []Resource{{Path: "/mcp"}} },
		"one there twice":     func(p *ResourceServer) { p.Resources = append(p.Resources, p.Resources[0]) },
		"a JWT":               func(p *ResourceServer) { p.Resources = []Resource{{ID: "https://rs.example/mcp", JWT: &JWT{}}} },
		"proofs without DPoP": func(p *ResourceServer) { p.Resources = []Resource{{ID: "https://rs.example/mcp", RequireDPoP: true}} },
	} {
		p := good
		change(&p)
		if _, err := p.Protect(http.NotFoundHandler()); err == nil {
			t.Errorf("a resource server with %s: accepted", name)
		}
	}
}

// mailServer is an MCP server of the SDK, which knows nothing of scopes.
func mailServer() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "mail", Version: "1"}, nil)
	for _, name := range []string{"list", "send", "purge"} {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " for " + auth.TokenInfoFromContext(ctx).UserID}}}, nil, nil
		})
	}
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
}

func TestAToolThatNeedsScopesIsCalledWithThemOnly(t *testing.T) {
	e := apart(t, Resource{Scopes: testScopes, Require: []string{"read"}, Tools: map[string][]string{"send": {"write"}, "purge": {"write", "admin"}}}, byIntrospection("rs", 0), mailServer())
	call := func(tool string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, tool)
	}
	_, reader := e.signsIn("alice", "scope", "read")
	_, writer := e.signsIn("alice", "scope", "write")
	_, all := e.signsIn("alice", "scope", "write admin")
	for _, c := range []struct {
		token, tool string
		want        int
		scope       string
	}{
		{reader.AccessToken, "list", 200, ""},
		{reader.AccessToken, "send", 403, "read write"},
		{reader.AccessToken, "purge", 403, "read write admin"},
		{writer.AccessToken, "list", 200, ""},
		{writer.AccessToken, "send", 200, ""},
		{writer.AccessToken, "purge", 403, "write read admin"},
		{all.AccessToken, "purge", 200, ""},
		{reader.AccessToken, "unknown", 200, ""}, // the server says so itself
	} {
		a := e.post("/mcp", c.token, call(c.tool))
		challenge := a.header.Get("WWW-Authenticate")
		if a.status != c.want || c.want == 403 && (!strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="`+c.scope+`"`) || !strings.Contains(challenge, "resource_metadata=")) {
			t.Errorf("%s: %d %s %s", c.tool, a.status, a.body, challenge)
		}
		if c.want == 200 && c.tool != "unknown" && !strings.Contains(a.body, c.tool+" for test:alice") {
			t.Errorf("%s: %s", c.tool, a.body)
		}
	}
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"in a batch":                     {"[" + call("list") + "," + call("send") + "]", 403},
		"escaped":                        {`{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"\u0073end"}}`, 403},
		"the method twice":               {`{"method":"tools/call","params":{"name":"send"},"method":"tools/list"}`, 403},
		"the name twice":                 {`{"method":"tools/call","params":{"name":"send","name":"list"}}`, 403},
		"the params twice":               {`{"method":"tools/call","params":{"name":"send"},"params":{"name":"list"}}`, 403},
		"in another case":                {`{"Method":"tools/call","PARAMS":{"Name":"send"}}`, 403},
		"with a letter that folds to s":  {`{"method":"tools/call","param\u017f":{"name":"send"}}`, 403},
		"after another message":          {call("list") + call("send"), 403},
		"in a batch in a batch":          {"[[" + call("send") + "]]", 403},
		"not JSON":                       {call("send") + "x", 400},
		"cut off":                        {call("send")[:60], 400},
		"nothing that calls":             {`{"jsonrpc":"2.0","id":1,"method":"ping"}`, 200},
		"the name as an argument":        {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list","arguments":{}},"x":{"name":"send"}}`, 200},
		"not JSON, and nothing in there": {`{"jsonrpc"`, 400},
	} {
		if a := e.post("/mcp", reader.AccessToken, c.body); a.status != c.want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	gzipped := e.do(http.DefaultClient, request("POST", e.rs.URL+"/mcp", "x", "Authorization", "Bearer "+reader.AccessToken, "Content-Encoding", "gzip"))
	e.wantStatus("an encoded body", gzipped, 415)
	e.wantStatus("too large a body", e.post("/mcp", reader.AccessToken, strings.Repeat(" ", maxCall+1)), 413)
	get := e.do(http.DefaultClient, request("GET", e.rs.URL+"/mcp", "", "Authorization", "Bearer "+reader.AccessToken, "Accept", "text/event-stream"))
	e.wantStatus("no body", get, 405) // the SDK's answer for a stateless server
}

// TestTheSDKsClientStepsUp wants a client that acts on the challenge to get its call
// through.
func TestTheSDKsClientStepsUp(t *testing.T) {
	e := apart(t, Resource{Scopes: testScopes, Require: []string{"read"}, Tools: map[string][]string{"send": {"write"}}}, byIntrospection("rs", 0), mailServer())
	b := e.browser()
	asked := []string{}
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "SDK", RedirectURIs: []string{testRedirect}, GrantTypes: []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		}},
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			_, q := b.allows(args.URL, "alice").location()
			u, _ := url.Parse(args.URL)
			scopes := strings.Fields(u.Query().Get("scope"))
			slices.Sort(scopes)
			asked = append(asked, strings.Join(scopes, " "))
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: e.rs.URL + "/mcp", OAuthHandler: handler}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, tool := range []string{"list", "send", "list"} {
		res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool})
		if err != nil || res.Content[0].(*mcp.TextContent).Text != tool+" for test:alice" {
			t.Fatalf("%s: %v %v", tool, res, err)
		}
	}
	if got, _ := json.Marshal(asked); string(got) != `["read","read write"]` {
		t.Errorf("asked for %s", got)
	}
}
