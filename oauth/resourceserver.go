package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// A ResourceServer is the protected side alone, where the authorization server is
// elsewhere: a [Provider] in another process, or anybody's. It serves the metadata of
// its resources (RFC 9728), challenges who has no token, and checks each token with
// Validator. Handlers behind it find the same as behind a Provider.
type ResourceServer struct {
	// Issuer is the URL of the authorization server.
	Issuer string
	// Resources are what is protected, each with an ID.
	Resources []Resource
	// Validator says whether a token is good: an [Introspection], a [JWTVerifier], a
	// *[Server] in the same process, or the author's own.
	Validator Validator
	// DPoP checks the proofs of bound tokens (RFC 9449). Nil refuses bound tokens.
	DPoP *DPoP
	// AllowedOrigins are the web origins whose scripts may read a challenge.
	AllowedOrigins []string
	// Logger gets security events. Nil is slog.Default().
	Logger *slog.Logger
}

// remote is a ResourceServer at work.
type remote struct {
	resources resourceList
	gate      *gate
	routes    map[string]http.HandlerFunc
}

// Protect checks the configuration and puts the protection in front of next, as
// [Provider.Protect] does. The handler is safe for concurrent use.
func (p *ResourceServer) Protect(next http.Handler) (http.Handler, error) {
	if !isConfiguredURL(p.Issuer) {
		return nil, fmt.Errorf("oauth: the Issuer %q is not an https URL (http on loopback)", p.Issuer)
	}
	if p.Validator == nil || len(p.Resources) == 0 || next == nil {
		return nil, errors.New("oauth: a ResourceServer needs Resources, a Validator and a handler")
	}
	rs := &remote{routes: map[string]http.HandlerFunc{}}
	rs.gate = newGate(next, cmpLog(p.Logger), p.AllowedOrigins, p.DPoP)
	rs.gate.identify = func(ctx context.Context, res *resource, token string) (*identity, error) {
		v, err := p.Validator.Validate(ctx, res.id, token)
		if v == nil || err != nil {
			return nil, err
		}
		return v.checked(rs.gate, res)
	}
	for _, given := range p.Resources {
		if err := rs.add(given, p); err != nil {
			return nil, fmt.Errorf("oauth: resource %q: %w", cmpOr(given.ID, given.Path), err)
		}
	}
	rs.resources.sort()
	return rs, nil
}

func (rs *remote) add(given Resource, p *ResourceServer) error {
	u, err := url.Parse(given.ID)
	if err != nil || given.ID == "" {
		return errors.New("want an ID: the URL that clients know it by")
	}
	if given.Path == "" {
		given.Path = cmpOr(strings.TrimSuffix(u.Path, "/"), "/")
	}
	switch {
	case given.JWT != nil:
		return errors.New("JWT is for the authorization server")
	case given.RequireDPoP && p.DPoP == nil:
		return errors.New("RequireDPoP without DPoP")
	}
	res, err := newResource("", given)
	if err != nil {
		return err
	}
	if err := rs.resources.add(res); err != nil {
		return err
	}
	m, _ := url.Parse(res.metadata)
	rs.routes[m.Path] = serveResourceMetadata(res, p.Issuer, rs.gate.dpop)
	return nil
}

// ServeHTTP implements http.Handler.
func (rs *remote) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if own := rs.routes[r.URL.Path]; own != nil && r.URL.RawPath == "" {
		own(w, r)
		return
	}
	rs.resources.serve(rs.gate, w, r)
}

func cmpLog(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return l
}

// A JWTVerifier is a [Validator] for JWT access tokens (RFC 9068), which asks nobody: it
// needs the keys of the issuer only, and those now and then. So it cannot know of
// revocations: a token is good until it ends. It is safe for concurrent use, and must not
// be copied after its first use.
type JWTVerifier struct {
	// Issuer is the authorization server, as its tokens have it in "iss".
	Issuer string
	// KeysURL is its jwks_uri. Empty: its metadata say.
	KeysURL string
	// Client fetches metadata and keys. Nil is one that follows no redirects and waits 10
	// seconds.
	Client *http.Client

	once sync.Once
	from *trusted

	mu   sync.Mutex
	kept map[[sha256.Size]byte]verifiedJWT
}

// verifiedJWT is a token whose signature was checked. A key that the issuer withdraws is
// no good from then on, so the check is not for ever.
type verifiedJWT struct {
	v    *Validation
	asOf time.Time
}

// Validate implements [Validator]. It checks what RFC 9068 §4 says: typ, signature, iss,
// aud and exp.
func (j *JWTVerifier) Validate(ctx context.Context, resourceID, accessToken string) (*Validation, error) {
	j.once.Do(j.setUp)
	if len(accessToken) > maxJWT {
		return nil, nil
	}
	// The signature of a token stays good, so it is checked once for each.
	key := sha256.Sum256(joinParts([]string{resourceID, accessToken}))
	j.mu.Lock()
	kept := j.kept[key]
	j.mu.Unlock()
	now := time.Now()
	if kept.v != nil && now.Before(kept.v.Expires) && now.Sub(kept.asOf) < keySetFresh {
		return kept.v, nil
	}
	v, err := j.verify(ctx, resourceID, accessToken)
	if v == nil || err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.kept) >= maxVerified {
		for old := range j.kept { // any one
			delete(j.kept, old)
			break
		}
	}
	j.kept[key] = verifiedJWT{v, now}
	return v, nil
}

func (j *JWTVerifier) setUp() {
	j.kept = map[[sha256.Size]byte]verifiedJWT{}
	j.from = &trusted{TrustedIssuer: TrustedIssuer{Issuer: j.Issuer, KeysURL: j.KeysURL}, keysURL: j.KeysURL, http: j.Client}
	if j.from.http == nil {
		j.from.http = newConfiguredClient()
	}
	j.from.keys = newKeySets(j.from.http)
	j.from.keys.stale = issuerStale
}

func (j *JWTVerifier) verify(ctx context.Context, resourceID, text string) (*Validation, error) {
	parsed, err := jwt.ParseSigned(text, identityAlgs)
	if err != nil || len(parsed.Headers) != 1 || !isAccessTyp(parsed.Headers[0]) {
		return nil, nil
	}
	key, err := j.from.key(ctx, parsed.Headers[0].KeyID, parsed.Headers[0].Algorithm)
	switch {
	case errors.Is(err, errNoKey):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: finding the key of a token: %w", ErrUnavailable, err)
	}
	claims := new(accessClaims)
	if err := parsed.Claims(key, claims); err != nil {
		return nil, nil
	}
	return claims.validation(j.Issuer, resourceID, time.Now())
}

func (c *accessClaims) validation(issuer, resourceID string, now time.Time) (*Validation, error) {
	switch {
	case c.Issuer != issuer:
		return nil, errors.New("the token is of another issuer")
	case !slices.ContainsFunc(c.Aud, func(aud string) bool { return sameResource(aud, resourceID) }):
		return nil, errors.New("the token is for another resource")
	case c.Subject == "" || c.Client == "" || c.ID == "" || c.Issued == 0 || c.Expires == 0:
		return nil, errors.New("the token lacks a claim that it must have (RFC 9068 §2.2)")
	case now.Unix() >= c.Expires:
		return nil, nil
	case c.Issued > now.Add(assertionSkew).Unix():
		return nil, errors.New("the token is from the future")
	}
	grant, _, _ := strings.Cut(c.ID, ".")
	v := &Validation{
		Issuer: issuer, User: c.Subject, Client: c.Client, Resource: resourceID, Scopes: strings.Fields(c.Scope),
		Expires: time.Unix(c.Expires, 0), Key: c.Confirm.bound(), Actors: c.Actor.actors(),
	}
	if isID(grant) {
		v.Grant = grant
	}
	return v, nil
}
