package oauth

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"strings"
)

// Kinds of what a Provider hands out. The kind is part of the tag, of the hash and of
// the sealing, so that one can never pass for another.
type kind string

const (
	kindCode    kind = "code"
	kindAccess  kind = "at"
	kindRefresh kind = "rt"
	kindSecret  kind = "cs" // a client's secret
	kindConsent kind = "ch" // a consent page that waits for an answer
	kindLogin   kind = "us" // a login that is under way ("state")
	kindSession kind = "se" // a person signed in at /account
)

const (
	defaultPrefix = "cw"
	tagSize       = 12
	randomSize    = 32
	secretSize    = len(keyID{}) + randomSize + tagSize
	maxTokenSize  = 256
)

var (
	idEncoding     = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	secretEncoding = base64.RawURLEncoding.Strict()

	errNotOurs = errors.New("oauth: not a token of ours")
)

// newID returns 128 random bits as 26 lower-case letters and digits.
func newID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return idEncoding.EncodeToString(b)
}

func isID(s string) bool {
	b, err := idEncoding.DecodeString(s)
	return err == nil && len(b) == 16 && idEncoding.EncodeToString(b) == s
}

// A token is what a Provider hands out: prefix_kind_id.secret. It is never printed.
type token struct {
	text string
	kind kind
	id   string
	key  *serverKey
}

// String keeps tokens out of logs and errors.
func (t token) String() string { return "[" + string(t.kind) + " of " + t.id + "]" }

// GoString keeps tokens out of %#v.
func (t token) GoString() string { return t.String() }

// mac is what records keep of a token.
func (t token) mac() []byte { return mac(t.key.lookup, t.text) }

// is compares in constant time.
func (t token) is(stored []byte) bool { return hmac.Equal(t.mac(), stored) }

// A mint makes and recognizes tokens.
type mint struct {
	prefix string
	keys   *KeyRing
	// signed are the resources whose access tokens are JWTs, by their ID.
	signed map[string]*signedTokens
}

func (m *mint) issue(k kind, id string) token {
	key := m.keys.active
	secret := make([]byte, len(keyID{})+randomSize, secretSize)
	copy(secret, key.id[:])
	rand.Read(secret[len(keyID{}):])
	head := m.head(k, id)
	secret = append(secret, tagOf(key, head, secret)...)
	return token{text: head + secretEncoding.EncodeToString(secret), kind: k, id: id, key: key}
}

func (m *mint) head(k kind, id string) string {
	return m.prefix + "_" + string(k) + "_" + id + "."
}

func tagOf(key *serverKey, head string, secret []byte) []byte {
	return mac(key.tag, head, string(secret))[:tagSize]
}

// parse recognizes a token of kind k that this server, or one with the same keys, has
// issued at some time. It does not say that the token is good for anything.
func (m *mint) parse(k kind, text string) (token, error) {
	if len(text) > maxTokenSize {
		return token{}, errNotOurs
	}
	rest, ok := strings.CutPrefix(text, m.prefix+"_"+string(k)+"_")
	if !ok {
		return token{}, errNotOurs
	}
	id, encoded, ok := strings.Cut(rest, ".")
	if !ok || !isID(id) {
		return token{}, errNotOurs
	}
	secret, err := secretEncoding.DecodeString(encoded)
	if err != nil || len(secret) != secretSize || strings.ContainsAny(encoded, "\r\n") {
		return token{}, errNotOurs
	}
	key := m.keys.keys[keyID(secret[:len(keyID{})])]
	if key == nil {
		return token{}, errNotOurs
	}
	body := len(secret) - tagSize
	if !hmac.Equal(tagOf(key, m.head(k, id), secret[:body]), secret[body:]) {
		return token{}, errNotOurs
	}
	return token{text: text, kind: k, id: id, key: key}, nil
}
