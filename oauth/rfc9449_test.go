package oauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func TestRFC9449(t *testing.T) {
	service := func(w *world) url.Values {
		return asForm("grant_type", "client_credentials", "resource", w.url("/mcp"))
	}
	token := func(w *world, proof ...string) answer {
		w.Helper()
		header := basic("robot", testSecret)
		for _, p := range proof {
			header = append(header, "DPoP", p)
		}
		return w.posts("/token", service(w), header...)
	}
	holds(t, "RFC 9449", extended, []rule{
		{"4.2", "a proof that lacks a claim, or has one of another form, is refused", func(w *world) {
			p := w.prover()
			for _, c := range []change{
				{"jti", nil}, {"jti", ""}, {"jti", strings.Repeat("x", maxJTI+1)}, {"jti", 1}, {"htm", nil}, {"htm", "GET"}, {"htm", "post"}, {"htu", nil}, {"htu", "token"},
				{"htu", w.url("/revoke")}, {"htu", "https://evil.example/token"}, {"iat", nil}, {"iat", "now"}, {"iat", -1}, {"iat", 1e300},
			} {
				token(w, p.proof("POST", "/token", "", c)).wantError(w, 400, "invalid_dpop_proof")
			}
		}},
		{"4.3", "there is one proof, and not more", func(w *world) {
			p := w.prover()
			token(w, p.proof("POST", "/token", ""), p.proof("POST", "/token", "")).wantError(w, 400, "invalid_dpop_proof")
			token(w, "").wantError(w, 400, "invalid_dpop_proof")
			token(w, "a.b.c").wantError(w, 400, "invalid_dpop_proof")
			token(w, strings.Repeat("a", maxProof+1)).wantError(w, 400, "invalid_dpop_proof")
			w.wantStatus("one", token(w, p.proof("POST", "/token", "")), 200)
		}},
		{"4.3", "typ is dpop+jwt", func(w *world) {
			p := w.prover()
			for _, typ := range []string{"JWT", "at+jwt", ""} {
				token(w, p.proofTyped(typ, "POST", "/token", "")).wantError(w, 400, "invalid_dpop_proof")
			}
		}},
		{"4.3", "the signature is asymmetric, and of the key in the proof, which is a public one", func(w *world) {
			p := w.prover()
			claims := map[string]any{"jti": newID(), "htm": "POST", "htu": w.url("/token"), "iat": time.Now().Unix()}
			token(w, w.signs(dpopTyp, claims)).wantError(w, 400, "invalid_dpop_proof") // its key is not in it
			token(w, w.signsWith(jose.SigningKey{Algorithm: jose.HS256, Key: make([]byte, 32)}, dpopTyp, claims)).wantError(w, 400, "invalid_dpop_proof")
			good, other := strings.Split(p.proof("POST", "/token", ""), "."), strings.Split(w.prover().proof("POST", "/token", ""), ".")
			token(w, strings.Join([]string{other[0], good[1], good[2]}, ".")).wantError(w, 400, "invalid_dpop_proof")
			token(w, "eyJhbGciOiJub25lIiwidHlwIjoiZHBvcCtqd3QifQ."+good[1]+".").wantError(w, 400, "invalid_dpop_proof")
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, (&jose.SignerOptions{}).WithType(dpopTyp).WithHeader("jwk", jose.JSONWebKey{Key: p.key}))
			if err != nil {
				w.Fatal(err)
			}
			private, err := jwt.Signed(signer).Claims(claims).Serialize()
			if err != nil {
				w.Fatal(err)
			}
			token(w, private).wantError(w, 400, "invalid_dpop_proof")
		}},
		{"4.3", "htu is compared normalized, and without query and fragment", func(w *world) {
			p := w.prover()
			for _, htu := range []string{w.url("/token?x=1"), w.url("/token#x"), strings.Replace(w.url("/token"), "http:", "HTTP:", 1)} {
				w.wantStatus(htu, token(w, p.proof("POST", "/token", "", change{"htu", htu})), 200)
			}
		}},
		{"4.3", "iat is near: a minute before or after", func(w *world) {
			p := w.prover()
			for _, off := range []time.Duration{-2 * time.Minute, 2 * time.Minute, -24 * time.Hour} {
				a := token(w, p.proof("POST", "/token", "", change{"iat", time.Now().Add(off).Unix()}))
				if a.status != 400 || a.json(w)["error"] != "invalid_dpop_proof" && a.json(w)["error"] != "use_dpop_nonce" {
					w.Errorf("%v: %d %s", off, a.status, a.body)
				}
			}
			w.wantStatus("30 s ahead", token(w, p.proof("POST", "/token", "", change{"iat", time.Now().Add(30 * time.Second).Unix()})), 200)
		}},
		{"5", "with a proof the token type is DPoP, without one it stays Bearer", func(w *world) {
			if tok := token(w, w.prover().proof("POST", "/token", "")).good(w); tok.TokenType != "DPoP" {
				w.Errorf("got %s", tok.TokenType)
			}
			if tok := token(w).good(w); tok.TokenType != "Bearer" {
				w.Errorf("got %s", tok.TokenType)
			}
		}},
		{"5", "the refresh token of a public client is bound to the key", func(w *world) {
			p := w.prover()
			client, tok := p.boundTokens("alice")
			form := asForm("grant_type", "refresh_token", "refresh_token", tok.RefreshToken, "client_id", client)
			w.posts("/token", form).wantError(w, 400, "invalid_dpop_proof")
			w.prover().sends(form).wantError(w, 400, "invalid_grant")
			next := p.sends(form).good(w)
			if next.TokenType != "DPoP" {
				w.Errorf("got %s", next.TokenType)
			}
			w.wantStatus("the new token", p.uses("/mcp", next.AccessToken, p.proof("POST", "/mcp", next.AccessToken)), 200)
			// The kept answer is for the same key only.
			w.prover().sends(form).wantError(w, 400, "invalid_grant")
			if again := p.sends(form).good(w); again != next {
				w.Error("another answer to the same refresh")
			}
		}},
		{"5", "that of a confidential client is not: it proves itself in another way, and may change its key", func(w *world) {
			first, second := w.prover(), w.prover()
			code := w.browser().mustAllow(w.asks("person"), "alice")
			tok := first.sends(asForm("grant_type", "authorization_code", "code", code, "code_verifier", testVerifier), basic("person", testSecret)...).good(w)
			next := second.sends(asForm("grant_type", "refresh_token", "refresh_token", tok.RefreshToken), basic("person", testSecret)...).good(w)
			w.wantStatus("with the second key", second.uses("/mcp", next.AccessToken, second.proof("POST", "/mcp", next.AccessToken)), 200)
			w.wantStatus("with the first key", first.uses("/mcp", next.AccessToken, first.proof("POST", "/mcp", next.AccessToken)), 401)
		}},
		{"5.1", "the algorithms are announced, and only once DPoP is on", func(w *world) {
			if !w.has(w.metadata()["dpop_signing_alg_values_supported"], "ES256") {
				w.Error("not announced")
			}
			if newWorld(w.T, nil).metadata()["dpop_signing_alg_values_supported"] != nil {
				w.Error("announced while off")
			}
		}},
		{"5.2", "a client that registered for bound tokens gets no others", func(w *world) {
			a := w.registersAs(map[string]any{"redirect_uris": []string{testRedirect}, "token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true})
			m := a.json(w)
			if m["dpop_bound_access_tokens"] != true {
				w.Errorf("got %v", m)
			}
			client := m["client_id"].(string)
			code := w.browser().mustAllow(w.asks(client), "alice")
			w.sends(client, code).wantError(w, 400, "invalid_dpop_proof")
			v := asForm("grant_type", "authorization_code", "client_id", client, "code", code, "code_verifier", testVerifier)
			w.wantStatus("with a proof", w.prover().sends(v), 200)
		}},
		{"6.1", "a JWT names the key in cnf", func(w *world) {
			p := w.prover()
			tok := p.sends(asForm("grant_type", "client_credentials", "resource", w.url("/signed")), basic("robot", testSecret)...).good(w)
			if cnf, _ := w.payload(tok.AccessToken)["cnf"].(map[string]any); cnf["jkt"] != p.thumbprint() {
				w.Errorf("got %v", cnf)
			}
		}},
		{"7", "a bound token with its proof is good", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			a := p.uses("/mcp", tok.AccessToken, p.proof("POST", "/mcp", tok.AccessToken))
			if a.status != 200 || !strings.HasPrefix(a.body, "test:alice alice [read]") {
				w.Errorf("got %d %s", a.status, a.body)
			}
		}},
		{"7.1", "without a proof, with one for another token, method or address, of another key, or used before, it is not", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			used := p.proof("POST", "/mcp", tok.AccessToken)
			w.wantStatus("the first time", p.uses("/mcp", tok.AccessToken, used), 200)
			for name, proof := range map[string]string{
				"none":            "",
				"without ath":     p.proof("POST", "/mcp", ""),
				"another token":   p.proof("POST", "/mcp", "another"),
				"another method":  p.proof("GET", "/mcp", tok.AccessToken),
				"another address": p.proof("POST", "/other", tok.AccessToken),
				"below":           p.proof("POST", "/mcp/below", tok.AccessToken),
				"another key":     w.prover().proof("POST", "/mcp", tok.AccessToken),
				"used before":     used,
			} {
				a := p.uses("/mcp", tok.AccessToken, proof)
				if a.status != 401 || !strings.Contains(strings.Join(a.header.Values("WWW-Authenticate"), "\n"), `DPoP error="invalid_dpop_proof"`) {
					w.Errorf("%s: %d %v", name, a.status, a.header.Values("WWW-Authenticate"))
				}
			}
			w.wantStatus("a new one", p.uses("/mcp/below", tok.AccessToken, p.proof("POST", "/mcp/below", tok.AccessToken)), 200)
		}},
		{"7.1", "the challenge has the scheme DPoP, and its algorithms", func(w *world) {
			a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), ""))
			all := a.header.Values("WWW-Authenticate")
			if len(all) != 2 || !strings.HasPrefix(all[0], "Bearer ") || !strings.HasPrefix(all[1], "DPoP ") || !strings.Contains(all[1], `algs="ES256 EdDSA RS256"`) || !strings.Contains(all[1], "resource_metadata=") {
				w.Errorf("got %q", all)
			}
		}},
		{"7.2", "a bound token sent as a bearer token is refused: it may be a stolen one", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			a := w.calls("/mcp", tok.AccessToken)
			if a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				w.Errorf("got %d %v", a.status, a.header)
			}
			w.wantStatus("with a proof beside", w.calls("/mcp", tok.AccessToken, "DPoP", p.proof("POST", "/mcp", tok.AccessToken)), 401)
		}},
		{"7.1", "a token that is not bound is not good with the scheme DPoP", func(w *world) {
			p := w.prover()
			_, tok := w.signsIn("alice")
			w.wantStatus("bearer with a proof", p.uses("/mcp", tok.AccessToken, p.proof("POST", "/mcp", tok.AccessToken)), 401)
		}},
		{"8", "with nonces on, a proof without one, with a foreign or an old one is asked to come again, at both endpoints", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { extended(p); p.DPoP = &DPoP{} })
			p := w.prover()
			old := w.s.gate.dpop.newNonce(time.Now().Add(-nonceTTL - time.Second))
			other := newDPoP(&DPoP{}).newNonce(time.Now())
			for _, nonce := range []any{nil, "x", old, other} {
				a := token(w, p.proof("POST", "/token", "", change{"nonce", nonce}))
				a.wantError(w, 400, "use_dpop_nonce")
				w.wantStatus("again", token(w, p.proof("POST", "/token", "", change{"nonce", a.header.Get("DPoP-Nonce")})), 200)
			}
			nonce := change{"nonce", w.s.gate.dpop.newNonce(time.Now())}
			tok := token(w, p.proof("POST", "/token", "", nonce)).good(w)
			a := p.uses("/mcp", tok.AccessToken, p.proof("POST", "/mcp", tok.AccessToken))
			if a.status != 401 || a.header.Get("DPoP-Nonce") == "" || !strings.Contains(a.header.Values("WWW-Authenticate")[1], `DPoP error="use_dpop_nonce"`) {
				w.Errorf("got %d %v", a.status, a.header)
			}
			again := p.proof("POST", "/mcp", tok.AccessToken, change{"nonce", a.header.Get("DPoP-Nonce")})
			w.wantStatus("again", p.uses("/mcp", tok.AccessToken, again), 200)
		}},
		{"8.2", "a nonce that gets old is replaced in a good answer", func(w *world) {
			w = newWorld(w.T, func(p *Provider) { extended(p); p.DPoP = &DPoP{} })
			p := w.prover()
			d := w.s.gate.dpop
			a := token(w, p.proof("POST", "/token", "", change{"nonce", d.newNonce(time.Now().Add(-nonceTTL/2 - time.Second))}))
			if a.status != 200 || a.header.Get("DPoP-Nonce") == "" {
				w.Errorf("got %d %v", a.status, a.header)
			}
			if a := token(w, p.proof("POST", "/token", "", change{"nonce", d.newNonce(time.Now())})); a.header.Get("DPoP-Nonce") != "" {
				w.Error("a fresh one was replaced")
			}
		}},
		{"10", "a code asked for with dpop_jkt is redeemed with that key only", func(w *world) {
			p := w.prover()
			client := w.registers()
			_, q := w.browser().get(w.asks(client, "dpop_jkt", "short")).location()
			if q.Get("error") != "invalid_request" {
				w.Errorf("got %v", q)
			}
			code := w.browser().mustAllow(w.asks(client, "dpop_jkt", p.thumbprint()), "alice")
			v := asForm("grant_type", "authorization_code", "client_id", client, "code", code, "code_verifier", testVerifier)
			w.posts("/token", v).wantError(w, 400, "invalid_grant")
			w.prover().sends(v).wantError(w, 400, "invalid_grant")
			w.wantStatus("with its key", p.sends(v), 200)
		}},
		{"11.1", "a proof is good once, however many come at the same time", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			proof := p.proof("POST", "/mcp", tok.AccessToken)
			statuses := make(chan int)
			for range 20 {
				go func() {
					resp, err := http.DefaultClient.Do(request("POST", w.url("/mcp"), "", "Authorization", "DPoP "+tok.AccessToken, "DPoP", proof))
					if err != nil {
						statuses <- 0
						return
					}
					resp.Body.Close()
					statuses <- resp.StatusCode
				}()
			}
			good := 0
			for range 20 {
				if <-statuses == 200 {
					good++
				}
			}
			if good != 1 {
				w.Errorf("%d were let in", good)
			}
		}},
		{"11.1", "a proof from before the node started needs a nonce: what was used before is forgotten", func(w *world) {
			p := w.prover()
			a := token(w, p.proof("POST", "/token", "", change{"iat", w.s.gate.dpop.started.Add(-5 * time.Second).Unix()}))
			a.wantError(w, 400, "use_dpop_nonce")
		}},
		{"11.8", "the scheme is case-insensitive, and off it is no scheme at all", func(w *world) {
			p := w.prover()
			_, tok := p.boundTokens("alice")
			a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), "", "Authorization", "dpop "+tok.AccessToken, "DPoP", p.proof("POST", "/mcp", tok.AccessToken)))
			w.wantStatus("lower case", a, 200)
			off := newWorld(w.T, nil)
			_, plain := off.signsIn("alice")
			b := off.do(http.DefaultClient, request("POST", off.url("/mcp"), "", "Authorization", "DPoP "+plain.AccessToken))
			if b.status != 401 || len(b.header.Values("WWW-Authenticate")) != 1 || b.body != "" {
				w.Errorf("got %d %v %s", b.status, b.header, b.body)
			}
		}},
	})
	holds(t, "RFC 9449", func(p *Provider) { extended(p); p.DPoP.Required = true; p.Resources[0].RequireDPoP = true }, []rule{
		{"5", "where it is required, a token request without a proof is refused", func(w *world) {
			token(w).wantError(w, 400, "invalid_dpop_proof")
			w.wantStatus("with one", token(w, w.prover().proof("POST", "/token", "")), 200)
		}},
		{"7.1", "a resource that requires it says so in its metadata and offers no Bearer", func(w *world) {
			m := w.browser().get(w.url("/.well-known/oauth-protected-resource/mcp")).json(w)
			if m["dpop_bound_access_tokens_required"] != true || !w.has(m["dpop_signing_alg_values_supported"], "ES256") {
				w.Errorf("got %v", m)
			}
			a := w.do(http.DefaultClient, request("POST", w.url("/mcp"), ""))
			if all := a.header.Values("WWW-Authenticate"); len(all) != 1 || !strings.HasPrefix(all[0], "DPoP ") {
				w.Errorf("got %q", all)
			}
		}},
		{"7.1", "and takes no bearer token", func(w *world) {
			answer, err := w.s.grants.createDirect(w.Context(), grant{Client: "c", User: "u", Resource: w.url("/mcp"), Scopes: []string{"read"}}, []byte("null"), "", time.Time{})
			if err != nil {
				w.Fatal(err)
			}
			w.wantStatus("bearer", w.calls("/mcp", parseAnswer(w.T, answer).AccessToken), 401)
		}},
	})
}

func TestRememberedProofsAreBoundedAndForgotten(t *testing.T) {
	d := newDPoP(&DPoP{})
	now := time.Now()
	use := func(id string, at time.Time) error {
		issued := float64(at.Unix())
		return d.use(&proof{thumbprint: "k"}, &proofClaims{ID: id, Issued: &issued}, at)
	}
	if use("a", now) != nil || use("a", now) == nil || use("a", now.Add(proofWindow-time.Second)) == nil {
		t.Error("a proof is good once within its window")
	}
	for i := range 10 {
		if err := use("b", now.Add(time.Duration(i)*5*time.Minute)); err != nil {
			t.Errorf("after %d minutes: %v", i*5, err)
		}
	}
	if len(d.seen) > 2 {
		t.Errorf("%d minutes are remembered", len(d.seen))
	}
	full := map[[16]byte]struct{}{}
	for i := range maxProofs {
		full[[16]byte{byte(i), byte(i >> 8), byte(i >> 16)}] = struct{}{}
	}
	later := now.Add(2 * time.Hour)
	d.seen[later.Add(proofWindow).Unix()/60+1] = full
	if err := use("c", later); err != errProofsFull {
		t.Errorf("got %v", err)
	}
}

func FuzzProof(f *testing.F) {
	f.Add("eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.")
	f.Add("a.b.c")
	d := newDPoP(&DPoP{})
	f.Add(d.newNonce(time.Now()))
	f.Fuzz(func(t *testing.T, text string) {
		claims, key, err := parseProof(text)
		if err == nil && (!key.IsPublic() || claims.ID == "" || claims.Issued == nil) {
			t.Error("accepted without what it needs")
		}
		if fresh, err := d.checkNonce(text, time.Now(), time.Now()); err == nil && fresh == "" && len(text) != 32 {
			t.Error("a nonce of another form")
		}
		sameAddress(text, "https://a.example/mcp")
	})
}
