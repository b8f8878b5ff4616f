package attack

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever is wrong with where an answer should go, it is said on a page, and nobody is sent there.
func TestNobodyIsSentToAnAddressThatWasNotRegistered(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	c := s.registers(t)
	for _, to := range []string{
		"https://evil.example/callback", "//evil.example/callback", "http://127.0.0.1:45123@evil.example/callback", "http://evil.example@127.0.0.1:45123/callback",
		here + "#x", here + "/../x", "http://127.0.0.1:45123/x/../callback", "http://127.0.0.1:45123/%63allback", "http://127.0.0.1:45123/callback%2f..", here + "?x=1", here + "%00", here + "\r\nX: y",
		"HTTP://127.0.0.1:45123/callback", "https://127.0.0.1:45123/callback", "http://localhost:45123/callback", "http://127.1:45123/callback", "http://2130706433:45123/callback", "http://127.0.0.1:x/callback",
		`http://127.0.0.1\@evil.example/callback`, "http://127.0.0.1.evil.example:45123/callback", "javascript:alert(1)", "data:text/html,x",
	} {
		a := s.sends(t, "GET", strings.TrimPrefix(c.asks("redirect_uri", to), s.url), "")
		if a.header.Get("Location") != "" || a.header.Get("Refresh") != "" || a.status != http.StatusBadRequest {
			t.Errorf("redirect_uri %q: %d, to %q", to, a.status, a.header.Get("Location"))
		}
		wantPage(t, "the page for "+to, a)
	}
	twice := s.sends(t, "GET", strings.TrimPrefix(c.asks(), s.url)+"&redirect_uri="+url.QueryEscape("https://evil.example/"), "")
	if twice.header.Get("Location") != "" || twice.status != http.StatusBadRequest {
		t.Errorf("two redirects: %d, to %q", twice.status, twice.header.Get("Location"))
	}
	// A program on this machine may listen where it can (RFC 8252 7.3): the port is free, and nothing else.
	if a := s.sends(t, "GET", strings.TrimPrefix(c.asks("redirect_uri", "http://127.0.0.1:9/callback"), s.url), ""); a.status == http.StatusBadRequest {
		t.Errorf("another port of loopback: %d %s", a.status, a.body)
	}
}

// wantPage checks that a page cannot be framed, kept or made to leak its address.
func wantPage(t *testing.T, what string, a answer) {
	t.Helper()
	csp := a.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
		a.header.Get("Referrer-Policy") != "no-referrer" && a.header.Get("Referrer-Policy") != "same-origin" || !strings.Contains(a.header.Get("Cache-Control"), "no-store") || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: its headers are %v", what, a.header)
	}
}

// The pages of a sign-in belong to the browser that began it, and their forms are posted from those pages only.
func TestPagesAndFormsBelongToTheirBrowser(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	c := s.registers(t)
	alice := newPerson("alice")
	var forms []*http.Request
	req, err := http.NewRequest("GET", c.asks(), nil)
	for range 20 {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(req.URL.String(), here) {
			break
		}
		if req.Method == "POST" {
			forms = append(forms, req)
			s.wantFormRefused(t, alice, req)
		}
		resp, err2 := alice.http.Do(req)
		if err2 != nil {
			t.Fatal(err2)
		}
		if resp.StatusCode == http.StatusOK {
			wantPage(t, req.URL.Path, answer{resp.StatusCode, resp.Header, ""})
		}
		for _, cookie := range resp.Cookies() {
			if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode && cookie.SameSite != http.SameSiteStrictMode || cookie.Domain != "" {
				t.Errorf("%s sets %s with HttpOnly %v, SameSite %v, Domain %q", req.URL.Path, cookie.Name, cookie.HttpOnly, cookie.SameSite, cookie.Domain)
			}
		}
		req, err = alice.next(t, req, resp)
	}
	if len(forms) < 2 || !strings.HasPrefix(req.URL.String(), here) {
		t.Fatalf("the sign-in had %d forms and ended at %s", len(forms), req.URL.Path)
	}
	for _, form := range forms { // used once
		if a := s.repeats(t, alice, form, s.url); strings.Contains(a.header.Get("Location"), "code=") {
			t.Errorf("%s a second time gives a code: %s", form.URL.Path, a.header.Get("Location"))
		}
	}
}

// wantFormRefused posts a form as others would, before alice does. Where a login comes back its provider may post,
// from its own site: there the state and the browser's cookie decide.
func (s *server) wantFormRefused(t *testing.T, alice *person, form *http.Request) {
	t.Helper()
	for what, try := range map[string]struct {
		who    *person
		origin string
	}{"from another site": {alice, "https://evil.example"}, "from a frame without an origin": {alice, "null"}, "in another browser": {newPerson("mallory"), s.url}} {
		if form.URL.Path == "/callback" && try.who == alice {
			continue
		}
		a := s.repeats(t, try.who, form, try.origin)
		if a.status < 400 && !strings.HasPrefix(a.header.Get("Location"), "/authorize") || strings.Contains(a.header.Get("Location"), "code=") || a.status >= 500 {
			t.Errorf("%s posted %s: %d, to %q", form.URL.Path, what, a.status, a.header.Get("Location"))
		}
	}
}

func (s *server) repeats(t *testing.T, who *person, form *http.Request, origin string) answer {
	t.Helper()
	body, err := form.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("POST", form.URL.String(), body)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", origin)
	resp, err := who.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// What a request says of its host, or of a proxy that nobody set up, changes no address in a document or challenge.
func TestMetadataCannotBePoisoned(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp", "/mcp"} {
		plain := s.sends(t, "GET", path, "")
		for _, header := range [][]string{
			{"Host", "evil.example"}, {"Host", s.addr + ".evil.example"}, {"Host", "127.0.0.1:1"}, {"Host", "localhost"},
			{"X-Forwarded-Host", "evil.example"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-For", "127.0.0.1"}, {"Forwarded", "host=evil.example;proto=https"},
			{"X-Original-URL", "/healthz"}, {"X-Rewrite-URL", "/healthz"}, {"X-HTTP-Method-Override", "DELETE"},
		} {
			a := s.sends(t, "GET", path, "", header...)
			all := a.body + fmt.Sprint(a.header)
			if strings.Contains(all, "evil.example") || a.status < 400 && a.body != plain.body || a.header.Get("WWW-Authenticate") != "" && a.header.Get("WWW-Authenticate") != plain.header.Get("WWW-Authenticate") || a.status < 400 && plain.status >= 400 {
				t.Errorf("GET %s with %q: %d %s %s", path, header, a.status, a.header, a.body)
			}
		}
	}
}

// A client's document at an address of this machine, of its network or of a cloud's metadata is never asked for.
func TestClientDocumentsOfThisNetworkAreNotFetched(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	var dialled atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, id := range []string{
		"https://127.0.0.1:" + port + "/doc", "https://localhost:" + port + "/doc", "https://[::1]:" + port + "/doc", "https://[::ffff:127.0.0.1]:" + port + "/doc", "https://0.0.0.0:" + port + "/doc",
		"https://2130706433:" + port + "/doc", "https://127.1:" + port + "/doc", "https://0x7f.1:" + port + "/doc", "http://127.0.0.1:" + port + "/doc", "https://a@127.0.0.1:" + port + "/doc",
		"https://169.254.169.254/latest/meta-data", "https://10.0.0.1/doc", "https://[fd00:ec2::254]/doc", "https://[64:ff9b::7f00:1]:" + port + "/doc", "file:///etc/passwd",
	} {
		a := s.sends(t, "GET", strings.TrimPrefix((&client{s: s, id: id}).asks(), s.url), "")
		if a.status < 400 || a.status >= 500 || a.header.Get("Location") != "" {
			t.Errorf("client_id %s: %d, to %q", id, a.status, a.header.Get("Location"))
		}
	}
	if n := dialled.Load(); n != 0 {
		t.Errorf("this machine was asked %d times", n)
	}
}

func TestRegistrationsOfJunkAreRefused(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	for _, body := range []string{
		``, `null`, `[]`, `"x"`, `{}`, `{"redirect_uris":[]}`, `{"redirect_uris":"` + here + `"}`, `{"redirect_uris":["javascript:alert(1)"]}`, `{"redirect_uris":["http://evil.example/"]}`,
		`{"redirect_uris":["https://a@evil.example/"]}`, `{"redirect_uris":["https://evil.example/#x"]}`, `{"redirect_uris":["` + here + `"],"grant_types":["client_credentials"]}`,
		`{"redirect_uris":["` + here + `"],"token_endpoint_auth_method":"magic"}`, `{"redirect_uris":["` + here + `"],"logo_uri":"javascript:x"}`, `{"redirect_uris":["` + here + `"]} {}`,
		`{"redirect_uris":["` + here + `"],"client_name":"` + strings.Repeat("x", 1<<20) + `"}`, `{"redirect_uris":[` + strings.Repeat(`"`+here+`",`, 5000) + `"` + here + `"]}`, strings.Repeat(`[`, 100000),
	} {
		a := s.sends(t, "POST", "/register", body, "Content-Type", "application/json")
		var said struct{ Error string }
		if err := json.Unmarshal([]byte(a.body), &said); a.status < 400 || a.status >= 500 || err != nil || said.Error == "" {
			t.Errorf("%.80s: %d %.200s", body, a.status, a.body)
		}
	}
	var codes []int
	for range 100 { // a flood from one address ends in 429, and honest people sign in all the same
		codes = append(codes, s.sends(t, "POST", "/register", `{"redirect_uris":["`+here+`"]}`, "Content-Type", "application/json", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", len(codes))).status)
	}
	if codes[len(codes)-1] != http.StatusTooManyRequests {
		t.Errorf("100 registrations from an address that says it is many: %v", codes)
	}
}

// Requests that two parsers read differently are refused, and what follows them on the connection is not answered.
func TestRequestsThatCouldBeSmuggledAreRefused(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	const next = "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: HOST\r\n\r\n"
	for name, raw := range map[string]string{
		"two lengths":                  "POST /token HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
		"a length that is none":        "POST /token HTTP/1.1\r\nHost: HOST\r\nContent-Length: +0\r\n\r\n",
		"an unknown coding":            "POST /token HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"two codings":                  "POST /token HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"a space before the colon":     "POST /token HTTP/1.1\r\nHost: HOST\r\nContent-Length : 0\r\n\r\n",
		"a folded header":              "POST /token HTTP/1.1\r\n Host: HOST\r\nContent-Length: 0\r\n\r\n",
		"two hosts":                    "POST /token HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n",
		"no host":                      "POST /token HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"a header with a NUL":          "POST /token HTTP/1.1\r\nHost: HOST\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"a chunk whose size overflows": "POST /token HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
		"headers that do not end":      "POST /token HTTP/1.1\r\nHost: HOST\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, strings.ReplaceAll(raw+next, "HOST", s.addr)) // it may hang up before it has it all
		all, err := io.ReadAll(conn)
		conn.Close()
		if first, _, _ := bytes.Cut(all, []byte("\r\n")); len(first) > 0 && !bytes.HasPrefix(first, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(first, []byte("HTTP/1.1 501")) || bytes.Contains(all, []byte("token_endpoint")) {
			t.Errorf("%s: %.300s (%v)", name, all, err)
		}
	}
}

// Connections that send a byte now and then, and readers that do not read, hold up nobody who is honest.
func TestSlowPeersHoldUpNobody(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	c := s.signsIn(t, newPerson("alice"))
	for i := range 300 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w := bufio.NewWriter(conn)
		fmt.Fprintf(w, "POST /%s HTTP/1.1\r\nHost: %s\r\n", []string{"mcp", "token", "register"}[i%3], s.addr)
		if i%2 == 0 {
			fmt.Fprintf(w, "Content-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", c.access)
		}
		w.Flush()
	}
	c.is(t, "alice")
	s.signsIn(t, newPerson("bob")).is(t, "bob")
}
