package oauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

const (
	keySize = 32
	// activeKeyRecord names the key that the store was last written under.
	activeKeyRecord = "oauth/key"
)

// ErrKeyMissing is reported when the store was written under a server key that the
// ring does not hold. Nothing is minted in its place: that would make every grant
// unreadable.
var ErrKeyMissing = errors.New("oauth: the server key that the store names is missing")

// A keyID names a server key. It is derived from the key and no secret.
type keyID [4]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// A KeyRing holds the server keys. One is active: it hashes and seals what is new.
// Older ones still read what they wrote. A ring does not change and is safe for
// concurrent use; to rotate keys, make a new ring and start anew.
type KeyRing struct {
	active    *serverKey
	keys      map[keyID]*serverKey
	retired   map[keyID]bool
	notBefore time.Time
}

// serverKey is what is derived from one key: a key for each use.
type serverKey struct {
	id     keyID
	master []byte
	lookup []byte // hashes of tokens in records
	tag    []byte // "we issued this"
	wrap   []byte // salt of the keys that wrap data keys
}

// NewKeys returns a ring with one new random key, which nobody else has: what is
// sealed under it is lost with the process. It is for tests and trials.
func NewKeys() *KeyRing {
	r, err := ParseKeys(newKeyText())
	if err != nil {
		panic("oauth: a key just made does not parse: " + err.Error())
	}
	return r
}

func newKeyText() []byte {
	key := make([]byte, keySize)
	rand.Read(key)
	return []byte("active " + base64.RawURLEncoding.EncodeToString(key) + "\n")
}

// ParseKeys reads a ring from text, one entry a line or separated by semicolons:
//
//	active KEY          the key that writes: 32 random bytes in base64url
//	older KEY           a key that still reads; any number of them
//	retired ID          the id of a key that is gone on purpose
//	not_before TIME     everything granted before this time (RFC 3339) is void
//
// Empty lines and lines that start with # are skipped. A text of one word is an active
// key. To rotate, make the active key an older one and add a new active key; drop the
// older one when the longest grant has ended, or at once to end them all.
func ParseKeys(text []byte) (*KeyRing, error) {
	r := &KeyRing{keys: map[keyID]*serverKey{}, retired: map[keyID]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(bytes.ReplaceAll(text, []byte(";"), []byte("\n"))))
	for n := 1; lines.Scan(); n++ {
		if err := r.parseLine(strings.Fields(lines.Text())); err != nil {
			return nil, fmt.Errorf("oauth: key entry %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("oauth: reading keys: %w", err)
	}
	if r.active == nil {
		return nil, errors.New("oauth: no active key (want an entry \"active KEY\")")
	}
	return r, nil
}

// parseLine never quotes what it was given: it may be a key.
func (r *KeyRing) parseLine(words []string) error {
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	if len(words) == 1 {
		words = []string{"active", words[0]}
	}
	if len(words) != 2 {
		return errors.New("want two words")
	}
	switch words[0] {
	case "active", "older":
		return r.addKey(words[1], words[0] == "active")
	case "retired":
		id, err := hex.DecodeString(words[1])
		if err != nil || len(id) != len(keyID{}) {
			return errors.New("a retired id is 8 hexadecimal digits")
		}
		r.retired[keyID(id)] = true
	case "not_before":
		at, err := time.Parse(time.RFC3339, words[1])
		if err != nil {
			return errors.New("not_before wants a time like 2026-01-02T15:04:05Z")
		}
		r.notBefore = at
	default:
		return errors.New("want active, older, retired or not_before")
	}
	return nil
}

func (r *KeyRing) addKey(text string, active bool) error {
	master, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(master) != keySize {
		return fmt.Errorf("a key is %d random bytes in base64url", keySize)
	}
	if active && r.active != nil {
		return errors.New("there is an active key already")
	}
	k := deriveKey(master)
	if r.keys[k.id] != nil {
		return errors.New("the key is there twice")
	}
	r.keys[k.id] = k
	if active {
		r.active = k
	}
	return nil
}

func deriveKey(master []byte) *serverKey {
	k := &serverKey{
		master: master,
		lookup: expand(master, "causeway/oauth/v1/lookup"),
		tag:    expand(master, "causeway/oauth/v1/tag"),
		wrap:   expand(master, "causeway/oauth/v1/wrap"),
	}
	k.id = keyID(expand(master, "causeway/oauth/v1/id"))
	return k
}

func expand(master []byte, label string) []byte {
	key, err := hkdf.Expand(sha256.New, master, label, keySize)
	if err != nil {
		panic("oauth: deriving a key: " + err.Error()) // only for impossible lengths
	}
	return key
}

// ID names the active key. It is no secret.
func (r *KeyRing) ID() string { return r.active.id.String() }

// String keeps keys out of logs.
func (r *KeyRing) String() string { return "oauth.KeyRing(active " + r.ID() + ")" }

// GoString keeps keys out of %#v.
func (r *KeyRing) GoString() string { return r.String() }

// ReadKeyFile reads a ring from a file (see [ParseKeys]). A file that others than its
// owner may read is refused.
func ReadKeyFile(name string) (*KeyRing, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("oauth: reading the key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("oauth: key file %s may be read by others (mode %v): chmod 600 it", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("oauth: reading the key file: %w", err)
	}
	r, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("oauth: key file %s: %w", name, err)
	}
	return r, nil
}

// KeysFromEnv reads a ring from an environment variable (see [ParseKeys]).
func KeysFromEnv(name string) (*KeyRing, error) {
	text, ok := os.LookupEnv(name)
	if !ok || text == "" {
		return nil, fmt.Errorf("oauth: environment variable %s is not set: it should hold the server keys", name)
	}
	r, err := ParseKeys([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("oauth: environment variable %s: %w", name, err)
	}
	return r, nil
}

// OpenKeyFile reads a ring from a file. A file that does not exist is made, with one
// new key and mode 0600, unless the store names a key already: then the file was lost
// and [ErrKeyMissing] says which key it held.
func OpenKeyFile(ctx context.Context, name string, records store.Records) (*KeyRing, error) {
	r, err := ReadKeyFile(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	named, err := records.Get(ctx, activeKeyRecord)
	if err == nil {
		return nil, fmt.Errorf("%w: key %s should be in %s, which is not there; put the file back", ErrKeyMissing, named.Value, name)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("oauth: asking the store which key it was written under: %w", err)
	}
	if err := createKeyFile(name); err != nil {
		return nil, fmt.Errorf("oauth: making a key file: %w", err)
	}
	return ReadKeyFile(name)
}

// createKeyFile makes the file whole or not at all, and never over another one.
func createKeyFile(name string) error {
	tmp, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(newKeyText())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), name)
}

// claim writes down in the store which key is active, and refuses a ring that does not
// hold the one written there.
func (r *KeyRing) claim(ctx context.Context, records store.Records) error {
	for range maxAttempts {
		named, err := records.Get(ctx, activeKeyRecord)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("oauth: asking the store which key it was written under: %w", err)
		}
		id, _ := hex.DecodeString(string(named.Value))
		switch {
		case err != nil: // a new store
		case string(named.Value) == r.ID():
			return nil
		case len(id) != len(keyID{}):
			return fmt.Errorf("oauth: record %s does not name a key", activeKeyRecord)
		case r.keys[keyID(id)] == nil && !r.retired[keyID(id)]:
			return fmt.Errorf("%w: the store was written under key %s; add it to the ring as an older key, or as \"retired %s\" to end every grant made under it", ErrKeyMissing, named.Value, named.Value)
		}
		_, err = records.Put(ctx, activeKeyRecord, []byte(r.ID()), named.Revision, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnknown) {
			return fmt.Errorf("oauth: writing down the active key: %w", err)
		}
	}
	return errors.New("oauth: writing down the active key: too many conflicts")
}

// mac is a keyed hash of length-prefixed parts.
func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(joinParts(parts))
	return h.Sum(nil)
}
