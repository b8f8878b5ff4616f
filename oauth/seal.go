package oauth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// errSealBroken says that something sealed does not open: it was changed, moved or
// sealed under another token.
var errSealBroken = errors.New("oauth: sealed data does not open")

// joinParts joins parts unambiguously, each with its length in front of it.
func joinParts(parts []string) []byte {
	n := 0
	for _, p := range parts {
		n += 4 + len(p)
	}
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func newDataKey() []byte {
	k := make([]byte, keySize)
	rand.Read(k)
	return k
}

// sealingKey is the key that only who has both the token and the server key can make.
func (t token) sealingKey(use string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(t.text), t.key.wrap, string(joinParts([]string{"causeway/oauth/v1", use, string(t.kind), t.id})), keySize)
	if err != nil {
		panic("oauth: deriving a key: " + err.Error()) // only for impossible lengths
	}
	return key
}

// seal encrypts under key and binds the result to about.
func seal(key, plain []byte, about ...string) []byte {
	return aead(key).Seal(nil, nil, plain, joinParts(about))
}

// unseal opens what seal made with the same key and about.
func unseal(key, sealed []byte, about ...string) ([]byte, error) {
	plain, err := aead(key).Open(nil, nil, sealed, joinParts(about))
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", errSealBroken, about[0])
	}
	return plain, nil
}

func aead(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("oauth: " + err.Error()) // keys have the right size by construction
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("oauth: " + err.Error())
	}
	return gcm
}
