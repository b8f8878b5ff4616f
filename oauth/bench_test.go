package oauth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
)

// BenchmarkValidate compares the check of an access token with 1 KiB of props with the
// verification of an Ed25519 JWT that carries as much.
func BenchmarkValidate(b *testing.B) {
	props := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 1022)...), '"')
	memory := store.NewMemory()
	defer memory.Close()
	disk, err := local.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	for name, records := range map[string]store.Records{"memory": memory, "disk": disk} {
		s := newGrants(records, &mint{prefix: "cw", keys: NewKeys()}, testPolicy(), slog.New(slog.DiscardHandler))
		code, err := s.create(b.Context(), grant{Client: testClient, User: "alice", Resource: testResource, Scopes: []string{"read"}}, challengeOf(testVerifier), props, nil)
		if err != nil {
			b.Fatal(err)
		}
		answer, err := s.redeem(b.Context(), goodRedemption(code))
		if err != nil {
			b.Fatal(err)
		}
		token := answerToken(b, answer)
		check := func(b *testing.B) {
			if v, err := s.validate(b.Context(), token); v == nil || err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				check(b)
			}
		})
		// What happens every five seconds: the record is read from the store, and is what
		// it was.
		b.Run(name+"/store read", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, v := range s.verified {
					v.asOf = time.Time{}
				}
				check(b)
			}
		})
		b.Run(name+"/first time", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clear(s.verified)
				check(b)
			}
		})
	}
	b.Run("junk", func(b *testing.B) {
		s := newGrants(memory, &mint{prefix: "cw", keys: NewKeys()}, testPolicy(), slog.New(slog.DiscardHandler))
		junk := (&mint{prefix: "cw", keys: NewKeys()}).issue(kindAccess, newID()).text
		b.ReportAllocs()
		for b.Loop() {
			if v, _ := s.validate(b.Context(), junk); v != nil {
				b.Fatal("good")
			}
		}
	})
	b.Run("Ed25519 JWT", func(b *testing.B) { benchmarkJWT(b, string(props)) })
}

// BenchmarkGate is what protection adds to a request: everything between the server's
// handler and the one behind.
func BenchmarkGate(b *testing.B) {
	p := &Provider{Issuer: "http://127.0.0.1:1", Login: askName{}, Resources: []Resource{{Path: "/mcp", Scopes: testScopes, Require: []string{"read"}}}}
	s, err := p.Protect(b.Context(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		b.Fatal(err)
	}
	answer, err := s.grants.createDirect(b.Context(), grant{Client: testClient, User: "alice", Resource: "http://127.0.0.1:1/mcp", Scopes: []string{"read"}}, []byte("null"), "", time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	req := request("POST", "/mcp", "", "Authorization", "Bearer "+answerToken(b, answer))
	rec := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(rec, req)
	}
	if rec.Code != http.StatusOK {
		b.Fatal(rec.Code)
	}
}

func answerToken(b *testing.B, answer []byte) string {
	i := bytes.Index(answer, []byte(`cw_at_`))
	n := bytes.IndexByte(answer[i:], '"')
	return string(answer[i : i+n])
}

func benchmarkJWT(b *testing.B, props string) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, nil)
	if err != nil {
		b.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{"iss": "i", "sub": "alice", "aud": testResource, "exp": time.Now().Add(time.Hour).Unix(), "props": props}).Serialize()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			b.Fatal(err)
		}
		var claims jwt.Claims
		if err := parsed.Claims(public, &claims); err != nil {
			b.Fatal(err)
		}
	}
}
