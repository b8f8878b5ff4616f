package oauth

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"
)

// FuzzRequests sends whole HTTP requests, as they come from the wire. None may make the
// server fail, and none gets past it to what is protected: there is no token.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		"GET /authorize?response_type=code&client_id=client-one&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256 HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /token HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\ngrant_type=refresh_token&client_id=client-one&refresh_token=",
		"POST /token HTTP/1.1\r\nHost: h\r\nAuthorization: Basic Og==\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b",
		"POST /register HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n{\"redirect_uris\":[\"http://127.0.0.1/cb\"]}",
		"POST /revoke HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n7\r\ntoken=x\r\n0\r\n\r\n",
		"GET /callback?state=cw_us_x HTTP/1.1\r\nHost: h\r\nCookie: causeway-9=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\r\n",
		"POST /consent HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 14\r\n\r\ndecision=allow",
		"GET /account.json HTTP/1.1\r\nHost: h\r\nCookie: causeway-9-account=cw_se_x\r\n\r\n",
		"GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET //mcp%2f..%2fmcp HTTP/1.1\r\nHost: h\r\nAuthorization: DPoP x\r\nDPoP: a.b.c\r\n\r\n",
		"POST /mcp;x/../ HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer cw_at_aaaaaaaaaaaaaaaaaaaaaaaaaa.AAAA\r\n\r\n",
		"OPTIONS /mcp HTTP/1.1\r\nHost: h\r\nAccess-Control-Request-Method: POST\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	var reached *http.Request
	p := &Provider{
		Issuer: "http://127.0.0.1:9", Login: askName{}, NoClientDocuments: true, DPoP: &DPoP{}, Limits: Limits{Token: -1, Pages: -1, Register: -1},
		Clients: []Client{{ID: testClient, RedirectURIs: []string{testRedirect}}}, Logger: slog.New(slog.DiscardHandler),
	}
	s, err := p.Protect(f.Context(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = r }))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		r.Body = io.NopCloser(io.LimitReader(r.Body, 1<<20))
		w := httptest.NewRecorder()
		reached = nil
		s.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		if clean := path.Clean("/" + r.URL.Path); reached != nil && !preflight && (clean == "/mcp" || strings.HasPrefix(clean, "/mcp/")) {
			t.Errorf("%s %q reached what is protected", r.Method, r.URL.EscapedPath())
		}
		for name := range w.Header() {
			for _, v := range w.Header()[name] {
				if strings.ContainsAny(v, "\r\n") {
					t.Errorf("%s has a line break: %q", name, v)
				}
			}
		}
	})
}

// FuzzGrantRecord reads records that anybody may have written. None opens with a token
// that it was not made for.
func FuzzGrantRecord(f *testing.F) {
	m := &mint{prefix: "cw", keys: NewKeys()}
	p := testPolicy()
	g, code, err := newGrant(m, &p, time.Now(), grant{Client: testClient, User: "alice", Resource: testResource, Scopes: []string{"read"}}, challengeOf(testVerifier), testProps, nil)
	if err != nil {
		f.Fatal(err)
	}
	good, err := g.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"V":1,"Code":null,"Access":[{}],"Current":{},"Previous":{}}`))
	f.Add([]byte(`{"V":1,"Escrow":{"Key":"00","Sealed":"AA=="},"Upstream":"AA=="}`))
	at, rt := m.issue(kindAccess, g.ID), m.issue(kindRefresh, g.ID)
	f.Fuzz(func(t *testing.T, record []byte) {
		g, err := decodeGrant(record)
		if err != nil {
			return
		}
		now := time.Now()
		if slot, _, _ := g.findAccess(at, now, m.keys); slot != nil {
			t.Error("an access token of nobody opens it")
		}
		if d := g.refresh(m, &p, now, rotation{token: rt, client: g.Client}); d.answer != nil {
			t.Error("a refresh token of nobody is answered")
		}
		if d := g.redeem(m, &p, now, redemption{code: code, client: g.Client, verifier: testVerifier}); d.answer != nil && (g.User != "alice" || g.Resource != testResource || g.Client != testClient) {
			t.Error("the code opens the grant of another")
		}
		if data, err := g.openEscrow(m.keys); err == nil {
			t.Errorf("an escrow of nobody opens: %x", data)
		}
		if _, err := g.openUpstream(newDataKey()); err == nil {
			t.Error("tokens of the login open with any key")
		}
	})
}

// FuzzUpstream reads what was kept of the tokens of a login.
func FuzzUpstream(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","refresh_token":"r","expiry":"2026-01-02T15:04:05Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := decodeUpstream(text)
		if err != nil {
			return
		}
		if again, err := encodeUpstream(u.token(true)); err == nil {
			back, err := decodeUpstream(again)
			if err != nil || back.Access != u.Access || back.Refresh != u.Refresh || !back.Ends.Equal(u.Ends) {
				t.Errorf("%v", err)
			}
		}
	})
}
