package oauth

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// ownServer is a provider without a listener, for what needs none.
func ownServer(t *testing.T, change func(*Provider)) *Server {
	t.Helper()
	memory := store.NewMemory()
	t.Cleanup(func() { memory.Close() })
	p := &Provider{
		Issuer: "http://127.0.0.1:9", Login: askName{}, Records: memory, Keys: NewKeys(),
		Clients: []Client{{ID: testClient, RedirectURIs: []string{testRedirect}}}, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(p)
	}
	s, err := p.Protect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWithoutAnEscrowTheServerAloneOpensNothing(t *testing.T) {
	e := &upstreamServer{ttl: 24 * time.Hour}
	s := ownServer(t, func(p *Provider) { p.Login = fromElsewhere{upstreamServer: e} })
	code := s.grants.createFrom(t, e)
	s.grants.mustRedeem(t, code)
	if _, err := PropsOf[testPerson](t.Context(), s, code.id); !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "Escrow") {
		t.Errorf("props: %v", err)
	}
	if _, err := s.UpstreamOf(t.Context(), code.id); !errors.Is(err, ErrSealed) {
		t.Errorf("token of the login: %v", err)
	}
	if err := s.Revoke(t.Context(), code.id); err != nil {
		t.Fatal(err)
	}
	if g, _, _ := s.grants.get(t.Context(), code.id); len(g.Upstream)+len(g.Props)+len(e.told()) > 0 {
		t.Error("something is left of it")
	}
}

func TestAnEscrowOpensGrantsOutsideOfRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &upstreamServer{ttl: 20 * time.Minute}
		s := ownServer(t, func(p *Provider) {
			p.Login, p.Escrow = fromElsewhere{upstreamServer: e}, &Escrow{Ahead: -1}
		})
		code := s.grants.createFrom(t, e)
		s.grants.mustRedeem(t, code)
		if p, err := PropsOf[testPerson](t.Context(), s, code.id); err != nil || p.Login != "alice" {
			t.Errorf("props %+v, %v", p, err)
		}
		for range 5 {
			time.Sleep(19*time.Minute + 30*time.Second)
			tok, err := s.UpstreamOf(t.Context(), code.id)
			if err != nil || tok.AccessToken != e.access || tok.RefreshToken != "" {
				t.Errorf("%v %v", tok, err)
			}
		}
		if err := s.Revoke(t.Context(), code.id); err != nil {
			t.Fatal(err)
		}
		if _, err := PropsOf[testPerson](t.Context(), s, code.id); !errors.Is(err, ErrNoGrant) {
			t.Errorf("after the revocation: %v", err)
		}
		for _, id := range []string{"", "x", newID(), "../key"} {
			if _, err := s.UpstreamOf(t.Context(), id); !errors.Is(err, ErrNoGrant) {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

func TestAnEscrowRenewsBeforeAnybodyAsks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &upstreamServer{ttl: time.Hour}
		s := ownServer(t, func(p *Provider) { p.Login, p.Escrow = fromElsewhere{upstreamServer: e}, &Escrow{} })
		code := s.grants.createFrom(t, e)
		a := s.grants.mustRedeem(t, code)
		asked := e.calls()
		for range 20 {
			time.Sleep(30 * time.Minute)
			g, _, err := s.grants.get(t.Context(), code.id)
			if err != nil || !g.UpstreamEnds.After(time.Now()) {
				t.Fatalf("the token ended at %v, it is %v", g.UpstreamEnds, time.Now())
			}
		}
		if n := e.calls() - asked; n < 9 || n > 14 {
			t.Errorf("renewed %d times in 10 hours", n)
		}
		// The person leaves: no client has to ask for that to be noticed.
		e.mu.Lock()
		e.ended = true
		e.mu.Unlock()
		time.Sleep(time.Hour)
		_, err := s.grants.rotate(t.Context(), a.RefreshToken)
		wantRefused(t, err, "invalid_grant")
	})
}

func TestWithAnEscrowTheLoginHearsOfTheLastRevocation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &upstreamServer{ttl: 24 * time.Hour}
		s := ownServer(t, func(p *Provider) { p.Login, p.Escrow = fromElsewhere{upstreamServer: e}, &Escrow{} })
		first := s.grants.createFrom(t, e)
		a := s.grants.mustRedeem(t, first)
		second := s.grants.createFrom(t, e)
		s.grants.mustRedeem(t, second)
		if err := s.grants.revokeToken(t.Context(), a.RefreshToken, testClient); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if len(e.told()) > 0 {
			t.Fatal("a revocation of one grant would have signed the person out of the other")
		}
		e.set(errors.New("it is down"))
		if err := s.Revoke(t.Context(), second.id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		g, _, _ := s.grants.get(t.Context(), second.id)
		if g == nil || g.Upstream == nil {
			t.Fatal("it was forgotten before it was revoked")
		}
		e.set(nil)
		time.Sleep(2 * time.Hour)
		if got := e.told(); !slices.Equal(got, []string{"up-rt-2"}) {
			t.Errorf("revoked %q", got)
		}
		if g, _, _ := s.grants.get(t.Context(), second.id); g.Upstream != nil || g.Escrow != nil {
			t.Error("it is kept on")
		}
	})
}

func TestAnEscrowOfAnotherGrantOpensNothing(t *testing.T) {
	s := ownServer(t, func(p *Provider) { p.Escrow = &Escrow{} })
	one, two := s.grants.mustCreate(t), s.grants.mustCreate(t)
	g, rev, err := s.grants.get(t.Context(), one.id)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := s.grants.get(t.Context(), two.id)
	g.Escrow = other.Escrow
	if err := s.grants.write(t.Context(), g, rev); err != nil {
		t.Fatal(err)
	}
	if p, err := PropsOf[testPerson](t.Context(), s, one.id); err == nil {
		t.Errorf("got %+v", p)
	}
}

func TestAnEscrowOutlivesAKeyThatIsOlderNow(t *testing.T) {
	memory := store.NewMemory()
	defer memory.Close()
	keys := NewKeys()
	s := ownServer(t, func(p *Provider) { p.Records, p.Keys, p.Escrow = memory, keys, &Escrow{} })
	code := s.grants.mustCreate(t)
	s.grants.mustRedeem(t, code)
	rotated, err := ParseKeys(slices.Concat(newKeyText(), []byte("older "), []byte(secretEncoding.EncodeToString(keys.active.master))))
	if err != nil {
		t.Fatal(err)
	}
	s = ownServer(t, func(p *Provider) { p.Records, p.Keys, p.Escrow = memory, rotated, &Escrow{} })
	if p, err := PropsOf[testPerson](t.Context(), s, code.id); err != nil || p.Login != "alice" {
		t.Errorf("%+v %v", p, err)
	}
}
