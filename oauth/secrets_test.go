package oauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/store"
)

// everything keeps all that was ever written, also what was replaced or deleted since.
type everything struct {
	store.Records
	mu      sync.Mutex
	written bytes.Buffer
}

func (e *everything) Put(ctx context.Context, key string, value []byte, prev store.Revision, o *store.PutOptions) (store.Revision, error) {
	e.mu.Lock()
	fmt.Fprintf(&e.written, "%s = %s\n", key, value)
	e.mu.Unlock()
	return e.Records.Put(ctx, key, value, prev, o)
}

func (e *everything) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.written.String() // the sweeps may still write
}

// spellings of a secret: as it is, escaped, and inside of base64 at each alignment.
func spellings(secret string) []string {
	all := []string{secret, url.QueryEscape(secret)}
	for skip := range 3 {
		whole := []byte(secret)[skip:]
		whole = whole[:len(whole)/3*3]
		all = append(all, base64.StdEncoding.EncodeToString(whole), base64.RawURLEncoding.EncodeToString(whole))
	}
	return all
}

// TestNothingSecretIsInLogsRecordsOrAddresses signs people in and out in every way there
// is, the wrong ones too, and reads everything that was logged at any level, every record
// that was ever written, and every address that was asked for here.
func TestNothingSecretIsInLogsRecordsOrAddresses(t *testing.T) {
	for _, escrow := range []*Escrow{nil, {Ahead: -1}} {
		t.Run(fmt.Sprintf("escrow %v", escrow != nil), func(t *testing.T) {
			memory := store.NewMemory()
			defer memory.Close()
			kept := &everything{Records: memory}
			e := &upstreamServer{ttl: 2 * time.Minute}
			keys := NewKeys()
			const configured = "a configured secret of a client"
			w := newWorld(t, func(p *Provider) {
				p.Login, p.Records, p.Keys, p.Escrow = fromElsewhere{upstreamServer: e}, kept, keys, escrow
				p.Clients = []Client{{ID: "conf", Secret: configured, RedirectURIs: []string{testRedirect}, Introspects: []string{p.Issuer + "/mcp"}}}
				p.Renew = func(context.Context, *Renewal) error { return nil }
			})
			var addresses bytes.Buffer
			inner := w.srv.Config.Handler
			w.srv.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				fmt.Fprintln(&addresses, r.URL.String())
				inner.ServeHTTP(rw, r)
			})
			secrets := everyWay(w, e, configured)
			secrets["server key"] = string(keys.active.master)
			logs, records, asked := w.logs.String(), kept.String(), addresses.String()
			for _, text := range []string{logs, records, asked} {
				if len(text) < 500 {
					t.Fatalf("there is nothing to look at: %q", text)
				}
			}
			for name, secret := range secrets {
				if _, tail, ok := strings.Cut(secret, "."); ok && strings.HasPrefix(secret, "cw_") {
					secret = tail
				}
				if len(secret) < 7 {
					t.Fatalf("%s: there is none: %q", name, secret)
				}
				for _, s := range spellings(secret) {
					for place, text := range map[string]string{"logs": logs, "records": records, "addresses": asked} {
						if strings.Contains(text, s) {
							t.Errorf("the %s is in the %s", name, place)
						}
					}
				}
			}
			if strings.Contains(logs, "alice") {
				t.Error("the name of a person is in the logs")
			}
		})
	}
}

func everyWay(w *world, e *upstreamServer, configured string) map[string]string {
	secrets := map[string]string{"verifier": testVerifier, "configured secret": configured, "props": upstreamSecret}
	registered := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}, "token_endpoint_auth_method": "client_secret_post"}).json(w)
	id, secret := registered["client_id"].(string), registered["client_secret"].(string)
	secrets["registered secret"] = secret
	b := w.browser()
	code := b.mustAllow(w.asks(id), "alice", "remember", "yes")
	secrets["code"] = code
	w.sends(id, code, "client_secret", "wrong")
	w.sends(id, code, "client_secret", secret, "code_verifier", strings.Repeat("x", 43))
	w.sends("conf", code, "client_secret", configured)
	first := w.sends(id, code, "client_secret", secret)
	a := parseAnswer(w.T, []byte(first.body))
	secrets["access token"], secrets["refresh token"] = a.AccessToken, a.RefreshToken
	w.sends(id, code, "client_secret", secret) // again
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "client_secret": {secret}, "refresh_token": {a.RefreshToken}}
	second := parseAnswer(w.T, []byte(w.posts("/token", refresh).body))
	secrets["second access token"], secrets["second refresh token"] = second.AccessToken, second.RefreshToken
	w.posts("/token", refresh) // the same answer
	for _, path := range []string{"/mcp", "/other", "/mcp/admin"} {
		w.calls(path, a.AccessToken)
		w.calls(path, a.RefreshToken)
		w.calls(path, a.AccessToken+"x")
	}
	w.posts("/introspect", url.Values{"token": {a.AccessToken}, "client_id": {"conf"}, "client_secret": {configured}})
	w.posts("/introspect", url.Values{"token": {a.AccessToken}, "client_id": {"conf"}, "client_secret": {secret}})
	for _, name := range []string{"broken", "mallory"} {
		b.allows(w.asks(id), name)
	}
	b.get(w.asks(id, "redirect_uri", "https://evil.example/"))
	e.set(fmt.Errorf("the login says no"))
	w.posts("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "client_secret": {secret}, "refresh_token": {second.RefreshToken}})
	e.set(nil)
	account := b.post(w.url("/callback"), b.get(w.url("/account")).fields("name", "alice"))
	if account.status != http.StatusSeeOther {
		w.Fatalf("account: %d %s", account.status, account.body)
	}
	page := b.get(w.url("/account"))
	b.get(w.url("/account.json"))
	u, _ := url.Parse(w.srv.URL)
	for _, c := range b.http.Jar.Cookies(u) {
		secrets["cookie "+c.Name] = c.Value
	}
	w.posts("/revoke", url.Values{"client_id": {id}, "client_secret": {secret}, "token": {second.AccessToken}})
	b.post(w.url("/account"), page.fields("signout", "yes"))
	w.posts("/revoke", url.Values{"client_id": {id}, "client_secret": {secret}, "token": {second.RefreshToken}})
	for n := 1; n <= e.n; n++ {
		secrets[fmt.Sprintf("access token of the login %d", n)] = fmt.Sprintf("up-at-%d", n)
		secrets[fmt.Sprintf("refresh token of the login %d", n)] = fmt.Sprintf("up-rt-%d", n)
	}
	return secrets
}

func TestSecretsAreNotPrintedByTheirTypes(t *testing.T) {
	const secret = "hush-hush-hush-hush"
	for name, v := range map[string]any{
		"a client":              Client{ID: "x", Secret: secret},
		"a client by address":   &Client{ID: "x", Secret: secret},
		"a person":              Person{ID: secret, Name: secret, Props: secret, Upstream: &oauth2.Token{AccessToken: secret}},
		"tokens of the login":   &upstream{Access: secret, Refresh: secret},
		"an attempt":            &Attempt{State: secret, Secret: secret},
		"a renewal":             &Renewal{Props: []byte(`"` + secret + `"`), Upstream: &oauth2.Token{AccessToken: secret}},
		"a validation":          &Validation{User: "u", Props: []byte(secret)},
		"a validation by value": Validation{User: "u", Props: []byte(secret)},
	} {
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		fmt.Fprintf(&b, "%v %+v %#v %s", v, v, v, v)
		if strings.Contains(b.String(), "hush") || strings.Contains(b.String(), "104 117 115 104") || strings.Contains(b.String(), "0x68, 0x75") || strings.Contains(b.String(), base64.StdEncoding.EncodeToString([]byte(secret))[:20]) {
			t.Errorf("%s: %s", name, b.String())
		}
	}
}
