package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

func count(t *testing.T, records store.Records, prefix string) (n int) {
	t.Helper()
	for _, err := range records.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestASweepPutsTheStoreInOrderAndTouchesNothingHealthy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := ownServer(t, nil)
		healthy := s.grants.mustRedeem(t, s.grants.mustCreate(t))
		document := s.grantFor(t, "https://app.example/client.json", "bob")
		orphan := s.grantFor(t, newID(), "carol")
		removed := s.grantFor(t, "client-that-was-configured", "carol")
		unlisted := s.grants.mustCreate(t)
		s.grants.mustRedeem(t, unlisted)
		if err := s.records.Delete(t.Context(), userKey("alice")+unlisted.id, store.AnyRevision); err != nil {
			t.Fatal(err)
		}
		if _, err := s.records.Put(t.Context(), userKey("dave")+newID(), []byte("{}"), 0, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.records.Put(t.Context(), grantPrefix+newID(), []byte(`{"V":99}`), 0, nil); err != nil {
			t.Fatal(err)
		}
		n, err := s.sweeper.sweep(t.Context())
		// The entries of the two orphans go with them.
		if want := (swept{orphans: 2, listed: 1, unlisted: 3, unreadable: 1}); err != nil || n != want {
			t.Errorf("swept %+v, %v; want %+v", n, err, want)
		}
		for name, c := range map[string]struct {
			a    tokenAnswer
			want bool
		}{"healthy": {healthy, true}, "of a document": {document, true}, "of a client that is gone": {orphan, false}, "of a client that is not configured any more": {removed, false}} {
			if s.grants.works(t, c.a.AccessToken) != c.want {
				t.Errorf("the grant %s: works is %v", name, !c.want)
			}
		}
		if live, _ := s.Grants(t.Context(), "alice"); len(live) != 2 {
			t.Errorf("alice has %d grants in her list", len(live))
		}
		if n, err := s.sweeper.sweep(t.Context()); err != nil || n != (swept{unreadable: 1}) {
			t.Errorf("a second sweep found %+v, %v", n, err)
		}
	})
}

func (s *Server) grantFor(t *testing.T, client, user string) tokenAnswer {
	t.Helper()
	code, err := s.grants.create(t.Context(), grant{Client: client, User: user, Resource: testResource, Scopes: []string{"read"}}, challengeOf(testVerifier), testProps, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.grants.redeem(t.Context(), redemption{code: code, client: client, verifier: testVerifier})
	if err != nil {
		t.Fatal(err)
	}
	return parseAnswer(t, b)
}

func TestRequestsSweepTheStoreAndOneProcessDoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		memory := store.NewMemory()
		defer memory.Close()
		keys := NewKeys()
		var all []*Server
		for range 3 {
			all = append(all, ownServer(t, func(p *Provider) { p.Records, p.Keys = memory, keys }))
		}
		orphan := all[0].grantFor(t, newID(), "carol")
		for _, s := range all {
			s.sweeper.poke()
		}
		time.Sleep(time.Minute)
		if !all[0].grants.works(t, orphan.AccessToken) {
			t.Fatal("swept before the hour")
		}
		time.Sleep(time.Hour)
		orphan = all[0].grantFor(t, newID(), "carol")
		for _, s := range all {
			s.sweeper.poke()
		}
		time.Sleep(time.Minute)
		if all[1].grants.works(t, orphan.AccessToken) {
			t.Error("not swept")
		}
		if n := count(t, memory, sweepRecord); n != 1 {
			t.Errorf("%d sweeps", n)
		}
	})
}

// What has an end goes by itself: nobody has to run anything.
func TestNothingIsKeptForEver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := ownServer(t, nil)
		begun, err := s.begin(t.Context(), kindLogin, "browser", &transaction{})
		if err != nil {
			t.Fatal(err)
		}
		never := s.grants.mustCreate(t)
		used := s.grants.mustCreate(t)
		s.grants.mustRedeem(t, used)
		revoked := s.grants.mustCreate(t)
		s.grants.mustRedeem(t, revoked)
		if err := s.Revoke(t.Context(), revoked.id); err != nil {
			t.Fatal(err)
		}
		there := func(key string) bool {
			_, err := s.records.Get(t.Context(), key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil
		}
		for _, c := range []struct {
			name, key string
			after     time.Duration
		}{
			{"a sign-in that nobody finished", transactionPrefix + begun.id, transactionTTL},
			{"a code that nobody redeemed", grantPrefix + never.id, time.Minute + unredeemedTTL},
			{"a revoked grant", grantPrefix + revoked.id, revokedTTL},
			{"a grant", grantPrefix + used.id, 365 * 24 * time.Hour},
		} {
			start := time.Now()
			if !there(c.key) {
				t.Errorf("%s is not there", c.name)
			}
			time.Sleep(c.after - time.Since(start) + time.Second)
			if there(c.key) {
				t.Errorf("%s is kept longer than %v", c.name, c.after)
			}
		}
		if n := count(t, s.records, userPrefix); n != 0 {
			t.Errorf("%d entries of lists are left", n)
		}
	})
}

func TestProgramsListAndRevokeGrants(t *testing.T) {
	s := ownServer(t, nil)
	var answers []tokenAnswer
	for range 3 {
		answers = append(answers, s.grants.mustRedeem(t, s.grants.mustCreate(t)))
	}
	other := s.grantFor(t, testClient, "bob")
	live, err := s.Grants(t.Context(), "alice")
	if err != nil || len(live) != 3 {
		t.Fatalf("%d grants, %v", len(live), err)
	}
	if g := live[0]; g.Client != testClient || g.Resource != testResource || g.Created.IsZero() || !g.Ends.After(g.Created) {
		t.Errorf("%+v", g)
	}
	if err := s.Revoke(t.Context(), live[1].ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Revoke(t.Context(), live[1].ID); !errors.Is(err, ErrNoGrant) {
			t.Errorf("twice: %v", err)
		}
	}
	working := 0
	for _, a := range answers {
		if s.grants.works(t, a.AccessToken) {
			working++
		}
	}
	if working != 2 {
		t.Errorf("%d grants live on, want 2", working)
	}
	if err := s.RevokeUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if live, _ := s.Grants(t.Context(), "alice"); len(live) != 0 {
		t.Errorf("%d grants are left of who left", len(live))
	}
	if !s.grants.works(t, other.AccessToken) {
		t.Error("somebody else was signed out")
	}
}

func TestDeletingAClientEndsItsGrantsOnly(t *testing.T) {
	w := newWorld(t, nil)
	one, a := w.signsIn("alice")
	_, b := w.signsIn("alice")
	if err := w.s.DeleteClient(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if w.s.grants.live(t, a) || !w.s.grants.live(t, b) {
		t.Error("the wrong grants ended")
	}
	w.posts("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {one}, "refresh_token": {a.RefreshToken}}).wantError(w, 401, "invalid_client")
	if err := w.s.DeleteClient(t.Context(), newID()); err != nil {
		t.Errorf("an unknown client: %v", err)
	}
	if err := w.s.DeleteClient(t.Context(), "https://app.example/client.json"); err == nil {
		t.Error("a document was deleted")
	}
}

func (s *grants) live(t *testing.T, a tokenAnswer) bool {
	t.Helper()
	v, err := s.validate(t.Context(), a.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	return v != nil
}

func TestGrantsOfAPersonAreBounded(t *testing.T) {
	s := ownServer(t, nil)
	first := s.grantFor(t, testClient, "alice")
	for i := range maxUserGrants {
		s.grantFor(t, fmt.Sprintf("client-%d", i), "alice")
	}
	if s.grants.live(t, first) {
		t.Error("the oldest grant made no room")
	}
	if live, _ := s.Grants(t.Context(), "alice"); len(live) != maxUserGrants {
		t.Errorf("%d grants, want %d", len(live), maxUserGrants)
	}
}
