package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	json "github.com/go-json-experiment/json"
)

// A rule is what a document says that we must or should do. The tables of rfcNNNN_test.go
// name each with its section; each is checked in a world of its own.
type rule struct {
	section string
	says    string
	check   func(*world)
}

func holds(t *testing.T, document string, change func(*Provider), rules []rule) {
	for _, r := range rules {
		t.Run(fmt.Sprintf("%s §%s: %s", document, r.section, r.says), func(t *testing.T) {
			r.check(newWorld(t, change))
		})
	}
}

const testSecret = "a secret of the test client"

// extended configures every extension.
func extended(p *Provider) {
	mcp, other, signed := p.Issuer+"/mcp", p.Issuer+"/other", p.Issuer+"/signed"
	p.Resources = append(p.Resources, Resource{Path: "/signed", Scopes: testScopes, JWT: &JWT{}})
	p.Clients = []Client{
		{ID: "rs", Secret: testSecret, Introspects: []string{mcp, signed}},
		{ID: "rs-props", Secret: testSecret, Introspects: []string{mcp}, IntrospectsProps: true},
		{ID: "gateway", Secret: testSecret, Service: []Access{{Resource: mcp, Scopes: []string{"read"}}}},
		{ID: "puppet", Secret: testSecret},
		{ID: "robot", Secret: testSecret, Service: []Access{{Resource: mcp, Scopes: []string{"write"}}, {Resource: signed, Scopes: []string{"read"}}}},
		{ID: "signer", Keys: publicKeys(), Service: []Access{{Resource: mcp, Scopes: []string{"read"}}}},
		{ID: "desk", Secret: testSecret},
		{ID: "stranger", Secret: testSecret},
		{ID: "person", Secret: testSecret, RedirectURIs: []string{testRedirect}},
	}
	p.TokenExchanges = []TokenExchange{
		{Client: "gateway", To: []string{signed, mcp}}, {Client: "puppet", From: []string{mcp}, Impersonate: true}, {Client: "robot", From: []string{other}},
	}
	p.TrustedIssuers = []TrustedIssuer{{Issuer: testIdP, Keys: publicKeys(), Clients: []string{"desk"}, Scopes: []string{"write"}}}
	p.DPoP = &DPoP{NoNonces: true}
}

const testIdP = "https://idp.example"

// testKey signs whatever somebody else than the provider signs.
var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

func publicKeys() string {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: testKey().Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// change sets one claim; nil removes it.
type change struct {
	name  string
	value any
}

func changed(claims map[string]any, changes []change) map[string]any {
	for _, c := range changes {
		if claims[c.name] = c.value; c.value == nil {
			delete(claims, c.name)
		}
	}
	return claims
}

// signs makes a JWT of the test key.
func (w *world) signs(typ string, claims map[string]any) string {
	w.Helper()
	return w.signsWith(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: testKey(), KeyID: "1"}}, typ, claims)
}

func (w *world) signsWith(key jose.SigningKey, typ string, claims map[string]any) string {
	w.Helper()
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		w.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		w.Fatal(err)
	}
	return text
}

// form is what a request to the token endpoint holds; an empty value leaves a parameter
// out.
func asForm(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Add(pairs[i], pairs[i+1])
		}
	}
	return v
}

func basic(id, secret string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))}
}

// as sends a form as a client with the test secret.
func (w *world) as(client, path string, pairs ...string) answer {
	w.Helper()
	return w.posts(path, asForm(pairs...), basic(client, testSecret)...)
}

// good is the token answer of a request that has to succeed.
func (a answer) good(w *world) tokenAnswer {
	w.Helper()
	if a.status != http.StatusOK {
		w.Fatalf("got %d %s", a.status, a.body)
	}
	return parseAnswer(w.T, []byte(a.body))
}

func (w *world) wantStatus(what string, a answer, status int) {
	w.Helper()
	if a.status != status {
		w.Errorf("%s: got %d %s, want %d", what, a.status, a.body, status)
	}
}

func (w *world) refreshes(client, token string, more ...string) answer {
	w.Helper()
	return w.posts("/token", asForm(append([]string{"grant_type", "refresh_token", "refresh_token", token, "client_id", client}, more...)...))
}

// serves is a token that a client has for itself.
func (w *world) serves(client string, more ...string) answer {
	w.Helper()
	return w.as(client, "/token", append([]string{"grant_type", "client_credentials", "resource", w.url("/mcp")}, more...)...)
}

// payload are the claims of a JWT, whoever signed it.
func (w *world) payload(text string) map[string]any {
	w.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		w.Fatalf("not a JWT: %q", text)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		w.Fatal(err)
	}
	return m
}

func (w *world) metadata() map[string]any {
	w.Helper()
	return w.browser().get(w.url("/.well-known/oauth-authorization-server")).json(w)
}

func (w *world) has(list any, name string) bool {
	all, _ := list.([]any)
	for _, v := range all {
		if v == name {
			return true
		}
	}
	return false
}

// A prover makes DPoP proofs.
type prover struct {
	*world
	key *ecdsa.PrivateKey
}

func (w *world) prover() *prover {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	return &prover{w, key}
}

func (p *prover) thumbprint() string {
	b, err := (&jose.JSONWebKey{Key: p.key.Public()}).Thumbprint(5) // crypto.SHA256
	if err != nil {
		p.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (p *prover) proof(method, path, token string, changes ...change) string {
	return p.proofTyped(dpopTyp, method, path, token, changes...)
}

func (p *prover) proofTyped(typ, method, path, token string, changes ...change) string {
	p.Helper()
	claims := map[string]any{"jti": newID(), "htm": method, "htu": p.url(path), "iat": time.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ)))
	if err != nil {
		p.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(changed(claims, changes)).Serialize()
	if err != nil {
		p.Fatal(err)
	}
	return text
}

// sends is a request to the token endpoint with a proof.
func (p *prover) sends(v url.Values, header ...string) answer {
	p.Helper()
	return p.posts("/token", v, append([]string{"DPoP", p.proof("POST", "/token", "")}, header...)...)
}

// uses is a request to a resource with a bound token.
func (p *prover) uses(path, token, proof string) answer {
	p.Helper()
	return p.do(http.DefaultClient, request("POST", p.url(path), "", "Authorization", "DPoP "+token, "DPoP", proof))
}

// boundTokens are tokens of a person and a public client, bound to the prover's key.
func (p *prover) boundTokens(name string) (client string, t tokenAnswer) {
	p.Helper()
	client = p.registers()
	code := p.browser().mustAllow(p.asks(client), name)
	a := p.sends(asForm("grant_type", "authorization_code", "client_id", client, "code", code, "code_verifier", testVerifier, "redirect_uri", testRedirect))
	return client, a.good(p.world)
}
