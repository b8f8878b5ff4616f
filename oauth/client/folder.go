package client

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// DefaultDir is the folder that a Client keeps its things in by default:
// $CAUSEWAY_AUTH_DIR, else causeway/auth in the user's configuration folder.
func DefaultDir() (string, error) {
	if dir := os.Getenv("CAUSEWAY_AUTH_DIR"); dir != "" {
		return dir, nil
	}
	base, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's configuration folder (or set CAUSEWAY_AUTH_DIR): %w", err)
	}
	return filepath.Join(base, "causeway", "auth"), nil
}

// DefaultFolder is the Store of a Client without one: [DefaultDir], with its key in the
// keychain unless $CAUSEWAY_KEYCHAIN is "off".
func DefaultFolder() (*Folder, error) {
	dir, err := DefaultDir()
	if err != nil {
		return nil, err
	}
	return &Folder{Path: dir, NoKeychain: os.Getenv("CAUSEWAY_KEYCHAIN") == "off"}, nil
}

// Dir returns a Store of encrypted files in a folder, with its key in the keychain of the
// operating system, or in the folder where there is no keychain.
func Dir(path string) *Folder { return &Folder{Path: path} }

// A Keychain holds the key of a Folder.
type Keychain interface {
	// Get returns what Set set; ErrNotFound if there is none.
	Get(name string) (string, error)
	Set(name, secret string) error
}

// A Folder is a Store of files: mode 0600 in a folder of mode 0700, each encrypted with
// AES-256-GCM and bound to its name. The key is in a Keychain, or else in a file beside them: that
// protects against copies of single files and backups that leave the key out, not against
// programs that run as the same user. Nothing is made before the first write.
//
// What is there already is looked at with every use (not on Windows): the folder must be a
// real one and its files regular ones, all of them the user's. Else nothing is read or
// written, and the error says what to do. Modes that let others in are mended and reported.
//
// Locks are locks of the operating system on files of the folder: they end with the process
// that holds them, however it ends.
type Folder struct {
	// Path is the folder. Its parents are made when they are not there.
	Path string
	// Keychain holds the key. Nil: the operating system's (macOS Keychain, Windows
	// Credential Manager, Secret Service), if it answers when the folder is first used.
	Keychain Keychain
	// NoKeychain keeps the key in a file from the start.
	NoKeychain bool
	// Logger gets a warning when others could get at the folder. Nil: nothing is logged.
	Logger *slog.Logger

	mu  sync.Mutex
	key *folderKey
}

// folderFormat is the version of the folder's layout.
const folderFormat = 1

// Names in the folder.
const (
	keyFile     = "key.json"
	locksFolder = "locks"
	sealedExt   = ".sealed"
	magic       = "CWA1" // begins every sealed file
)

// Places of a key.
const (
	inKeychain = "keychain"
	inFile     = "file"
)

// folderKey is the key of a folder and where it is.
type folderKey struct {
	Format int    `json:"format"`
	Place  string `json:"place"`
	ID     string `json:"id"`            // random; names the key in a keychain
	Secret string `json:"key,omitempty"` // base64, if it is in the file

	aead cipher.AEAD
}

// Where says, for people, where things are kept and how.
func (f *Folder) Where(ctx context.Context) (string, error) {
	key, err := f.open(ctx, false)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Sprintf("%s (nothing is kept yet)", f.Path), nil
	case err != nil:
		return "", err
	case key.Place == inKeychain:
		return fmt.Sprintf("encrypted files in %s, with the key in the system's keychain", f.Path), nil
	}
	return fmt.Sprintf("encrypted files in %s, with the key beside them (no keychain answered)", f.Path), nil
}

// Get implements Store.
func (f *Folder) Get(ctx context.Context, name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	sealed, err := f.readFile(name + sealedExt)
	if errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is stored: %w", err)
	}
	key, err := f.open(ctx, false)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%s is gone, and what is stored in %s cannot be read without it; remove the folder and sign in again", keyFile, f.Path)
	}
	if err != nil {
		return nil, err
	}
	value, err := key.unseal(name, sealed)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w; remove that file and sign in again", filepath.Join(f.Path, name+sealedExt), err)
	}
	return value, nil
}

// Put implements Store. The value is on the disk when it returns.
func (f *Folder) Put(ctx context.Context, name string, value []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := f.own(f.Path); err != nil {
		return err
	}
	key, err := f.open(ctx, true)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(f.Path, name+sealedExt), key.seal(name, value))
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := f.own(f.Path); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(f.Path, name+sealedExt)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing what is stored: %w", err)
	}
	return nil
}

// List implements Store.
func (f *Folder) List(context.Context) ([]string, error) {
	if _, err := f.own(f.Path); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing what is stored: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), sealedExt); ok && checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Lock implements Store.
func (f *Folder) Lock(ctx context.Context, name string) (func(), error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	locks := filepath.Join(f.Path, locksFolder)
	if err := f.makeFolder(f.Path); err != nil {
		return nil, err
	}
	if err := f.makeFolder(locks); err != nil {
		return nil, err
	}
	// A lock file is never removed: whoever waits has it open.
	file, err := f.openOwn(filepath.Join(locks, name+".lock"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	const longest = 50 * time.Millisecond
	for wait := time.Millisecond; ; wait = min(2*wait, longest) {
		held, err := tryLock(file)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
		}
		if held {
			return func() { file.Close() }, nil // closing releases
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		}
	}
}

func checkName(name string) error {
	ok := name != "" && len(name) <= 100 && name[0] != '.'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}
	if !ok {
		return fmt.Errorf("%q is no name of something stored", clean(name, 100))
	}
	return nil
}

// makeFolder makes a folder that is the user's alone, or sees to it that it is.
func (f *Folder) makeFolder(path string) error {
	exists, err := f.own(path)
	if err != nil || exists {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making the folder for tokens: %w", err)
	}
	_, err = f.own(path) // somebody else may have been faster
	return err
}

// readFile reads a file of the folder; ErrNotFound if there is none.
func (f *Folder) readFile(name string) ([]byte, error) {
	if exists, err := f.own(f.Path); err != nil {
		return nil, err
	} else if !exists {
		return nil, ErrNotFound
	}
	file, err := f.openOwn(filepath.Join(f.Path, name), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// writeFile replaces a file whole, or leaves it as it was.
func writeFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("storing: %w", err)
	}
	defer os.Remove(temporary.Name()) // fails once it was renamed
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = replace(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("storing: %w", err)
	}
	return nil
}

// replace renames a file over another, for good: a refresh token that came back after a power cut
// would look like a stolen one to its server.
func replace(from, to string) error {
	err := os.Rename(from, to)
	for range 20 {
		if err == nil || hasModes {
			break
		}
		time.Sleep(10 * time.Millisecond) // on Windows, while somebody reads it
		err = os.Rename(from, to)
	}
	if err != nil || !hasModes {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// open returns the folder's key, and makes one if there is none and it may.
func (f *Folder) open(ctx context.Context, mayMake bool) (*folderKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key != nil {
		return f.key, nil
	}
	key, err := f.readKey(ctx)
	if errors.Is(err, ErrNotFound) && mayMake {
		key, err = f.makeKey(ctx)
	}
	if err != nil {
		return nil, err
	}
	f.key = key
	return key, nil
}

func (f *Folder) readKey(ctx context.Context) (*folderKey, error) {
	path := filepath.Join(f.Path, keyFile)
	content, err := f.readFile(keyFile)
	if errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	key := new(folderKey)
	if err := json.Unmarshal(content, key); err != nil {
		return nil, fmt.Errorf("reading %s: not the JSON it should be", path)
	}
	if key.Format != folderFormat {
		return nil, fmt.Errorf("%s has the format %d, and this program knows %d: it was made by a newer one", f.Path, key.Format, folderFormat)
	}
	secret := key.Secret
	key.Secret = ""
	if key.Place == inKeychain {
		if secret, err = askKeychain(ctx, func() (string, error) { return f.keychain().Get(key.ID) }); err != nil {
			return nil, fmt.Errorf("the key of %s is in the system's keychain, which does not give it: %w; unlock the keychain, or set CAUSEWAY_AUTH_DIR to another folder and sign in again", f.Path, err)
		}
	}
	return key, key.use(secret)
}

// makeKey makes a key and writes where it is. One process does it, the others read it.
func (f *Folder) makeKey(ctx context.Context) (*folderKey, error) {
	unlock, err := f.Lock(ctx, "key")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if key, err := f.readKey(ctx); !errors.Is(err, ErrNotFound) {
		return key, err
	}
	if entries, _ := f.List(ctx); len(entries) > 0 {
		return nil, fmt.Errorf("%s is gone, and what is stored in %s cannot be read without it; remove the folder and sign in again", keyFile, f.Path)
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	secret := base64.StdEncoding.EncodeToString(random[:])
	key := &folderKey{Format: folderFormat, Place: inFile, ID: "causeway-" + hex.EncodeToString([]byte(rand.Text()[:8])), Secret: secret}
	if !f.NoKeychain {
		kept, err := askKeychain(ctx, func() (string, error) {
			if err := f.keychain().Set(key.ID, secret); err != nil {
				return "", err
			}
			return f.keychain().Get(key.ID)
		})
		if err == nil && kept == secret {
			key.Place, key.Secret = inKeychain, ""
		}
	}
	content, err := json.Marshal(key)
	if err == nil {
		err = writeFile(filepath.Join(f.Path, keyFile), content)
	}
	if err != nil {
		return nil, err
	}
	key.Secret = ""
	return key, key.use(secret)
}

func (f *Folder) keychain() Keychain {
	if f.Keychain != nil {
		return f.Keychain
	}
	return systemKeychain{}
}

// askKeychain bounds a question to a keychain: it may wait for a person to unlock it, or for
// a bus that nobody answers on.
func askKeychain(ctx context.Context, ask func() (string, error)) (string, error) {
	const patience = 30 * time.Second
	type answer struct {
		secret string
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		secret, err := ask()
		answers <- answer{secret, err}
	}()
	select {
	case a := <-answers:
		return a.secret, a.err
	case <-time.After(patience):
		return "", errors.New("it does not answer")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (k *folderKey) use(secret string) error {
	raw, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(raw) != 32 {
		return errors.New("the key is not one of 32 bytes")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return err
	}
	k.aead, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// bound is what a sealed file is bound to: its name, so that files cannot change places.
func (k *folderKey) bound(name string) []byte { return []byte(magic + k.ID + "\x00" + name) }

func (k *folderKey) seal(name string, value []byte) []byte {
	return append([]byte(magic), k.aead.Seal(nil, nil, value, k.bound(name))...)
}

func (k *folderKey) unseal(name string, sealed []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(sealed, []byte(magic))
	if !ok {
		return nil, errors.New("it is not a sealed file of this format")
	}
	value, err := k.aead.Open(nil, nil, sealed, k.bound(name))
	if err != nil {
		return nil, errors.New("it was changed, or sealed with another key")
	}
	return value, nil
}
