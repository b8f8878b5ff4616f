package oauth

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var revokeButton = regexp.MustCompile(`name="revoke" value="([a-z2-7]{26})"`)

// opensAccount signs in at the account page.
func (b *browser) opensAccount(name string) answer {
	b.w.Helper()
	login := b.get(b.w.url("/account"))
	done := b.post(b.w.url("/callback"), login.fields("name", name))
	if to, _ := done.location(); to != b.w.url("/account") {
		b.w.Fatalf("got %d to %q", done.status, to)
	}
	return b.get(b.w.url("/account"))
}

func TestAPersonSeesWhatTheyAllowedAndTakesItBack(t *testing.T) {
	w := newWorld(t, nil)
	client, tok := w.signsIn("alice", "scope", "write")
	_, bobs := w.signsIn("bob")
	b := w.browser()
	page := b.opensAccount("alice")
	for _, want := range []string{"Test &lt;b&gt;client", "Mail", "send mail", "alice", "127.0.0.1"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	buttons := revokeButton.FindAllStringSubmatch(page.body, -1)
	if len(buttons) != 1 {
		t.Fatalf("%d grants are shown", len(buttons))
	}
	if page.header.Get("X-Frame-Options") != "DENY" || page.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", page.header)
	}
	if a := b.post(w.url("/account"), page.fields("revoke", buttons[0][1])); a.status != http.StatusSeeOther {
		t.Fatalf("got %d", a.status)
	}
	if w.calls("/mcp", tok.AccessToken).status != 401 || w.calls("/mcp", bobs.AccessToken).status != 200 {
		t.Error("the wrong grant, or none, was revoked")
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {tok.RefreshToken}}
	w.posts("/token", form).wantError(w, 400, "invalid_grant")
	if again := b.get(w.url("/account")); !strings.Contains(again.body, "No program") {
		t.Error("the grant is still shown")
	}
}

func TestNobodyElseChangesAnAccount(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice")
	alice, mallory := w.browser(), w.browser()
	page := alice.opensAccount("alice")
	id := revokeButton.FindStringSubmatch(page.body)[1]
	own := mallory.opensAccount("bob")
	session := ""
	u, _ := url.Parse(w.srv.URL)
	for _, c := range alice.http.Jar.Cookies(u) {
		if c.Name == w.s.sessionCookie() {
			session = c.Value
		}
	}
	for name, a := range map[string]answer{
		"another person's session":            mallory.post(w.url("/account"), own.fields("revoke", id)),
		"another person's proof":              mallory.post(w.url("/account"), page.fields("revoke", id)),
		"no session":                          w.browser().post(w.url("/account"), page.fields("revoke", id)),
		"no proof":                            alice.post(w.url("/account"), url.Values{"revoke": {id}}),
		"another site":                        alice.post(w.url("/account"), page.fields("revoke", id), "Sec-Fetch-Site", "cross-site"),
		"a session copied to another browser": w.browser().post(w.url("/account"), page.fields("revoke", id), "Cookie", w.s.sessionCookie()+"="+session),
	} {
		if w.calls("/mcp", tok.AccessToken).status != 200 {
			t.Fatalf("%s (%d) revoked the grant", name, a.status)
		}
	}
	out := alice.post(w.url("/account"), page.fields("signout", "yes"))
	if out.status != 200 || !strings.Contains(out.body, "signed out") {
		t.Errorf("sign-out: %d", out.status)
	}
	// The session is over on the server, not only in the cookie.
	again := alice.post(w.url("/account"), page.fields("revoke", id), "Cookie", w.s.sessionCookie()+"="+session)
	if again.status != 403 || w.calls("/mcp", tok.AccessToken).status != 200 {
		t.Errorf("after signing out: %d", again.status)
	}
}

func TestALoginForTheAccountThatFailsIsAPage(t *testing.T) {
	w := newWorld(t, nil)
	for _, name := range []string{"", "mallory", "broken"} {
		b := w.browser()
		a := b.post(w.url("/callback"), b.get(w.url("/account")).fields("name", name))
		if a.status != 403 || a.header.Get("Location") != "" {
			t.Errorf("%q: %d", name, a.status)
		}
	}
}
