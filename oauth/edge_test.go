package oauth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestAnAuthorizationRequestMayBePosted_OIDC_Core_3_1_2_1(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	u, _ := url.Parse(w.asks(client))
	b := w.browser()
	posted := b.post(w.url("/authorize"), u.Query(), "Sec-Fetch-Site", "cross-site", "Origin", "https://app.example")
	if posted.status != http.StatusSeeOther {
		t.Fatalf("got %d %s", posted.status, posted.body)
	}
	page := b.get(posted.header.Get("Location"))
	if page.status != 200 || !strings.Contains(page.body, "Deny") {
		t.Fatalf("got %d %s", page.status, page.body)
	}
	if a := w.do(b.http, request("POST", w.url("/authorize"), "{}", "Content-Type", "application/json")); a.status != 400 {
		t.Errorf("JSON: %d", a.status)
	}
	if a := w.do(b.http, request("PUT", w.url("/authorize"), "")); a.status != 405 || a.header.Get("Allow") == "" {
		t.Errorf("PUT: %d", a.status)
	}
}

func TestKeysFromTheEnvironment(t *testing.T) {
	text := strings.ReplaceAll(string(newKeyText())+strings.Replace(string(newKeyText()), "active", "older", 1), "\n", ";")
	t.Setenv("CAUSEWAY_TEST_KEYS", text)
	r, err := KeysFromEnv("CAUSEWAY_TEST_KEYS")
	if err != nil || len(r.keys) != 2 {
		t.Fatalf("got %v, %v", r, err)
	}
	t.Setenv("CAUSEWAY_TEST_KEYS", strings.TrimPrefix(strings.Split(text, ";")[0], "active "))
	if one, err := KeysFromEnv("CAUSEWAY_TEST_KEYS"); err != nil || one.ID() != r.ID() {
		t.Errorf("a key alone: %v, %v", one, err)
	}
	t.Setenv("CAUSEWAY_TEST_KEYS", "nonsense-that-is-secret")
	if _, err := KeysFromEnv("CAUSEWAY_TEST_KEYS"); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
	if _, err := KeysFromEnv("CAUSEWAY_TEST_NO_KEYS"); err == nil {
		t.Error("a variable that is not set is accepted")
	}
}

func TestLimitedAddressesAreBounded(t *testing.T) {
	l := newLimit[netip.Addr](1, 1)
	addr := netip.MustParseAddr("192.0.2.1")
	for range 3 * maxLimited {
		addr = addr.Next()
		if !l.allow(addr) {
			t.Fatalf("%v is refused its first request", addr)
		}
		if len(l.buckets) > maxLimited {
			t.Fatalf("%d addresses are remembered", len(l.buckets))
		}
	}
	if l.allow(addr) {
		t.Error("the last address has no limit")
	}
}

func TestAnAddressIsCountedOnce(t *testing.T) {
	s := &Server{}
	addr := func(remote string) netip.Addr {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		return s.addr(r)
	}
	if addr("[2001:db8::1]:1") != addr("[2001:db8::ffff:2]:9") || addr("[2001:db8::1]:1") == addr("[2001:db8:0:1::1]:1") {
		t.Error("an IPv6 network of /64 is not one address")
	}
	if addr("192.0.2.1:1") != addr("[::ffff:192.0.2.1]:2") || addr("192.0.2.1:1") == addr("192.0.2.2:1") {
		t.Error("IPv4 addresses are not told apart")
	}
	s.provider.ClientAddr = func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.Header.Get("X-Real-Ip")) }
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Real-Ip", "198.51.100.7")
	if s.addr(r) != netip.MustParseAddr("198.51.100.7") {
		t.Error("the author's address is not used")
	}
}

func TestAStoreThatDoesNotAnswerIsAPageThatSaysSo(t *testing.T) {
	w := newWorld(t, nil)
	client := w.registers()
	b := w.browser()
	page := b.get(w.asks(client))
	good := w.s.records
	w.s.records = &failing{Records: good}
	for name, a := range map[string]answer{
		"authorize": b.get(w.asks(client)),
		"consent":   b.post(w.url("/consent"), page.fields("decision", "allow")),
	} {
		if a.status != 503 || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "fire") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	w.s.records = good
	if a := b.post(w.url("/consent"), page.fields("decision", "allow")); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
}

func TestPeopleThatALoginMustNotGive(t *testing.T) {
	for name, p := range map[string]*Person{
		"nobody":            nil,
		"no id":             {Name: "x"},
		"an endless id":     {ID: strings.Repeat("x", maxPersonID+1)},
		"endless props":     {ID: "x", Props: strings.Repeat("x", maxProps)},
		"props not of JSON": {ID: "x", Props: func() {}},
	} {
		if _, err := encodePerson(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if who, err := encodePerson(&Person{ID: "x"}); err != nil || who.Name != "x" || string(who.Props) != "null" {
		t.Errorf("got %+v, %v", who, err)
	}
}

func TestARecordOfAnotherFormatIsRefused(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	code := s.mustCreate(t)
	g, rev, err := s.get(t.Context(), code.id)
	if err != nil {
		t.Fatal(err)
	}
	g.V = grantVersion + 1
	if err := s.write(t.Context(), g, rev); err != nil {
		t.Fatal(err)
	}
	if _, err := s.redeem(t.Context(), goodRedemption(code)); err == nil || errors.As(err, new(*wireError)) {
		t.Errorf("got %v", err)
	}
}
