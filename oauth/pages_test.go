package oauth

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func TestTemplatesReplacePagesUnderTheSamePolicy(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Style = ":root{--mark:#a00}"
		p.Templates = fstest.MapFS{"consent.html": {Data: []byte(`<title>Mine</title>{{style}}<b>{{.Client}}</b><form method="post" action="{{.Action}}">
			<input type="hidden" name="handle" value="{{.Handle}}"><button name="decision" value="allow">Yes</button></form><script>steal()</script>`)}}
	})
	client := w.registers()
	page := w.browser().get(w.asks(client))
	if !strings.Contains(page.body, "<title>Mine</title>") || !strings.Contains(page.body, "--mark:#a00") {
		t.Errorf("not replaced: %s", page.body)
	}
	if strings.Contains(page.body, "<b>Test <b>client") {
		t.Error("a client's name is markup")
	}
	csp := page.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
		t.Errorf("policy %q", csp)
	}
	b := w.browser()
	login := b.post(w.url("/consent"), b.get(w.asks(client)).fields("decision", "allow"))
	if _, q := b.post(w.url("/callback"), login.fields("name", "alice")).location(); q.Get("code") == "" {
		t.Error("nobody can sign in with it")
	}
	if a := w.browser().get(w.url("/account")); !strings.Contains(a.body, "Name?") {
		t.Errorf("pages that are not replaced: %s", a.body)
	}
}

func TestMistakesInTemplatesAreFoundWhenTheProgramStarts(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"no template":                 {"readme.txt": {Data: []byte("x")}},
		"a field that does not exist": {"consent.html": {Data: []byte(`{{.Clientt}}`)}},
		"a partial that is not there": {"error.html": {Data: []byte(`{{template "nav"}}`)}},
		"no template syntax":          {"account.html": {Data: []byte(`{{range}}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Provider{Issuer: "http://127.0.0.1:1", Login: askName{}, Templates: files}
			if _, err := p.Protect(t.Context(), http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "Templates") && !strings.Contains(err.Error(), ".html") {
				t.Errorf("got %v", err)
			}
		})
	}
}

var (
	inputs  = regexp.MustCompile(`<input\b[^>]*>`)
	buttons = regexp.MustCompile(`(?s)<button\b[^>]*>(.*?)</button>`)
	tags    = regexp.MustCompile(`<[^>]*>`)
)

// What a script and a screen reader need of every page; a browser with axe looks at them
// in e2e/signin.
func TestPagesWorkWithoutScriptsAndSayWhatTheyAre(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Holdings = &kept{} })
	client := w.registers()
	b := w.browser()
	consent := b.get(w.asks(client))
	login := b.post(w.url("/consent"), consent.fields("decision", "allow"))
	again := b.post(w.url("/callback"), login.fields("name", "typo"))
	w.signsIn("alice")
	account := w.browser().opensAccount("alice")
	pages := map[string]answer{"consent": consent, "login": login, "login again": again, "account": account, "error": b.get(w.url("/authorize"))}
	for name, page := range pages {
		for _, want := range []string{`<html lang="en">`, "<title>", `name="viewport"`, "<h1>", "<main>"} {
			if strings.Count(page.body, want) != 1 {
				t.Errorf("%s: %d × %s", name, strings.Count(page.body, want), want)
			}
		}
		if strings.Contains(page.body, "<script") || strings.Contains(page.body, "onclick") || strings.Contains(page.body, ` style="`) {
			t.Errorf("%s needs what its policy forbids", name)
		}
		for _, in := range inputs.FindAllString(page.body, -1) {
			before, _, _ := strings.Cut(page.body, in)
			if !strings.Contains(in, `type="hidden"`) && strings.LastIndex(before, "<label>") <= strings.LastIndex(before, "</label>") {
				t.Errorf("%s: an input without a label: %s", name, in)
			}
		}
		for _, m := range buttons.FindAllStringSubmatch(page.body, -1) {
			if strings.TrimSpace(tags.ReplaceAllString(m[1], "")) == "" {
				t.Errorf("%s: a button without a name: %s", name, m[0])
			}
		}
		if page.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || page.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, page.header)
		}
	}
	if !strings.Contains(again.body, `role="alert"`) || !strings.Contains(again.body, `aria-describedby="problem"`) {
		t.Error("the reason for asking again is not tied to the field")
	}
}

// kept is Holdings that remember what they were told. Each person has one object.
type kept struct {
	mu     sync.Mutex
	told   []string
	erased []string
	fail   error
}

func (k *kept) Held(_ context.Context, user string, allowed []Allowed) ([]Holding, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil || slices.Contains(k.erased, user+" o1") {
		return nil, k.fail
	}
	all := []Holding{{ID: "o1", Kind: "object", What: "notes of " + user}}
	for _, a := range allowed {
		all = append(all, Holding{ID: "s1", Kind: "session", What: "a session", Client: a.Client})
	}
	return all, nil
}

func (k *kept) Erase(_ context.Context, user string, _ []Allowed, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erased = append(k.erased, user+" "+id)
	return k.fail
}

func (k *kept) tell(what, user string, a Allowed) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = append(k.told, what+" "+user+" "+a.Client+" "+a.Resource+" "+a.Issuer)
	return k.fail
}

func (k *kept) Granted(_ context.Context, user string, a Allowed) error {
	return k.tell("granted", user, a)
}

func (k *kept) Revoked(_ context.Context, user string, a Allowed) error {
	return k.tell("revoked", user, a)
}

func TestWhatIsKeptIsToldOfGrantsAndErasedByItsPersonAlone(t *testing.T) {
	k := &kept{}
	w := newWorld(t, func(p *Provider) { p.Holdings = k })
	client := w.registers()
	for range 2 {
		w.tokens(client, w.browser().mustAllow(w.asks(client), "alice"))
	}
	b := w.browser()
	page := b.opensAccount("alice")
	if !strings.Contains(page.body, "notes of test:alice") || strings.Contains(page.body, "bob") {
		t.Errorf("got %s", page.body)
	}
	revoke := revokeButton.FindAllStringSubmatch(page.body, -1)
	if len(revoke) != 2 {
		t.Fatalf("%d grants", len(revoke))
	}
	b.post(w.url("/account"), page.fields("revoke", revoke[0][1]))
	about := " test:alice " + client + " " + w.url("/mcp") + " " + w.srv.URL
	if want := []string{"granted" + about, "granted" + about}; !slices.Equal(k.told, want) {
		t.Errorf("one of two grants: told %q, want %q", k.told, want)
	}
	b.post(w.url("/account"), page.fields("revoke", revoke[1][1]))
	if got := k.told[len(k.told)-1]; got != "revoked"+about {
		t.Errorf("the last grant: told %q", got)
	}
	bob := w.browser()
	bobs := bob.opensAccount("bob")
	if a := bob.post(w.url("/account"), page.fields("erase", "o1")); a.status != 403 {
		t.Errorf("with somebody else's form: %d", a.status)
	}
	for _, id := range []string{"o2", "o1"} {
		if a := bob.post(w.url("/account"), bobs.fields("erase", id)); a.status != 303 {
			t.Errorf("erase %s: %d", id, a.status)
		}
	}
	if !slices.Equal(k.erased, []string{"test:bob o1"}) {
		t.Errorf("erased %q", k.erased)
	}
	b.post(w.url("/account"), b.get(w.url("/account")).fields("erase", "all"))
	if !slices.Equal(k.erased, []string{"test:bob o1", "test:alice o1"}) {
		t.Errorf("erased %q", k.erased)
	}
}

func TestAFailureOfWhatIsKeptIsSaid(t *testing.T) {
	k := &kept{}
	w := newWorld(t, func(p *Provider) { p.Holdings = k })
	_, tok := w.signsIn("alice")
	b := w.browser()
	page := b.opensAccount("alice")
	k.fail = errors.New("disk on fire")
	a := b.post(w.url("/account"), page.fields("revoke", revokeButton.FindStringSubmatch(page.body)[1]))
	if a.status != 503 || strings.Contains(a.body, "fire") || !strings.Contains(a.body, "can use nothing of yours any more") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if w.calls("/mcp", tok.AccessToken).status != 401 {
		t.Error("not revoked")
	}
	if a := b.get(w.url("/account")); a.status != 503 || strings.Contains(a.body, "fire") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	w.signsIn("carol") // a failure keeps nobody out
}

func TestTheAccountDocumentIsForThePersonAlone(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Holdings = &kept{} })
	client, tok := w.signsIn("alice", "scope", "write")
	w.signsIn("bob")
	if a := w.browser().get(w.url("/account.json"), "Authorization", "Bearer "+tok.AccessToken); a.status != 401 || !strings.Contains(a.body, "login_required") {
		t.Errorf("with an access token: %d %s", a.status, a.body)
	}
	b := w.browser()
	b.opensAccount("alice")
	a := b.get(w.url("/account.json"))
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	doc := a.json(w)
	grants := doc["grants"].([]any)
	if doc["user"] != "test:alice" || len(grants) != 1 || len(doc["objects"].([]any)) != 1 || len(doc["sessions"].([]any)) != 1 {
		t.Fatalf("got %s", a.body)
	}
	g := grants[0].(map[string]any)
	scope := g["scopes"].([]any)[0].(map[string]any)
	if g["client_id"] != client || g["resource"] != w.url("/mcp") || scope["name"] != "write" || scope["words"] != "send mail" || g["created"] == nil || g["last_used"] == nil {
		t.Errorf("got %v", g)
	}
	for _, secret := range []string{"bob", upstreamSecret, tok.AccessToken, tok.RefreshToken} {
		if strings.Contains(a.body, secret) {
			t.Error("says too much")
		}
	}
}

func TestTheFirstDefaultIsTheResourceOfClientsThatNameNone(t *testing.T) {
	w := newWorld(t, func(p *Provider) { p.Resources[1].Default = true })
	client := w.registers()
	code := w.browser().mustAllow(w.asks(client, "resource", "", "scope", ""), "alice")
	a := w.sends(client, code, "resource", "")
	tok, _ := a.json(w)["access_token"].(string)
	if w.calls("/other", tok).status != 200 || w.calls("/mcp", tok).status == 200 {
		t.Errorf("the token %s is not for the default alone", a.body)
	}
}

// Somebody whose employer's word is enough goes on where they were, too: what was hidden
// for their client would else be erased in use.
func TestWhatIsKeptIsToldOfAssertedGrants(t *testing.T) {
	k := &kept{}
	w := newWorld(t, func(p *Provider) { extended(p); p.Holdings = k })
	w.asserted("desk", w.identity()).good(w)
	if want := []string{"granted " + testIdP + "#42 desk " + w.url("/mcp") + " " + w.srv.URL}; !slices.Equal(k.told, want) {
		t.Errorf("told %q, want %q", k.told, want)
	}
	w.asserted("desk", "nonsense").wantError(w, 400, "invalid_grant")
	if len(k.told) != 1 {
		t.Errorf("told of what was refused: %q", k.told)
	}
}
