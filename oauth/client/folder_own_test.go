//go:build unix

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// used is a folder that has been in use, as another process finds it.
func used(t *testing.T) (*Folder, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth")
	before := &Folder{Path: path, NoKeychain: true}
	if err := before.Put(t.Context(), "server.a", []byte("value")); err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	return &Folder{Path: path, NoKeychain: true, Logger: slog.New(slog.NewTextHandler(log, nil))}, log
}

// uses are all that can be done with a folder.
func uses(ctx context.Context, f *Folder) map[string]error {
	_, get := f.Get(ctx, "server.a")
	_, list := f.List(ctx)
	_, where := f.Where(ctx)
	unlock, lock := f.Lock(ctx, "server.a")
	if lock == nil {
		unlock()
	}
	return map[string]error{"get": get, "list": list, "where": where, "lock": lock, "delete": f.Delete(ctx, "server.a"), "put": f.Put(ctx, "server.a", []byte("x"))}
}

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestWhatOthersCanReadIsClosedToThem(t *testing.T) {
	for _, inside := range []string{"", locksFolder, keyFile, "server.a" + sealedExt, filepath.Join(locksFolder, "key.lock")} {
		t.Run("the path "+inside, func(t *testing.T) {
			f, log := used(t)
			path := filepath.Join(f.Path, inside)
			open, closed := os.FileMode(0o644), os.FileMode(0o600)
			if info, err := os.Stat(path); err != nil {
				t.Fatal(err)
			} else if info.IsDir() {
				open, closed = 0o755, 0o700
			}
			if err := os.Chmod(path, open); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got, err := f.Get(t.Context(), "server.a"); err != nil || string(got) != "value" {
					t.Fatalf("%q %v", got, err)
				}
				unlock, err := f.Lock(t.Context(), "key")
				if err != nil {
					t.Fatal(err)
				}
				unlock()
			}
			if got := modeOf(t, path); got != closed {
				t.Errorf("it is %o", got)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), path) {
				t.Errorf("the log has %d lines:\n%s", n, log)
			}
		})
	}
}

func TestAFolderThatIsNotOnesOwnIsRefused(t *testing.T) {
	foreign := "/" // root's
	if os.Geteuid() == 0 {
		foreign = filepath.Join(t.TempDir(), "theirs")
		if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	real := t.TempDir()
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	dangling := filepath.Join(dir, "dangling")
	if err := errors.Join(os.Symlink(real, link), os.Symlink(filepath.Join(real, "nothing"), dangling), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, says string }{
		{"a symbolic link", link, "symbolic link"},
		{"a symbolic link to nothing", dangling, "symbolic link"},
		{"a file", file, "not a folder"},
		{"another user's", foreign, "another user"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for use, err := range uses(t.Context(), &Folder{Path: test.path, NoKeychain: true}) {
				if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.path) || !strings.Contains(err.Error(), "CAUSEWAY_AUTH_DIR") {
					t.Errorf("%s: %v", use, err)
				}
			}
			if left, err := os.ReadDir(real); err != nil || len(left) > 0 {
				t.Errorf("something was written behind the link: %v (%v)", left, err)
			}
		})
	}
}

func TestAFileThatIsNotOnesOwnIsRefused(t *testing.T) {
	key, sealed, lock := keyFile, "server.a"+sealedExt, filepath.Join(locksFolder, "server.a.lock")
	replaced := map[string]func(path string) error{
		"a symbolic link": func(path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		},
		"a pipe":   func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a folder": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	}
	if os.Geteuid() == 0 {
		replaced["another user's file"] = func(path string) error { return os.Chown(path, 65534, 65534) }
	}
	for name, replace := range replaced {
		for _, file := range []string{key, sealed, lock} {
			t.Run(fmt.Sprintf("%s is %s", file, name), func(t *testing.T) {
				f, _ := used(t)
				unlock, err := f.Lock(t.Context(), "server.a")
				if err != nil {
					t.Fatal(err)
				}
				unlock()
				if err := replace(filepath.Join(f.Path, file)); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if file == lock {
					_, err = f.Lock(ctx, "server.a")
				} else {
					_, err = f.Get(ctx, "server.a")
				}
				if err == nil || ctx.Err() != nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), filepath.Join(f.Path, file)) || !strings.Contains(err.Error(), "remove") {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// A folder of the user's behind a link of the user's is the user's: many keep all of
// ~/.config so. It is the last part of the path that must be real.
func TestAFolderBelowALinkIsFine(t *testing.T) {
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "config")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	f := &Folder{Path: filepath.Join(link, "auth"), NoKeychain: true}
	for use, err := range uses(t.Context(), f) {
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", use, err)
		}
	}
}
