package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
)

const (
	testVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	testClient   = "client-one"
	testResource = "https://mcp.example.com/mcp"
)

var testProps = []byte(`{"Login":"alice"}`)

func testPolicy() policy {
	return policy{codeTTL: time.Minute, accessTTL: time.Hour, idleTTL: 30 * 24 * time.Hour, grantTTL: 365 * 24 * time.Hour, grace: time.Minute}
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func testGrants(t *testing.T, records store.Records, p policy) *grants {
	t.Helper()
	if records == nil {
		m := store.NewMemory()
		t.Cleanup(func() { m.Close() })
		records = m
	}
	return newGrants(records, &mint{prefix: "cw", keys: NewKeys()}, p, slog.New(slog.DiscardHandler))
}

func (s *grants) mustCreate(t *testing.T) token {
	t.Helper()
	code, err := s.create(t.Context(), grant{
		Client: testClient, User: "alice", Resource: testResource, Redirect: "https://client.example/cb", Scopes: []string{"read", "write"},
	}, challengeOf(testVerifier), testProps, nil)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func goodRedemption(code token) redemption {
	return redemption{code: code, client: testClient, verifier: testVerifier}
}

func parseAnswer(t *testing.T, b []byte) tokenAnswer {
	t.Helper()
	var a tokenAnswer
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("token answer %q: %v", b, err)
	}
	return a
}

func (s *grants) mustRedeem(t *testing.T, code token) tokenAnswer {
	t.Helper()
	b, err := s.redeem(t.Context(), goodRedemption(code))
	if err != nil {
		t.Fatalf("redeem: %v", err)
	}
	return parseAnswer(t, b)
}

func (s *grants) rotate(ctx context.Context, refreshToken string) ([]byte, error) {
	tok, err := s.mint.parse(kindRefresh, refreshToken)
	if err != nil {
		return nil, err
	}
	return s.refresh(ctx, rotation{token: tok, client: testClient})
}

func (s *grants) mustRotate(t *testing.T, refreshToken string) tokenAnswer {
	t.Helper()
	b, err := s.rotate(t.Context(), refreshToken)
	if err != nil {
		t.Fatalf("refresh: %v", err)
	}
	return parseAnswer(t, b)
}

func (s *grants) works(t *testing.T, accessToken string) bool {
	t.Helper()
	v, err := s.validate(t.Context(), accessToken)
	if err != nil {
		t.Fatalf("validate: %v", err)
	}
	if v != nil && !bytes.Equal(v.props, testProps) {
		t.Fatalf("props %q, want %q", v.props, testProps)
	}
	return v != nil
}

func wantRefused(t *testing.T, err error, code string) {
	t.Helper()
	var w *wireError
	if !errors.As(err, &w) || w.code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

// inBubble runs f with a clock of its own, so that hours pass at once.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestACodeGivesTokensThatWork_RFC6749_4_1_4(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	a := s.mustRedeem(t, s.mustCreate(t))
	if a.TokenType != "Bearer" || a.ExpiresIn != 3600 || a.Scope != "read write" {
		t.Errorf("answer %+v", a)
	}
	if !s.works(t, a.AccessToken) {
		t.Error("the access token does not work")
	}
	if s.works(t, a.RefreshToken) {
		t.Error("the refresh token works as an access token")
	}
}

func TestACodeRedeemedWrongly_RFC6749_4_1_3_RFC7636_4_6(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*redemption)
		want   string
	}{
		{"by another client", func(r *redemption) { r.client = "client-two" }, "invalid_grant"},
		{"with a wrong verifier", func(r *redemption) { r.verifier = strings.Repeat("x", 43) }, "invalid_grant"},
		{"without a verifier", func(r *redemption) { r.verifier = "" }, "invalid_grant"},
		{"with another redirect", func(r *redemption) { r.redirect = "https://client.example/cb/" }, "invalid_grant"},
		{"for another resource", func(r *redemption) { r.resource = "https://other.example/mcp" }, "invalid_target"},
	} {
		t.Run(c.name+" is refused, consumes nothing and never ends a redeemed grant", func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := testGrants(t, nil, testPolicy())
				code := s.mustCreate(t)
				r := goodRedemption(code)
				c.change(&r)
				_, err := s.redeem(t.Context(), r)
				wantRefused(t, err, c.want)
				a := s.mustRedeem(t, code)
				time.Sleep(time.Minute)
				_, err = s.redeem(t.Context(), r)
				wantRefused(t, err, c.want)
				if !s.works(t, a.AccessToken) {
					t.Error("somebody else's replay ended the grant")
				}
			})
		})
	}
}

func TestACodeLivesForItsTimeOnly_RFC6749_4_1_2(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		code := s.mustCreate(t)
		time.Sleep(time.Minute)
		_, err := s.redeem(t.Context(), goodRedemption(code))
		wantRefused(t, err, "invalid_grant")
	})
}

func TestACodeReplayedWithinTenSecondsRevokesNothingAndLaterTheGrant_RFC6749_4_1_2(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		code := s.mustCreate(t)
		a := s.mustRedeem(t, code)
		time.Sleep(10 * time.Second)
		_, err := s.redeem(t.Context(), goodRedemption(code))
		wantRefused(t, err, "invalid_grant")
		if !s.works(t, a.AccessToken) {
			t.Fatal("a double submit ended the grant")
		}
		time.Sleep(time.Second)
		_, err = s.redeem(t.Context(), goodRedemption(code))
		wantRefused(t, err, "invalid_grant")
		if s.works(t, a.AccessToken) {
			t.Error("the access token works after the code was replayed")
		}
		_, err = s.rotate(t.Context(), a.RefreshToken)
		wantRefused(t, err, "invalid_grant")
	})
}

func TestRefreshing_RFC6749_6_RFC9700_4_14_2(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		first := s.mustRedeem(t, s.mustCreate(t))
		second := s.mustRotate(t, first.RefreshToken)
		if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken {
			t.Fatal("nothing was rotated")
		}
		time.Sleep(time.Minute)
		if again := s.mustRotate(t, first.RefreshToken); again != second {
			t.Error("within the grace the previous token got another answer")
		}
		if !s.works(t, first.AccessToken) || !s.works(t, second.AccessToken) {
			t.Error("a refresh ended an access token")
		}
		third := s.mustRotate(t, second.RefreshToken)
		_, err := s.rotate(t.Context(), first.RefreshToken)
		wantRefused(t, err, "invalid_grant")
		for _, a := range []tokenAnswer{first, second, third} {
			if s.works(t, a.AccessToken) {
				t.Error("a superseded refresh token did not end the family")
			}
		}
	})
}

func TestAfterTheGraceThePreviousTokenRecoversThreeTimes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		first := s.mustRedeem(t, s.mustCreate(t))
		last := s.mustRotate(t, first.RefreshToken)
		for range 3 {
			time.Sleep(time.Minute + time.Second)
			next := s.mustRotate(t, first.RefreshToken)
			if next.RefreshToken == last.RefreshToken {
				t.Fatal("a recovery handed out the old answer")
			}
			last = next
		}
		if !s.works(t, last.AccessToken) {
			t.Fatal("a recovered token does not work")
		}
		time.Sleep(time.Minute + time.Second)
		_, err := s.rotate(t.Context(), first.RefreshToken)
		wantRefused(t, err, "invalid_grant")
		if s.works(t, last.AccessToken) {
			t.Error("a fourth recovery did not end the family")
		}
	})
}

func TestARecoveryCountsAnewAfterProgress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		a := s.mustRedeem(t, s.mustCreate(t))
		for range 5 {
			s.mustRotate(t, a.RefreshToken) // its answer is lost
			time.Sleep(2 * time.Minute)
			a = s.mustRotate(t, a.RefreshToken)
			time.Sleep(2 * time.Minute)
			a = s.mustRotate(t, a.RefreshToken)
		}
	})
}

func TestTheSuccessorThatARecoveryReplacedEndsTheFamily(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		first := s.mustRedeem(t, s.mustCreate(t))
		stolen := s.mustRotate(t, first.RefreshToken)
		time.Sleep(2 * time.Minute)
		mine := s.mustRotate(t, first.RefreshToken)
		_, err := s.rotate(t.Context(), stolen.RefreshToken)
		wantRefused(t, err, "invalid_grant")
		if s.works(t, mine.AccessToken) {
			t.Error("two lines of one family live on")
		}
	})
}

func TestStrictEndsTheFamilyOnTheFirstReuse_RFC9700_4_14_2(t *testing.T) {
	p := testPolicy()
	p.strict = true
	s := testGrants(t, nil, p)
	first := s.mustRedeem(t, s.mustCreate(t))
	second := s.mustRotate(t, first.RefreshToken)
	_, err := s.rotate(t.Context(), first.RefreshToken)
	wantRefused(t, err, "invalid_grant")
	if s.works(t, second.AccessToken) {
		t.Error("the family lives on")
	}
}

func TestNobodyElseEndsAFamily(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	code := s.mustCreate(t)
	first := s.mustRedeem(t, code)
	second := s.mustRotate(t, first.RefreshToken)
	third := s.mustRotate(t, second.RefreshToken)

	old, _ := s.mint.parse(kindRefresh, first.RefreshToken)
	_, err := s.refresh(t.Context(), rotation{token: old, client: "client-two"})
	wantRefused(t, err, "invalid_grant")

	other := &mint{prefix: "cw", keys: NewKeys()}
	guess := other.issue(kindRefresh, code.id)
	if _, err := s.rotate(t.Context(), guess.text); !errors.Is(err, errNotOurs) {
		t.Errorf("a token of another server: %v", err)
	}
	if !s.works(t, third.AccessToken) {
		t.Error("somebody else ended the family")
	}
}

func TestScopesMayBeNarrowedAndNeverWidened_RFC6749_6(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	a := s.mustRedeem(t, s.mustCreate(t))
	tok, _ := s.mint.parse(kindRefresh, a.RefreshToken)
	_, err := s.refresh(t.Context(), rotation{token: tok, client: testClient, scopes: []string{"read", "admin"}})
	wantRefused(t, err, "invalid_scope")
	b, err := s.refresh(t.Context(), rotation{token: tok, client: testClient, scopes: []string{"read"}})
	if err != nil {
		t.Fatal(err)
	}
	narrow := parseAnswer(t, b)
	if v, _ := s.validate(t.Context(), narrow.AccessToken); v == nil || !slices.Equal(v.slot.Scopes, []string{"read"}) {
		t.Error("the scope was not narrowed")
	}
	if wide := s.mustRotate(t, narrow.RefreshToken); wide.Scope != "read write" {
		t.Errorf("the refresh token lost scopes: %q", wide.Scope)
	}
}

func TestLifetimes_RFC6749_5_1(t *testing.T) {
	t.Run("an access token ends after its hour", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := testGrants(t, nil, testPolicy())
			a := s.mustRedeem(t, s.mustCreate(t))
			time.Sleep(time.Hour - time.Second)
			if !s.works(t, a.AccessToken) {
				t.Error("it ended early")
			}
			time.Sleep(time.Second)
			if s.works(t, a.AccessToken) {
				t.Error("it works on")
			}
		})
	})
	t.Run("a grant ends when nobody refreshed it for its idle time", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := testGrants(t, nil, testPolicy())
			a := s.mustRedeem(t, s.mustCreate(t))
			time.Sleep(29 * 24 * time.Hour)
			a = s.mustRotate(t, a.RefreshToken)
			time.Sleep(30 * 24 * time.Hour)
			_, err := s.rotate(t.Context(), a.RefreshToken)
			wantRefused(t, err, "invalid_grant")
		})
	})
	t.Run("a grant ends at its end however often it is refreshed, and its tokens with it", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := testPolicy()
			p.grantTTL = 90 * time.Minute
			s := testGrants(t, nil, p)
			a := s.mustRedeem(t, s.mustCreate(t))
			time.Sleep(time.Hour)
			a = s.mustRotate(t, a.RefreshToken)
			if a.ExpiresIn != 1800 {
				t.Errorf("expires_in %d, want what the grant has left", a.ExpiresIn)
			}
			time.Sleep(30 * time.Minute)
			if s.works(t, a.AccessToken) {
				t.Error("the access token outlives its grant")
			}
			_, err := s.rotate(t.Context(), a.RefreshToken)
			wantRefused(t, err, "invalid_grant")
		})
	})
}

func TestRevoking_RFC7009_2_1(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	a := s.mustRedeem(t, s.mustCreate(t))
	b := s.mustRotate(t, a.RefreshToken)
	revoke := func(text, client string) {
		t.Helper()
		if err := s.revokeToken(t.Context(), text, client); err != nil {
			t.Fatal(err)
		}
	}
	revoke(a.AccessToken, "client-two")
	revoke(b.RefreshToken, "client-two")
	revoke("cw_rt_nonsense", testClient)
	if !s.works(t, a.AccessToken) {
		t.Fatal("another client revoked the token")
	}
	revoke(a.AccessToken, testClient)
	if s.works(t, a.AccessToken) || !s.works(t, b.AccessToken) {
		t.Fatal("an access token was not revoked by itself")
	}
	revoke(b.RefreshToken, testClient)
	if s.works(t, b.AccessToken) {
		t.Error("revoking a refresh token left an access token alive")
	}
}

func TestAccessTokensOfAGrantAreBounded(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	first := s.mustRedeem(t, s.mustCreate(t))
	a := first
	for range maxAccess - 1 {
		a = s.mustRotate(t, a.RefreshToken)
	}
	if !s.works(t, first.AccessToken) {
		t.Error("a token within the bound is gone")
	}
	a = s.mustRotate(t, a.RefreshToken)
	if s.works(t, first.AccessToken) || !s.works(t, a.AccessToken) {
		t.Error("the oldest token did not make room")
	}
}

func TestGrantsOfAUserAndClientAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := testGrants(t, nil, testPolicy())
		var all []tokenAnswer
		for range maxGrants + 1 {
			time.Sleep(time.Second)
			all = append(all, s.mustRedeem(t, s.mustCreate(t)))
		}
		if s.works(t, all[0].AccessToken) {
			t.Error("the oldest grant did not make room")
		}
		for i, a := range all[1:] {
			if !s.works(t, a.AccessToken) {
				t.Errorf("grant %d is gone", i+1)
			}
		}
		live, err := s.ofUser(t.Context(), "alice")
		if err != nil || len(live) != maxGrants {
			t.Errorf("%d grants listed, %v", len(live), err)
		}
	})
}

func TestAnIndexEntryWithoutAGrantIsSwept(t *testing.T) {
	s := testGrants(t, nil, testPolicy())
	code := s.mustCreate(t)
	s.mustRedeem(t, code)
	r, _ := s.records.Get(t.Context(), grantPrefix+code.id)
	if err := s.records.Delete(t.Context(), r.Key, r.Revision); err != nil {
		t.Fatal(err)
	}
	if live, err := s.ofUser(t.Context(), "alice"); err != nil || len(live) != 0 {
		t.Fatalf("%v, %v", live, err)
	}
	if left, _ := s.listed(t.Context(), "alice"); len(left) != 0 {
		t.Error("the entry is still there")
	}
}

// TestAnEditedRecordGivesNothing: whoever can write the store can end grants, but not
// widen, move or prolong them.
func TestAnEditedRecordGivesNothing(t *testing.T) {
	for name, edit := range map[string]func(*grant){
		"more scopes":      func(g *grant) { g.Access[0].Scopes = []string{"admin"} },
		"another resource": func(g *grant) { g.Resource = "https://other.example/mcp" },
		"another user":     func(g *grant) { g.User = "bob" },
		"another client":   func(g *grant) { g.Client = "client-two" },
		"a longer life":    func(g *grant) { g.Access[0].Expires = g.Access[0].Expires.Add(time.Hour) },
		"other props":      func(g *grant) { g.Props[len(g.Props)-1] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := testGrants(t, nil, testPolicy())
			code := s.mustCreate(t)
			a := s.mustRedeem(t, code)
			g, rev, err := s.get(t.Context(), code.id)
			if err != nil {
				t.Fatal(err)
			}
			edit(g)
			if err := s.write(t.Context(), g, rev); err != nil {
				t.Fatal(err)
			}
			if v, err := s.validate(t.Context(), a.AccessToken); v != nil || !errors.Is(err, errSealBroken) {
				t.Errorf("validate gave %v, %v", v, err)
			}
		})
	}
}

func TestTheStoreHoldsNoSecret(t *testing.T) {
	m := store.NewMemory()
	t.Cleanup(func() { m.Close() })
	s := testGrants(t, m, testPolicy())
	code := s.mustCreate(t)
	a := s.mustRedeem(t, code)
	b := s.mustRotate(t, a.RefreshToken)
	for r, err := range m.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{code.text, a.AccessToken, a.RefreshToken, b.AccessToken, b.RefreshToken, testVerifier, string(testProps)} {
			_, tail, _ := strings.Cut(secret, ".")
			if bytes.Contains(r.Value, []byte(secret)) || tail != "" && bytes.Contains(r.Value, []byte(tail)) {
				t.Errorf("record %s holds %q", r.Key, secret)
			}
		}
	}
}

func TestKeysRotateAndEverythingBeforeNotBeforeIsVoid(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := store.NewMemory()
		t.Cleanup(func() { m.Close() })
		old := newKeyText()
		ring := func(text string) *grants {
			keys, err := ParseKeys([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return newGrants(m, &mint{prefix: "cw", keys: keys}, testPolicy(), slog.New(slog.DiscardHandler))
		}
		before := ring(string(old))
		a := before.mustRedeem(t, before.mustCreate(t))

		rotated := string(newKeyText()) + strings.Replace(string(old), "active", "older", 1)
		after := ring(rotated)
		if !after.works(t, a.AccessToken) {
			t.Fatal("a token under the older key does not work")
		}
		b := after.mustRotate(t, a.RefreshToken)
		if c := after.mustRotate(t, b.RefreshToken); !after.works(t, c.AccessToken) {
			t.Error("a token under the new key does not work")
		}
		time.Sleep(time.Second)
		cut := ring(rotated + "not_before " + time.Now().UTC().Format(time.RFC3339) + "\n")
		if cut.works(t, b.AccessToken) {
			t.Error("a grant from before not_before works")
		}
		if dropped := ring(string(newKeyText())); dropped.works(t, a.AccessToken) {
			t.Error("a token under a key that is gone works")
		}
	})
}

// engines are the stores that races are run on: an empty one and a busy one on disk.
func engines(t *testing.T) map[string]store.Records {
	t.Helper()
	memory := store.NewMemory()
	t.Cleanup(func() { memory.Close() })
	disk, err := local.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	for i := range 200 {
		if _, err := disk.Put(t.Context(), fmt.Sprintf("oauth/grant/busy%d", i), []byte("{}"), 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	load(t, disk)
	return map[string]store.Records{"fresh": memory, "busy, on disk": disk, "unreliable": &unreliable{Records: store.NewMemory(), chance: 0.2}}
}

// load keeps a store busy until the test ends, with what a server does besides: other
// grants come, change and go.
func load(t *testing.T, records store.Records) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			value := bytes.Repeat([]byte("x"), 2<<10)
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("oauth/user/load/%d-%d", worker, i%50)
				records.Put(ctx, key, value, store.AnyRevision, &store.PutOptions{TTL: time.Hour})
				if i%7 == 0 {
					records.Delete(ctx, key, store.AnyRevision)
				}
				sleep(ctx, time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestAHundredRedemptionsOfOneCodeGiveOneAnswerThatLives(t *testing.T) {
	for name, records := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s := testGrants(t, records, testPolicy())
			code := s.mustCreate(t)
			answers, errs := make([][]byte, 100), make([]error, 100)
			together(100, func(i int) { answers[i], errs[i] = s.redeem(t.Context(), goodRedemption(code)) })
			var won []tokenAnswer
			for i := range answers {
				if errs[i] == nil {
					won = append(won, parseAnswer(t, answers[i]))
					continue
				}
				wantRefused(t, errs[i], "invalid_grant")
			}
			if len(won) != 1 {
				t.Fatalf("%d redemptions won", len(won))
			}
			if !s.works(t, won[0].AccessToken) {
				t.Error("the winner's token is dead")
			}
			if b := s.mustRotate(t, won[0].RefreshToken); !s.works(t, b.AccessToken) {
				t.Error("the winner's grant is dead")
			}
		})
	}
}

func TestAHundredRefreshesGiveOneAnswerThatWorks(t *testing.T) {
	for name, records := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s := testGrants(t, records, testPolicy())
			a := s.mustRedeem(t, s.mustCreate(t))
			answers, errs := make([][]byte, 100), make([]error, 100)
			together(100, func(i int) { answers[i], errs[i] = s.rotate(t.Context(), a.RefreshToken) })
			for i := range answers {
				if errs[i] != nil {
					t.Fatal(errs[i])
				}
				if !bytes.Equal(answers[i], answers[0]) {
					t.Fatalf("two answers:\n%s\n%s", answers[0], answers[i])
				}
			}
			b := parseAnswer(t, answers[0])
			if !s.works(t, b.AccessToken) {
				t.Error("the new access token does not work")
			}
			if c := s.mustRotate(t, b.RefreshToken); !s.works(t, c.AccessToken) {
				t.Error("the new refresh token does not work")
			}
		})
	}
}

// unreliable is a store that refuses some writes, and is unsure about others that it
// made or did not make.
type unreliable struct {
	store.Records
	chance float64
	mu     sync.Mutex
	rand   *rand.Rand // nil is the shared one
}

func (u *unreliable) roll() float64 {
	if u.rand == nil {
		return rand.Float64()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.rand.Float64()
}

func (u *unreliable) Put(ctx context.Context, key string, value []byte, prev store.Revision, o *store.PutOptions) (store.Revision, error) {
	switch r := u.roll() / u.chance; {
	case r < 1.0/3:
		if prev == store.AnyRevision {
			return 0, store.ErrUnknown
		}
		return 0, store.ErrConflict
	case r < 2.0/3:
		return 0, store.ErrUnknown
	case r < 1:
		if _, err := u.Records.Put(ctx, key, value, prev, o); err != nil {
			return 0, err
		}
		return 0, store.ErrUnknown
	}
	return u.Records.Put(ctx, key, value, prev, o)
}

// countingStore counts reads.
type countingStore struct {
	store.Records
	reads int
}

func (c *countingStore) GetCached(ctx context.Context, key string) (store.Record, time.Duration, error) {
	c.reads++
	return c.Records.GetCached(ctx, key)
}

func TestARevocationIsSeenAtOnceHereAndWithinFiveSecondsElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := store.NewMemory()
		defer m.Close()
		counting := &countingStore{Records: m}
		here := testGrants(t, counting, testPolicy())
		elsewhere := newGrants(m, here.mint, testPolicy(), here.log)
		a := here.mustRedeem(t, here.mustCreate(t))
		for range 10 {
			here.works(t, a.AccessToken)
		}
		if counting.reads != 1 {
			t.Errorf("%d reads within a moment", counting.reads)
		}
		if !elsewhere.works(t, a.AccessToken) {
			t.Fatal("the token does not work elsewhere")
		}
		if err := here.revokeToken(t.Context(), a.RefreshToken, testClient); err != nil {
			t.Fatal(err)
		}
		if here.works(t, a.AccessToken) {
			t.Error("it works on where it was revoked")
		}
		time.Sleep(maxStale + time.Millisecond)
		if elsewhere.works(t, a.AccessToken) {
			t.Error("it works on elsewhere after five seconds")
		}
	})
}

// staleStore answers cached reads with a copy of some age.
type staleStore struct {
	store.Records
	copies map[string]store.Record
	age    time.Duration
}

func (s *staleStore) GetCached(ctx context.Context, key string) (store.Record, time.Duration, error) {
	if r, ok := s.copies[key]; ok {
		return r, s.age, nil
	}
	return s.Records.GetCached(ctx, key)
}

func TestACopyIsTrustedForFiveSecondsAndNeverAgainstANewToken(t *testing.T) {
	m := store.NewMemory()
	defer m.Close()
	s := testGrants(t, m, testPolicy())
	code := s.mustCreate(t)
	a := s.mustRedeem(t, code)
	copied, err := m.Get(t.Context(), grantPrefix+code.id)
	if err != nil {
		t.Fatal(err)
	}
	b := s.mustRotate(t, a.RefreshToken)
	stale := &staleStore{Records: m, copies: map[string]store.Record{copied.Key: copied}, age: 4 * time.Second}
	if !newGrants(stale, s.mint, testPolicy(), s.log).works(t, b.AccessToken) {
		t.Error("a token newer than the copy is refused")
	}
	if err := s.revokeToken(t.Context(), b.RefreshToken, testClient); err != nil {
		t.Fatal(err)
	}
	if !newGrants(stale, s.mint, testPolicy(), s.log).works(t, a.AccessToken) {
		t.Error("a copy within the bound is not used")
	}
	stale.age = maxStale + 1
	if newGrants(stale, s.mint, testPolicy(), s.log).works(t, a.AccessToken) {
		t.Error("a copy beyond the bound is used")
	}
}
