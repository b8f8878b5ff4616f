package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// quiet is how long after a person refused, or nobody came, nobody is asked again.
	quiet = time.Minute
	// Somebody is asked at most brakeCount times in brakeTime about one server, whatever it
	// does to be asked for: it may name new authorization servers and scopes for ever.
	brakeCount = 5
	brakeTime  = 10 * time.Minute
	// young is the age below which a refused token of a sign-in is not replaced by another
	// sign-in: it would be refused too, and a browser tab would open for each request.
	young = time.Minute
	// maxStepUps is how often one request may ask for more scopes.
	maxStepUps = 2
)

// A session is one server of a Client: its tokens and what is under way for it.
type session struct {
	c      *Client
	server *url.URL
	name   string // in the Store, of the record and its lock
	fetch  *fetcher

	mu      sync.Mutex
	loaded  bool
	current *tokens
	flight  *flight
	tried   time.Time         // when a renewal ahead of time was last begun
	nonces  map[string]string // DPoP nonces by origin
	unmet   map[string]bool   // challenges of scopes that a sign-in did not satisfy
}

func newSession(c *Client, server *url.URL) *session {
	o := c.options
	grant := "" // a person is the same person by browser and by device code
	if o.Grant != nil && !o.interactive() {
		grant = o.Grant.grant()
	}
	return &session{
		c: c, server: server, fetch: newFetcher(o.Policy, server, o.HTTP),
		name:   nameOf(serverPrefix, server.String(), o.ClientID, o.ClientMetadataURL, o.Issuer, grant, o.Resource, o.AuthorizeParams.Encode()),
		nonces: map[string]string{}, unmet: map[string]bool{},
	}
}

// need is what a request wants of new tokens.
type need struct {
	challenge []challenge
	refused   *tokens   // the server does not take these; nil: none were sent
	scopes    []string  // must have been asked for
	afresh    bool      // renewing is not enough
	renewOnly bool      // signing in is too much
	nonceOnly bool      // the same token, with the nonce that came
	since     time.Time // what was got after this is new
}

// satisfies reports whether tokens are what is needed.
func (n need) satisfies(t *tokens, now time.Time) bool {
	return t != nil && !t.expired(now) && covers(t.asked, n.scopes) &&
		(n.refused == nil || !t.access.Equal(n.refused.access)) &&
		(!n.afresh || !t.signedIn.Before(n.since))
}

// progress is what one request has been through.
type progress struct {
	last    *tokens // got for this request
	nonces  int
	stepUps int
}

// wants says what an answer asks of us, and whether another try makes sense.
func (s *session) wants(answer *http.Response, sent *tokens, steps *progress) (need, bool) {
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		all := parseChallenges(answer.Header)
		if sent != nil && sent.dpop != nil && steps.nonces < 2 && answer.Header.Get("DPoP-Nonce") != "" && param(all, "error") == "use_dpop_nonce" {
			steps.nonces++
			return need{nonceOnly: true}, true
		}
		n := need{challenge: all, refused: sent}
		if sent != nil && sent == steps.last {
			if sent.via == viaSignIn {
				return need{}, false // it was given to us a moment ago
			}
			n.afresh = true
		}
		return n, true
	case http.StatusForbidden:
		all := parseChallenges(answer.Header)
		if param(all, "error") != "insufficient_scope" || steps.stepUps == maxStepUps {
			return need{}, false
		}
		steps.stepUps++
		return s.wantsScopes(all, sent)
	}
	return need{}, false
}

// wantsScopes is a step-up: the scopes asked for before, and those of the challenge.
func (s *session) wantsScopes(all []challenge, sent *tokens) (need, bool) {
	challenged := scopesOf(param(all, "scope"))
	if len(challenged) == 0 {
		return need{}, false
	}
	slices.Sort(challenged)
	key := strings.Join(challenged, " ")
	n := need{challenge: all, refused: sent, scopes: challenged, afresh: true}
	if sent == nil {
		return n, true
	}
	n.scopes = union(sent.asked, sent.scopes, challenged)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unmet[key] {
		return need{}, false
	}
	if covers(sent.asked, challenged) && sent.via == viaSignIn {
		s.unmet[key] = true // it was asked for, and was not enough
		return need{}, false
	}
	return n, true
}

// token returns the tokens to send: nil if there are none.
func (s *session) token(ctx context.Context) (*tokens, error) {
	current, err := s.load(ctx)
	if err != nil || current == nil {
		return nil, err
	}
	now := s.c.now()
	if !current.expired(now) {
		s.renewAhead(current, now)
		return current, nil
	}
	if current.refresh.IsZero() {
		return nil, nil // the server's challenge says how to go on
	}
	renewed, err := s.acquire(ctx, need{refused: current, renewOnly: true, since: now})
	if isCode(err, "invalid_grant") || errors.Is(err, ErrSignInNeeded) {
		return nil, nil
	}
	return renewed, err
}

// load reads what is stored, once.
func (s *session) load(ctx context.Context) (*tokens, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded {
		return s.current, nil
	}
	record, err := s.c.loadServer(ctx, s.name)
	switch {
	case errors.Is(err, ErrNotFound):
		record, err = s.importTokens(ctx)
		if err != nil {
			s.c.log.Warn("tokens of mcp-remote could not be taken over", "server", withoutQuery(s.server), "err", err)
			record = &serverRecord{}
		}
	case err != nil:
		return nil, err
	}
	s.loaded, s.current = true, record.tokens
	return s.current, nil
}

// renewAhead begins a renewal that nobody waits for, when the end of a token is near. Processes
// begin at different moments, so that mostly the first one is done before the others begin.
func (s *session) renewAhead(t *tokens, now time.Time) {
	if t.expires.IsZero() || t.refresh.IsZero() {
		return
	}
	ahead := t.ahead()
	ahead -= time.Duration(rand.Int64N(int64(ahead)/4 + 1))
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(t.expires.Add(-ahead)) || s.flight != nil || now.Sub(s.tried) < 10*time.Second {
		return
	}
	s.tried = now
	s.start(need{refused: t, renewOnly: true, since: now})
}

// A flight is one attempt to get tokens, that any number of requests wait for.
type flight struct {
	done chan struct{}
	need need
	got  *tokens
	err  error
}

// start begins a flight. The session is locked.
func (s *session) start(n need) *flight {
	f := &flight{done: make(chan struct{}), need: n}
	if !s.c.takeOff() {
		f.err = ErrClosed
		close(f.done)
		return f
	}
	s.flight = f
	go func() {
		defer s.c.flights.Done()
		got, err := s.get(s.c.ctx, n)
		if err != nil {
			if cause := context.Cause(s.c.ctx); cause != nil {
				err = cause
			}
			level := slog.LevelWarn
			if errors.Is(err, ErrSignInNeeded) {
				level = slog.LevelDebug // as the options say, and whoever asked is told
			}
			s.c.log.Log(s.c.ctx, level, "no tokens", "server", withoutQuery(s.server), "err", err)
		}
		s.mu.Lock()
		f.got, f.err = got, err
		s.flight = nil
		if err == nil {
			s.loaded, s.current = true, got
		}
		s.mu.Unlock()
		close(f.done)
	}()
	return f
}

// acquire waits for tokens that satisfy a need, and begins to get them if nobody did.
func (s *session) acquire(ctx context.Context, n need) (*tokens, error) {
	const rounds = 3 // a flight of somebody else may bring something else
	for range rounds {
		s.mu.Lock()
		if n.satisfies(s.current, s.c.now()) {
			defer s.mu.Unlock()
			return s.current, nil
		}
		f := s.flight
		own := f == nil
		if own {
			f = s.start(n)
		}
		s.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a sign-in: %w", context.Cause(ctx))
		}
		switch {
		case f.err == nil && (own || n.satisfies(f.got, s.c.now())):
			return f.got, nil // one's own is the best there is, even if it ends at once
		case f.err != nil && (own || !f.need.renewOnly || n.renewOnly):
			return nil, f.err
		}
	}
	return nil, ErrRefused
}

// get gets tokens: from the store, where another process may have put them, by renewal or
// by signing in. One process at a time does it.
func (s *session) get(ctx context.Context, n need) (*tokens, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting for other processes: %w", err)
	}
	defer unlock()
	record, err := s.c.loadServer(ctx, s.name)
	if errors.Is(err, ErrNotFound) {
		record, err = &serverRecord{server: s.server.String()}, nil
	}
	if err != nil {
		return nil, err
	}
	if n.satisfies(record.tokens, s.c.now()) {
		return record.tokens, nil
	}
	return s.renewOrSignIn(ctx, n, record)
}

// lock waits for other processes, and says so if that takes long: one of them may wait for
// a person, who looks at this one.
func (s *session) lock(ctx context.Context) (func(), error) {
	soon, cancel := context.WithTimeout(ctx, 2*time.Second)
	unlock, err := s.c.store.Lock(soon, s.name)
	cancel()
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return unlock, err
	}
	s.c.log.Warn("another process is signing in to the server or renewing its tokens; waiting for it", "server", withoutQuery(s.server))
	return s.c.store.Lock(ctx, s.name)
}

func (s *session) renewOrSignIn(ctx context.Context, n need, record *serverRecord) (*tokens, error) {
	var found *discovery
	if !n.renewOnly {
		var err error
		if found, err = s.discover(ctx, n.challenge, record.issuer); err != nil {
			return nil, err
		}
		if n.byLogin() && len(n.challenge) == 0 && found.as.guessed {
			return nil, ErrNoSignIn
		}
		if record, err = s.migrated(record, found); err != nil {
			return nil, err
		}
	}
	if !n.afresh && record.tokens != nil && !record.tokens.refresh.IsZero() {
		got, err := s.renew(ctx, record)
		if err == nil || !isCode(err, "invalid_grant") && !isCode(err, "invalid_client") || n.renewOnly {
			return got, err
		}
	}
	if n.renewOnly {
		return nil, ErrSignInNeeded
	}
	if err := s.mayAsk(n, record); err != nil {
		return nil, err
	}
	return s.signIn(ctx, n, record, found)
}

// migrated is the record to go on with. Tokens and credentials of one authorization server are
// nobody else's business: at a new one everything begins anew, and a client that was registered by
// hand at the old one is not shown to the new one.
func (s *session) migrated(record *serverRecord, found *discovery) (*serverRecord, error) {
	if record.issuer == "" || record.issuer == found.as.Issuer {
		return record, nil
	}
	if s.c.options.ClientID != "" && s.c.options.Issuer == "" {
		return nil, fmt.Errorf("%w: the server was at %s and now names %s, and the client %s was registered at the former; log out first if that is meant",
			ErrMismatch, clean(record.issuer, 200), clean(found.as.Issuer, 200), s.c.options.ClientID)
	}
	s.c.log.Info("the authorization server changed", "server", withoutQuery(s.server), "issuer", found.as.Issuer)
	return &serverRecord{server: record.server, failure: record.failure, prompts: record.prompts}, nil
}

// byLogin reports whether a person wants to sign in, and no request.
func (n need) byLogin() bool { return n.afresh && n.refused == nil && n.scopes == nil }

// mayAsk says why no person should be asked now.
func (s *session) mayAsk(n need, record *serverRecord) error {
	if !s.c.options.interactive() {
		return nil
	}
	now := s.c.now()
	failed := record.failure
	switch {
	case s.c.options.NonInteractive:
		return ErrSignInNeeded
	case !failed.at.IsZero() && (failed.at.After(n.since) || !n.byLogin() && now.Sub(failed.at) < quiet && now.Sub(failed.at) >= 0):
		return fmt.Errorf("%s (nobody is asked again for a while)", failed.text)
	case !n.byLogin() && len(record.prompts) >= brakeCount && now.Sub(record.prompts[len(record.prompts)-brakeCount]) < brakeTime:
		return fmt.Errorf("%w: %d times in %v", ErrAskedTooOften, brakeCount, brakeTime)
	case n.refused != nil && len(n.scopes) == 0 && record.tokens != nil && n.refused.access.Equal(record.tokens.access) &&
		!record.tokens.signedIn.IsZero() && now.Sub(record.tokens.signedIn) < young:
		return fmt.Errorf("%w: it was given %s ago; sign in again by hand if that is mended", ErrRefused, now.Sub(record.tokens.signedIn).Round(time.Second))
	}
	return nil
}

// interactive reports whether the grant needs a person.
func (o *Options) interactive() bool {
	switch o.Grant.(type) {
	case nil, DeviceCode:
		return true
	}
	return false
}
