package mcphttp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// roundState is what a requestState carries from one round of an input-required
// request to the next. The client keeps it and must be taken to be hostile: it is
// sealed (AES-256-GCM), and the seal holds only for the same user, method, target
// and arguments.
type roundState struct {
	// Call names the request across its rounds.
	Call string `json:"c"`
	// Expires is when the state becomes void, Unix seconds.
	Expires int64 `json:"x"`
	// Round counts the rounds that ended in questions.
	Round int `json:"r"`
	// Asked are the questions of the last round by key, as digests.
	Asked map[string]string `json:"q,omitempty"`
	// Answers are the answers of earlier rounds by key.
	Answers map[string]answer `json:"a,omitempty"`
	// Native is the requestState of the handler's own, if it made one.
	Native string `json:"n,omitempty"`
}

// An answer is what the client said to one question.
type answer struct {
	Digest string          `json:"d"` // of the question it answers
	Result json.RawMessage `json:"v"`
}

const (
	maxRounds = 10
	// roundTTL bounds how long a person may take for one round.
	roundTTL = time.Hour
	// maxRequestState bounds what is accepted back, in bytes.
	maxRequestState = 256 << 10
)

// A sealer keeps things in the client's hands safe from the client.
type sealer struct {
	aead cipher.AEAD
}

func newSealer(secret []byte, purpose string) (*sealer, error) {
	if len(secret) < 32 {
		return nil, fmt.Errorf("mcphttp: Options.Secret has %d bytes, and needs at least 32", len(secret))
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "causeway mcphttp "+purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{aead}, err
}

func (s *sealer) seal(plain, bound []byte) string {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, bound))
}

func (s *sealer) open(sealed string, bound []byte) ([]byte, error) {
	if len(sealed) > maxRequestState {
		return nil, errors.New("too long")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < s.aead.NonceSize() {
		return nil, errors.New("malformed")
	}
	n := s.aead.NonceSize()
	return s.aead.Open(nil, raw[:n], raw[n:], bound)
}

// boundTo is what a state is bound to besides its expiry: who asks, and for what.
func (c *call) boundTo() []byte {
	h := sha256.New()
	for _, part := range [][]byte{c.host.info, []byte(c.user), []byte(c.method), []byte(c.target), canonical(c.arguments)} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return h.Sum(nil)
}

// canonical makes equal JSON values equal bytes (RFC 8785), since a client may
// write the same arguments differently the second time.
func canonical(raw []byte) []byte {
	if len(raw) == 0 {
		return nil
	}
	v := jsontext.Value(append([]byte(nil), raw...))
	if err := v.Canonicalize(); err != nil {
		return raw
	}
	return v
}

func (c *call) sealRound(st *roundState) (string, error) {
	st.Expires = time.Now().Add(roundTTL).Unix()
	plain, err := json.Marshal(st)
	if err != nil {
		return "", err
	}
	sealed := c.h.rounds.seal(plain, c.boundTo())
	if len(sealed) > maxRequestState {
		return "", invalidParams("the answers to this request's questions are too large to carry on (over %d bytes)", maxRequestState)
	}
	return sealed, nil
}

var errBadState = invalidParams("requestState: not valid for this request (forged, expired, or made for another user, tool or arguments)")

func (c *call) openRound(sealed string) (*roundState, error) {
	plain, err := c.h.rounds.open(sealed, c.boundTo())
	if err != nil {
		return nil, errBadState
	}
	st := new(roundState)
	if err := json.Unmarshal(plain, st); err != nil || time.Now().Unix() > st.Expires {
		return nil, errBadState
	}
	return st, nil
}
