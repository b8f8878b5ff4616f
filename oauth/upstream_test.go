package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/store"
)

// upstreamServer is the login's own server, as far as it matters here: refresh tokens are good
// once, and one that comes twice ends the family, as RFC 9700 §4.14.2 has it.
type upstreamServer struct {
	mu      sync.Mutex
	n       int
	live    string // the one refresh token
	access  string
	ended   bool
	asked   int
	revoked []string
	ttl     time.Duration
	slow    time.Duration
	fail    error  // instead of an answer, before anything is rotated
	after   func() // after it has rotated, before it answers
}

func (e *upstreamServer) first() *oauth2.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next()
}

func (e *upstreamServer) next() *oauth2.Token {
	e.n++
	e.live, e.access = fmt.Sprintf("up-rt-%d", e.n), fmt.Sprintf("up-at-%d", e.n)
	if e.ttl == 0 {
		e.ttl = 30 * time.Minute
	}
	return &oauth2.Token{AccessToken: e.access, TokenType: "Bearer", RefreshToken: e.live, Expiry: time.Now().Add(e.ttl)}
}

func (e *upstreamServer) RenewUpstream(_ context.Context, t *oauth2.Token) (*oauth2.Token, error) {
	time.Sleep(e.slow)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	switch {
	case e.fail != nil:
		return nil, e.fail
	case e.ended || t.RefreshToken != e.live:
		e.ended = true
		return nil, ErrSignInAgain
	}
	fresh := e.next()
	if e.after != nil {
		e.after()
	}
	return fresh, nil
}

func (e *upstreamServer) RevokeUpstream(_ context.Context, t *oauth2.Token) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return e.fail
	}
	e.revoked = append(e.revoked, t.RefreshToken)
	return nil
}

func (e *upstreamServer) set(fail error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail = fail
}

// told are the tokens that it was told to revoke.
func (e *upstreamServer) told() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.revoked)
}

// calls is how often it was asked for new tokens.
func (e *upstreamServer) calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

// from makes a provider of grants whose people came from elsewhere.
func (s *grants) from(e *upstreamServer) *grants {
	s.renewer = e
	return s
}

func (s *grants) createFrom(t *testing.T, e *upstreamServer) token {
	t.Helper()
	tokens, err := encodeUpstream(e.first())
	if err != nil {
		t.Fatal(err)
	}
	code, err := s.create(t.Context(), grant{
		Client: testClient, User: "alice", Resource: testResource, Redirect: "https://client.example/cb", Scopes: []string{"read", "write"},
	}, challengeOf(testVerifier), testProps, tokens)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// upstreamWith is what a handler gets that was asked with an access token.
func (s *grants) upstreamWith(ctx context.Context, access string) (*oauth2.Token, error) {
	v, err := s.validate(ctx, access)
	if v == nil || err != nil {
		return nil, errors.Join(errors.New("the access token is not good"), err)
	}
	return s.upstreamOf(ctx, v.grant.ID, v.data)
}

func TestTheTokenOfTheLoginIsFreshInRunningSessionsAndRenewedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &upstreamServer{ttl: 10 * time.Minute, slow: time.Second}
		s := testGrants(t, nil, testPolicy()).from(e)
		a := s.mustRedeem(t, s.createFrom(t, e))
		if e.asked != 1 {
			t.Fatalf("a token that ends before ours does was renewed %d times at the redemption, want once", e.asked)
		}
		for range 5 {
			time.Sleep(9*time.Minute + 30*time.Second)
			before := e.asked
			got := make([]*oauth2.Token, 50)
			together(len(got), func(i int) {
				var err error
				if got[i], err = s.upstreamWith(t.Context(), a.AccessToken); err != nil {
					t.Error(err)
				}
			})
			if e.asked != before+1 {
				t.Fatalf("renewed %d times by 50 that asked at once", e.asked-before)
			}
			for _, tok := range got {
				if tok == nil || tok.AccessToken != e.access || tok.RefreshToken != "" || !tok.Expiry.After(time.Now().Add(upstreamAhead)) {
					t.Fatalf("got %+v", tok)
				}
			}
		}
	})
}

func TestAHundredRefreshesRenewTheTokenOfTheLoginOnce(t *testing.T) {
	for name, records := range engines(t) {
		t.Run(name, func(t *testing.T) {
			e := &upstreamServer{slow: 20 * time.Millisecond}
			keys := NewKeys()
			var processes []*grants
			for range 3 {
				processes = append(processes, newGrants(records, &mint{prefix: "cw", keys: keys}, testPolicy(), slog.New(slog.DiscardHandler)).from(e))
			}
			a := processes[0].mustRedeem(t, processes[0].createFrom(t, e))
			before := e.asked
			answers := make([]string, 100)
			together(len(answers), func(i int) {
				b, err := processes[i%3].rotate(t.Context(), a.RefreshToken)
				if err != nil {
					t.Error(err)
				}
				answers[i] = string(b)
			})
			if slices.ContainsFunc(answers, func(s string) bool { return s != answers[0] }) {
				t.Error("there are different answers")
			}
			if e.asked != before+1 || e.ended {
				t.Errorf("the login was asked %d times", e.asked-before)
			}
			next := parseAnswer(t, []byte(answers[0]))
			for _, s := range processes {
				if tok, err := s.upstreamWith(t.Context(), next.AccessToken); err != nil || tok.AccessToken != e.access {
					t.Errorf("%v %v", tok, err)
				}
			}
		})
	}
}

func TestALoginThatIsOverUpstreamIsOverHereAndNobodyLoops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, how := range []string{"refresh", "session"} {
			e := &upstreamServer{}
			s := testGrants(t, nil, testPolicy()).from(e)
			a := s.mustRedeem(t, s.createFrom(t, e))
			e.ended = true
			time.Sleep(29*time.Minute + 30*time.Second)
			before := e.asked
			for range 5 {
				if how == "refresh" {
					_, err := s.rotate(t.Context(), a.RefreshToken)
					wantRefused(t, err, "invalid_grant")
				} else if _, err := s.upstreamWith(t.Context(), a.AccessToken); err == nil {
					t.Error("there is a token")
				}
			}
			if e.asked != before+1 {
				t.Errorf("%s: the login was asked %d times after it said no", how, e.asked-before-1)
			}
			if s.works(t, a.AccessToken) {
				t.Errorf("%s: the grant lives on, so no client would ask for a new sign-in", how)
			}
		}
	})
}

func TestALoginThatDoesNotAnswerSignsNobodyOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &upstreamServer{}
		s := testGrants(t, nil, testPolicy()).from(e)
		a := s.mustRedeem(t, s.createFrom(t, e))
		e.set(errors.New("connection refused"))
		time.Sleep(25 * time.Minute)
		a = s.mustRotate(t, a.RefreshToken)
		if tok, err := s.upstreamWith(t.Context(), a.AccessToken); err != nil || tok.AccessToken != e.access {
			t.Fatalf("what is left of the token is not used: %v %v", tok, err)
		}
		time.Sleep(10 * time.Minute)
		if _, err := s.upstreamWith(t.Context(), a.AccessToken); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
		e.set(nil)
		if tok, err := s.upstreamWith(t.Context(), a.AccessToken); err != nil || tok.AccessToken != e.access {
			t.Fatalf("after the login came back: %v %v", tok, err)
		}
	})
}

// A process dies after the login rotated and before the grant was written.
func TestATokenLostBetweenTheLoginAndTheStoreAsksForASignInOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &upstreamServer{}
		memory := store.NewMemory()
		defer memory.Close()
		broken := &mortal{Records: memory}
		keys := NewKeys()
		s := newGrants(broken, &mint{prefix: "cw", keys: keys}, testPolicy(), slog.New(slog.DiscardHandler)).from(e)
		a := s.mustRedeem(t, s.createFrom(t, e))
		e.after = func() { broken.die() }
		if _, err := s.rotate(t.Context(), a.RefreshToken); err == nil {
			t.Fatal("a dead process answered")
		}
		e.after = nil
		reborn := newGrants(memory, &mint{prefix: "cw", keys: keys}, testPolicy(), slog.New(slog.DiscardHandler)).from(e)
		asked := e.asked
		_, err := reborn.rotate(t.Context(), a.RefreshToken) // waits for the lease of the dead
		wantRefused(t, err, "invalid_grant")
		for range 3 {
			_, err = reborn.rotate(t.Context(), a.RefreshToken)
			wantRefused(t, err, "invalid_grant")
		}
		if e.asked != asked+1 {
			t.Errorf("the login was asked %d times, want once", e.asked-asked)
		}
	})
}

// mortal is a store that a process loses when it dies.
type mortal struct {
	store.Records
	mu   sync.Mutex
	dead bool
	left int // writes until it dies; 0 is never
}

var errDead = errors.New("the process is dead")

func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func (m *mortal) gone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left > 0 {
		if m.left--; m.left == 0 {
			m.dead = true
		}
	}
	return m.dead
}

func (m *mortal) Put(ctx context.Context, key string, value []byte, prev store.Revision, o *store.PutOptions) (store.Revision, error) {
	if m.gone() {
		return 0, errDead
	}
	return m.Records.Put(ctx, key, value, prev, o)
}

func (m *mortal) Delete(ctx context.Context, key string, prev store.Revision) error {
	if m.gone() {
		return errDead
	}
	return m.Records.Delete(ctx, key, prev)
}

// TestProcessesThatDieAnywhere kills a process before its n-th write, for each n and at
// random moments of the login's own rotation, and lets another one go on. Whatever was
// answered works; the login never sees a refresh token twice, except where the new one was
// lost, and then the person is asked to sign in once.
func TestProcessesThatDieAnywhere(t *testing.T) {
	histories := uint64(150)
	if testing.Short() {
		histories = 30
	}
	for seed := range histories {
		inBubble(t, func(t *testing.T) { runMortalHistory(t, rand.New(rand.NewPCG(seed, 7))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runMortalHistory(t *testing.T, rnd *rand.Rand) {
	memory := store.NewMemory()
	defer memory.Close()
	keys := NewKeys()
	e := &upstreamServer{ttl: 10 * time.Minute}
	lost := false // a rotation of the login that nobody may have stored
	var m *mortal
	start := func(left int) *grants {
		m = &mortal{Records: memory, left: left}
		e.after = nil
		if left > 0 && rnd.IntN(4) == 0 {
			own := m
			e.after = func() { own.die() }
		}
		return newGrants(&unreliable{Records: m, chance: 0.2, rand: rand.New(rand.NewPCG(rnd.Uint64(), 9))}, &mint{prefix: "cw", keys: keys}, testPolicy(), slog.New(slog.DiscardHandler)).from(e)
	}
	s := start(0)
	a := s.mustRedeem(t, s.createFrom(t, e))
	s = start(1 + rnd.IntN(8))
	for range 30 {
		if m.isDead() {
			s = start(1 + rnd.IntN(8))
		}
		time.Sleep(time.Duration(rnd.IntN(15)) * time.Minute)
		before := e.n
		var err error
		if rnd.IntN(2) == 0 {
			var b []byte
			if b, err = s.rotate(t.Context(), a.RefreshToken); err == nil {
				a = parseAnswer(t, b)
			}
		} else {
			var tok *oauth2.Token
			if tok, err = s.upstreamWith(t.Context(), a.AccessToken); err == nil && !tok.Expiry.After(time.Now()) {
				t.Error("a token that has ended was handed out")
			}
		}
		if err != nil && m.isDead() && e.n != before {
			lost = true
		}
		var w *wireError
		if errors.As(err, &w) || errors.Is(err, ErrSignInAgain) {
			if !lost {
				t.Errorf("signed out without a loss: %v", err)
			}
			asked := e.asked
			s = start(0)
			for range 3 {
				if _, err := s.rotate(t.Context(), a.RefreshToken); !errors.As(err, &w) || w.code != "invalid_grant" {
					t.Errorf("after that: %v", err)
				}
			}
			if e.asked > asked+1 {
				t.Error("the login is asked for ever")
			}
			return
		}
	}
	if e.ended && !lost {
		t.Error("the login saw a refresh token twice")
	}
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func TestTheAuthorMayChangeWhatIsHandedOut(t *testing.T) {
	e := &upstreamServer{ttl: 24 * time.Hour}
	var seen []string
	change := func(*Renewal) error { return nil }
	newSite := func(t *testing.T) *grants {
		s := testGrants(t, nil, testPolicy()).from(e)
		s.hook = func(_ context.Context, r *Renewal) error {
			seen = append(seen, r.GrantType+" "+r.Grant+" "+r.User+" "+r.Client+" "+r.Resource+" "+strings.Join(r.Scopes, "+"))
			return change(r)
		}
		return s
	}
	good := func(*Renewal) error { return nil }
	sameProps := func(t *testing.T, s *grants, access, want string) {
		t.Helper()
		v, err := s.validate(t.Context(), access)
		if err != nil || v == nil || string(v.props) != want {
			t.Fatalf("%v %v, want props %s", v, err, want)
		}
	}
	t.Run("it is asked for the code and for each refresh, with the same grant, once for each answer", func(t *testing.T) {
		seen, change = nil, good
		s := newSite(t)
		code := s.createFrom(t, e)
		a := s.mustRedeem(t, code)
		b := s.mustRotate(t, a.RefreshToken)
		if again := s.mustRotate(t, a.RefreshToken); again != b {
			t.Error("the answer is not the same")
		}
		rest := code.id + " alice " + testClient + " " + testResource + " read+write"
		if want := []string{"authorization_code " + rest, "refresh_token " + rest}; !slices.Equal(seen, want) {
			t.Errorf("asked %q, want %q", seen, want)
		}
	})
	t.Run("new props reach the new token and those handed out before, and the previous refresh token still opens them", func(t *testing.T) {
		change = good
		s := newSite(t)
		a := s.mustRedeem(t, s.createFrom(t, e))
		change = func(r *Renewal) error { r.Props = jsontext.Value(`{"Login":"renamed"}`); return nil }
		b := s.mustRotate(t, a.RefreshToken)
		sameProps(t, s, a.AccessToken, `{"Login":"renamed"}`)
		sameProps(t, s, b.AccessToken, `{"Login":"renamed"}`)
		if again := s.mustRotate(t, a.RefreshToken); again != b {
			t.Error("the previous refresh token got another answer")
		}
	})
	t.Run("lifetime and scopes may be narrowed, for this access token only", func(t *testing.T) {
		change = func(r *Renewal) error { r.AccessTTL, r.Scopes = 2*time.Minute, []string{"read"}; return nil }
		s := newSite(t)
		a := s.mustRedeem(t, s.createFrom(t, e))
		if a.ExpiresIn != 120 || a.Scope != "read" {
			t.Errorf("%+v", a)
		}
		if v, _ := s.validate(t.Context(), a.AccessToken); v == nil || !slices.Equal(v.slot.Scopes, []string{"read"}) {
			t.Error("the scopes of the token are not narrowed")
		}
		change = good
		if b := s.mustRotate(t, a.RefreshToken); b.Scope != "read write" || b.ExpiresIn != 3600 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("the token of the login may be replaced and erased", func(t *testing.T) {
		change = func(r *Renewal) error { r.Upstream = &oauth2.Token{AccessToken: "mine"}; return nil }
		s := newSite(t)
		a := s.mustRedeem(t, s.createFrom(t, e))
		if tok, err := s.upstreamWith(t.Context(), a.AccessToken); err != nil || tok.AccessToken != "mine" {
			t.Errorf("%v %v", tok, err)
		}
		change = func(r *Renewal) error { r.Upstream = nil; return nil }
		b := s.mustRotate(t, a.RefreshToken)
		if _, err := s.upstreamWith(t.Context(), b.AccessToken); !errors.Is(err, ErrNoUpstream) {
			t.Errorf("got %v", err)
		}
	})
	for name, c := range map[string]func(*Renewal) error{
		"widening scopes":           func(r *Renewal) error { r.Scopes = append(r.Scopes, "admin"); return nil },
		"a lifetime under a minute": func(r *Renewal) error { r.AccessTTL = 59 * time.Second; return nil },
		"a lifetime beyond its own": func(r *Renewal) error { r.AccessTTL = 2 * time.Hour; return nil },
		"props that are not JSON":   func(r *Renewal) error { r.Props = jsontext.Value("{"); return nil },
		"props that are too long": func(r *Renewal) error {
			r.Props = jsontext.Value(`"` + strings.Repeat("x", maxProps) + `"`)
			return nil
		},
		"an error":                     func(*Renewal) error { return errors.New("the database is away") },
		"a wire error in disguise":     func(*Renewal) error { return errors.New("invalid_grant: no") },
		"tokens without an access one": func(r *Renewal) error { r.Upstream = &oauth2.Token{RefreshToken: "x"}; return nil },
	} {
		t.Run(name+" is the author's mistake: nothing is handed out, consumed or revoked", func(t *testing.T) {
			change = c
			s := newSite(t)
			code := s.createFrom(t, e)
			_, err := s.redeem(t.Context(), goodRedemption(code))
			var w *wireError
			if err == nil || errors.As(err, &w) {
				t.Fatalf("got %v", err)
			}
			change = good
			a := s.mustRedeem(t, code)
			change = c
			if _, err := s.rotate(t.Context(), a.RefreshToken); err == nil || errors.As(err, &w) {
				t.Fatalf("got %v", err)
			}
			change = good
			if b := s.mustRotate(t, a.RefreshToken); !s.works(t, b.AccessToken) {
				t.Error("it does not go on")
			}
		})
	}
	t.Run("asking for a new sign-in ends the grant", func(t *testing.T) {
		change = good
		s := newSite(t)
		a := s.mustRedeem(t, s.createFrom(t, e))
		change = func(*Renewal) error { return fmt.Errorf("suspended: %w", ErrSignInAgain) }
		_, err := s.rotate(t.Context(), a.RefreshToken)
		wantRefused(t, err, "invalid_grant")
		if s.works(t, a.AccessToken) {
			t.Error("the grant lives on")
		}
	})
	t.Run("a mistake of the author loses no token that the login rotated", func(t *testing.T) {
		e := &upstreamServer{ttl: 10 * time.Minute}
		change = func(*Renewal) error { return errors.New("no") }
		s := newSite(t).from(e)
		code := s.createFrom(t, e)
		if _, err := s.redeem(t.Context(), goodRedemption(code)); err == nil {
			t.Fatal("it was redeemed")
		}
		change = good
		a := s.mustRedeem(t, code)
		if tok, err := s.upstreamWith(t.Context(), a.AccessToken); err != nil || tok.AccessToken != e.access || e.ended {
			t.Errorf("%v %v", tok, err)
		}
	})
}

func TestAnEditedUpstreamTokenGivesNothing(t *testing.T) {
	e := &upstreamServer{ttl: 24 * time.Hour}
	s := testGrants(t, nil, testPolicy()).from(e)
	code := s.createFrom(t, e)
	a := s.mustRedeem(t, code)
	other := s.createFrom(t, e)
	for name, edit := range map[string]func(g, from *grant){
		"its end":        func(g, _ *grant) { g.UpstreamEnds = g.UpstreamEnds.Add(time.Hour) },
		"its renewal":    func(g, _ *grant) { g.Renewable = false },
		"another's":      func(g, from *grant) { g.Upstream = from.Upstream },
		"props in place": func(g, _ *grant) { g.Upstream = g.Props },
	} {
		t.Run(name, func(t *testing.T) {
			g, rev, err := s.get(t.Context(), code.id)
			if err != nil {
				t.Fatal(err)
			}
			from, _, _ := s.get(t.Context(), other.id)
			edited := g.clone()
			edit(edited, from)
			if err := s.write(t.Context(), edited, rev); err != nil {
				t.Fatal(err)
			}
			if tok, err := s.upstreamWith(t.Context(), a.AccessToken); err == nil {
				t.Errorf("got %v", tok)
			}
			_, rev, _ = s.get(t.Context(), code.id)
			if err := s.write(t.Context(), g, rev); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// fromElsewhere is a login whose people bring tokens.
type fromElsewhere struct {
	askName
	*upstreamServer
}

func (l fromElsewhere) Finish(r *http.Request, a *Attempt) (*Person, error) {
	p, err := l.askName.Finish(r, a)
	if err == nil {
		p.Upstream = l.first()
	}
	return p, err
}

func TestHandlersGetTheTokenOfTheLoginAndClientsNeverDo(t *testing.T) {
	e := &upstreamServer{ttl: 24 * time.Hour}
	var got []string
	w := newWorld(t, func(p *Provider) { p.Login = fromElsewhere{upstreamServer: e} })
	w.s.gate.next = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		tok, err := UpstreamToken(r.Context())
		fromSource, _ := UpstreamSource(r.Context()).Token()
		if err == nil && fromSource.AccessToken == tok.AccessToken && tok.RefreshToken == "" {
			got = append(got, tok.AccessToken)
		}
	})
	_, a := w.signsIn("alice")
	answer := w.calls("/mcp", a.AccessToken)
	if !slices.Equal(got, []string{e.access}) {
		t.Errorf("the handler got %q", got)
	}
	for _, text := range []string{fmt.Sprint(a), answer.body, fmt.Sprint(answer.header), w.logs.String()} {
		if strings.Contains(text, "up-at-") || strings.Contains(text, "up-rt-") {
			t.Errorf("the token of the login is in %q", text)
		}
	}
	if _, err := UpstreamToken(t.Context()); !errors.Is(err, ErrNoUpstream) {
		t.Errorf("nobody's token: %v", err)
	}
}

func TestPropsAreFreshInASessionThatStaysOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		memory := store.NewMemory()
		defer memory.Close()
		s := testGrants(t, memory, testPolicy())
		name := "alice"
		s.hook = func(_ context.Context, r *Renewal) error {
			r.Props, _ = json.Marshal(testPerson{Login: name})
			return nil
		}
		a := s.mustRedeem(t, s.mustCreate(t))
		v, err := s.validate(t.Context(), a.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		id := &identity{props: v.props, held: &held{grants: s, grant: v.grant.ID, data: v.data, asOf: v.asOf}}
		ctx := context.WithValue(t.Context(), identityKey{}, id)
		for _, name = range []string{"alice", "alicia", "ally"} {
			time.Sleep(50 * time.Minute)
			a = s.mustRotate(t, a.RefreshToken)
			time.Sleep(maxStale + time.Second)
			if got := Props[testPerson](ctx).Login; got != name {
				t.Errorf("got %q, want %q", got, name)
			}
		}
		// After a revocation a handler still at work knows who began it, and gets no token.
		if err := s.revoke(t.Context(), v.grant.ID, "test", func(*grant) bool { return true }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxStale + time.Second)
		if got := Props[testPerson](ctx).Login; got != "alice" {
			t.Errorf("got %q", got)
		}
		if _, err := UpstreamToken(ctx); !errors.Is(err, ErrSignInAgain) {
			t.Errorf("got %v", err)
		}
	})
}

// A real token endpoint, over HTTP, and a client that hangs up while it answers.
func TestAClientThatHangsUpCostsNoTokenOfTheLogin(t *testing.T) {
	e := &upstreamServer{ttl: time.Minute}
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(reached); <-goOn })
		tok, err := e.RenewUpstream(r.Context(), &oauth2.Token{RefreshToken: r.FormValue("refresh_token")})
		if err != nil {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"refresh_token":%q,"token_type":"Bearer","expires_in":60}`, tok.AccessToken, tok.RefreshToken)
	}))
	defer there.Close()
	s := testGrants(t, nil, testPolicy())
	code := s.createFrom(t, e)
	s.renewer = overHTTP(there.URL)
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.redeem(ctx, goodRedemption(code))
	}()
	<-reached
	hangUp()
	close(goOn)
	<-done
	g, _, err := s.get(t.Context(), code.id)
	if err != nil || g.Code.Redeemed.IsZero() || e.asked != 1 || e.ended {
		t.Errorf("the renewal was not stored: %v, asked %d, ended %v", err, e.asked, e.ended)
	}
}

type overHTTP string

func (u overHTTP) RenewUpstream(ctx context.Context, t *oauth2.Token) (*oauth2.Token, error) {
	req, _ := http.NewRequestWithContext(ctx, "POST", string(u), strings.NewReader(url.Values{"refresh_token": {t.RefreshToken}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusBadRequest {
		return nil, ErrSignInAgain
	}
	var answer oauth2.Token
	err = json.UnmarshalRead(resp.Body, &answer)
	answer.Expiry = time.Now().Add(time.Minute)
	return &answer, err
}
