// Package extensions lets independent libraries judge what the provider can do besides
// signing people in: oauth4webapi as the client and as the resource server of another
// make, jose as the identity provider of a company.
package extensions

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const secret = "a secret of the test client"

// TestIndependentLibraries runs extensions.test.mjs against a process with every
// extension on, built with the race detector.
func TestIndependentLibraries(t *testing.T) {
	private, public := newKey(t)
	base := startServer(t, public)
	node, err := filepath.Abs("../node_modules/node/bin/node")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a hang is a failure, not a stuck build
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--no-warnings", "--test", "--test-reporter=tap", "extensions.test.mjs")
	cmd.Env = append(os.Environ(), "CAUSEWAY_TEST_URL="+base, "CAUSEWAY_TEST_KEY="+private, "CAUSEWAY_TEST_SECRET="+secret)
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^# pass [1-9]`).Match(out) || !regexp.MustCompile(`(?m)^# skipped 0$`).Match(out) || !regexp.MustCompile(`(?m)^# todo 0$`).Match(out) {
		t.Errorf("%v (without Node: run `npm ci` in e2e/ first)\n%s", err, out)
	}
	t.Logf("%s", regexp.MustCompile(`(?m)^# pass \d+`).Find(out))
}

// newKey is a key of the client that signs and of the identity provider, as JWK and JWK
// set.
func newKey(t *testing.T) (private, public string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	jwk := map[string]string{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "x": text(point[1:33]), "y": text(point[33:])}
	set, err := json.Marshal(map[string]any{"keys": []any{jwk}})
	if err != nil {
		t.Fatal(err)
	}
	jwk["d"] = text(scalar)
	one, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return string(one), string(set)
}

// startServer starts the fixture. It has to end with 0, without a data race, and with
// nothing secret in its log.
func startServer(t *testing.T, keys string) (base string) {
	binary := filepath.Join(t.TempDir(), "extserver")
	if out, err := exec.Command("go", "build", "-C", "../..", "-race", "-o", binary, "./conformance/extserver").CombinedOutput(); err != nil {
		t.Fatalf("building the fixture: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "-data", t.TempDir(), "-keys", keys, "-secret", secret)
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the fixture: %v\n%s", err, &log)
		}
		for _, leak := range []string{secret, "cw_at_", "eyJ"} {
			if strings.Contains(log.String(), leak) {
				t.Errorf("the log has %q:\n%s", leak, &log)
			}
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the fixture did not start: %v\n%s", err, &log)
	}
	return strings.TrimSpace(line)
}
