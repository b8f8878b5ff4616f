package attack

import (
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func wantError(t *testing.T, what string, a answer, code string) {
	t.Helper()
	if a.status < 400 || a.status >= 500 || !strings.Contains(a.body, `"`+code+`"`) {
		t.Errorf("%s: %d %s, want %s", what, a.status, a.body, code)
	}
}

// What mallory does with a code that alice's client is about to redeem does not get her a token, and not even
// keeps alice's client from redeeming it. Redeemed again it gives nothing.
func TestACodeIsGoodOnceForItsClientOnly(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	alice := newPerson("alice")
	c, other := s.registers(t), s.registers(t)
	code := c.code(t, alice)
	wantError(t, "another client", other.redeems(t, code), "invalid_grant")
	wantError(t, "another redirect", c.redeems(t, code, "redirect_uri", here+"/"), "invalid_grant")
	wantError(t, "another verifier", c.redeems(t, code, "code_verifier", strings.Repeat("x", 50)), "invalid_grant")
	wantError(t, "no verifier", c.redeems(t, code, "code_verifier", "-"), "invalid_request")
	wantError(t, "another resource", c.redeems(t, code, "resource", s.url+"/sse"), "invalid_target")
	wantError(t, "the code as a refresh token", c.refreshes(t, code), "invalid_grant")
	c.takes(t, c.redeems(t, code))
	c.is(t, "alice")
	wantError(t, "the code again", c.redeems(t, code), "invalid_grant")
	wantError(t, "the code again, by another", other.redeems(t, code), "invalid_grant")
	c.is(t, "alice") // an immediate repetition is a lost answer, and logs nobody out

	plain := s.registers(t)
	for what, changes := range map[string][]string{
		"plain":               {"code_challenge_method", "plain", "code_challenge", verifier},
		"no method":           {"code_challenge_method", "-", "code_challenge", verifier},
		"no challenge":        {"code_challenge", "-", "code_challenge_method", "-"},
		"an unknown resource": {"resource", "https://evil.example/mcp"},
		"a token at once":     {"response_type", "token"},
		"a fragment":          {"response_mode", "fragment"},
	} {
		a := s.sends(t, "GET", strings.TrimPrefix(plain.asks(changes...), s.url), "")
		back, err := url.Parse(a.header.Get("Location"))
		if err != nil || !strings.HasPrefix(back.String(), here) || back.Query().Get("error") == "" || back.Query().Get("code") != "" || back.Query().Get("iss") != s.url || back.Fragment != "" {
			t.Errorf("%s: %d, to %q, want an error for the client", what, a.status, back)
		}
	}
}

// A refresh token that was superseded twice ends the grant, also for who holds the newest one, and ends its open
// streams. Before that, a client whose answer was lost asks again and is given the same.
func TestAStolenRefreshTokenEndsTheGrantAndALostAnswerDoesNot(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	c, other := s.signsIn(t, newPerson("alice")), s.registers(t)
	first := c.refresh
	wantError(t, "another client refreshes", other.refreshes(t, first), "invalid_grant")
	lost := c.refreshes(t, first)
	c.takes(t, c.refreshes(t, first)) // the answer was lost
	if again := c.refreshes(t, first); lost.body == "" || again.status != http.StatusOK || !strings.Contains(again.body, c.refresh) {
		t.Errorf("a refresh whose answer was lost: %d %s", again.status, again.body)
	}
	c.is(t, "alice")
	c.takes(t, c.refreshes(t, c.refresh))
	c.is(t, "alice")

	session := c.opens(t)
	stream := s.streams(t, "/mcp", "Authorization", "Bearer "+c.access, "Accept", "text/event-stream", "Mcp-Session-Id", session, "MCP-Protocol-Version", "2025-11-25")
	if stream.StatusCode != http.StatusOK {
		t.Fatalf("GET: %d", stream.StatusCode)
	}
	wantError(t, "the first refresh token, two rotations later", c.refreshes(t, first), "invalid_grant")
	c.isNobody(t)
	wantError(t, "the newest refresh token", c.refreshes(t, c.refresh), "invalid_grant")
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, stream.Body); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the stream of a grant that ended stays open")
	}
}

// A token is good at the path it was made for, and at no other server, though that one signs in the same people.
func TestATokenIsGoodAtItsOwnResource(t *testing.T) {
	t.Parallel()
	s, elsewhere := startDemo(t), startDemo(t)
	c := s.signsInFor(t, newPerson("alice"), "/sse")
	c.isNobody(t)
	c.s = elsewhere
	c.isNobody(t)
}

// The process is killed while codes are redeemed and tokens are refreshed, again and again. Who asks again as an
// honest client does is signed in; what was used twice is refused.
func TestAKillAmidExchangesSignsNobodyOut(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	alice := newPerson("alice")
	idle := s.signsIn(t, alice)
	for ms := range 4 {
		redeeming, refreshing := s.registers(t), s.signsIn(t, alice)
		code := redeeming.code(t, alice)
		superseded := refreshing.refresh
		var wg sync.WaitGroup
		wg.Go(func() { s.tries("/token", tokenForm(redeeming, "code", code)) })
		wg.Go(func() { s.tries("/token", tokenForm(refreshing, "refresh_token", superseded)) })
		time.Sleep(time.Duration(ms) * time.Millisecond) // about as long as an exchange takes
		s.kill(t)
		wg.Wait()
		s.start(t)
		idle.is(t, "alice")
		refreshing.takes(t, refreshing.refreshes(t, superseded))
		refreshing.is(t, "alice")
		// The code was redeemed before the kill, and then never again; or it was not, and then once.
		a := redeeming.redeems(t, code)
		if a.status == http.StatusOK {
			redeeming.takes(t, a)
			redeeming.is(t, "alice")
		}
		wantError(t, "a code a second time, after a kill", redeeming.redeems(t, code), "invalid_grant")
	}
	idle.takes(t, idle.refreshes(t, idle.refresh))
	idle.is(t, "alice")
}

func tokenForm(c *client, kind, value string) url.Values {
	if kind == "code" {
		return url.Values{"grant_type": {"authorization_code"}, "code": {value}, "redirect_uri": {here}, "client_id": {c.id}, "code_verifier": {verifier}}
	}
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {value}, "client_id": {c.id}}
}

// tries posts a form and does not care for the answer, which is lost.
func (s *server) tries(path string, form url.Values) {
	if resp, err := direct.PostForm(s.url+path, form); err == nil {
		resp.Body.Close()
	}
}

// The data directory is its owner's alone, and neither it nor the log holds a token, a code or a session's id.
func TestTheDataDirectoryHoldsNothingThatOpensAnything(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	alice := newPerson("alice")
	c := s.registers(t)
	code := c.code(t, alice)
	unused := s.registers(t).code(t, alice)
	c.takes(t, c.redeems(t, code))
	secrets := map[string]string{"a code": code, "a code not yet used": unused, "an access token": c.access, "a refresh token": c.refresh, "a session's id": c.opens(t)}
	old := c.refresh
	c.takes(t, c.refreshes(t, old))
	secrets["the next access token"], secrets["the next refresh token"] = c.access, c.refresh
	base, _ := url.Parse(s.url)
	for i, cookie := range alice.http.Jar.Cookies(base) {
		secrets["cookie "+cookie.Name+string(rune('0'+i%10))] = cookie.Value
	}
	if len(secrets) < 8 {
		t.Error("the browser has no cookie")
	}
	_ = c.posts(t, "", "tools/list", `{}`, "Authorization", "Bearer "+c.access+"x")

	// A second process must not write there as well. What it says is no secret either.
	second := exec.Command(causeway, "demo", "-addr", "127.0.0.1:0", "-data", s.data)
	done := time.AfterFunc(patience, func() { _ = second.Process.Kill() })
	out, err := second.CombinedOutput()
	done.Stop()
	if err == nil || strings.Contains(string(out), "panic") {
		t.Errorf("a second process on the same data: %v\n%s", err, out)
	}
	c.is(t, "alice")
	s.kill(t)

	files := 0
	err = filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if path != s.data && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", strings.TrimPrefix(path, s.data), info.Mode())
		}
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		b, err := os.ReadFile(path)
		holdsNone(t, strings.TrimPrefix(path, s.data), string(b), secrets)
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files: %v", files, err)
	}
	holdsNone(t, "the log", s.log.String()+string(out), secrets)
	if found := secret.FindString(s.log.String()); found != "" {
		t.Errorf("the log has a token in it: %.12s…", found)
	}
}

// holdsNone looks for the whole of a secret, and for the half that alone opens something.
func holdsNone(t *testing.T, where, text string, secrets map[string]string) {
	t.Helper()
	for what, value := range secrets {
		_, half, found := strings.Cut(value, ".")
		if strings.Contains(text, value) || found && len(half) >= 16 && strings.Contains(text, half) {
			t.Errorf("%s holds %s", where, what)
		}
	}
}
