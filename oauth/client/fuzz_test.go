package client

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzChallenges(f *testing.F) {
	for _, seed := range []string{
		`Bearer resource_metadata="https://a.example/x", scope="a b"`, `Negotiate abc==, Bearer error="invalid_token"`, `DPoP algs="ES256", error=use_dpop_nonce`,
		`Basic realm="a\"b", bearer scope=x`, `Bearer`, `Bearer a=b c="d`, `=,=,"`, `Bearer resource_metadata=https://a.example/x?y=z`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		all := parseChallenges(http.Header{"Www-Authenticate": {line, line}})
		if len(all) > maxChallenges {
			t.Fatalf("%d challenges", len(all))
		}
		for _, c := range all {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || len(c.params) > maxChallengeParam {
				t.Fatalf("challenge %+v", c)
			}
			for name, value := range c.params {
				if name == "" || !strings.Contains(strings.ToLower(line), name) || len(value) > len(line) {
					t.Fatalf("parameter %q=%q was made up", name, value)
				}
			}
		}
		for _, scope := range scopesOf(param(all, "scope")) {
			if strings.ContainsAny(scope, " \"\\\r\n") {
				t.Fatalf("scope %q", scope)
			}
		}
	})
}

func FuzzResourceMetadata(f *testing.F) {
	f.Add([]byte(`{"resource":"https://a.example/mcp","authorization_servers":["https://b.example"],"scopes_supported":["a","b c"]}`))
	f.Add([]byte(`{"resource":null}`))
	f.Add([]byte(`[]`))
	server, _ := url.Parse("https://a.example/mcp")
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := parseResourceMetadata(content)
		if err != nil {
			return
		}
		if len(m.AuthorizationServers) > maxServers {
			t.Fatal("too many servers")
		}
		if isResourceOf(m.Resource, server) && !strings.HasPrefix(strings.ToLower(m.Resource), "https://a.example") {
			t.Fatalf("%q is taken for the resource", m.Resource)
		}
	})
}

func FuzzServerMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://b.example","authorization_endpoint":"https://b.example/a","token_endpoint":"https://b.example/t","code_challenge_methods_supported":["S256"]}`))
	f.Add([]byte(`{"token_endpoint":"javascript:1"}`))
	server, _ := url.Parse("https://a.example/mcp")
	s := newSession(mustNew(f), server)
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := parseServerMetadata(content)
		if err != nil || s.checkEndpoints(m) != nil {
			return
		}
		for _, endpoint := range []string{m.Token, m.Authorization, m.Registration, m.Revocation, m.DeviceAuthorization} {
			if endpoint != "" && !strings.HasPrefix(strings.ToLower(endpoint), "https://") && !strings.HasPrefix(strings.ToLower(endpoint), "http://a.example") {
				t.Fatalf("%q may be asked", endpoint)
			}
		}
	})
}

func mustNew(t testing.TB) *Client {
	c, err := New(Options{Store: Memory(), ImportFrom: NoImport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzTokenAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"b","scope":"x y"}`))
	f.Add([]byte(`{"access_token":"a","expires_in":"3600"}`))
	f.Add([]byte(`{"error":"invalid_grant","error_description":"\u001b[2J"}`))
	f.Add([]byte(`{"access_token":"a","expires_in":1e400}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		a, err := parseTokenAnswer(content)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\x1b\r\n") || len(text) > 1000 {
				t.Fatalf("the error is %q", text)
			}
			return
		}
		if a.access == "" || !isTokenText(a.access+a.refresh) && len(a.access+a.refresh) <= maxToken || a.lifetime < 0 || a.lifetime > maxLifetime {
			t.Fatalf("taken: %+v", a)
		}
		if (http.Header{"Authorization": {"Bearer " + a.access}}).Get("Authorization") == "" || strings.ContainsAny(a.access, "\r\n\x00 ") {
			t.Fatalf("%q goes into a header", a.access)
		}
	})
}

func FuzzIDToken(f *testing.F) {
	f.Add("e30.eyJleHAiOjE3MDAwMDAwMDB9.x")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if ends := endOf(token); !ends.IsZero() && ends.Unix() <= 0 {
			t.Fatalf("it ends at %v", ends)
		}
	})
}

func FuzzErrorAnswer(f *testing.F) {
	f.Add(400, []byte(`{"error":"invalid_client"}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, content []byte) {
		text := parseAuthError("token", status, content).Error()
		if strings.ContainsAny(text, "\x1b\r\n\x00") || !utf8.ValidString(text) || len(text) > 1000 {
			t.Fatalf("the error is %q", text)
		}
	})
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"client_id":"a","client_secret":"b","client_secret_expires_at":0,"redirect_uris":["http://127.0.0.1/"]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if a, err := parseRegistration(content); err == nil && (a.ID == "" || strings.ContainsAny(a.ID+a.Secret, "\r\n\x00")) {
			t.Fatalf("taken: %+v", a)
		}
	})
}

func FuzzDevice(f *testing.F) {
	f.Add([]byte(`{"device_code":"a","user_code":"B-C","verification_uri":"https://b.example/d","expires_in":600,"interval":1}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		a, err := parseDevice(content)
		if err != nil {
			return
		}
		if a.interval < minInterval || a.interval > maxInterval || a.life <= 0 || a.life > maxDeviceLife || strings.ContainsAny(a.user, "\x1b\r\n") {
			t.Fatalf("taken: %+v", a)
		}
	})
}

func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"code=a&state=S", "state=S&error=x", "code=a&state=s", "code=a&code=b&state=S", "state=S", "%zz", "code=a;state=S"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		cb := &callback{state: "S", answer: make(chan url.Values, 1), done: make(chan struct{})}
		query, err := url.ParseQuery(raw)
		if err != nil || cb.take(query) != nil {
			return
		}
		answer := <-cb.answer
		if len(answer["state"]) != 1 || answer.Get("state") != "S" || (answer.Get("code") == "") == (answer.Get("error") == "") {
			t.Fatalf("taken: %q", raw)
		}
		if cb.take(query) == nil {
			t.Fatal("taken twice")
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"https://a.example/x?y=z", "javascript:alert(1)", "https://a\"b", "http://[::1]:1/", "HTTPS://a", "https://a@b", "//a", "https:a", "https://a/%0a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseURL(text)
		if err != nil {
			return
		}
		out := u.String()
		if !strings.HasPrefix(out, "https://") && !strings.HasPrefix(out, "http://") {
			t.Fatalf("%q became %q", text, out)
		}
		if strings.ContainsAny(out, " \"'<>`\\\r\n\t\x00") && !strings.Contains(out, "'") || strings.ContainsAny(out, " \"<>`\\\r\n\t\x00") {
			t.Fatalf("%q goes to a browser as %q", text, out)
		}
	})
}

func FuzzMCPRemote(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer","refresh_token":"b","expires_at":1700000000000,"requested_scope":"x"}`))
	f.Add([]byte(`{"access_token":"a","token_type":"DPoP"}`))
	f.Add([]byte(`{"access_token":"a","expires_in":1e300,"expires_at":1e300}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		kept, err := parseImportedTokens(content)
		if err != nil {
			return
		}
		record := &serverRecord{server: "https://a.example/mcp", issuer: kept.issuer, tokens: kept.tokens, imported: true}
		encoded, err := record.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeServer(encoded)
		if err != nil || !again.tokens.access.Equal(kept.tokens.access) || !again.tokens.expires.Equal(kept.tokens.expires) {
			t.Fatalf("%s reads back as %+v (%v)", encoded, again, err)
		}
	})
}

// Whatever is in the folder is read, or is an error; never a panic, and never a wrong record.
func FuzzStored(f *testing.F) {
	now := time.Unix(1e9, 0).UTC()
	good, _ := (&serverRecord{server: "https://a.example", tokens: &tokens{access: NewSecret("a"), obtained: now}}).encode()
	f.Add(good)
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"v":1,"has_tokens":true,"dpop_key":"AA=="}`))
	f.Add([]byte(magic + "0123456789"))
	key := &folderKey{ID: "k"}
	if err := key.use(base64.StdEncoding.EncodeToString(make([]byte, 32))); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if record, err := decodeServer(content); err == nil && record.tokens != nil {
			record.tokens.expired(now)
			record.tokens.kind()
		}
		_, _ = decodeRegistration(content)
		if value, err := key.unseal("a", content); err == nil {
			t.Fatalf("what nobody sealed reads as %q", value)
		}
		if value, err := key.unseal("a", key.seal("b", content)); err == nil {
			t.Fatalf("what was sealed under another name reads as %q", value)
		}
	})
}
