package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

const (
	grantPrefix = "oauth/grant/"
	userPrefix  = "oauth/user/"

	// maxAttempts bounds how often a write is tried anew after a conflict.
	maxAttempts = 32
	// maxStale bounds how old a cached grant may be when a token is validated.
	maxStale = 5 * time.Second
	// maxGrants bounds the grants of one user and client; the oldest make room.
	maxGrants = 20
	// maxUserGrants bounds all grants of one user.
	maxUserGrants = 200
	// revokedTTL is how long a revoked grant is remembered.
	revokedTTL = 24 * time.Hour
	// unredeemedTTL is how long a grant without a redeemed code is kept beyond its code.
	unredeemedTTL = 10 * time.Minute
	// maxVerified bounds the validated access tokens kept in memory.
	maxVerified = 4096
	// maxCachedProps bounds the props of one of them, in bytes.
	maxCachedProps = 8 << 10
)

// grants keeps grants in a store. It is safe for concurrent use, by any number of
// processes on one store.
type grants struct {
	records store.Records
	mint    *mint
	policy  policy
	log     *slog.Logger
	renewer Renewer                               // nil if tokens of the login are not renewed
	hook    func(context.Context, *Renewal) error // Provider.Renew
	turns   turns[string]
	// farewell is told of a revoked grant whose tokens of the login are still to be
	// revoked there. Nil erases them with the grant.
	farewell func(id string)

	// writes counts the writes of this process, for each of some sets of grants. What
	// was read before one is not trusted after it.
	writes [1024]atomic.Uint64

	mu       sync.Mutex
	verified map[tokenHash]*verified
}

// tokenHash is that of an access token in memory. It needs no key: nobody can guess what
// was hashed.
type tokenHash = [sha256.Size]byte

// verified is an access token found to be good, at one revision of its grant.
type verified struct {
	revision store.Revision
	asOf     time.Time // the grant was like this then
	writes   uint64    // how often this process had written such grants before
	grant    *grant
	slot     *accessSlot
	data     []byte // the data key
	props    []byte
	extra    map[string]any // of auth.TokenInfo; never changed
}

func newGrants(records store.Records, m *mint, p policy, log *slog.Logger) *grants {
	return &grants{records: records, mint: m, policy: p, log: log, verified: map[tokenHash]*verified{}}
}

// create writes a new grant and returns its code.
func (s *grants) create(ctx context.Context, g grant, challenge string, props, upstream []byte) (token, error) {
	made, code, err := newGrant(s.mint, &s.policy, time.Now(), g, challenge, props, upstream)
	if err != nil {
		return token{}, err
	}
	value, err := made.encode()
	if err != nil {
		return token{}, err
	}
	ttl := time.Until(made.Code.Expires) + unredeemedTTL
	for range maxAttempts {
		_, err = s.records.Put(ctx, grantPrefix+made.ID, value, 0, &store.PutOptions{TTL: ttl})
		// The id is random: a conflict can only be with an attempt of this loop.
		if err == nil || errors.Is(err, store.ErrConflict) && s.holds(ctx, made) {
			return code, nil
		}
		if !errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrConflict) {
			break
		}
		if err := pause(ctx); err != nil {
			return token{}, err
		}
	}
	return token{}, fmt.Errorf("oauth: writing a grant: %w", err)
}

func (s *grants) holds(ctx context.Context, made *grant) bool {
	g, _, err := s.get(ctx, made.ID)
	return err == nil && g.Code != nil && string(g.Code.MAC) == string(made.Code.MAC)
}

func (s *grants) get(ctx context.Context, id string) (*grant, store.Revision, error) {
	r, err := s.records.Get(ctx, grantPrefix+id)
	if err != nil {
		return nil, 0, err
	}
	g, err := decodeGrant(r.Value)
	return g, r.Revision, err
}

// redeem exchanges a code for tokens.
func (s *grants) redeem(ctx context.Context, r redemption) ([]byte, error) {
	d, g, err := s.changeRenewing(ctx, r.code.id, "authorization_code", func(g *grant, now time.Time, with *renewed) decision {
		r.with = with
		return g.redeem(s.mint, &s.policy, now, r)
	})
	if err != nil {
		return nil, err
	}
	if d.next != nil && d.refuse == nil {
		s.index(ctx, d.next)
		s.makeRoom(ctx, d.next)
	}
	return s.conclude(ctx, d, g)
}

// refresh rotates a refresh token.
func (s *grants) refresh(ctx context.Context, r rotation) ([]byte, error) {
	d, g, err := s.changeRenewing(ctx, r.token.id, "refresh_token", func(g *grant, now time.Time, with *renewed) decision {
		r.with = with
		return g.refresh(s.mint, &s.policy, now, r)
	})
	if err != nil {
		return nil, err
	}
	if d.next != nil && d.refuse == nil {
		s.index(ctx, d.next)
	}
	return s.conclude(ctx, d, g)
}

// conclude tells the security log and makes the answer.
func (s *grants) conclude(ctx context.Context, d decision, g *grant) ([]byte, error) {
	if d.event != "" && g != nil {
		s.log.WarnContext(ctx, "oauth: "+d.event, "grant", g.ID, "client", g.Client)
	}
	if d.refuse != nil {
		return nil, d.refuse
	}
	return d.answer, nil
}

// change decides on a grant as it is now and writes what was decided. It decides anew
// when somebody else was faster. A grant that does not exist is refused like a token
// that is not valid.
func (s *grants) change(ctx context.Context, id string, decide func(*grant, time.Time) decision) (decision, *grant, error) {
	var unsure []decision // written perhaps
	for range maxAttempts {
		g, rev, err := s.get(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return refused(errInvalidGrant("the token is not valid"), ""), nil, nil
		}
		if err != nil {
			return decision{}, nil, fmt.Errorf("%w: reading a grant: %w", ErrUnavailable, err)
		}
		for _, d := range unsure {
			if d.mine != nil && g.has(d.mine) {
				return d, g, nil
			}
		}
		d := decide(g, time.Now())
		if d.next == nil {
			return d, g, nil
		}
		err = s.write(ctx, d.next, rev)
		switch {
		case err == nil:
			return d, g, nil
		case errors.Is(err, store.ErrUnknown):
			unsure = append(unsure, d)
		case errors.Is(err, store.ErrConflict):
		default:
			return decision{}, nil, fmt.Errorf("%w: writing a grant: %w", ErrUnavailable, err)
		}
		if err := pause(ctx); err != nil {
			return decision{}, nil, err
		}
	}
	return decision{}, nil, fmt.Errorf("%w: writing a grant: too many conflicts", ErrUnavailable)
}

func (s *grants) write(ctx context.Context, g *grant, rev store.Revision) error {
	if !g.Revoked.IsZero() && s.farewell == nil {
		g.forgetUpstream()
	}
	value, err := g.encode()
	if err != nil {
		return err
	}
	ttl := time.Until(g.Ends)
	if !g.Revoked.IsZero() {
		ttl = min(ttl, revokedTTL)
	}
	_, err = s.records.Put(ctx, grantPrefix+g.ID, value, rev, &store.PutOptions{TTL: max(ttl, time.Second)})
	s.writesOf(g.ID).Add(1) // after it, or a reader in between would keep what was before
	if err == nil && g.Upstream != nil && !g.Revoked.IsZero() {
		s.farewell(g.ID)
	}
	return err
}

func (s *grants) writesOf(id string) *atomic.Uint64 {
	h := uint32(2166136261) // FNV-1a, without what hash/fnv allocates
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return &s.writes[h%uint32(len(s.writes))]
}

// pause lets others finish before the next attempt.
func pause(ctx context.Context) error {
	t := time.NewTimer(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// validate says whether text is a good access token. It returns nil without an error
// if it is not. What this process revoked is refused at once, what another one revoked
// within five seconds.
func (s *grants) validate(ctx context.Context, text string) (*verified, error) {
	if len(text) > maxJWT {
		return nil, nil
	}
	now, hash := time.Now(), sha256.Sum256([]byte(text))
	kept := s.kept(hash)
	if kept != nil && kept.writes == s.writesOf(kept.grant.ID).Load() && now.Sub(kept.asOf) <= maxStale {
		return kept.live(now, s.mint.keys), nil
	}
	t, err := s.mint.parseAccess(text)
	if err != nil {
		return nil, nil
	}
	writes := s.writesOf(t.id).Load()
	r, age, err := s.records.GetCached(ctx, grantPrefix+t.id)
	if err == nil && age <= maxStale {
		v, err := s.check(t, r, kept, now)
		if v != nil || err != nil || age == 0 {
			return s.remember(hash, v, now.Add(-age), writes), err
		}
		// A copy may be older than the token.
	}
	if r, err = s.records.Get(ctx, grantPrefix+t.id); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: reading a grant: %w", ErrUnavailable, err)
	}
	v, err := s.check(t, r, kept, now)
	return s.remember(hash, v, now, writes), err
}

// live is v while its token is good, else nil.
func (v *verified) live(now time.Time, keys *KeyRing) *verified {
	if !now.Before(v.slot.Expires) || !v.grant.live(now, keys) {
		return nil
	}
	return v
}

// check opens the token with the grant as it is in r. What is kept from the same
// revision need not be opened again.
func (s *grants) check(t token, r store.Record, kept *verified, now time.Time) (*verified, error) {
	if kept != nil && kept.revision == r.Revision {
		v := *kept
		return v.live(now, s.mint.keys), nil
	}
	g, err := decodeGrant(r.Value)
	if err != nil {
		return nil, err
	}
	slot, data, err := g.findAccess(t, now, s.mint.keys)
	if err != nil || slot == nil {
		return nil, err
	}
	props, err := unseal(data, g.Props, g.aboutProps()...)
	if err != nil {
		return nil, err
	}
	return &verified{revision: r.Revision, grant: g, slot: slot, data: data, props: props, extra: g.extra(slot)}, nil
}

func (s *grants) kept(hash tokenHash) *verified {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verified[hash]
}

// remember keeps v, or forgets what was kept if v is nil.
func (s *grants) remember(hash tokenHash, v *verified, asOf time.Time, writes uint64) *verified {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == nil {
		delete(s.verified, hash)
		return nil
	}
	v.asOf, v.writes = asOf, writes
	if len(v.props) > maxCachedProps {
		return v
	}
	if len(s.verified) >= maxVerified && s.verified[hash] == nil {
		for old := range s.verified { // any one
			delete(s.verified, old)
			break
		}
	}
	s.verified[hash] = v
	return v
}

// revokeToken ends what the token stands for (RFC 7009 §2.1): a refresh token its whole
// grant, an access token itself. A token of another client, or of nobody, changes
// nothing.
func (s *grants) revokeToken(ctx context.Context, text, client string) error {
	if t, err := s.mint.parse(kindRefresh, text); err == nil {
		return s.revoke(ctx, t.id, "revoked by the client", func(g *grant) bool { return g.Client == client })
	}
	t, err := s.mint.parseAccess(text)
	if err != nil {
		return nil
	}
	_, _, err = s.change(ctx, t.id, func(g *grant, _ time.Time) decision {
		return g.dropAccess(t, client)
	})
	return err
}

// revoke ends a grant if may says so.
func (s *grants) revoke(ctx context.Context, id, reason string, may func(*grant) bool) error {
	d, g, err := s.change(ctx, id, func(g *grant, now time.Time) decision {
		if !g.Revoked.IsZero() || !may(g) {
			return decision{}
		}
		return decision{next: g.revoke(now, reason)}
	})
	if err == nil && d.next != nil {
		s.log.InfoContext(ctx, "oauth: grant revoked", "grant", id, "client", g.Client, "reason", reason)
	}
	return err
}

// indexed is what the index by user says of a grant. It is a hint: the grant decides.
type indexed struct {
	Client  string
	Kind    grantKind `json:",omitzero"`
	Created time.Time
	id      string
}

func userKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return userPrefix + hex.EncodeToString(sum[:]) + "/"
}

// index writes the entry by user. A failure is not the client's: the next refresh
// writes it again.
func (s *grants) index(ctx context.Context, g *grant) {
	value, err := json.Marshal(indexed{Client: g.Client, Kind: g.Kind, Created: g.Created})
	if err == nil {
		_, err = s.records.Put(ctx, userKey(g.User)+g.ID, value, store.AnyRevision, &store.PutOptions{TTL: max(time.Until(g.Ends), time.Second)})
	}
	if err != nil {
		s.log.WarnContext(ctx, "oauth: grant not listed for its user until its next refresh", "grant", g.ID, "err", err)
	}
}

// listed returns the index entries of a user, oldest first.
func (s *grants) listed(ctx context.Context, user string) ([]indexed, error) {
	prefix := userKey(user)
	var found []indexed
	for r, err := range s.records.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("%w: listing grants: %w", ErrUnavailable, err)
		}
		e := indexed{id: r.Key[len(prefix):]}
		if err := json.Unmarshal(r.Value, &e); err != nil {
			return nil, fmt.Errorf("oauth: decoding an index entry: %w", err)
		}
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b indexed) int { return a.Created.Compare(b.Created) })
	return found, nil
}

// ofUser returns the live grants of a user, oldest first, and sweeps index entries
// whose grant has ended.
func (s *grants) ofUser(ctx context.Context, user string) ([]*grant, error) {
	entries, err := s.listed(ctx, user)
	if err != nil {
		return nil, err
	}
	var live []*grant
	for _, e := range entries {
		g, _, err := s.get(ctx, e.id)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && !g.live(time.Now(), s.mint.keys):
			s.unlist(ctx, user, e.id)
		case err != nil:
			return nil, fmt.Errorf("%w: reading a grant: %w", ErrUnavailable, err)
		case g.User == user:
			live = append(live, g)
		}
	}
	return live, nil
}

func (s *grants) unlist(ctx context.Context, user, id string) {
	err := s.records.Delete(ctx, userKey(user)+id, store.AnyRevision)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.log.DebugContext(ctx, "oauth: index entry stays until the next sweep", "grant", id, "err", err)
	}
}

// makeRoom revokes the oldest grants of a user beyond the bounds: of one client, and in
// all.
func (s *grants) makeRoom(ctx context.Context, g *grant) {
	entries, err := s.listed(ctx, g.User)
	if err != nil {
		s.log.WarnContext(ctx, "oauth: grants not counted", "err", err)
		return
	}
	entries = slices.DeleteFunc(entries, func(e indexed) bool { return e.id == g.ID || e.Kind != g.Kind })
	bound := maxGrants
	if g.Kind != "" {
		bound = maxDirect
	}
	ofClient := slices.DeleteFunc(slices.Clone(entries), func(e indexed) bool { return e.Client != g.Client })
	gone := s.revokeOldest(ctx, g.User, ofClient, len(ofClient)+1-bound)
	entries = slices.DeleteFunc(entries, func(e indexed) bool { return gone[e.id] })
	s.revokeOldest(ctx, g.User, entries, len(entries)+1-maxUserGrants)
}

// revokeOldest revokes the first n of grants that are sorted by age.
func (s *grants) revokeOldest(ctx context.Context, user string, sorted []indexed, n int) (gone map[string]bool) {
	gone = map[string]bool{}
	for i := 0; i < n; i++ {
		err := s.revoke(ctx, sorted[i].id, "made room for a newer grant", func(o *grant) bool { return o.User == user })
		if err != nil {
			s.log.WarnContext(ctx, "oauth: old grant not revoked", "grant", sorted[i].id, "err", err)
			continue
		}
		s.unlist(ctx, user, sorted[i].id)
		gone[sorted[i].id] = true
	}
	return gone
}
