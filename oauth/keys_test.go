package oauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/store"
)

func TestKeyTextsThatAreRefused(t *testing.T) {
	key := base64.RawURLEncoding.EncodeToString(make([]byte, keySize))
	for name, text := range map[string]string{
		"nothing":             "",
		"only an older key":   "older " + key,
		"a short key":         "active " + key[:40],
		"two active keys":     "active " + key + "\n" + string(newKeyText()),
		"one key twice":       "active " + key + "; older " + key,
		"an unknown word":     "newest " + key,
		"a bad retired id":    "active " + key + "\nretired xyz",
		"a bad time":          "active " + key + "\nnot_before yesterday",
		"three words":         "active " + key + " x",
		"base64 with newline": "active " + key[:20] + "\n" + key[20:],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseKeys([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), key[:20]) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
}

func TestAKeyIsNeverPrinted(t *testing.T) {
	r := NewKeys()
	secret := base64.RawURLEncoding.EncodeToString(r.active.master)
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(form, r); strings.Contains(s, secret) || strings.Contains(s, fmt.Sprint(r.active.master)) {
			t.Errorf("%s prints the key: %s", form, s)
		}
	}
}

func TestAKeyFileIsMadeOnceAndNeverOverANamedMissingOne(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	m := store.NewMemory()
	t.Cleanup(func() { m.Close() })
	first, err := OpenKeyFile(t.Context(), name, m)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(name); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode().Perm())
	}
	if err := first.claim(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeyFile(t.Context(), name, m)
	if err != nil || again.ID() != first.ID() {
		t.Fatalf("opened again: %v, %v", again, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyFile(t.Context(), name, m); !errors.Is(err, ErrKeyMissing) {
		t.Errorf("a lost key file gave %v", err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("a new key was minted over the missing one")
	}
}

func TestAKeyFileThatOthersMayReadIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, newKeyText(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyFile(name); err == nil {
		t.Error("accepted")
	}
}

func TestARingWithoutTheKeyThatTheStoreNamesIsRefused(t *testing.T) {
	m := store.NewMemory()
	t.Cleanup(func() { m.Close() })
	old := newKeyText()
	first, _ := ParseKeys(old)
	if err := first.claim(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	other := newKeyText()
	lost, _ := ParseKeys(other)
	if err := lost.claim(t.Context(), m); !errors.Is(err, ErrKeyMissing) {
		t.Fatalf("a ring without the key: %v", err)
	}
	rotated, _ := ParseKeys([]byte(string(other) + strings.Replace(string(old), "active", "older", 1)))
	if err := rotated.claim(t.Context(), m); err != nil {
		t.Fatalf("a ring that still has it: %v", err)
	}
	if err := lost.claim(t.Context(), m); err != nil {
		t.Errorf("the older key dropped after the rotation: %v", err)
	}
	third, _ := ParseKeys([]byte(string(newKeyText()) + "retired " + lost.ID()))
	if err := third.claim(t.Context(), m); err != nil {
		t.Errorf("a key retired on purpose: %v", err)
	}
}

func TestTokensOfOneKindNeverPassForAnother(t *testing.T) {
	m := &mint{prefix: "cw", keys: NewKeys()}
	kinds := []kind{kindCode, kindAccess, kindRefresh, kindSecret, kindConsent, kindLogin, kindSession}
	for _, a := range kinds {
		tok := m.issue(a, newID())
		for _, b := range kinds {
			got, err := m.parse(b, tok.text)
			if (err == nil) != (a == b) {
				t.Errorf("%s parsed as %s: %v", a, b, err)
			}
			if err == nil && (got.id != tok.id || !got.is(tok.mac())) {
				t.Errorf("%s does not parse to itself", a)
			}
			forged := strings.Replace(tok.text, "_"+string(a)+"_", "_"+string(b)+"_", 1)
			if _, err := m.parse(b, forged); err == nil && a != b {
				t.Errorf("%s relabelled as %s passes", a, b)
			}
		}
		if s := fmt.Sprintf("%v %+v %#v %s", tok, tok, tok, tok); strings.Contains(s, tok.text[len(tok.text)-20:]) {
			t.Errorf("a token is printed: %s", s)
		}
	}
}

func TestEverySpellingOfATokenButOneIsRefused(t *testing.T) {
	m := &mint{prefix: "cw", keys: NewKeys()}
	text := m.issue(kindAccess, newID()).text
	for i := range text {
		for _, c := range []byte("A_.-b\n\x00") {
			b := []byte(text)
			if b[i] == c {
				continue
			}
			b[i] = c
			if _, err := m.parse(kindAccess, string(b)); err == nil {
				t.Errorf("byte %d may be %q", i, c)
			}
		}
	}
	for _, other := range []string{"", text + "=", text + "A", text[:len(text)-1], " " + text, text + "\n", strings.ToUpper(text), strings.Repeat("x", 10000)} {
		if _, err := m.parse(kindAccess, other); err == nil {
			t.Errorf("%q is accepted", other)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	m := &mint{prefix: "cw", keys: NewKeys()}
	good := m.issue(kindAccess, newID()).text
	f.Add(good)
	f.Add("cw_at_.")
	f.Add("cw_at_aaaaaaaaaaaaaaaaaaaaaaaaaa.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if tok, err := m.parse(kindAccess, text); err == nil && text != good {
			t.Errorf("%v was never issued", tok)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("active AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nretired 00000000; not_before 2026-01-02T15:04:05Z"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseKeys(text)
		if (r == nil) == (err == nil) {
			t.Fatal("neither a ring nor an error")
		}
	})
}
