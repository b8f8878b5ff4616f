package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

const (
	// sweepEvery is how often the store is swept, by one of the processes on it.
	sweepEvery = time.Hour
	// sweepTime bounds one sweep.
	sweepTime = 10 * time.Minute
	// maxFarewells bounds the revoked grants that wait for their turn in memory; those
	// beyond wait for the next sweep.
	maxFarewells = 1024
	// farewellTime bounds the revocation of one grant's tokens at the login.
	farewellTime = 15 * time.Second

	sweepRecord = "oauth/sweep"
)

// A sweeper puts the store in order. What has an end goes by itself, as records have a
// time to live: sign-ins under way, codes, sessions, idle clients, grants. What is left is
// what one record cannot know of another: grants whose client is gone, lists that miss a
// grant or name one that ended, tokens of the login that are to be renewed or revoked.
// Nobody has to call it: requests do, and where there is an Escrow, a clock.
type sweeper struct {
	s         *Server
	last      atomic.Int64 // when this process looked last, in nanoseconds
	running   atomic.Bool
	farewells chan string
}

func newSweeper(s *Server) *sweeper {
	w := &sweeper{s: s, farewells: make(chan string, maxFarewells)}
	w.last.Store(time.Now().UnixNano())
	return w
}

// farewell has the tokens of a revoked grant revoked at the login soon.
func (w *sweeper) farewell(id string) {
	select {
	case w.farewells <- id:
	default: // the next sweep finds it
	}
}

// startSweeps keeps grants fresh that nobody asks for.
func (s *Server) startSweeps(ctx context.Context) {
	if s.provider.Escrow == nil {
		return
	}
	go s.sweeper.run(ctx)
}

func (w *sweeper) run(ctx context.Context) {
	every := sweepEvery
	if ahead := w.s.provider.Escrow.Ahead; ahead > 0 {
		every = min(every, ahead/2)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-w.farewells:
			w.sayFarewell(ctx, id)
		case <-tick.C:
			w.sweepIfDue(ctx, every)
		}
	}
}

// poke sweeps in the background if it is time. Requests call it.
func (w *sweeper) poke() {
	now := time.Now()
	if now.Sub(time.Unix(0, w.last.Load())) < sweepEvery || !w.running.CompareAndSwap(false, true) {
		return
	}
	w.last.Store(now.UnixNano())
	go func() {
		defer w.running.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
		defer cancel()
		w.sweepIfDue(ctx, sweepEvery)
	}()
}

// sweepIfDue sweeps unless another process does, or did lately.
func (w *sweeper) sweepIfDue(ctx context.Context, every time.Duration) {
	_, err := w.s.records.Put(ctx, sweepRecord, []byte("{}"), 0, &store.PutOptions{TTL: every * 9 / 10})
	if err != nil {
		return // somebody else is at it, or the store cannot be written: another time
	}
	n, err := w.sweep(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.s.log.WarnContext(ctx, "oauth: sweep ended early; the next one goes on", "err", err)
	case n != (swept{}):
		w.s.log.InfoContext(ctx, "oauth: swept", "orphans", n.orphans, "listed", n.listed, "unlisted", n.unlisted, "renewed", n.renewed, "unreadable", n.unreadable)
	}
}

// swept counts what a sweep did.
type swept struct{ orphans, listed, unlisted, renewed, unreadable int }

func (w *sweeper) sweep(ctx context.Context) (n swept, err error) {
	clients := map[string]bool{} // whether they are there
	for r, err := range w.s.records.List(ctx, grantPrefix) {
		if err != nil {
			return n, fmt.Errorf("%w: listing grants: %w", ErrUnavailable, err)
		}
		g, err := decodeGrant(r.Value)
		if err != nil {
			n.unreadable++ // of another version; never touched
			continue
		}
		if err := w.sweepGrant(ctx, g, clients, &n); err != nil {
			return n, err
		}
	}
	return n, w.sweepLists(ctx, &n)
}

func (w *sweeper) sweepGrant(ctx context.Context, g *grant, clients map[string]bool, n *swept) error {
	s := w.s
	if !g.live(time.Now(), s.mint.keys) {
		if g.Upstream != nil && !g.Revoked.IsZero() {
			w.sayFarewell(ctx, g.ID)
		}
		return nil
	}
	there, err := w.clientThere(ctx, g.Client, clients)
	if err != nil {
		return err
	}
	if !there {
		n.orphans++
		if err := s.grants.revoke(ctx, g.ID, "its client is gone", func(*grant) bool { return true }); err != nil {
			return err
		}
		return s.tellRevoked(ctx, g)
	}
	if g.Current != nil || g.Kind != "" {
		if _, err := s.records.Get(ctx, userKey(g.User)+g.ID); errors.Is(err, store.ErrNotFound) {
			n.listed++ // a process died between the two writes
			s.grants.index(ctx, g)
		}
	}
	if e := s.provider.Escrow; e != nil && e.Ahead > 0 && s.grants.renewable(g, time.Now().Add(e.Ahead)) {
		n.renewed++
		w.renewAhead(ctx, g)
	}
	return nil
}

// clientThere reports whether there is such a client. One with a metadata document is
// known by its address; that it does not answer now does not end its grants.
func (w *sweeper) clientThere(ctx context.Context, id string, known map[string]bool) (bool, error) {
	if there, ok := known[id]; ok {
		return there, nil
	}
	there := true
	if !strings.HasPrefix(id, "https://") && !strings.HasPrefix(id, "http://") {
		_, err := w.s.client(ctx, id)
		if err != nil && !errors.Is(err, errNoClient) {
			return false, err
		}
		there = err == nil
	}
	if len(known) < maxVerified {
		known[id] = there
	}
	return there, nil
}

// renewAhead renews the token of the login before it ends, and ends the grant if the login
// says that it is over: a person who left is out, though no client asked.
func (w *sweeper) renewAhead(ctx context.Context, g *grant) {
	s := w.s.grants
	data, err := g.openEscrow(s.mint.keys)
	if err == nil {
		err = s.renewAhead(ctx, g.ID, data, w.s.provider.Escrow.Ahead)
	}
	if err != nil && !errors.Is(err, ErrSignInAgain) && !errors.Is(err, ErrSealed) {
		s.log.WarnContext(ctx, "oauth: upstream token not renewed", "grant", g.ID, "err", err)
	}
}

// renewAhead renews the login's token if it still ends that soon.
func (s *grants) renewAhead(ctx context.Context, id string, data []byte, ahead time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseWait+renewalTime)
	defer cancel()
	lease, err := s.lease(ctx, id)
	if err != nil {
		return err
	}
	defer lease.release()
	u, g, err := s.readUpstream(ctx, id, data, false)
	if err != nil || !s.renewable(g, time.Now().Add(ahead)) {
		return err
	}
	_, err = s.renewUpstream(ctx, g, u, data)
	return err
}

// sweepLists drops entries of the lists by user whose grant is gone.
func (w *sweeper) sweepLists(ctx context.Context, n *swept) error {
	s := w.s
	for r, err := range s.records.List(ctx, userPrefix) {
		if err != nil {
			return fmt.Errorf("%w: listing grants of users: %w", ErrUnavailable, err)
		}
		id := r.Key[strings.LastIndexByte(r.Key, '/')+1:]
		g, _, err := s.grants.get(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && !g.live(time.Now(), s.mint.keys) {
			n.unlisted++
			if err := s.records.Delete(ctx, r.Key, r.Revision); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
				return fmt.Errorf("%w: sweeping a list: %w", ErrUnavailable, err)
			}
		}
	}
	return nil
}

// sayFarewell revokes the tokens of a revoked grant at the login, unless the person has
// other grants here: many logins end all that a person allowed an app when one of its
// tokens is revoked, and that would sign the person out elsewhere.
func (w *sweeper) sayFarewell(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	s := w.s
	g, rev, err := s.grants.get(ctx, id)
	if err != nil || g.Revoked.IsZero() || g.Upstream == nil {
		return
	}
	others, err := s.grants.ofUser(ctx, g.User)
	if err == nil && len(others) == 0 {
		err = w.revokeUpstream(ctx, g)
	}
	if err != nil && !errors.Is(err, ErrSealed) {
		s.log.WarnContext(ctx, "oauth: upstream token not revoked yet", "grant", id, "err", err)
		return
	}
	done := g.clone()
	done.forgetUpstream()
	if err := s.grants.write(ctx, done, rev); err != nil {
		return // revoking twice does no harm
	}
	if len(others) == 0 {
		s.log.InfoContext(ctx, "oauth: upstream token revoked", "grant", id, "client", g.Client)
	}
}

func (w *sweeper) revokeUpstream(ctx context.Context, g *grant) error {
	revoker, ok := w.s.provider.Login.(UpstreamRevoker)
	if !ok {
		return nil
	}
	data, err := g.openEscrow(w.s.mint.keys)
	if err != nil {
		return err
	}
	u, err := g.openUpstream(data)
	if err != nil {
		return err
	}
	return revoker.RevokeUpstream(ctx, u.token(true))
}

// A Granted is a grant, as programs see it.
type Granted struct {
	ID, User, Client, ClientName, Resource string
	Scopes                                 []string
	Created, Used, Ends                    time.Time
}

// ErrNoGrant: there is no such grant, or it has ended.
var ErrNoGrant = errors.New("oauth: there is no such grant")

// Grants are the live grants of a person, the oldest first: at most 200 that the person
// allowed, as many as there may be.
func (s *Server) Grants(ctx context.Context, user string) ([]Granted, error) {
	live, err := s.grants.ofUser(ctx, user)
	if err != nil {
		return nil, err
	}
	all := make([]Granted, 0, len(live))
	for _, g := range live {
		all = append(all, Granted{
			ID: g.ID, User: g.User, Client: g.Client, ClientName: g.ClientName, Resource: g.Resource,
			Scopes: g.Scopes, Created: g.Created, Used: g.Refreshed, Ends: g.Ends,
		})
	}
	return all, nil
}

// Revoke ends a grant: its tokens are good no more, here at once and elsewhere within five
// seconds. [ErrNoGrant] if it has ended before.
func (s *Server) Revoke(ctx context.Context, id string) error {
	if !isID(id) {
		return ErrNoGrant
	}
	var revoked *grant
	err := s.grants.revoke(ctx, id, "revoked by the program", func(g *grant) bool { revoked = g; return true })
	switch {
	case err != nil:
		return err
	case revoked == nil:
		return ErrNoGrant
	}
	return s.tellRevoked(ctx, revoked)
}

// RevokeUser ends all grants of a person, and forgets the sign-ins at the account page:
// for who leaves.
func (s *Server) RevokeUser(ctx context.Context, user string) error {
	live, err := s.grants.ofUser(ctx, user)
	if err != nil {
		return err
	}
	for _, g := range live {
		if err := s.Revoke(ctx, g.ID); err != nil && !errors.Is(err, ErrNoGrant) {
			return err
		}
	}
	return s.endSessionsOf(ctx, user)
}

func (s *Server) endSessionsOf(ctx context.Context, user string) error {
	for r, err := range s.records.List(ctx, sessionPrefix) {
		if err != nil {
			return fmt.Errorf("%w: listing sessions: %w", ErrUnavailable, err)
		}
		var session accountSession
		if json.Unmarshal(r.Value, &session) != nil || session.User != user {
			continue
		}
		if err := s.records.Delete(ctx, r.Key, r.Revision); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("%w: ending a session: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// DeleteClient forgets a registered client and revokes its grants, which takes reading all
// grants. There may be no such client: what was left of it goes too.
func (s *Server) DeleteClient(ctx context.Context, client string) error {
	if !isID(client) {
		return fmt.Errorf("oauth: %q is not a registered client", client)
	}
	for _, key := range []string{clientPrefix + client, unusedPrefix + client} {
		if err := s.records.Delete(ctx, key, store.AnyRevision); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w: deleting a client: %w", ErrUnavailable, err)
		}
	}
	for r, err := range s.records.List(ctx, grantPrefix) {
		if err != nil {
			return fmt.Errorf("%w: listing grants: %w", ErrUnavailable, err)
		}
		g, err := decodeGrant(r.Value)
		if err != nil || g.Client != client || !g.Revoked.IsZero() {
			continue
		}
		if err := s.Revoke(ctx, g.ID); err != nil && !errors.Is(err, ErrNoGrant) {
			return err
		}
	}
	s.log.InfoContext(ctx, "oauth: client deleted", "client", client)
	return nil
}
