package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mcp/causeway/oauth/internal/outward"
	"github.com/causeway-mcp/causeway/store"
)

const (
	grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	profileIDJAG   = "urn:ietf:params:oauth:grant-profile:id-jag"
	// identityTyp is the typ of an Identity Assertion Authorization Grant.
	identityTyp = "oauth-id-jag+jwt"

	identityPrefix = "oauth/identity/"
	// maxIdentityLife bounds how long an assertion may be good for.
	maxIdentityLife = 5 * time.Minute
	// metadataFresh is how long an issuer's metadata are believed.
	metadataFresh = time.Hour
	// issuerStale is how long an issuer's keys are used while it does not answer.
	issuerStale       = 24 * time.Hour
	issuerFetchTime   = 10 * time.Second
	maxIssuerDocument = 256 << 10
)

// identityAlgs are what a trusted issuer may sign with.
var identityAlgs = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

// A TrustedIssuer is the identity provider of an enterprise, whose word about a person
// is enough: a client that signed the person in there brings an assertion of the issuer
// (an Identity Assertion Authorization Grant, "ID-JAG",
// draft-ietf-oauth-identity-assertion-authz-grant) and gets an access token, without
// that the person is asked here. The issuer has decided who may use which client.
type TrustedIssuer struct {
	// Issuer is its URL, as its assertions have it in "iss".
	Issuer string
	// KeysURL is where its public keys are (a JWK set). Empty: its metadata say.
	KeysURL string
	// Keys is its JWK set as JSON, instead.
	Keys string
	// Clients are the client_ids that may bring its assertions; each must have a secret
	// or a key. At least one.
	Clients []string
	// Scopes are the most that its assertions can give. Empty is all of the resource.
	Scopes []string
	// Person says who it is, from checked claims, and may refuse with [ErrNotAllowed].
	// Nil is the person with the ID "issuer#subject", as oauth/login/oidc has it, so that
	// a person is the same whichever way they came; the props are the [Identity].
	Person func(context.Context, *Identity) (*Person, error)
	// Client fetches metadata and keys. Nil is one that follows no redirects.
	Client *http.Client
}

// An Identity is what a trusted issuer asserts.
type Identity struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Client   string `json:"client_id"`
	Resource string `json:"resource"`
	Email    string `json:"email,omitempty"`
	// Claims are all of them.
	Claims jsontext.Value `json:"-"`
}

// trusted is a TrustedIssuer at work.
type trusted struct {
	TrustedIssuer
	fixed *jose.JSONWebKeySet
	keys  *keySets
	http  *http.Client

	mu      sync.Mutex
	keysURL string
	asOf    time.Time
	tried   time.Time
}

func (s *Server) setTrusted() error {
	s.trusted = map[string]*trusted{}
	for _, given := range s.provider.TrustedIssuers {
		t, err := s.newTrusted(given)
		if err != nil {
			return fmt.Errorf("TrustedIssuers: %q: %w", given.Issuer, err)
		}
		if s.trusted[t.Issuer] != nil {
			return fmt.Errorf("TrustedIssuers: %q is there twice", given.Issuer)
		}
		s.trusted[t.Issuer] = t
	}
	return nil
}

func (s *Server) newTrusted(given TrustedIssuer) (*trusted, error) {
	t := &trusted{TrustedIssuer: given, keysURL: given.KeysURL, http: given.Client}
	if t.http == nil {
		t.http = newConfiguredClient()
	}
	t.keys = newKeySets(t.http)
	t.keys.stale = issuerStale
	for _, address := range []string{given.Issuer, given.KeysURL} {
		if address != "" && !isConfiguredURL(address) {
			return nil, fmt.Errorf("%q: want an https URL (http on loopback)", address)
		}
	}
	switch {
	case given.Issuer == "" || given.Issuer == s.provider.Issuer:
		return nil, errors.New("want the URL of another issuer")
	case len(given.Clients) == 0:
		return nil, errors.New("no Clients are named that may bring its assertions")
	case given.Keys != "":
		var err error
		if t.fixed, err = parseKeySet([]byte(given.Keys)); err != nil || len(t.fixed.Keys) == 0 {
			return nil, errors.New("its Keys are not a set of public keys (RFC 7517 §5)")
		}
	}
	for _, id := range given.Clients {
		if c := s.clients[id]; c != nil && c.public() {
			return nil, fmt.Errorf("client %q has neither a secret nor a key", id)
		}
	}
	return t, nil
}

// newConfiguredClient is for addresses that the owner of the server configured.
func newConfiguredClient() *http.Client {
	return &http.Client{
		Timeout:       issuerFetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func isConfiguredURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && u.User == nil && u.Fragment == "" &&
		(u.Scheme == "https" || u.Scheme == "http" && isLoopbackHost(u.Hostname()))
}

// errBadIdentity is the one answer to all assertions that are refused; the log says why.
func errBadIdentity() *wireError { return errInvalidGrant("the assertion is not valid") }

// grantAsserted answers a token request with an assertion of a trusted issuer (RFC 7523
// §2.1).
func (s *Server) grantAsserted(r *http.Request, c *client, f form, bound string) ([]byte, error) {
	if c.public() {
		return nil, errUnauthorizedClient("a client without a secret or a key may not bring assertions")
	}
	if f.get("assertion") == "" {
		return nil, errInvalidRequest("assertion is missing")
	}
	asserted, err := s.checkIdentity(r.Context(), c, f.get("assertion"), bound)
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		s.log.WarnContext(r.Context(), "oauth: identity assertion refused", "client", c.ID, "err", err)
		return nil, errBadIdentity()
	}
	res := asserted.resource
	if named, werr := s.namedResource(f); werr != nil || named != "" && named != res.id {
		return nil, errInvalidTarget("resource is not that of the assertion")
	}
	scopes, werr := asserted.scopes(f.get("scope"))
	if werr != nil {
		return nil, werr
	}
	person, err := asserted.person(r.Context())
	if err != nil {
		s.log.WarnContext(r.Context(), "oauth: identity assertion refused", "client", c.ID, "err", err)
		return nil, errBadIdentity()
	}
	if err := s.useIdentityOnce(r.Context(), asserted); err != nil {
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		s.log.WarnContext(r.Context(), "oauth: identity assertion refused", "client", c.ID, "err", err)
		return nil, errBadIdentity()
	}
	made := grant{
		Kind: kindAsserted, Client: c.ID, ClientName: c.Name, User: person.ID, UserName: person.Name, Resource: res.id, Scopes: scopes,
	}
	answer, err := s.grants.createDirect(r.Context(), made, person.Props, bound, time.Time{})
	if err != nil {
		return nil, err
	}
	s.tellGranted(r.Context(), &made)
	return answer, nil
}

// identityClaims are those of an assertion (ID-JAG §3.1).
type identityClaims struct {
	jwt.Claims
	Client   string         `json:"client_id"`
	Resource audience       `json:"resource"`
	Scope    string         `json:"scope"`
	Email    string         `json:"email"`
	Details  any            `json:"authorization_details"`
	Confirm  map[string]any `json:"cnf"`
}

// assertedIdentity is an assertion that was checked.
type assertedIdentity struct {
	from     *trusted
	claims   identityClaims
	all      jsontext.Value
	resource *resource
}

func (s *Server) checkIdentity(ctx context.Context, c *client, text, bound string) (*assertedIdentity, error) {
	if len(text) > maxAssertion {
		return nil, errors.New("it is too long")
	}
	parsed, err := jwt.ParseSigned(text, identityAlgs)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, errors.New("it is no JWT signed with RS256, ES256 or EdDSA")
	}
	if typ, _ := parsed.Headers[0].ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(typ, "application/"), identityTyp) {
		return nil, errors.New("its typ is another one")
	}
	var unverified jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return nil, errors.New("its claims are malformed")
	}
	t := s.trusted[unverified.Issuer]
	if t == nil || !slices.Contains(t.Clients, c.ID) {
		return nil, errors.New("its issuer is not trusted with this client")
	}
	key, err := t.key(ctx, parsed.Headers[0].KeyID, parsed.Headers[0].Algorithm)
	if err != nil {
		return nil, fmt.Errorf("finding the key: %w", err)
	}
	a := &assertedIdentity{from: t}
	var all map[string]any
	if err := parsed.Claims(key, &a.claims, &all); err != nil {
		return nil, errors.New("its signature is wrong, or its claims are malformed")
	}
	if a.all, err = json.Marshal(all, json.Deterministic(true)); err != nil {
		return nil, errors.New("its claims are malformed")
	}
	if a.resource = s.assertedResource(a.claims.Resource); a.resource == nil {
		return nil, errors.New("its resource is not one of ours")
	}
	return a, a.claims.check(s.provider.Issuer, c.ID, bound, time.Now())
}

func (s *Server) assertedResource(named audience) *resource {
	switch len(named) {
	case 0:
		return s.onlyOr("")
	case 1:
		return s.onlyOr(named[0])
	}
	return nil
}

func (c *identityClaims) check(issuer, client, bound string, now time.Time) error {
	switch {
	case len(c.Audience) != 1 || c.Audience[0] != issuer:
		return errors.New("its aud is not this server alone")
	case c.Client != client:
		return errors.New("it is for another client")
	case c.Subject == "" || c.ID == "" || c.Expiry == nil || c.IssuedAt == nil:
		return errors.New("sub, jti, exp or iat is missing")
	case !now.Before(c.Expiry.Time().Add(assertionSkew)):
		return errors.New("it has expired")
	case c.IssuedAt.Time().After(now.Add(assertionSkew)), c.NotBefore != nil && c.NotBefore.Time().After(now.Add(assertionSkew)):
		return errors.New("it is from the future")
	case c.Expiry.Time().Sub(c.IssuedAt.Time()) > maxIdentityLife, c.Expiry.Time().After(now.Add(maxIdentityLife + assertionSkew)):
		return errors.New("it would be good for more than five minutes")
	case c.Details != nil:
		return errors.New("it has authorization_details, which are not understood here")
	case c.Confirm != nil && (len(c.Confirm) != 1 || bound == "" || c.Confirm["jkt"] != bound):
		return errors.New("it is bound to a key that the request does not prove")
	}
	return nil
}

// scopes are those of the assertion, as far as the configuration allows, or fewer that
// were asked for.
func (a *assertedIdentity) scopes(asked string) ([]string, *wireError) {
	granted := a.resource.grantable(a.claims.Scope)
	if granted == nil {
		return nil, errInvalidScope("none of the scopes of the assertion belongs to the resource")
	}
	if len(a.from.Scopes) > 0 {
		granted = slices.DeleteFunc(granted, func(name string) bool { return !a.resource.covers(a.from.Scopes, name) })
	}
	return a.resource.within(granted, asked)
}

func (a *assertedIdentity) person(ctx context.Context) (*signedIn, error) {
	identity := &Identity{
		Issuer: a.claims.Issuer, Subject: a.claims.Subject, Client: a.claims.Client, Resource: a.resource.id, Email: a.claims.Email, Claims: a.all,
	}
	if a.from.Person == nil {
		return encodePerson(&Person{ID: identity.Issuer + "#" + identity.Subject, Name: identity.Email, Props: identity})
	}
	p, err := a.from.Person(ctx, identity)
	if err != nil {
		return nil, fmt.Errorf("mapping the subject: %w", err)
	}
	return encodePerson(p)
}

// useIdentityOnce writes down that the assertion was used, on all nodes.
func (s *Server) useIdentityOnce(ctx context.Context, a *assertedIdentity) error {
	sum := sha256.Sum256(joinParts([]string{a.claims.Issuer, a.claims.ID}))
	ttl := time.Until(a.claims.Expiry.Time()) + 2*assertionSkew
	_, err := s.records.Put(ctx, identityPrefix+hex.EncodeToString(sum[:]), []byte("{}"), 0, &store.PutOptions{TTL: ttl})
	if errors.Is(err, store.ErrConflict) {
		return errors.New("it was used before")
	}
	if err != nil {
		return fmt.Errorf("%w: writing down an assertion: %w", ErrUnavailable, err)
	}
	return nil
}

// key finds the key that the issuer signed with.
func (t *trusted) key(ctx context.Context, id, alg string) (any, error) {
	if t.fixed != nil {
		return pickKey(t.fixed, id, alg)
	}
	address, err := t.keysAddress(ctx)
	if err != nil {
		return nil, err
	}
	return t.keys.find(ctx, address, id, alg)
}

// keysAddress is configured, or found in the issuer's metadata: of OpenID Connect, else
// of RFC 8414.
func (t *trusted) keysAddress(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.KeysURL != "" || time.Since(t.asOf) < metadataFresh {
		return t.keysURL, nil
	}
	if time.Since(t.tried) < keySetRefresh && t.keysURL == "" {
		return "", errors.New("its metadata could not be read a moment ago")
	}
	if time.Since(t.tried) < keySetRefresh {
		return t.keysURL, nil
	}
	t.tried = time.Now()
	found, err := t.discover(context.WithoutCancel(ctx)) // who hangs up must not leave the others without keys
	if err != nil && t.keysURL == "" {
		return "", err
	}
	if err == nil {
		t.keysURL, t.asOf = found, t.tried
	}
	return t.keysURL, nil
}

func (t *trusted) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(t.Issuer)
	if err != nil {
		return "", fmt.Errorf("reading its address: %w", err)
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.Path, "/")
	var last error
	for _, address := range []string{origin + path + "/.well-known/openid-configuration", origin + authServerMetadataPath + path} {
		text, _, err := outward.Get(ctx, t.http, address, maxIssuerDocument)
		if err != nil {
			last = fmt.Errorf("fetching its metadata: %w", err)
			continue
		}
		var m struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(text, &m); err != nil || m.Issuer != t.Issuer || !isConfiguredURL(m.Keys) {
			last = errors.New("its metadata are of another issuer, or name no keys") // RFC 8414 §3.3
			continue
		}
		return m.Keys, nil
	}
	return "", last
}
