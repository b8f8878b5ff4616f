package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// give answers token requests with one token that the MCP server takes.
func (w *world) give(check func(r *http.Request) *AuthError) {
	w.access["given"] = "read"
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		w.mu.Lock()
		w.forms = append(w.forms, r.PostForm)
		w.mu.Unlock()
		if err := check(r); err != nil {
			writeJSON(rw, 400, map[string]any{"error": err.Code, "error_description": err.Description})
			return
		}
		writeJSON(rw, 200, map[string]any{"access_token": "given", "token_type": "Bearer", "expires_in": 60})
	}
}

func TestClientCredentialsWithASecret(t *testing.T) {
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t)
			w.metadata = set("token_endpoint_auth_methods_supported", []string{method})
			w.give(func(r *http.Request) *AuthError {
				id, secret, basic := r.BasicAuth()
				if !basic {
					id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
				}
				if basic != (method == "client_secret_basic") || id != "a%3Ab" && basic || r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Get("resource") != w.server() || !strings.Contains(secret, "p") {
					return &AuthError{Code: "invalid_client", Description: id + " " + r.PostForm.Encode()}
				}
				return nil
			})
			w.mustCall(w.client(Options{ClientID: "a:b", ClientSecret: NewSecret("p&q"), Grant: ClientCredentials{}, Issuer: w.as.URL}), "x")
			w.wantCounts(map[string]int{"browser": 0, "as /register": 0})
		})
	}
}

func TestAClientAssertionIsSignedForTheIssuer(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for name, test := range map[string]struct {
		key       crypto.Signer
		algorithm string
		want      jose.SignatureAlgorithm
	}{
		"ECDSA by its curve": {ec, "", jose.ES384}, "RSA": {rs, "", jose.RS256}, "RSA as it is told": {rs, "PS256", jose.PS256}, "Ed25519": {ed, "", jose.EdDSA},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.metadata = set("token_endpoint_auth_methods_supported", []string{"private_key_jwt"})
			seen := map[string]bool{}
			w.give(func(r *http.Request) *AuthError {
				token, err := jwt.ParseSigned(r.PostForm.Get("client_assertion"), []jose.SignatureAlgorithm{test.want})
				var claims jwt.Claims
				if err == nil {
					err = token.Claims(test.key.Public(), &claims)
				}
				if err == nil {
					err = claims.Validate(jwt.Expected{Issuer: "me", Subject: "me", AnyAudience: jwt.Audience{w.as.URL}})
				}
				if err != nil || claims.ID == "" || seen[claims.ID] || claims.Expiry.Time().After(time.Now().Add(5*time.Minute)) || token.Headers[0].KeyID != "k1" {
					return &AuthError{Code: "invalid_client", Description: "bad assertion"}
				}
				seen[claims.ID] = true
				return nil
			})
			c := w.client(Options{ClientID: "me", PrivateKey: test.key, KeyID: "k1", Algorithm: test.algorithm, Grant: ClientCredentials{}})
			w.mustCall(c, "x")
			if err := c.Login(t.Context(), w.server()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAWorkloadThatIsRefusedTriesNothingElse(t *testing.T) {
	w := newWorld(t)
	w.give(func(r *http.Request) *AuthError {
		if r.PostForm.Get("assertion") != "platform-jwt" || r.PostForm.Get("grant_type") != bearerGrant {
			return &AuthError{Code: "invalid_request"}
		}
		return &AuthError{Code: "invalid_grant"}
	})
	asked := ""
	c := w.client(Options{ClientID: "workload", Grant: WorkloadIdentity{Assertion: func(_ context.Context, issuer string) (Secret, error) {
		asked = issuer
		return NewSecret("platform-jwt"), nil
	}}})
	_, _, err := w.call(c, "x")
	if !isCode(err, "invalid_grant") || asked != w.as.URL || len(w.forms) != 1 {
		t.Errorf("error %v, audience %q, %d token requests", err, asked, len(w.forms))
	}
	w.wantCounts(map[string]int{"browser": 0})
}

func TestAnIDTokenBecomesATokenThroughAnIDJAG(t *testing.T) {
	w := newWorld(t)
	provider := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		if r.PostForm.Get("audience") != w.as.URL || r.PostForm.Get("resource") != w.server() || r.PostForm.Get("subject_token") != "id-token" ||
			r.PostForm.Get("requested_token_type") != idJAG || id != "idp-me" || secret != "idp-secret" {
			writeJSON(rw, 400, map[string]any{"error": "invalid_request"})
			return
		}
		kind := idJAG
		if r.URL.Path == "/wrong" {
			kind = "urn:ietf:params:oauth:token-type:access_token"
		}
		writeJSON(rw, 200, map[string]any{"access_token": "the-jag", "issued_token_type": kind, "token_type": "N_A", "expires_in": 60})
	}))
	defer provider.Close()
	w.give(func(r *http.Request) *AuthError {
		if r.PostForm.Get("assertion") != "the-jag" || r.PostForm.Get("grant_type") != bearerGrant {
			return &AuthError{Code: "invalid_grant"}
		}
		return nil
	})
	options := func(path string) Options {
		return Options{ClientID: "me", ClientSecret: NewSecret("s"), Grant: EnterpriseManaged{
			TokenEndpoint: provider.URL + path, ClientID: "idp-me", ClientSecret: NewSecret("idp-secret"),
			Subject: func(context.Context) (Secret, error) { return NewSecret("id-token"), nil },
		}}
	}
	w.mustCall(w.client(options("/token")), "x")
	if _, _, err := w.call(w.client(options("/wrong")), "x"); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("something that is no ID-JAG: %v", err)
	}
	w.wantCounts(map[string]int{"browser": 0})
}

func TestADeviceCodeIsTypedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.metadata = set("device_authorization_endpoint", w.as.URL+"/device")
	w.handle["as /device"] = func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if r.PostForm.Get("client_id") == "" || r.PostForm.Get("resource") != w.server() {
			writeJSON(rw, 400, map[string]any{"error": "invalid_request"})
			return
		}
		writeJSON(rw, 200, map[string]any{"device_code": "dev", "user_code": "WDJB-MJHT", "verification_uri": w.as.URL + "/type", "expires_in": 60, "interval": 1})
	}
	w.access["given"] = ""
	polls := 0
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		polls++
		switch {
		case r.PostForm.Get("device_code") != "dev" || r.PostForm.Get("grant_type") != deviceGrant || r.PostForm.Get("resource") != w.server():
			writeJSON(rw, 400, map[string]any{"error": "invalid_request"})
		case polls < 2:
			writeJSON(rw, 400, map[string]any{"error": "authorization_pending"})
		default:
			writeJSON(rw, 200, map[string]any{"access_token": "given", "token_type": "bearer"})
		}
	}
	prompts := make(chan Prompt, 1)
	opened := make(chan string, 1)
	c := w.client(Options{Grant: DeviceCode{}, Prompt: func(p Prompt) { prompts <- p }, Open: func(_ context.Context, address string) error { opened <- address; return nil }})
	w.mustCall(c, "x")
	if p := <-prompts; p.UserCode != "WDJB-MJHT" || p.URL != w.as.URL+"/type" || p.Expires.IsZero() {
		t.Errorf("the person was told %+v", p)
	}
	if address := <-opened; address != w.as.URL+"/type" {
		t.Errorf("%s was opened", address)
	}
	w.wantCounts(map[string]int{"as /register": 1})
}

func TestADevicePageThatIsNoPageIsNotShown(t *testing.T) {
	w := newWorld(t)
	w.metadata = set("device_authorization_endpoint", w.as.URL+"/device")
	w.handle["as /device"] = body(200, "application/json", `{"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)","expires_in":60}`)
	c := w.client(Options{Grant: DeviceCode{}, Prompt: func(p Prompt) { t.Errorf("the person was told %+v", p) }})
	if _, _, err := w.call(c, "x"); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("the error is %v", err)
	}
}

// bound makes the world's tokens bound ones, checked as RFC 9449 says, with nonces if asked.
func (w *world) bound(nonces bool) (proofs *[]string) {
	proofs = new([]string)
	seen := map[string]bool{}
	jkt := ""
	verify := func(r *http.Request, target, token, nonce string) string {
		parsed, err := jwt.ParseSigned(r.Header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil || parsed.Headers[0].JSONWebKey == nil || !parsed.Headers[0].JSONWebKey.IsPublic() || parsed.Headers[0].ExtraHeaders["typ"] != "dpop+jwt" {
			return "no proof"
		}
		var claims map[string]any
		if err := parsed.Claims(parsed.Headers[0].JSONWebKey, &claims); err != nil {
			return "bad signature"
		}
		sum, _ := parsed.Headers[0].JSONWebKey.Thumbprint(crypto.SHA256)
		print := base64.RawURLEncoding.EncodeToString(sum)
		id, _ := claims["jti"].(string)
		switch {
		case jkt != "" && print != jkt:
			return "another key"
		case seen[id] || id == "":
			return "replayed"
		case claims["htm"] != r.Method || claims["htu"] != target:
			return "another request"
		case nonce != "" && claims["nonce"] != nonce:
			return "use_dpop_nonce"
		}
		if token != "" {
			sum := sha256.Sum256([]byte(token))
			if claims["ath"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
				return "another token"
			}
		}
		jkt, seen[id] = print, true
		*proofs = append(*proofs, id)
		return ""
	}
	asNonce, rsNonce := "", ""
	if nonces {
		asNonce, rsNonce = "as-nonce", "rs-nonce"
	}
	w.metadata = set("dpop_signing_alg_values_supported", []string{"ES256"})
	w.resource = set("dpop_bound_access_tokens_required", true)
	w.handle["as /token"] = func(rw http.ResponseWriter, r *http.Request) {
		if why := verify(r, w.as.URL+"/token", "", asNonce); why != "" {
			rw.Header().Set("DPoP-Nonce", asNonce)
			writeJSON(rw, 400, map[string]any{"error": why})
			return
		}
		w.serveToken(rw, r)
	}
	w.token = set("token_type", "DPoP")
	w.handle["mcp /mcp"] = func(rw http.ResponseWriter, r *http.Request) {
		kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if kind == "DPoP" {
			if why := verify(r, w.server(), token, rsNonce); why != "" {
				rw.Header().Set("DPoP-Nonce", rsNonce)
				rw.Header().Set("WWW-Authenticate", `DPoP error="`+why+`"`)
				rw.WriteHeader(401)
				return
			}
			r.Header.Set("Authorization", "Bearer "+token)
		} else {
			r.Header.Del("Authorization")
		}
		w.serveMCP(rw, r)
	}
	return proofs
}

func TestBoundTokensHaveAProofEachTime(t *testing.T) {
	for name, nonces := range map[string]bool{"without nonces": false, "with nonces": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			proofs := w.bound(nonces)
			store := Memory()
			c := w.client(Options{Store: store})
			w.mustCall(c, "one")
			w.mustCall(c, "two")
			w.endAccess()
			w.mustCall(c, "three") // the renewal is bound to the same key
			w.mustCall(w.client(Options{Store: store}), "four")
			if len(*proofs) < 6 || w.auths[0].Get("dpop_jkt") == "" {
				t.Errorf("%d proofs, dpop_jkt %q", len(*proofs), w.auths[0].Get("dpop_jkt"))
			}
			if all, err := c.Tokens(t.Context()); err != nil || all[0].Type != "DPoP" {
				t.Errorf("the list says %+v (%v)", all, err)
			}
			w.wantCounts(map[string]int{"browser": 1})
		})
	}
}

func TestTheOrderOfRegistration(t *testing.T) {
	const document = "https://app.example/client.json"
	for name, test := range map[string]struct {
		options Options
		support bool
		want    string
		dcr     int
	}{
		"registered beforehand comes first":           {Options{ClientID: "mine", ClientMetadataURL: document}, true, "mine", 0},
		"then a metadata document where it works":     {Options{ClientMetadataURL: document}, true, document, 0},
		"then registration, where documents do not":   {Options{ClientMetadataURL: document}, false, "client-1", 1},
		"registration when nothing else is there":     {Options{}, true, "client-1", 1},
		"with a name of its own and more of metadata": {Options{ClientName: "Loom", ClientMetadata: map[string]any{"logo_uri": "https://app.example/l.png"}}, false, "client-1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.metadata = set("client_id_metadata_document_supported", test.support)
			w.mustCall(w.client(test.options), "x")
			if got := w.auths[0].Get("client_id"); got != test.want {
				t.Errorf("the client is %q, want %q", got, test.want)
			}
			w.wantCounts(map[string]int{"as /register": test.dcr})
			if test.dcr == 0 {
				return
			}
			sent := w.clients["client-1"]
			if sent["application_type"] != "native" || sent["token_endpoint_auth_method"] != "none" || !slices.Contains(sent["grant_types"].([]any), any("refresh_token")) {
				t.Errorf("it registered as %v", sent)
			}
			if test.options.ClientName != "" && (sent["client_name"] != "Loom" || sent["logo_uri"] == nil) {
				t.Errorf("it registered as %v", sent)
			}
			if uri := sent["redirect_uris"].([]any)[0].(string); !strings.HasPrefix(uri, "http://127.0.0.1:") || len(uri) < 40 {
				t.Errorf("the redirect URI %s can be guessed", uri)
			}
		})
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for says, options := range map[string]Options{
		"ClientSecret without": {ClientSecret: NewSecret("x")}, "AuthMethod \"mtls\"": {ClientID: "a", AuthMethod: "mtls"}, "without PrivateKey": {ClientID: "a", AuthMethod: authKey},
		"must be an ECDSA": {ClientID: "a", PrivateKey: p224}, "does not go with": {ClientID: "a", PrivateKey: p256, Algorithm: "RS256"},
		"https and have a path": {ClientMetadataURL: "https://a.example"}, "sets state": {AuthorizeParams: url.Values{"state": {"x"}}},
		"sets redirect_uri": {AuthorizeParams: url.Values{"redirect_uri": {"x"}}}, "CallbackHost": {CallbackHost: "0.0.0.0"}, "CallbackPath": {CallbackPath: "x"}, "CallbackPort": {CallbackPort: 70000},
		"SuccessURL": {SuccessURL: "javascript:alert(1)"}, "without query": {SuccessURL: "https://a.example/?x"}, "needs a ClientSecret": {Grant: ClientCredentials{}},
		"needs a ClientID": {Grant: WorkloadIdentity{Assertion: func(context.Context, string) (Secret, error) { return Secret{}, nil }}}, "without Assertion": {ClientID: "a", Grant: WorkloadIdentity{}},
		"without Subject": {ClientID: "a", Grant: EnterpriseManaged{}}, "sets redirect_uris": {ClientMetadata: map[string]any{"redirect_uris": []string{"x"}}},
		"ClientMetadata: json": {ClientMetadata: map[string]any{"x": func() {}}}, "Issuer": {Issuer: "ldap://a"}, "other endpoints": {ClientID: "a", TokenEndpoint: "https://a.example/t"},
	} {
		if _, err := New(options); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the options that should say %q say %v", says, err)
		}
	}
}

func TestAServerOf20250326HasItsOwnOrigin(t *testing.T) {
	for name, withMetadata := range map[string]bool{"with metadata": true, "without any": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.handle[resourcePath] = http.NotFound
			w.handle["mcp /authorize"], w.handle["mcp /token"], w.handle["mcp /register"] = w.serveAuthorize, w.serveToken, w.serveRegister
			w.callback = inQuery("iss", "")
			if withMetadata {
				w.handle["mcp /.well-known/oauth-authorization-server"] = func(rw http.ResponseWriter, _ *http.Request) {
					base := w.mcp.URL
					writeJSON(rw, 200, map[string]any{"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "registration_endpoint": base + "/register", "code_challenge_methods_supported": []string{"S256"}})
				}
			}
			w.mustCall(w.client(Options{}), "x")
			w.wantCounts(map[string]int{"mcp /token": 1, "as /token": 0})
		})
	}
}

func TestMetadataIsLookedForInTheOrderOfTheSpecification(t *testing.T) {
	w := newWorld(t)
	var asked []string
	w.as.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.NotFound(rw, r)
	})
	w.resource = set("authorization_servers", []string{w.as.URL + "/tenant"})
	if _, _, err := w.call(w.client(Options{}), "x"); !errors.Is(err, ErrBadAnswer) {
		t.Fatal(err)
	}
	want := []string{"/.well-known/oauth-authorization-server/tenant", "/.well-known/openid-configuration/tenant", "/tenant/.well-known/openid-configuration"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestAnIDTokenEndsWhenItSays(t *testing.T) {
	for token, want := range map[string]int64{
		"e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1700000000}`)) + ".sig": 1700000000,
		"e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":"x"}`)) + ".sig":        0,
		"opaque": 0, "a.b.c": 0, "": 0,
	} {
		got := endOf(token)
		if want == 0 && !got.IsZero() || want != 0 && got.Unix() != want {
			t.Errorf("%s ends at %v", token, got)
		}
	}
}

func TestOptionsOfOtherClients(t *testing.T) {
	w := newWorld(t)
	w.token = set("id_token", "the-id-token")
	w.access["the-id-token"] = "openid"
	w.mustCall(w.client(Options{UseIDToken: true, Scopes: []string{"openid"}, AuthorizeParams: url.Values{"audience": {"api"}}, CallbackPath: "/oauth/callback", CallbackHost: "localhost"}), "x")
	got := w.auths[0]
	redirect, _ := url.Parse(got.Get("redirect_uri"))
	if got.Get("audience") != "api" || got.Get("scope") != "openid" || redirect.Path != "/oauth/callback" || redirect.Hostname() != "localhost" {
		t.Errorf("the authorization request is %v", got)
	}
}
