package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const maxNonce = 1 << 10 // bytes

// bindingKey returns a key to bind new tokens to, or nil for bearer tokens. Each sign-in has a
// key of its own, so that servers cannot tell that it is the same client.
func (s *session) bindingKey(found *discovery) (*ecdsa.PrivateKey, error) {
	offered := slices.Contains(found.as.DPoPAlgorithms, string(jose.ES256))
	required := hasScheme(found.challenge, "dpop") && !hasScheme(found.challenge, "bearer")
	wanted := false
	if found.resource != nil {
		required = required || found.resource.DPoPRequired
		wanted = slices.Contains(found.resource.DPoPAlgorithms, string(jose.ES256))
	}
	switch s.c.options.DPoP {
	case DPoPNever:
		return nil, nil
	case DPoPAuto:
		if !required && !(wanted && offered) {
			return nil, nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a DPoP key: %w", err)
	}
	return key, nil
}

// thumbprint is the JWK thumbprint (RFC 7638) that dpop_jkt of an authorization request has.
func thumbprint(key *ecdsa.PrivateKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("the thumbprint of a DPoP key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// proof is a DPoP proof for one request (RFC 9449 §4.2): a new one each time. With a token
// it is for a protected resource.
func (s *session) proof(key *ecdsa.PrivateKey, method string, u *url.URL, token Secret) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		return "", fmt.Errorf("signing a DPoP proof: %w", err)
	}
	if method == "" {
		method = http.MethodGet
	}
	claims := map[string]any{
		"jti": rand.Text(), "htm": method, "iat": s.c.now().Unix(),
		"htu": (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(),
	}
	if !token.IsZero() {
		sum := sha256.Sum256([]byte(token.Reveal()))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	s.mu.Lock()
	nonce := s.nonces[u.Scheme+"://"+u.Host]
	s.mu.Unlock()
	if nonce != "" {
		claims["nonce"] = nonce
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a DPoP proof: %w", err)
	}
	return text, nil
}

// keepNonce remembers the nonce that the next proof for that origin must have (RFC 9449 §8.2).
func (s *session) keepNonce(u *url.URL, h http.Header) {
	nonce := h.Get("DPoP-Nonce")
	if nonce == "" || len(nonce) > maxNonce || !isTokenText(nonce) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const enough = 16 // origins; a server that names more starts over
	if len(s.nonces) >= enough {
		clear(s.nonces)
	}
	s.nonces[u.Scheme+"://"+u.Host] = nonce
}
