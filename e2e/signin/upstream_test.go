package signin

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/e2e/internal/nodetest"
	"golang.org/x/oauth2"
)

const upstreamSecret = "what only the upstream and the server know"

// TestUpstreamOIDC signs in to examples/oidc through a real OpenID Connect issuer, node
// oidc-provider, with its pages in between.
func TestUpstreamOIDC(t *testing.T) {
	t.Parallel()
	issuer, _ := startOIDCProvider(t)
	s := startServer(t, []string{"OIDC_ISSUER=" + issuer, "OIDC_CLIENT_ID=causeway", "OIDC_CLIENT_SECRET=" + upstreamSecret}, oidcExample)
	alice := newPerson("alice")
	wholeFlow(t, s, alice, "alice of oidc-provider")
	if !slices.Contains(alice.pages, "Sign-in") {
		t.Errorf("the issuer's page was not shown: %q", alice.pages)
	}
	// Her browser has a session there now, yet a new program still needs her consent here.
	before := len(alice.pages)
	wholeFlow(t, s, alice, "alice of oidc-provider")
	if shown := alice.pages[before:]; len(shown) == 0 || !strings.HasPrefix(shown[0], "Allow access?") {
		t.Errorf("a new program was not asked about: %q", shown)
	}
	wholeFlow(t, s, newPerson("bob"), "bob of oidc-provider")
}

// The issuer's access tokens end at once and its refresh tokens are good once, and ours is
// killed: everybody who asks gets an answer all the same, from one renewal at a time. What
// the person takes back ends there too.
func TestUpstreamOIDCTokensAreRenewedAndRevoked(t *testing.T) {
	t.Parallel()
	issuer, log := startOIDCProvider(t)
	s := startAuthserver(t, "-login", "oidc", "-upstream", issuer, "-upstream-id", "causeway", "-upstream-secret", upstreamSecret, "-upstream-api", issuer+"/me", "-escrow")
	config := registers(t, s, "none")
	verifier := oauth2.GenerateVerifier()
	back, err := newPerson("alice").answers(config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(back)
	tok, err := config.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if status, body := calls(t, s, tok.AccessToken, "upstream"); status != http.StatusOK || !strings.Contains(body, "200 ") || !strings.Contains(body, "alice@example.com") {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		all.Wait()
	}
	ask()
	if err := s.killAndRestart(); err != nil {
		t.Fatal(err)
	}
	ask()
	if !strings.Contains(log.String(), "event refresh_token.consumed") {
		t.Error("nothing was renewed")
	}
	if strings.Contains(log.String(), "error") || strings.Contains(log.String(), "event grant.revoked") {
		t.Errorf("the issuer was asked for what it had to refuse:\n%s", log)
	}
	revokes(t, s, tok.RefreshToken, config.ClientID)
	wantRefused(t, s, tok.AccessToken)
	for deadline := time.Now().Add(patience); !strings.Contains(log.String(), "event grant.revoked"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the issuer was not told of the revocation:\n%s", log)
		}
	}
}

// An upstream that is gone is told to the client as a failed sign-in, and is found again
// when it is back; nobody who is signed in notices.
func TestUpstreamOIDCAway(t *testing.T) {
	t.Parallel()
	gone := freeAddr(t)
	s := startAuthserver(t, "-login", "oidc", "-upstream", "http://"+gone, "-upstream-id", "causeway", "-upstream-secret", upstreamSecret)
	config := registers(t, s, "none")
	back, err := newPerson("alice").answers(config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err != nil {
		t.Fatal(err)
	}
	if u, _ := url.Parse(back); u.Query().Get("error") != "server_error" || strings.Contains(back, gone) {
		t.Errorf("the client was told %s", back)
	}
}

// TestUpstreamGitHub signs in to examples/github-oauth through something of GitHub's shape.
func TestUpstreamGitHub(t *testing.T) {
	t.Parallel()
	hub := newGitHub(t)
	s := startServer(t, []string{
		"GITHUB_CLIENT_ID=" + hubClient, "GITHUB_CLIENT_SECRET=" + upstreamSecret, "GITHUB_WEB_URL=" + hub.URL, "GITHUB_API_URL=" + hub.URL + "/api/v3",
	}, githubExample)
	wholeFlow(t, s, newPerson("octocat"), "octocat")
	wholeFlow(t, s, newPerson("hubot"), "hubot")

	// A person who presses Cancel at GitHub has refused here too.
	config := registers(t, s, "none")
	hub.refuse()
	back, err := newPerson("octocat").answers(config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err != nil {
		t.Fatal(err)
	}
	if u, _ := url.Parse(back); u.Query().Get("error") != "access_denied" || u.Query().Get("state") != "s" {
		t.Errorf("the client was told %s", back)
	}
}

// wholeFlow registers, signs in, calls, survives kill -9, refreshes and revokes.
func wholeFlow(t *testing.T, s *server, who *person, name string) {
	t.Helper()
	config := registers(t, s, "none")
	verifier := oauth2.GenerateVerifier()
	back, err := who.answers(config.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(back)
	tok, err := config.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("%s: %v", back, err)
	}
	wantPerson(t, s, tok.AccessToken, name)
	if err := s.killAndRestart(); err != nil {
		t.Fatal(err)
	}
	wantPerson(t, s, tok.AccessToken, name)
	next, err := config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	wantPerson(t, s, next.AccessToken, name)
	revokes(t, s, next.RefreshToken, config.ClientID)
	wantRefused(t, s, next.AccessToken)
}

// startOIDCProvider starts the issuer and gives its URL and what it logs.
func startOIDCProvider(t *testing.T) (issuer string, log *transcript) {
	t.Helper()
	cmd := exec.Command(nodetest.Node(t), "--no-warnings", filepath.FromSlash("upstream/oidc-provider.mjs"))
	cmd.Env = append(os.Environ(), "UPSTREAM_SECRET="+upstreamSecret)
	log = new(transcript)
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("oidc-provider: %v\n%s", err, log)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("oidc-provider did not start: %v\n%s", err, log)
	}
	return strings.TrimSpace(line), log
}

const hubClient = "Iv1.0123456789abcdef"

// gitHub is of GitHub's shape: it answers tokens as a form unless asked for JSON, errors
// with status 200, and wants a User-Agent at its API.
type gitHub struct {
	*httptest.Server
	*testing.T
	mu      sync.Mutex
	codes   map[string]hubCode
	tokens  map[string]string // whose it is
	refused bool
}

type hubCode struct{ login, redirect, challenge string }

func newGitHub(t *testing.T) *gitHub {
	h := &gitHub{T: t, codes: make(map[string]hubCode), tokens: make(map[string]string)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", h.ask)
	mux.HandleFunc("POST /login/oauth/authorize", h.authorize)
	mux.HandleFunc("POST /login/oauth/access_token", h.exchange)
	mux.HandleFunc("GET /api/v3/user", h.user)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *gitHub) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = true
}

func (h *gitHub) ask(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != hubClient || q.Get("state") == "" || q.Get("code_challenge_method") != "S256" {
		h.Errorf("GitHub was asked %s", r.URL)
		http.Error(w, "404", http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, `<title>Authorize</title><form method="post" action="/login/oauth/authorize?%s"><input type="text" name="login"><button>Authorize</button></form>`, strings.ReplaceAll(r.URL.RawQuery, "&", "&amp;"))
}

func (h *gitHub) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	h.mu.Lock()
	defer h.mu.Unlock()
	back := url.Values{"state": {q.Get("state")}}
	if h.refused {
		back.Set("error", "access_denied")
		back.Set("error_description", "The user has denied your application access.")
	} else {
		code := rand.Text()
		h.codes[code] = hubCode{r.PostFormValue("login"), q.Get("redirect_uri"), q.Get("code_challenge")}
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (h *gitHub) exchange(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	code, ok := h.codes[r.PostFormValue("code")]
	delete(h.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	answer := url.Values{}
	switch {
	case r.PostFormValue("client_id") != hubClient || r.PostFormValue("client_secret") != upstreamSecret:
		answer.Set("error", "incorrect_client_credentials")
	case !ok || r.PostFormValue("redirect_uri") != code.redirect || base64.RawURLEncoding.EncodeToString(sum[:]) != code.challenge:
		answer.Set("error", "bad_verification_code")
	default:
		token := "gho_" + rand.Text()
		h.tokens[token] = code.login
		answer = url.Values{"access_token": {token}, "scope": {""}, "token_type": {"bearer"}}
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	fmt.Fprint(w, answer.Encode())
}

func (h *gitHub) user(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	login, ok := h.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	switch {
	case r.UserAgent() == "":
		http.Error(w, "Request forbidden by administrative rules.", http.StatusForbidden)
	case !ok:
		http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprintf(w, `{"login":%q,"id":%d,"name":null,"email":null}`, login, 583231+len(login))
	}
}
