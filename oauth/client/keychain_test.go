package client

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childFolder makes the test binary a process that uses a folder with the system's keychain.
const childFolder = "CAUSEWAY_TEST_KEYCHAIN_FOLDER"

func useKeychain(folder string) error {
	store := Dir(folder)
	if err := store.Put(context.Background(), "server.a", []byte("kept")); err != nil {
		return err
	}
	value, err := Dir(folder).Get(context.Background(), "server.a")
	if err != nil || string(value) != "kept" {
		return fmt.Errorf("%q reads back (%w)", value, err)
	}
	where, err := store.Where(context.Background())
	fmt.Println(where)
	return err
}

// A real Secret Service holds the key, and what it holds is not to be had without it.
func TestTheSystemsKeychainHoldsTheKey(t *testing.T) {
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here to be a keychain", program)
		}
	}
	home := t.TempDir()
	folder := filepath.Join(home, "auth")
	env := append(os.Environ(), childFolder+"="+folder, "HOME="+home, "XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_RUNTIME_DIR="+home, "TEST_BINARY="+os.Args[0])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session := exec.CommandContext(ctx, "dbus-run-session", "--", "sh", "-c", `printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null && exec "$TEST_BINARY"`)
	session.Env = env
	out, err := session.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "keychain") {
		t.Fatalf("with the keychain: %v\n%s", err, out)
	}
	content, err := os.ReadFile(filepath.Join(folder, keyFile))
	if err != nil || strings.Contains(string(content), `"key"`) || !strings.Contains(string(content), `"keychain"`) {
		t.Errorf("the folder has %s (%v)", content, err)
	}
	alone := exec.CommandContext(ctx, os.Args[0])
	alone.Env = append(env, "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(home, "nobody"))
	if out, err := alone.CombinedOutput(); err == nil || !strings.Contains(string(out), "CAUSEWAY_AUTH_DIR") {
		t.Errorf("without it: %v\n%s", err, out)
	}
}
