package client

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// chain is a keychain in memory, that may be out of order.
type chain struct {
	mu     sync.Mutex
	broken bool
	kept   map[string]string
}

func (c *chain) Get(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return "", errors.New("the keychain is locked")
	}
	if secret, ok := c.kept[name]; ok {
		return secret, nil
	}
	return "", ErrNotFound
}

func (c *chain) Set(name, secret string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return errors.New("there is no keychain")
	}
	if c.kept == nil {
		c.kept = map[string]string{}
	}
	c.kept[name] = secret
	return nil
}

func stores(t *testing.T) map[string]Store {
	return map[string]Store{
		"memory":                   Memory(),
		"a folder with a key file": &Folder{Path: filepath.Join(t.TempDir(), "a", "b"), NoKeychain: true},
		"a folder with a keychain": &Folder{Path: filepath.Join(t.TempDir(), "a"), Keychain: new(chain)},
	}
}

func TestAStoreKeepsWhatItIsGiven(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if _, err := store.Get(ctx, "server.a"); !errors.Is(err, ErrNotFound) {
				t.Errorf("before the first write: %v", err)
			}
			if names, err := store.List(ctx); err != nil || len(names) != 0 {
				t.Errorf("before the first write there are %q (%v)", names, err)
			}
			for _, value := range []string{"one", "two", ""} {
				if err := store.Put(ctx, "server.a", []byte(value)); err != nil {
					t.Fatal(err)
				}
				if got, err := store.Get(ctx, "server.a"); err != nil || string(got) != value {
					t.Errorf("%q reads back as %q (%v)", value, got, err)
				}
			}
			if err := store.Put(ctx, "client.b", []byte("x")); err != nil {
				t.Fatal(err)
			}
			names, err := store.List(ctx)
			slices.Sort(names)
			if err != nil || !slices.Equal(names, []string{"client.b", "server.a"}) {
				t.Errorf("there are %q (%v)", names, err)
			}
			if err := errors.Join(store.Delete(ctx, "server.a"), store.Delete(ctx, "server.a")); err != nil {
				t.Error(err)
			}
			if _, err := store.Get(ctx, "server.a"); !errors.Is(err, ErrNotFound) {
				t.Errorf("after the deletion: %v", err)
			}
		})
	}
}

func TestALockIsHeldByOne(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			var held, most int
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 5 {
						unlock, err := store.Lock(t.Context(), "a")
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						held++
						most = max(most, held)
						mu.Unlock()
						mu.Lock()
						held--
						mu.Unlock()
						unlock()
					}
				})
			}
			all.Wait()
			if most != 1 {
				t.Errorf("%d held it at once", most)
			}
			unlock, err := store.Lock(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			if other, err := store.Lock(t.Context(), "b"); err != nil {
				t.Error(err)
			} else {
				other()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := store.Lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waiting for a held lock ends with %v", err)
			}
		})
	}
}

func TestOthersCannotReadAFolder(t *testing.T) {
	if !hasModes {
		t.Skip("files have no modes here")
	}
	store := &Folder{Path: filepath.Join(t.TempDir(), "auth"), NoKeychain: true}
	if err := os.MkdirAll(store.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	const secret = "a-token-that-nobody-may-see"
	if err := store.Put(t.Context(), "server.a", []byte(secret)); err != nil {
		t.Fatal(err)
	}
	unlock, err := store.Lock(t.Context(), "server.a")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	seen := 0
	err = filepath.WalkDir(store.Path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		if info.Mode().IsRegular() {
			seen++
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has the token in clear", path)
			}
		}
		return nil
	})
	if err != nil || seen < 3 {
		t.Errorf("%d files seen (%v)", seen, err)
	}
}

func TestAKeyInTheKeychainIsNotInTheFolder(t *testing.T) {
	keychain := new(chain)
	store := &Folder{Path: t.TempDir(), Keychain: keychain}
	if err := store.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(store.Path, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range keychain.kept {
		if bytes.Contains(content, []byte(secret)) {
			t.Error("the key is in the folder too")
		}
	}
	if len(keychain.kept) != 1 || !bytes.Contains(content, []byte(`"keychain"`)) {
		t.Errorf("%d keys in the keychain; the folder says %s", len(keychain.kept), content)
	}
	if where, err := store.Where(t.Context()); err != nil || !strings.Contains(where, "keychain") {
		t.Errorf("it says that it is in %q (%v)", where, err)
	}
	again := &Folder{Path: store.Path, Keychain: keychain}
	if got, err := again.Get(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("opened again: %q (%v)", got, err)
	}
}

func TestALockedKeychainIsSaidAndNotPapered(t *testing.T) {
	keychain := new(chain)
	store := &Folder{Path: t.TempDir(), Keychain: keychain}
	if err := store.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	keychain.broken = true
	again := &Folder{Path: store.Path, Keychain: keychain}
	if _, err := again.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("reading: %v", err)
	}
	if err := again.Put(t.Context(), "b", []byte("y")); err == nil {
		t.Error("a second key was made beside the first")
	}
	keychain.broken = false
	if got, err := again.Get(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("unlocked again: %q (%v)", got, err)
	}
}

func TestWithoutAKeychainTheKeyIsInAFile(t *testing.T) {
	store := &Folder{Path: t.TempDir(), Keychain: &chain{broken: true}}
	if err := store.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if where, err := store.Where(t.Context()); err != nil || !strings.Contains(where, "beside") {
		t.Errorf("it says that it is in %q (%v)", where, err)
	}
}

func TestADamagedFolderIsNotRewritten(t *testing.T) {
	fresh := func(t *testing.T) *Folder {
		store := &Folder{Path: t.TempDir(), NoKeychain: true}
		if err := errors.Join(store.Put(t.Context(), "a", []byte("x")), store.Put(t.Context(), "b", []byte("y"))); err != nil {
			t.Fatal(err)
		}
		return store
	}
	for name, damage := range map[string]func(dir string) error{
		"a bit is flipped": func(dir string) error {
			path := filepath.Join(dir, "a.sealed")
			content, err := os.ReadFile(path)
			if err == nil {
				content[len(content)-1] ^= 1
				err = os.WriteFile(path, content, 0o600)
			}
			return err
		},
		"two files change places": func(dir string) error {
			return os.Rename(filepath.Join(dir, "b.sealed"), filepath.Join(dir, "a.sealed"))
		},
		"the file is empty": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.sealed"), nil, 0o600) },
		"the key is gone":   func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) },
		"the key is another": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keyFile), []byte(`{"format":1,"place":"file","id":"x","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`), 0o600)
		},
		"the key is too short": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keyFile), []byte(`{"format":1,"place":"file","id":"x","key":"AAAA"}`), 0o600)
		},
		"the format is of the future": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keyFile), []byte(`{"format":2}`), 0o600)
		},
		"the key file is not JSON": func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), []byte(`nonsense`), 0o600) },
		"the key file is cut":      func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), nil, 0o600) },
		"the file was sealed elsewhere": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a.sealed"), []byte(magic+strings.Repeat("x", 40)), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := fresh(t)
			if err := damage(store.Path); err != nil {
				t.Fatal(err)
			}
			again := &Folder{Path: store.Path, NoKeychain: true}
			if got, err := again.Get(t.Context(), "a"); err == nil {
				t.Errorf("it reads as %q", got)
			}
			if strings.HasPrefix(name, "the key") || strings.HasPrefix(name, "the format") {
				if err := again.Put(t.Context(), "c", nil); err == nil && name != "the key is another" {
					t.Error("a key was made over it")
				}
			}
		})
	}
}

func TestNamesStayInTheFolder(t *testing.T) {
	store := &Folder{Path: filepath.Join(t.TempDir(), "in"), NoKeychain: true}
	for _, name := range []string{"", "..", "../a", "a/b", `a\b`, ".key", "a\x00", strings.Repeat("a", 101), "é"} {
		_, getErr := store.Get(t.Context(), name)
		_, lockErr := store.Lock(t.Context(), name)
		if getErr == nil || errors.Is(getErr, ErrNotFound) || lockErr == nil || store.Put(t.Context(), name, nil) == nil || store.Delete(t.Context(), name) == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}
