package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/causeway-mcp/causeway/store"
)

const (
	signingPrefix = "oauth/signing/"
	// accessTyp is the typ of a JWT access token (RFC 9068 §2.1).
	accessTyp = "at+jwt"
	// maxJWT bounds a JWT access token, in bytes.
	maxJWT = 8 << 10
	// defaultJWTTTL is short, because nobody can call a JWT back.
	defaultJWTTTL = 10 * time.Minute
)

// JWT makes the access tokens of a resource JWTs (RFC 9068), which a resource server
// elsewhere can check by itself with the keys at /jwks: see [JWTVerifier].
//
// What that costs: a JWT that was revoked is good there until it ends, since nobody is
// asked; it is ten times as long; and its user, client and scopes can be read by
// whoever holds it. This server and [Introspection] still know at once. Prefer opaque
// tokens where the resource server can reach this one.
type JWT struct {
	// Alg signs: "RS256", "ES256" or "EdDSA". Empty is ES256. The keys come from the key
	// ring: its active key signs, and /jwks lists the older ones as well. When rotating
	// with several nodes, add the new key as an older one everywhere first.
	Alg string
	// TTL is how long a token is good, which is how late a revocation may come. Zero is
	// 10 minutes, the least is 1 minute, the most AccessTTL.
	TTL time.Duration
}

var jwtAlgs = []string{"RS256", "ES256", "EdDSA"}

// signedTokens makes the JWTs of one resource.
type signedTokens struct {
	issuer string
	alg    string
	ttl    time.Duration
	// signers and public are those of each server key.
	signers map[keyID]jose.Signer
	public  map[keyID]crypto.PublicKey
}

// accessClaims are those of a JWT access token (RFC 9068 §2.2).
type accessClaims struct {
	Issuer  string        `json:"iss"`
	Subject string        `json:"sub"`
	Aud     audience      `json:"aud"`
	Client  string        `json:"client_id"`
	Scope   string        `json:"scope,omitempty"`
	Issued  int64         `json:"iat"`
	Expires int64         `json:"exp"`
	ID      string        `json:"jti"`
	Actor   *actorClaim   `json:"act,omitempty"`
	Confirm *confirmation `json:"cnf,omitempty"`
}

// audience is one or several (RFC 7519 §4.1.3).
type audience = jwt.Audience

// confirmation names the key that a token is bound to (RFC 7800 §3, RFC 9449 §6).
type confirmation struct {
	Thumbprint string `json:"jkt,omitempty"`
}

func confirmationOf(bound string) *confirmation {
	if bound == "" {
		return nil
	}
	return &confirmation{Thumbprint: bound}
}

func (c *confirmation) bound() string {
	if c == nil {
		return ""
	}
	return c.Thumbprint
}

func (s *Server) setSignedTokens(ctx context.Context) error {
	s.mint.signed = map[string]*signedTokens{}
	for _, res := range s.resources {
		if res.JWT == nil {
			continue
		}
		made, err := s.newSignedTokens(ctx, *res.JWT)
		if err != nil {
			return fmt.Errorf("resource %q: JWT: %w", res.id, err)
		}
		s.mint.signed[res.id] = made
	}
	return nil
}

func (s *Server) newSignedTokens(ctx context.Context, o JWT) (*signedTokens, error) {
	f := &signedTokens{issuer: s.provider.Issuer, alg: cmpOr(o.Alg, "ES256"), ttl: o.TTL, signers: map[keyID]jose.Signer{}, public: map[keyID]crypto.PublicKey{}}
	if f.ttl == 0 {
		f.ttl = min(defaultJWTTTL, s.provider.AccessTTL)
	}
	switch {
	case !slices.Contains(jwtAlgs, f.alg):
		return nil, fmt.Errorf("the algorithm %q: want %s", f.alg, strings.Join(jwtAlgs, ", "))
	case f.ttl < time.Minute || f.ttl > s.provider.AccessTTL:
		return nil, fmt.Errorf("the TTL is %v: want a minute to AccessTTL (%v)", f.ttl, s.provider.AccessTTL)
	}
	for id, key := range s.provider.Keys.keys {
		private, err := s.signingKey(ctx, key, f.alg, key == s.provider.Keys.active)
		if err != nil {
			return nil, err
		}
		if private == nil {
			continue // never signed with this algorithm
		}
		signer, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(f.alg), Key: jose.JSONWebKey{Key: private, KeyID: f.keyName(id)}},
			(&jose.SignerOptions{}).WithType(accessTyp))
		if err != nil {
			return nil, fmt.Errorf("making a signer: %w", err)
		}
		f.signers[id], f.public[id] = signer, private.Public()
	}
	return f, nil
}

// keyName is the "kid": one server key signs with several algorithms.
func (f *signedTokens) keyName(id keyID) string { return id.String() + "-" + f.alg }

func (f *signedTokens) keyOf(name string) (keyID, bool) {
	text, alg, _ := strings.Cut(name, "-")
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != len(keyID{}) || alg != f.alg {
		return keyID{}, false
	}
	return keyID(id), true
}

// signingKey is the private key that belongs to a server key. Those of curves are
// derived from it, so every node has them; an RSA key cannot be, and is kept sealed in
// the store.
func (s *Server) signingKey(ctx context.Context, key *serverKey, alg string, make bool) (crypto.Signer, error) {
	switch alg {
	case "EdDSA":
		return ed25519.NewKeyFromSeed(expand(key.master, "causeway/oauth/v1/jwt/ed25519")), nil
	case "ES256":
		return deriveP256(key.master)
	}
	return s.keptRSA(ctx, key, make)
}

func deriveP256(master []byte) (*ecdsa.PrivateKey, error) {
	for i := range 8 { // one in 2^32 is not a scalar of the curve
		scalar := expand(master, "causeway/oauth/v1/jwt/p256/"+strconv.Itoa(i))
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("deriving a P-256 key failed")
}

func (s *Server) keptRSA(ctx context.Context, key *serverKey, make bool) (crypto.Signer, error) {
	name, sealing := signingPrefix+key.id.String()+"/RS256", expand(key.master, "causeway/oauth/v1/jwt/kept")
	for range maxAttempts {
		r, err := s.records.Get(ctx, name)
		switch {
		case err == nil:
			der, err := unseal(sealing, r.Value, "signing", name)
			if err != nil {
				return nil, err
			}
			private, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil {
				return nil, errors.New("a signing key in the store does not parse") // the error may quote it
			}
			return private.(*rsa.PrivateKey), nil
		case !errors.Is(err, store.ErrNotFound):
			return nil, fmt.Errorf("reading a signing key: %w", err)
		case !make:
			return nil, nil
		}
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, fmt.Errorf("making an RSA key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, fmt.Errorf("encoding an RSA key: %w", err)
		}
		_, err = s.records.Put(ctx, name, seal(sealing, der, "signing", name), 0, nil)
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnknown) {
			return nil, fmt.Errorf("writing a signing key: %w", err)
		}
	}
	return nil, errors.New("writing a signing key: too many conflicts")
}

// accessTTL is how long an access token for a resource is good.
func (m *mint) accessTTL(resource string, usual time.Duration) time.Duration {
	if f := m.signed[resource]; f != nil {
		return f.ttl
	}
	return usual
}

// issueAccess makes the access token that slot describes.
func (m *mint) issueAccess(g *grant, slot *accessSlot, now time.Time) token {
	f := m.signed[g.resourceOf(slot)]
	if f == nil {
		return m.issue(kindAccess, g.ID)
	}
	text, err := jwt.Signed(f.signers[m.keys.active.id]).Claims(accessClaims{
		Issuer: f.issuer, Subject: g.User, Aud: audience{g.resourceOf(slot)}, Client: g.holder(slot),
		Scope: strings.Join(slot.Scopes, " "), Issued: now.Unix(), Expires: slot.Expires.Unix(),
		ID: g.ID + "." + newID(), Actor: slot.Exchanged.claim(), Confirm: confirmationOf(slot.Bound),
	}).Serialize()
	if err != nil {
		panic("oauth: signing an access token: " + err.Error()) // the signer was made for this key
	}
	return token{text: text, kind: kindAccess, id: g.ID, key: m.keys.active}
}

var errNotJWT = fmt.Errorf("%w: no JWT of ours", errNotOurs)

// parseAccess recognizes an access token, opaque or a JWT. As [mint.parse], it does not
// say that the token is good for anything: the grant does.
func (m *mint) parseAccess(text string) (token, error) {
	if len(m.signed) == 0 || !strings.HasPrefix(text, "eyJ") {
		return m.parse(kindAccess, text)
	}
	if len(text) > maxJWT {
		return token{}, errNotJWT
	}
	for _, f := range m.signed {
		id, claims, err := f.parse(text)
		if err != nil {
			continue
		}
		grant, _, ok := strings.Cut(claims.ID, ".")
		if key := m.keys.keys[id]; ok && isID(grant) && key != nil && claims.Issuer == f.issuer {
			return token{text: text, kind: kindAccess, id: grant, key: key}, nil
		}
	}
	return token{}, errNotJWT
}

func (f *signedTokens) parse(text string) (keyID, *accessClaims, error) {
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(f.alg)})
	if err != nil || len(parsed.Headers) != 1 || !isAccessTyp(parsed.Headers[0]) {
		return keyID{}, nil, errNotJWT
	}
	id, ok := f.keyOf(parsed.Headers[0].KeyID)
	if !ok || f.public[id] == nil {
		return keyID{}, nil, errNotJWT
	}
	claims := new(accessClaims)
	if err := parsed.Claims(f.public[id], claims); err != nil {
		return keyID{}, nil, errNotJWT
	}
	return id, claims, nil
}

// isAccessTyp wants the typ that no other JWT has (RFC 9068 §4).
func isAccessTyp(h jose.Header) bool {
	typ, _ := h.ExtraHeaders[jose.HeaderType].(string)
	return strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), accessTyp)
}

// serveKeys is the JWK set (RFC 7517 §5) that jwks_uri names.
func (s *Server) serveKeys(w http.ResponseWriter, r *http.Request) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	seen := map[string]bool{}
	for _, res := range s.resources {
		f := s.mint.signed[res.id]
		if f == nil {
			continue
		}
		for id, key := range f.public {
			if name := f.keyName(id); !seen[name] {
				seen[name] = true
				set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: name, Algorithm: f.alg, Use: "sig"})
			}
		}
	}
	slices.SortFunc(set.Keys, func(a, b jose.JSONWebKey) int { return strings.Compare(a.KeyID, b.KeyID) })
	serveMetadata(w, r, set)
}
