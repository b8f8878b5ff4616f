package oauth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// origin is the site of a client, reached without the guard on addresses, which has
// tests of its own.
type origin struct {
	fetched atomic.Int32
	serve   func(w http.ResponseWriter)
}

func (o *origin) RoundTrip(*http.Request) (*http.Response, error) {
	o.fetched.Add(1)
	rec := httptest.NewRecorder()
	o.serve(rec)
	return rec.Result(), nil
}

const documentID = "https://app.example/oauth/client.json"

func goodDocument(more string) string {
	return fmt.Sprintf(`{"client_id":%q,"client_name":"App","redirect_uris":[%q],"token_endpoint_auth_method":"none"%s}`, documentID, testRedirect, more)
}

func withOrigin(d *documents, text string) *origin {
	o := &origin{serve: func(w http.ResponseWriter) { fmt.Fprint(w, text) }}
	d.http.Transport = o
	return o
}

func TestAClientIsItsDocument_CIMD_4(t *testing.T) {
	w := newWorld(t, nil)
	o := withOrigin(w.s.documents, goodDocument(""))
	b := w.browser()
	page := b.get(w.asks(documentID))
	if !strings.Contains(page.body, documentID) || !strings.Contains(page.body, "App") || !strings.Contains(page.body, "just started it") {
		t.Errorf("the consent page does not say whose document it is, or does not warn of a loopback redirect: %s", page.body)
	}
	code := b.mustAllow(w.asks(documentID), "alice")
	tok := w.tokens(documentID, code)
	if w.calls("/mcp", tok.AccessToken).status != 200 {
		t.Error("the token does not work")
	}
	if n := o.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if a := b.get(w.asks(documentID, "redirect_uri", "https://evil.example/")); a.status != 400 || a.header.Get("Location") != "" {
		t.Errorf("a redirect that is not in the document: %d", a.status)
	}
}

func TestClientIDsThatAreNoDocuments_CIMD_3(t *testing.T) {
	for _, id := range []string{
		"http://app.example/c", "https://app.example", "https:///c", "https://u@app.example/c", "https://app.example/c#f", "https://app.example/a/../c",
		"https://app.example/./c", "https://app.example/%2e%2e/c", "https://app.example/c\n", "https:app.example/c", "https://app.example?/c",
		"https://app.example/" + strings.Repeat("x", 600),
	} {
		if isDocumentURL(id) {
			t.Errorf("%q is taken for one", id)
		}
	}
	for _, id := range []string{documentID, "https://app.example/", "https://app.example:8443/c?v=1"} {
		if !isDocumentURL(id) {
			t.Errorf("%q is not taken for one", id)
		}
	}
}

func TestDocumentsThatAreRefused_CIMD_4_1(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":           "<html>",
		"another client_id":  strings.Replace(goodDocument(""), "client.json", "other.json", 1),
		"no name":            strings.Replace(goodDocument(""), `"App"`, `""`, 1),
		"no redirects":       fmt.Sprintf(`{"client_id":%q,"client_name":"App"}`, documentID),
		"an unsafe redirect": strings.Replace(goodDocument(""), testRedirect, "javascript:alert(1)", 1),
		"a secret":           goodDocument(`,"client_secret":"x"`),
		"a shared secret":    strings.Replace(goodDocument(""), `"none"`, `"client_secret_basic"`, 1),
		"a member twice":     goodDocument(`,"client_name":"B"`),
		"too much":           goodDocument(`,"x":"` + strings.Repeat("x", maxDocument) + `"`),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			withOrigin(w.s.documents, text)
			if a := w.browser().get(w.asks(documentID)); a.status != 400 || a.header.Get("Location") != "" {
				t.Errorf("authorize: %d", a.status)
			}
			w.posts("/token", url.Values{"client_id": {documentID}, "grant_type": {"refresh_token"}, "refresh_token": {"x"}}).wantError(w, 401, "invalid_client")
			if !strings.Contains(w.logs.String(), "client document not fetched") {
				t.Error("the reason is not in the log")
			}
		})
	}
}

func TestOneMethodAmongSeveralIsEnough(t *testing.T) {
	text := strings.Replace(goodDocument(`,"token_endpoint_auth_methods_supported":["private_key_jwt","none"]`), `"token_endpoint_auth_method":"none"`, `"token_endpoint_auth_method":"tls_client_auth"`, 1)
	if c, err := parseDocument(documentID, []byte(text)); err != nil || c.Method != authNone {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestADocumentIsKeptAndItsLastGoodCopyUsedWhileItsOriginFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		defer m.Close()
		d := newDocuments(m, testGrants(t, m, testPolicy()).log)
		o := withOrigin(d, goodDocument(""))
		good := o.serve
		find := func() bool {
			c, err := d.client(t.Context(), documentID)
			return err == nil && c.ID == documentID
		}
		if first, second := find(), find(); !first || !second || o.fetched.Load() != 1 {
			t.Fatalf("fetched %d times", o.fetched.Load())
		}
		for _, status := range []int{500, 403, 429, 302} {
			time.Sleep(maxFresh + time.Second)
			o.serve = func(w http.ResponseWriter) { w.WriteHeader(status) }
			before := o.fetched.Load()
			if first, second := find(), find(); !first || !second {
				t.Errorf("status %d: the last good copy is not used", status)
			}
			if n := o.fetched.Load() - before; n != 1 {
				t.Errorf("status %d: fetched %d times within a moment", status, n)
			}
		}
		time.Sleep(maxFresh)
		for name, serve := range map[string]func(http.ResponseWriter){
			"gone":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) },
			"no client": func(w http.ResponseWriter) { fmt.Fprint(w, "{}") },
		} {
			time.Sleep(time.Minute)
			o.serve = serve
			if find() {
				t.Errorf("%s: the last good copy is used", name)
			}
		}
		time.Sleep(time.Minute)
		o.serve = good
		if !find() {
			t.Error("it did not come back")
		}
	})
}

func TestHowLongADocumentIsFresh_RFC9111_5_2_2(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": minFresh, "max-age=0": minFresh, "max-age=3600": time.Hour, "public, max-age=\"7200\"": 2 * time.Hour, "max-age=99999999999": maxFresh,
		"no-store, max-age=3600": minFresh, "max-age=-1": minFresh, "max-age=x": minFresh,
	} {
		if got := freshness(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestADocumentOnThisMachineIsNotFetched(t *testing.T) {
	reached := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer srv.Close()
	w := newWorld(t, nil)
	for _, id := range []string{srv.URL + "/client", "https://localhost/client", "https://169.254.169.254/latest/meta-data/"} {
		if a := w.browser().get(w.asks(id)); a.status != 400 {
			t.Errorf("%s: %d", id, a.status)
		}
	}
	if reached {
		t.Error("it was")
	}
}

func TestAConfiguredClientStandsForItsDocument(t *testing.T) {
	w := newWorld(t, func(p *Provider) {
		p.Clients = []Client{{ID: documentID, Name: "Pinned", RedirectURIs: []string{testRedirect}}}
	})
	o := withOrigin(w.s.documents, "")
	if w.browser().mustAllow(w.asks(documentID), "alice"); o.fetched.Load() != 0 {
		t.Error("it was fetched")
	}
	off := newWorld(t, func(p *Provider) { p.NoClientDocuments, p.NoRegistration = true, true })
	if a := off.browser().get(off.asks(documentID)); a.status != 400 {
		t.Errorf("with documents off: %d", a.status)
	}
	m := off.browser().get(off.url("/.well-known/oauth-authorization-server")).json(off)
	if m["client_id_metadata_document_supported"] == true || m["registration_endpoint"] != nil {
		t.Errorf("got %v", m)
	}
}

func FuzzDocumentURL(f *testing.F) {
	f.Add(documentID)
	f.Fuzz(func(t *testing.T, id string) {
		if !isDocumentURL(id) {
			return
		}
		u, err := url.Parse(id)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || strings.Contains(u.Path, "/../") {
			t.Errorf("%q is taken for one", id)
		}
	})
}

// Any program on the computer could claim to be a client whose id is public.
func TestAPublicClientIDOnLoopbackIsAlwaysAskedFor_RFC8252_8_6(t *testing.T) {
	w := newWorld(t, nil)
	withOrigin(w.s.documents, strings.Replace(goodDocument(""), testRedirect, testRedirect+`","https://app.example/cb`, 1))
	b := w.browser()
	for redirect, offered := range map[string]bool{testRedirect: false, "https://app.example/cb": true} {
		authorize := w.asks(documentID, "redirect_uri", redirect)
		page := b.get(authorize)
		if strings.Contains(page.body, `name="remember"`) != offered {
			t.Errorf("%s: remembering is offered: %v", redirect, !offered)
		}
		b.mustAllow(authorize, "alice", "remember", "yes")
		code := b.mustAllow(authorize, "alice", "remember", "yes")
		w.sends(documentID, code, "redirect_uri", redirect)
		if again := b.get(authorize, "Sec-Fetch-Site", "none"); strings.Contains(again.body, "Deny") == offered {
			t.Errorf("%s: remembered is %v", redirect, !offered)
		}
	}
}
