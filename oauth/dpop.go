package oauth

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	json "github.com/go-json-experiment/json"
)

const (
	dpopTyp = "dpop+jwt"
	// proofWindow is how far the "iat" of a proof may be from now.
	proofWindow = time.Minute
	// nonceTTL is how long a nonce is good; a new one is given at half of it.
	nonceTTL = 5 * time.Minute
	// maxProof bounds a proof, in bytes.
	maxProof = 8 << 10
	maxJTI   = 256
	// maxProofs bounds the proofs that are remembered for each minute.
	maxProofs = 1 << 18

	nonceSize = nodeSize + 8 + tagSize
	nodeSize  = 4
)

var dpopAlgs = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}

// dpopAlgNames are the same for metadata and challenges.
var dpopAlgNames = []string{"ES256", "EdDSA", "RS256"}

// DPoP binds tokens to a key that the client has (RFC 9449), so that a stolen token is
// worth nothing alone. A client that sends a proof at /token gets a token bound to the
// proof's key, and has to prove at each request that it has the key; for a public
// client that goes for the refresh token as well.
//
// Each node remembers, in memory, the proofs of the last two minutes. So that a proof
// cannot be used again at another node, or after a restart, proofs carry a nonce of the
// node: a client that comes to a node for the first time is asked to try again with one.
type DPoP struct {
	// Required refuses clients that send no proof at /token. Otherwise they get a bearer
	// token.
	Required bool
	// NoNonces does without nonces. A proof is then good once at each node, for a minute
	// before and after its time. (Proofs from before the node started need a nonce even
	// so.)
	NoNonces bool
}

// dpop checks proofs. It is safe for concurrent use.
type dpop struct {
	required bool
	nonces   bool
	node     [nodeSize]byte
	key      []byte
	started  time.Time

	mu   sync.Mutex
	seen proofsSeen
}

// proofsSeen are hashes of proofs, by the minute until which they have to be known.
type proofsSeen map[int64]map[[16]byte]struct{}

func newDPoP(o *DPoP) *dpop {
	if o == nil {
		return nil
	}
	d := &dpop{required: o.Required, nonces: !o.NoNonces, key: newDataKey(), started: time.Now(), seen: proofsSeen{}}
	rand.Read(d.node[:])
	return d
}

// A proof is a checked DPoP proof.
type proof struct {
	thumbprint string
	nonce      string // a new one for the client; "" if the one it has is good
}

// proofClaims are those of RFC 9449 §4.2.
type proofClaims struct {
	ID     string   `json:"jti"`
	Method string   `json:"htm"`
	URL    string   `json:"htu"`
	Issued *float64 `json:"iat"`
	Hash   string   `json:"ath"`
	Nonce  string   `json:"nonce"`
}

var (
	errProof      = errors.New("the DPoP proof is not valid")
	errProofNonce = errors.New("the DPoP proof needs a nonce")
	errProofsFull = errors.New("too many DPoP proofs in a minute")
)

// check checks the proof of a request for the given address (RFC 9449 §4.3). With an
// access token the proof has to be made for it. It does not use the proof up: see use.
func (d *dpop) check(r *http.Request, address, accessToken string, now time.Time) (*proof, *proofClaims, error) {
	headers := r.Header.Values("DPoP")
	if len(headers) != 1 {
		return nil, nil, errProof
	}
	claims, key, err := parseProof(headers[0])
	if err != nil {
		return nil, nil, err
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, nil, errProof
	}
	p := &proof{thumbprint: base64.RawURLEncoding.EncodeToString(thumbprint)}
	if claims.Method != r.Method || !sameAddress(claims.URL, address) {
		return nil, nil, errProof
	}
	if accessToken != "" {
		sum := sha256.Sum256([]byte(accessToken))
		if !hmac.Equal([]byte(claims.Hash), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) {
			return nil, nil, errProof
		}
	}
	issued := time.Unix(int64(*claims.Issued), 0)
	if p.nonce, err = d.checkNonce(claims.Nonce, issued, now); err != nil {
		return nil, nil, err
	}
	if age := now.Sub(issued); age > proofWindow || age < -proofWindow {
		return nil, nil, errProof
	}
	return p, claims, nil
}

// parseProof reads a proof and checks its signature with the key that it carries.
func parseProof(text string) (*proofClaims, *jose.JSONWebKey, error) {
	if len(text) > maxProof || strings.Count(text, ".") != 2 {
		return nil, nil, errProof
	}
	parsed, err := jose.ParseSignedCompact(text, dpopAlgs)
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, nil, errProof
	}
	h := parsed.Signatures[0].Protected
	typ, _ := h.ExtraHeaders[jose.HeaderType].(string)
	if !strings.EqualFold(typ, dpopTyp) || !isProofKey(h.JSONWebKey) {
		return nil, nil, errProof
	}
	body, err := parsed.Verify(h.JSONWebKey)
	if err != nil {
		return nil, nil, errProof
	}
	claims := new(proofClaims)
	if err := json.Unmarshal(body, claims); err != nil {
		return nil, nil, errProof
	}
	if claims.ID == "" || len(claims.ID) > maxJTI || claims.Issued == nil || *claims.Issued < 0 || *claims.Issued > 1<<40 {
		return nil, nil, errProof
	}
	return claims, h.JSONWebKey, nil
}

// isProofKey wants a public key, of a size that is neither weak nor costly.
func isProofKey(key *jose.JSONWebKey) bool {
	if key == nil || !key.Valid() || !key.IsPublic() {
		return false
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok {
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 4096 && k.E < 1<<31
	}
	return true
}

// sameAddress compares an "htu" with the address of the request, without query and
// fragment, and normalized (RFC 9449 §4.3).
func sameAddress(claimed, address string) bool {
	claimed, _, _ = strings.Cut(claimed, "#")
	claimed, _, _ = strings.Cut(claimed, "?")
	a, ok := canonicalResource(claimed)
	b, _ := canonicalResource(address)
	return ok && a == b
}

// use takes note of a proof, and fails if it was used before.
func (d *dpop) use(p *proof, claims *proofClaims, now time.Time) error {
	sum := sha256.Sum256(joinParts([]string{p.thumbprint, claims.ID}))
	hash := [16]byte(sum[:16])
	until := time.Unix(int64(*claims.Issued), 0).Add(proofWindow).Unix()/60 + 1
	d.mu.Lock()
	defer d.mu.Unlock()
	for minute, kept := range d.seen {
		if minute*60 < now.Unix() {
			delete(d.seen, minute)
			continue
		}
		if _, was := kept[hash]; was {
			return errProof
		}
	}
	kept := d.seen[until]
	if kept == nil {
		kept = map[[16]byte]struct{}{}
		d.seen[until] = kept
	}
	if len(kept) >= maxProofs {
		return errProofsFull // forgetting one would let it be used again
	}
	kept[hash] = struct{}{}
	return nil
}

// newNonce says which node made it and when; only this node, in this life, takes it.
func (d *dpop) newNonce(now time.Time) string {
	b := append(make([]byte, 0, nonceSize), d.node[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(now.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, d.nonceTag(b)...))
}

func (d *dpop) nonceTag(b []byte) []byte { return mac(d.key, "nonce", string(b))[:tagSize] }

// checkNonce returns a new nonce if the client should use one from now on.
func (d *dpop) checkNonce(text string, issued, now time.Time) (string, error) {
	if text == "" {
		if d.nonces || issued.Before(d.started.Truncate(time.Second)) {
			return "", errProofNonce
		}
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != nonceSize || !hmac.Equal(d.nonceTag(b[:nonceSize-tagSize]), b[nonceSize-tagSize:]) {
		return "", errProofNonce
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(b[nodeSize:])), 0))
	switch {
	case age > nonceTTL:
		return "", errProofNonce
	case age > nonceTTL/2:
		return d.newNonce(now), nil
	}
	return "", nil
}

// proofAtToken checks the proof of a token request, and returns the thumbprint of its key; ""
// without a proof.
func (s *Server) proofAtToken(w http.ResponseWriter, r *http.Request, c *client) (string, error) {
	d := s.gate.dpop
	if d == nil {
		return "", nil
	}
	if len(r.Header.Values("DPoP")) == 0 {
		if d.required || c.DPoPBound {
			return "", errBadProof("a DPoP proof is needed")
		}
		return "", nil
	}
	now := time.Now()
	p, claims, err := d.check(r, s.url("/token"), "", now)
	if err == nil {
		err = d.use(p, claims, now)
	}
	switch {
	case errors.Is(err, errProofNonce):
		w.Header().Set("DPoP-Nonce", d.newNonce(now))
		return "", wire(http.StatusBadRequest, "use_dpop_nonce", "the DPoP proof needs the nonce that comes with this answer")
	case errors.Is(err, errProofsFull):
		return "", errTooMany("too many DPoP proofs")
	case err != nil:
		return "", errBadProof("the DPoP proof is not valid")
	}
	if p.nonce != "" {
		w.Header().Set("DPoP-Nonce", p.nonce)
	}
	return p.thumbprint, nil
}

// isThumbprint reports whether s may be the SHA-256 thumbprint of a key (RFC 7638).
func isThumbprint(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

// requestAddress is the address of a request for a resource, as clients see it.
func (r *resource) requestAddress(u *url.URL) string {
	mount := url.URL{Path: strings.TrimSuffix(r.Path, "/")}
	return r.id + strings.TrimPrefix(u.EscapedPath(), mount.EscapedPath())
}
