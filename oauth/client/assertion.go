package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Ways for a client to authenticate at a token endpoint (RFC 7591 §2, RFC 7523).
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"
	authNone  = "none"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionLife is how long a client assertion is good. It is used at once; clocks differ.
const assertionLife = 2 * time.Minute

// authMethod decides how a client authenticates: as it was registered, else the first of the
// strongest ways that both it and the endpoint have.
func (s *session) authMethod(t tokenRequest) string {
	if t.client.method != "" {
		return t.client.method
	}
	offers := func(method string) bool { return len(t.methods) == 0 || slices.Contains(t.methods, method) }
	switch {
	case s.c.options.PrivateKey != nil && !t.client.dynamic:
		return authKey
	case t.client.secret.IsZero():
		return authNone
	case offers(authBasic):
		return authBasic
	case offers(authPost):
		return authPost
	}
	return authBasic // what RFC 8414 §2 says when nothing is said
}

// authenticate adds the client's credentials to a request.
func (s *session) authenticate(t tokenRequest, form url.Values, header http.Header) error {
	switch method := s.authMethod(t); method {
	case authNone:
		form.Set("client_id", t.client.id)
	case authBasic:
		// RFC 6749 §2.3.1: both are form-encoded first.
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(t.client.id), url.QueryEscape(t.client.secret.Reveal()))
	case authPost:
		form.Set("client_id", t.client.id)
		form.Set("client_secret", t.client.secret.Reveal())
	case authKey:
		assertion, err := s.clientAssertion(t.client.id, t.issuer)
		if err != nil {
			return err
		}
		form.Set("client_id", t.client.id)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	default:
		return fmt.Errorf("%w: the client is registered with the authentication method %q, which is not known here", ErrRegistration, clean(method, 40))
	}
	return nil
}

// clientAssertion signs a JWT that says who the client is (RFC 7523 §3), for one audience: the issuer.
func (s *session) clientAssertion(id, issuer string) (string, error) {
	key, err := s.c.options.signingKey()
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("signing a client assertion: %w", err)
	}
	now := s.c.now()
	text, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: id, Subject: id, Audience: jwt.Audience{issuer}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(assertionLife)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a client assertion: %w", err)
	}
	return text, nil
}

func (o *Options) signingKey() (jose.SigningKey, error) {
	if o.PrivateKey == nil {
		return jose.SigningKey{}, fmt.Errorf("%w: private_key_jwt without a PrivateKey", ErrRegistration)
	}
	algorithm, err := o.algorithm()
	if err != nil {
		return jose.SigningKey{}, err
	}
	return jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: o.PrivateKey, KeyID: o.KeyID, Algorithm: string(algorithm)}}, nil
}

// algorithm is the JWS algorithm of the private key.
func (o *Options) algorithm() (jose.SignatureAlgorithm, error) {
	possible := algorithmsOf(o.PrivateKey)
	switch {
	case len(possible) == 0:
		return "", fmt.Errorf("PrivateKey is a %T; it must be an ECDSA, RSA or Ed25519 key", o.PrivateKey)
	case o.Algorithm == "":
		return possible[0], nil
	case !slices.Contains(possible, jose.SignatureAlgorithm(o.Algorithm)):
		return "", fmt.Errorf("algorithm %q does not go with a %T", o.Algorithm, o.PrivateKey)
	}
	return jose.SignatureAlgorithm(o.Algorithm), nil
}

func algorithmsOf(key crypto.Signer) []jose.SignatureAlgorithm {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}
		}
	case *rsa.PrivateKey:
		return []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.RS384, jose.RS512, jose.PS384, jose.PS512}
	case ed25519.PrivateKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	}
	return nil
}
