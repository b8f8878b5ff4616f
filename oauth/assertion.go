package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/singleflight"

	"github.com/causeway-mcp/causeway/oauth/internal/outward"
	"github.com/causeway-mcp/causeway/store"
)

const (
	// authAssertion is private_key_jwt (RFC 7523 §2.2, OIDC Core §9).
	authAssertion = "private_key_jwt"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionTyp says that the audience is the issuer alone (RFC 7523bis).
	assertionTyp = "client-authentication+jwt"

	assertionPrefix  = "oauth/assertion/"
	maxAssertion     = 16 << 10
	assertionSkew    = time.Minute
	maxAssertionLife = time.Hour

	maxKeySet     = 64 << 10
	maxKeys       = 256
	keySetFresh   = 5 * time.Minute
	keySetRefresh = 30 * time.Second // between fetches for a key that is not there
	maxKeySets    = 1024
)

var assertionAlgs = []string{"RS256", "ES256"}

var errBadAssertion = errors.New("oauth: client assertion refused")

// checkAssertion says whether the client with this id, and nobody else, made the
// assertion (RFC 7523 §3). An assertion is good once.
func (s *Server) checkAssertion(ctx context.Context, c *client, text string) error {
	if len(text) > maxAssertion {
		return fmt.Errorf("%w: too long", errBadAssertion)
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return fmt.Errorf("%w: it is no JWT signed with RS256 or ES256", errBadAssertion)
	}
	key, err := s.keyOf(ctx, c, parsed.Headers[0].KeyID, parsed.Headers[0].Algorithm)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadAssertion, err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(key, &claims); err != nil {
		return fmt.Errorf("%w: its signature is wrong", errBadAssertion)
	}
	typ, _ := parsed.Headers[0].ExtraHeaders[jose.HeaderType].(string)
	if err := s.checkAssertionClaims(c, &claims, typ, time.Now()); err != nil {
		return err
	}
	return s.useOnce(ctx, c, &claims)
}

func (s *Server) checkAssertionClaims(c *client, claims *jwt.Claims, typ string, now time.Time) error {
	audiences := []string{s.provider.Issuer}
	if !strings.EqualFold(typ, assertionTyp) {
		audiences = append(audiences, s.url("/token"))
	}
	switch {
	case claims.Issuer != c.ID || claims.Subject != c.ID:
		return fmt.Errorf("%w: iss and sub are not the client", errBadAssertion)
	case len(claims.Audience) != 1 || !slices.Contains(audiences, claims.Audience[0]):
		return fmt.Errorf("%w: aud is not this server alone", errBadAssertion)
	case claims.Expiry == nil || claims.ID == "":
		return fmt.Errorf("%w: exp or jti is missing", errBadAssertion)
	case !now.Before(claims.Expiry.Time().Add(assertionSkew)):
		return fmt.Errorf("%w: it has expired", errBadAssertion)
	case claims.Expiry.Time().After(now.Add(maxAssertionLife + assertionSkew)):
		return fmt.Errorf("%w: it would be good for more than an hour", errBadAssertion)
	case claims.NotBefore != nil && claims.NotBefore.Time().After(now.Add(assertionSkew)),
		claims.IssuedAt != nil && claims.IssuedAt.Time().After(now.Add(assertionSkew)):
		return fmt.Errorf("%w: it is from the future", errBadAssertion)
	}
	return nil
}

// useOnce writes down that the assertion was used. When that is not known to have worked,
// it was not used.
func (s *Server) useOnce(ctx context.Context, c *client, claims *jwt.Claims) error {
	sum := sha256.Sum256(joinParts([]string{c.ID, claims.ID}))
	ttl := time.Until(claims.Expiry.Time()) + 2*assertionSkew
	_, err := s.records.Put(ctx, assertionPrefix+hex.EncodeToString(sum[:]), []byte("{}"), 0, &store.PutOptions{TTL: ttl})
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: it was used before", errBadAssertion)
	}
	if err != nil {
		return fmt.Errorf("%w: writing down an assertion: %w", ErrUnavailable, err)
	}
	return nil
}

// assertedClient reads which client an assertion is of, before anything is checked.
func assertedClient(text string) string {
	if len(text) > maxAssertion {
		return ""
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return ""
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return ""
	}
	return claims.Subject
}

// keyOf returns the key of a client that an assertion names.
func (s *Server) keyOf(ctx context.Context, c *client, id, alg string) (any, error) {
	switch {
	case c.keys != nil:
		return pickKey(c.keys, id, alg)
	case c.keysURI == "":
		return nil, errNoKey
	case c.source == fromConfiguration:
		return s.configuredKeys.find(ctx, c.keysURI, id, alg)
	}
	return s.documents.keys.find(ctx, c.keysURI, id, alg)
}

// keySets are public keys, by the address where they are published.
type keySets struct {
	http   *http.Client
	flight singleflight.Group
	// stale is how long keys are used whose address does not answer.
	stale time.Duration

	mu   sync.Mutex
	sets map[string]fetchedKeys
}

type fetchedKeys struct {
	set     *jose.JSONWebKeySet
	fetched time.Time
	tried   time.Time
	failed  error // of the last try
}

func newKeySets(c *http.Client) *keySets {
	return &keySets{http: c, sets: map[string]fetchedKeys{}}
}

var errNoKey = errors.New("there is no such key")

// find returns the key with an id out of those published at an address. A key that is
// not there may be a new one, so the set is fetched again, but not at every request.
func (k *keySets) find(ctx context.Context, address, id, alg string) (any, error) {
	k.mu.Lock()
	kept := k.sets[address]
	k.mu.Unlock()
	if time.Since(kept.fetched) < keySetFresh {
		if key, err := pickKey(kept.set, id, alg); err == nil {
			return key, nil
		}
	}
	if time.Since(kept.tried) >= keySetRefresh {
		// Many may wait for one fetch, so it does not end with the first of them: who
		// hangs up must not leave the others without keys.
		renewed, _, _ := k.flight.Do(address, func() (any, error) {
			return k.renew(context.WithoutCancel(ctx), address, kept), nil
		})
		kept = renewed.(fetchedKeys)
	}
	switch {
	case kept.failed == nil && kept.set != nil:
		return pickKey(kept.set, id, alg)
	case kept.set != nil && time.Since(kept.fetched) < k.stale:
		if key, err := pickKey(kept.set, id, alg); err == nil {
			return key, nil
		}
	}
	return nil, cmpErr(kept.failed, errNoKey)
}

func cmpErr(err, otherwise error) error {
	if err == nil {
		return otherwise
	}
	return err
}

// renew fetches a set anew and keeps what came of it.
func (k *keySets) renew(ctx context.Context, address string, kept fetchedKeys) fetchedKeys {
	kept.tried = time.Now()
	set, err := k.fetch(ctx, address)
	if kept.failed = err; err == nil {
		kept.set, kept.fetched = set, kept.tried
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sets) >= maxKeySets {
		clear(k.sets)
	}
	k.sets[address] = kept
	return kept
}

func (k *keySets) fetch(ctx context.Context, uri string) (*jose.JSONWebKeySet, error) {
	text, _, err := outward.Get(ctx, k.http, uri, maxKeySet)
	if err != nil {
		return nil, fmt.Errorf("fetching keys: %w", err)
	}
	return parseKeySet(text)
}

// parseKeySet reads a JWK set. One with a private or shared key is refused: it is not a
// secret any more.
func parseKeySet(text []byte) (*jose.JSONWebKeySet, error) {
	var raw struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil || len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: not a key set", errBadDocument)
	}
	set := new(jose.JSONWebKeySet)
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil {
			continue // of a type that is not used here
		}
		if !key.IsPublic() {
			return nil, fmt.Errorf("%w: a key that is not public", errBadDocument)
		}
		set.Keys = append(set.Keys, key)
	}
	return set, nil
}

// pickKey finds the key with an id, or without an id the only one that fits.
func pickKey(set *jose.JSONWebKeySet, id, alg string) (any, error) {
	var fits []jose.JSONWebKey
	for _, key := range set.Keys {
		if (id == "" || key.KeyID == id) && (key.Algorithm == "" || key.Algorithm == alg) && (key.Use == "" || key.Use == "sig") {
			fits = append(fits, key)
		}
	}
	if len(fits) != 1 {
		return nil, errNoKey
	}
	return fits[0].Key, nil
}
