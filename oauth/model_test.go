package oauth

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// model is the grant machine told again in other words, as a list of everything that
// was handed out.
type model struct {
	created  time.Time
	redeemed time.Time
	dead     bool
	tokens   []tokenAnswer // all pairs handed out, in order
	issued   []time.Time
	dropped  map[string]bool
	current  int
	previous int // -1 for none
	replaced time.Time
	recover  int
	strict   bool
}

func (m *model) redeem(now time.Time) (win bool) {
	switch {
	case m.dead:
		return false
	case m.redeemed.IsZero():
		return now.Sub(m.created) < time.Minute
	case now.Sub(m.redeemed) > 10*time.Second:
		m.dead = true
	}
	return false
}

type modelAnswer int

const (
	refuse modelAnswer = iota
	same               // what the last rotation answered
	fresh
)

func (m *model) refresh(i int, now time.Time) modelAnswer {
	switch {
	case m.dead:
		return refuse
	case i == m.current:
		m.recover = 0
	case i == m.previous && !m.strict && now.Sub(m.replaced) <= time.Minute:
		return same
	case i == m.previous && !m.strict && m.recover < 3:
		m.recover++
	default:
		m.dead = true
		return refuse
	}
	m.previous, m.replaced = i, now
	return fresh
}

func (m *model) add(a tokenAnswer, now time.Time) {
	m.tokens, m.issued = append(m.tokens, a), append(m.issued, now)
	m.current = len(m.tokens) - 1
}

// TestTheGrantMachineDoesWhatTheModelSays drives random histories, on a store that
// refuses writes and is unsure about others, and compares every answer.
func TestTheGrantMachineDoesWhatTheModelSays(t *testing.T) {
	histories := 200
	if testing.Short() {
		histories = 30
	}
	for seed := range uint64(histories) {
		inBubble(t, func(t *testing.T) { runHistory(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	memory := store.NewMemory()
	defer memory.Close()
	p := testPolicy()
	p.strict = seed%4 == 0
	s := testGrants(t, &unreliable{Records: memory, chance: 0.3, rand: rand.New(rand.NewPCG(seed, 2))}, p)
	m := &model{created: time.Now(), previous: -1, dropped: map[string]bool{}, strict: p.strict}
	code := s.mustCreate(t)
	for range 40 {
		time.Sleep([]time.Duration{0, 0, time.Second, 9 * time.Second, 59 * time.Second, 61 * time.Second, 20 * time.Minute}[rnd.IntN(7)])
		switch op := rnd.IntN(10); {
		case op < 2 || len(m.tokens) == 0:
			stepRedeem(t, s, m, code, rnd)
		case op < 7:
			stepRefresh(t, s, m, rnd)
		case op == 7:
			stepForeign(t, s, m, code, rnd)
		case op == 8 && rnd.IntN(3) == 0:
			stepRevokeAccess(t, s, m, rnd)
		}
		checkAccess(t, s, m)
		if t.Failed() {
			return
		}
	}
}

func stepRedeem(t *testing.T, s *grants, m *model, code token, rnd *rand.Rand) {
	r := goodRedemption(code)
	if rnd.IntN(3) == 0 {
		r.verifier = strings.Repeat("w", 50)
		_, err := s.redeem(t.Context(), r)
		wantRefused(t, err, "invalid_grant")
		return
	}
	now := time.Now()
	win := m.redeem(now)
	b, err := s.redeem(t.Context(), r)
	if !win {
		wantRefused(t, err, "invalid_grant")
		return
	}
	if err != nil {
		t.Fatalf("redeem: %v", err)
	}
	m.redeemed = now
	m.add(parseAnswer(t, b), now)
}

func stepRefresh(t *testing.T, s *grants, m *model, rnd *rand.Rand) {
	// Mostly tokens that matter: the newest and what came before.
	i := max(0, len(m.tokens)-1-int(rnd.ExpFloat64()*0.7))
	now := time.Now()
	last := m.tokens[len(m.tokens)-1]
	want := m.refresh(i, now)
	b, err := s.rotate(t.Context(), m.tokens[i].RefreshToken)
	switch {
	case want == refuse:
		wantRefused(t, err, "invalid_grant")
	case err != nil:
		t.Fatalf("refresh: %v", err)
	case want == same:
		if parseAnswer(t, b) != last {
			t.Fatal("the answer is not the same")
		}
	default:
		a := parseAnswer(t, b)
		for _, old := range m.tokens {
			if old.RefreshToken == a.RefreshToken || old.AccessToken == a.AccessToken {
				t.Fatal("a token was handed out twice")
			}
		}
		m.add(a, now)
	}
}

// stepForeign does what must change nothing.
func stepForeign(t *testing.T, s *grants, m *model, code token, rnd *rand.Rand) {
	r := goodRedemption(code)
	r.client = "client-two"
	_, err := s.redeem(t.Context(), r)
	wantRefused(t, err, "invalid_grant")
	tok, _ := s.mint.parse(kindRefresh, m.tokens[rnd.IntN(len(m.tokens))].RefreshToken)
	_, err = s.refresh(t.Context(), rotation{token: tok, client: "client-two"})
	wantRefused(t, err, "invalid_grant")
	if err := s.revokeToken(t.Context(), tok.text, "client-two"); err != nil {
		t.Fatal(err)
	}
}

func stepRevokeAccess(t *testing.T, s *grants, m *model, rnd *rand.Rand) {
	text := m.tokens[rnd.IntN(len(m.tokens))].AccessToken
	if err := s.revokeToken(t.Context(), text, testClient); err != nil {
		t.Fatal(err)
	}
	m.dropped[text] = true
}

func checkAccess(t *testing.T, s *grants, m *model) {
	now := time.Now()
	live := 0
	for i := len(m.tokens) - 1; i >= 0; i-- {
		a := m.tokens[i]
		want := !m.dead && now.Sub(m.issued[i]) < time.Hour && !m.dropped[a.AccessToken]
		if want {
			live++
		}
		if live > maxAccess {
			return // the bound may have dropped it
		}
		if got := s.works(t, a.AccessToken); got != want {
			t.Errorf("access token %d of %d: works is %v, want %v", i, len(m.tokens), got, want)
		}
	}
}

// TestRacingClientsAreNeverLoggedOut lets two processes of one client, which share
// their tokens badly, work at the same time on an unreliable store.
func TestRacingClientsAreNeverLoggedOut(t *testing.T) {
	for seed := range uint64(30) {
		memory := store.NewMemory()
		s := testGrants(t, &unreliable{Records: memory, chance: 0.3}, testPolicy())
		rnd := rand.New(rand.NewPCG(seed, 3))
		a := s.mustRedeem(t, s.mustCreate(t))
		for range 10 {
			answers := make([][]byte, 2+rnd.IntN(6))
			errs := make([]error, len(answers))
			together(len(answers), func(i int) { answers[i], errs[i] = s.rotate(t.Context(), a.RefreshToken) })
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("seed %d: logged out: %v", seed, err)
			}
			for i := range answers {
				if !bytes.Equal(answers[0], answers[i]) {
					t.Fatalf("seed %d: two answers", seed)
				}
			}
			a = parseAnswer(t, answers[0])
			if !s.works(t, a.AccessToken) {
				t.Fatalf("seed %d: the token does not work", seed)
			}
		}
		memory.Close()
	}
}

// TestRedemptionAndReplayRace: whatever is raced against the first redemption of a
// code, at most one wins, and a winner's tokens live.
func TestRedemptionAndReplayRace(t *testing.T) {
	for seed := range uint64(30) {
		memory := store.NewMemory()
		s := testGrants(t, &unreliable{Records: memory, chance: 0.3}, testPolicy())
		code := s.mustCreate(t)
		var mu sync.Mutex
		var won []tokenAnswer
		together(12, func(i int) {
			r := goodRedemption(code)
			switch i % 3 {
			case 1:
				r.verifier = strings.Repeat("w", 43)
			case 2:
				r.client = "client-two"
			}
			b, err := s.redeem(t.Context(), r)
			if err != nil {
				var w *wireError
				if !errors.As(err, &w) {
					t.Errorf("seed %d: %v", seed, err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if i%3 != 0 {
				t.Errorf("seed %d: a wrong redemption won", seed)
			}
			won = append(won, parseAnswer(t, b))
		})
		if len(won) != 1 || !s.works(t, won[0].AccessToken) {
			t.Fatalf("seed %d: %d redemptions won, or the winner's token is dead", seed, len(won))
		}
		memory.Close()
	}
}
