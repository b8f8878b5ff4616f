package oauth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

func TestTheHostOnTheConsentPageIsWrittenInASCII(t *testing.T) {
	for _, uri := range []string{"https://g%D1%96thub.com/cb", "https://github.com%E2%80%AE/cb", "https://github%E3%80%82com/cb"} {
		if safeRedirect(uri, false) {
			t.Errorf("%s may be registered; the consent page says %q", uri, redirectHost(uri))
		}
	}
	for _, uri := range []string{"https://xn--gthub-n4a.com/cb", "https://a.example/%D1%96", "http://[::1]:8/cb", "http://127.0.0.1:1/x"} {
		if !safeRedirect(uri, false) {
			t.Errorf("%s is refused", uri)
		}
	}
}

// A browser sends no SameSite=Lax cookie with a POST of another site, so each POST that got
// one set would bring it a new one, until the browser drops those of honest sign-ins.
func TestManyPostedSignInsDoNotLockABrowserOut(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	u, _ := url.Parse(w.asks(client))
	own, _ := url.Parse(w.srv.URL)
	b := w.browser()
	honest := b.get(w.asks(client))
	for i := range 40 {
		fresh := w.browser() // the POST of another site: without cookies
		posted := fresh.post(w.url("/authorize"), u.Query(), "Sec-Fetch-Site", "cross-site", "Origin", "https://app.example")
		b.http.Jar.SetCookies(own, fresh.http.Jar.Cookies(own)) // but what it sets stays
		page := b.get(posted.header.Get("Location"), "Sec-Fetch-Site", "cross-site")
		if a := b.post(w.url("/consent"), page.fields("decision", "allow")); a.status != 200 {
			t.Fatalf("sign-in %d of this browser: %d", i+1, a.status)
		}
		if n := len(b.http.Jar.Cookies(own)); n != 1 {
			t.Fatalf("after %d posted sign-ins the browser has %d cookies", i+1, n)
		}
	}
	if a := b.post(w.url("/consent"), honest.fields("decision", "allow")); a.status != 200 {
		t.Errorf("the sign-in that began before them: %d", a.status)
	}
}

// Neither a remembered consent nor a cookie of the attacker's is of use to a page of another
// site that posts a sign-in.
func TestASignInThatAnotherSitePostsIsAsked(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	b, attacker := w.browser(), w.browser()
	b.mustAllow(w.asks(client), "alice", "remember", "yes")
	u, _ := url.Parse(w.asks(client))
	u.RawQuery += "&client_secret=hush&foo=bar"
	posted := b.post(w.url("/authorize"), u.Query(), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	to, q := posted.location()
	if posted.status != http.StatusSeeOther || to != w.url("/authorize") || posted.header.Get("Set-Cookie") != "" {
		t.Fatalf("got %d to %q, cookie %q", posted.status, to, posted.header.Get("Set-Cookie"))
	}
	if q.Get("client_secret") != "" || q.Get("foo") != "" || q.Get("state") != u.Query().Get("state") || q.Get("resource") != w.url("/mcp") {
		t.Errorf("what the address says: %v", q)
	}
	if a := b.get(posted.header.Get("Location"), "Sec-Fetch-Site", "cross-site"); a.status != 200 || !strings.Contains(a.body, "Allow") {
		t.Errorf("nobody was asked: %d %s", a.status, a.body)
	}
	if a := b.post(w.url("/authorize"), u.Query(), "Sec-Fetch-Site", "none"); a.status != http.StatusSeeOther {
		t.Errorf("a POST that poses as a person's own: %d", a.status)
	}
	// Login fixation: a page that the attacker opened is of no use in the person's browser.
	theirs := attacker.get(posted.header.Get("Location"))
	if a := b.post(w.url("/consent"), theirs.fields("decision", "allow")); a.status != 400 {
		t.Errorf("the attacker's page in the person's browser: %d", a.status)
	}
	// Nor may another site answer the page, even if it knows it.
	page := b.get(posted.header.Get("Location"))
	if a := b.post(w.url("/consent"), page.fields("decision", "allow"), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); a.status != 403 {
		t.Errorf("an answer of another site: %d", a.status)
	}
}

func TestANameThatShowsNothingIsNoName(t *testing.T) {
	for _, name := range []string{"   ", "\u200b", "\u2060\u00a0", "a\u2028b", "\u3164"} {
		if _, err := parseClientMetadata([]byte(fmt.Sprintf(`{"client_name":%q,"redirect_uris":["https://a.example/cb"]}`, name)), false); err == nil && strings.TrimSpace(name) != "x" {
			t.Errorf("%q is a name", name)
		}
	}
}

func TestAStrangersSlowOriginDoesNotHoldUpAClientThatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := store.NewMemory()
		d := newDocuments(records, slog.New(slog.DiscardHandler))
		known := "https://good.example/client"
		d.http = &http.Client{Transport: slowFor(func(r *http.Request) string {
			if r.URL.Host == "evil.example" {
				<-r.Context().Done()
				return ""
			}
			return `{"client_id":"` + known + `","client_name":"x","redirect_uris":["https://good.example/cb"]}`
		})}
		if _, err := d.client(t.Context(), known); err != nil {
			t.Fatal(err)
		}
		time.Sleep(minFresh + time.Second)
		for i := range maxFetches {
			go d.client(t.Context(), fmt.Sprintf("https://evil.example/%d", i))
		}
		synctest.Wait()
		began := time.Now()
		_, err := d.client(t.Context(), known)
		if waited := time.Since(began); err != nil || waited > 0 {
			t.Errorf("a kept client waited %v (virtual) for strangers, err %v", waited, err)
		}
		time.Sleep(time.Minute)
	})
}

// Anybody can name an address, and have a document there: what nobody has signed in with is not written down.
func TestStrangersDocumentsDoNotFillTheStore(t *testing.T) {
	ctx := t.Context()
	records := store.NewMemory()
	defer records.Close()
	down := false
	origin := &http.Client{Transport: slowFor(func(r *http.Request) string {
		if down {
			return "not a document"
		}
		return `{"client_id":"` + r.URL.String() + `","client_name":"x","redirect_uris":["https://x.example/cb"]}`
	})}
	d := newDocuments(records, slog.New(slog.DiscardHandler))
	d.http = origin
	for i := range 3 * maxRecent {
		if _, err := d.client(ctx, fmt.Sprintf("https://x.example/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() (n int) {
		for _, err := range records.List(ctx, documentPrefix) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if n := kept(); n != 0 || len(d.recent) > maxRecent {
		t.Errorf("%d documents in the store, %d in memory", n, len(d.recent))
	}
	s := &Server{documents: d}
	id := "https://x.example/signed-in"
	c, err := d.client(ctx, id)
	if err != nil || c.kept {
		t.Fatalf("kept %v, err %v", c.kept, err)
	}
	s.touch(ctx, c) // a person has signed in
	if n := kept(); n != 1 {
		t.Errorf("%d documents in the store after a sign-in", n)
	}
	// Another process has it, whatever its origin says now.
	down = true
	other := newDocuments(records, slog.New(slog.DiscardHandler))
	other.http = origin
	if c, err := other.client(ctx, id); err != nil || !c.kept {
		t.Errorf("after a restart: err %v", err)
	}
}

type slowFor func(*http.Request) string

func (f slowFor) RoundTrip(r *http.Request) (*http.Response, error) {
	text := f(r)
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func askedFrom(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, askerKey{}, netip.MustParseAddr(addr))
}

func TestAStrangersSlowOriginsHoldUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDocuments(store.NewMemory(), slog.New(slog.DiscardHandler))
		var fetches atomic.Int32
		d.http = &http.Client{Transport: slowFor(func(r *http.Request) string {
			if r.URL.Host == "evil.example" {
				fetches.Add(1)
				<-r.Context().Done()
				return ""
			}
			return `{"client_id":"` + r.URL.String() + `","client_name":"x","redirect_uris":["https://good.example/cb"]}`
		})}
		stranger := askedFrom(t.Context(), "192.0.2.1")
		for i := range 4 * maxFetches {
			go d.client(stranger, fmt.Sprintf("https://evil.example/%d", i))
		}
		// They name the newcomer's document too, so that it would be fetched in their turn.
		go d.client(stranger, "https://good.example/new")
		synctest.Wait()
		if n := fetches.Load(); n != maxFetchesOfOne {
			t.Errorf("%d fetches of one address are under way, want %d", n, maxFetchesOfOne)
		}
		began := time.Now()
		_, err := d.client(askedFrom(t.Context(), "192.0.2.2"), "https://good.example/new")
		if waited := time.Since(began); err != nil || waited > 0 {
			t.Errorf("a newcomer waited %v (virtual) for a stranger, err %v", waited, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(d.turns.taken) != 0 {
			t.Errorf("%d turns are left", len(d.turns.taken))
		}
	})
}

func TestAFloodOfDocumentsPushesOutItsOwn(t *testing.T) {
	d := newDocuments(store.NewMemory(), slog.New(slog.DiscardHandler))
	d.http = &http.Client{Transport: slowFor(func(r *http.Request) string {
		return `{"client_id":"` + r.URL.String() + `","client_name":"x","redirect_uris":["https://x.example/cb"]}`
	})}
	const newcomer = "https://new.example/client"
	if _, err := d.client(askedFrom(t.Context(), "192.0.2.2"), newcomer); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxRecent {
		if _, err := d.client(askedFrom(t.Context(), "192.0.2.1"), fmt.Sprintf("https://x.example/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if d.recent[newcomer] == nil || len(d.recent) != maxRecent {
		t.Errorf("%d documents are in memory, the newcomer's among them: %v", len(d.recent), d.recent[newcomer] != nil)
	}
}

func TestSignInsThatAreBegunAreBounded(t *testing.T) {
	var b begun
	now := time.Unix(1_800_000_000, 0)
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	flood := address(1)
	for i := range maxBegun {
		if !b.allow(flood, now.Add(time.Duration(i)*time.Millisecond)) {
			t.Fatalf("number %d was refused", i)
		}
	}
	now = now.Add(maxBegun * time.Millisecond)
	if b.allow(flood, now) {
		t.Error("who began them all begins more")
	}
	for i := range fewBegun {
		if !b.allow(address(2), now) {
			t.Fatalf("a newcomer's number %d was refused", i)
		}
	}
	if b.allow(address(2), now) {
		t.Error("a newcomer may begin any number")
	}
	for i := range 2 * maxBegun {
		b.allow(address(3+i), now)
	}
	if b.total != 2*maxBegun || b.allow(address(9_999_999), now) {
		t.Errorf("%d were begun", b.total)
	}
	if now = now.Add(transactionTTL + time.Minute); !b.allow(flood, now) || b.total != 1 {
		t.Errorf("when all are over, %d count", b.total)
	}
	if !b.allow(flood, now.Add(-time.Hour)) || !b.allow(flood, now.Add(240*time.Hour)) || b.total != 1 {
		t.Errorf("after the clock jumped, %d count", b.total)
	}
}

func TestAFloodOfSignInsIsToldToWait(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	for range maxBegun {
		w.s.begun.allow(w.s.addr(httptest.NewRequest("GET", w.url("/authorize"), nil)), time.Now())
	}
	for range fewBegun { // those of the test's own address
		w.s.begun.allow(netip.MustParseAddr("127.0.0.1"), time.Now())
	}
	if a := w.browser().get(w.asks(client)); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "Try again") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	for r := range w.s.records.List(t.Context(), transactionPrefix) {
		t.Errorf("%s was written", r.Key)
	}
}
