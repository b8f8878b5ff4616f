package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	json "github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/store"
)

const (
	// maxUpstream bounds the tokens of a login, in bytes.
	maxUpstream = 16 << 10
	// upstreamAhead is how long before its end a token of the login is renewed.
	upstreamAhead = time.Minute
	// renewalTime bounds one renewal: the login, the author's function and the write.
	renewalTime = 12 * time.Second
)

var (
	// ErrSignInAgain: the login has ended where the person signed in, so that only a new
	// sign-in helps. The grant has been revoked for it: the client's next request gets 401,
	// its refresh invalid_grant, and it asks the person to sign in.
	ErrSignInAgain = errors.New("oauth: the person has to sign in again")
	// ErrNoUpstream: the login kept no token for this person.
	ErrNoUpstream = errors.New("oauth: no token of the login is kept for this person")
)

// A Renewer is a [Login] whose tokens (see [Person]) end and can be renewed. The provider
// calls it before they do, from one process at a time for each grant.
type Renewer interface {
	// RenewUpstream exchanges t, whose refresh token is set, for new tokens. It returns
	// [ErrSignInAgain] if the refresh token was refused for good; any other error leaves
	// everything as it is, and it is tried again later. An answer without a refresh token
	// keeps the one of t. It has 12 seconds in all.
	//
	// If a process dies after the login has rotated a refresh token that is good once, and
	// before the new one is stored, the new one is lost. The next call brings the old one;
	// a login that refuses it ends the grant, so that the person is asked to sign in.
	RenewUpstream(ctx context.Context, t *oauth2.Token) (*oauth2.Token, error)
}

// upstream is what is kept of the tokens of a login. It never prints them.
type upstream struct {
	Access  string    `json:"access_token"`
	Type    string    `json:"token_type,omitzero"`
	Refresh string    `json:"refresh_token,omitzero"`
	Ends    time.Time `json:"expiry,omitzero"`
}

// String keeps tokens out of logs and errors.
func (*upstream) String() string { return "[tokens of the login]" }

// GoString keeps tokens out of %#v.
func (u *upstream) GoString() string { return u.String() }

// LogValue implements slog.LogValuer.
func (u *upstream) LogValue() slog.Value { return slog.StringValue(u.String()) }

func encodeUpstream(t *oauth2.Token) ([]byte, error) {
	if t == nil {
		return nil, nil
	}
	b, err := json.Marshal(upstream{Access: t.AccessToken, Type: t.TokenType, Refresh: t.RefreshToken, Ends: t.Expiry})
	switch {
	case err != nil:
		return nil, errors.New("encoding the tokens of the login") // the error may quote them
	case t.AccessToken == "":
		return nil, errors.New("the login gave tokens without an access token")
	case len(b) > maxUpstream:
		return nil, fmt.Errorf("the tokens of the login are longer than %d bytes", maxUpstream)
	}
	return b, nil
}

func decodeUpstream(b []byte) (*upstream, error) {
	u := new(upstream)
	if json.Unmarshal(b, u) != nil {
		return nil, errors.New("oauth: the tokens of a login were written by another version")
	}
	return u, nil
}

// token is what the rest of the program sees. With refresh, it is for the login only.
func (u *upstream) token(refresh bool) *oauth2.Token {
	t := &oauth2.Token{AccessToken: u.Access, TokenType: u.Type, Expiry: u.Ends}
	if refresh {
		t.RefreshToken = u.Refresh
	}
	return t
}

// endsBy reports whether the access token is good no more at that time.
func (u *upstream) endsBy(at time.Time) bool { return !u.Ends.IsZero() && !at.Before(u.Ends) }

// UpstreamToken is the token that the login gave for the person who sent the request, for
// the login's own APIs: GitHub's, Google's. It is good for a minute at least, also in a
// session that has been open for days: one that is about to end is renewed first, by one
// process however many ask. Its refresh token stays inside.
//
// Errors: [ErrNoUpstream] where the login kept none and where nobody is signed in;
// [ErrSignInAgain] where it has ended for good, and then so has the grant;
// [ErrUnavailable] and those of the login, for which nothing has changed.
func UpstreamToken(ctx context.Context) (*oauth2.Token, error) {
	id := identityOf(ctx)
	if id == nil || id.held == nil {
		return nil, ErrNoUpstream
	}
	return id.held.grants.upstreamOf(ctx, id.held.grant, id.held.data)
}

// UpstreamSource is [UpstreamToken] for oauth2.NewClient and the libraries that take a
// source of tokens. It is good as long as the request or session that ctx belongs to.
func UpstreamSource(ctx context.Context) oauth2.TokenSource { return upstreamSource{ctx} }

type upstreamSource struct{ ctx context.Context }

func (s upstreamSource) Token() (*oauth2.Token, error) { return UpstreamToken(s.ctx) }

// held is what a request can open of its grant.
type held struct {
	grants *grants
	grant  string
	data   []byte
	asOf   time.Time
}

// props are those of the grant now; nil if that cannot be told, or there are none.
func (h *held) props(ctx context.Context) []byte {
	r, _, err := h.grants.records.GetCached(ctx, grantPrefix+h.grant)
	if err != nil {
		return nil
	}
	g, err := decodeGrant(r.Value)
	if err != nil || !g.live(time.Now(), h.grants.mint.keys) {
		return nil
	}
	props, err := unseal(h.data, g.Props, g.aboutProps()...)
	if err != nil {
		return nil
	}
	return props
}

// currentProps are the props of the request. In a session that was opened a while ago
// they are read again, as they may have been renewed since.
func (id *identity) currentProps(ctx context.Context) []byte {
	if id.held == nil || time.Since(id.held.asOf) <= maxStale {
		return id.props
	}
	if now := id.held.props(ctx); now != nil {
		return now
	}
	return id.props
}

func (g *grant) aboutUpstream() []string {
	return []string{"upstream", g.ID, g.Client, g.User, g.Resource, strconv.FormatInt(g.UpstreamEnds.UnixNano(), 10), strconv.FormatBool(g.Renewable)}
}

// keepUpstream seals the tokens of the login in the grant. Nil erases them.
func (g *grant) keepUpstream(data, tokens []byte) error {
	g.Upstream, g.UpstreamEnds, g.Renewable = nil, time.Time{}, false
	if tokens == nil {
		return nil
	}
	u, err := decodeUpstream(tokens)
	if err != nil {
		return err
	}
	g.UpstreamEnds, g.Renewable = u.Ends, u.Refresh != ""
	g.Upstream = seal(data, tokens, g.aboutUpstream()...)
	return nil
}

func (g *grant) openUpstream(data []byte) (*upstream, error) {
	if g.Upstream == nil {
		return nil, ErrNoUpstream
	}
	plain, err := unseal(data, g.Upstream, g.aboutUpstream()...)
	if err != nil {
		return nil, err
	}
	return decodeUpstream(plain)
}

// upstreamOf is the login's token of a grant whose data key is at hand.
func (s *grants) upstreamOf(ctx context.Context, id string, data []byte) (*oauth2.Token, error) {
	u, _, err := s.readUpstream(ctx, id, data, true)
	if err != nil || !u.endsBy(time.Now().Add(upstreamAhead)) {
		return u.orNil(), err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseWait+renewalTime)
	defer cancel() // whoever asked may leave; what the login rotates is stored all the same
	lease, err := s.lease(ctx, id)
	if err != nil {
		return nil, err
	}
	defer lease.release()
	u, g, err := s.readUpstream(ctx, id, data, false)
	switch {
	case err != nil:
		return nil, err
	case !u.endsBy(time.Now().Add(upstreamAhead)):
		return u.token(false), nil // somebody else renewed it meanwhile
	}
	return s.renewUpstream(ctx, g, u, data)
}

func (u *upstream) orNil() *oauth2.Token {
	if u == nil {
		return nil
	}
	return u.token(false)
}

// readUpstream opens the login's token of a live grant. Cached allows a copy that is at
// most 5 seconds old.
func (s *grants) readUpstream(ctx context.Context, id string, data []byte, cached bool) (*upstream, *grant, error) {
	r, age, err := store.Record{}, maxStale+1, error(nil)
	if cached {
		r, age, err = s.records.GetCached(ctx, grantPrefix+id)
	}
	if age > maxStale || err != nil {
		r, err = s.records.Get(ctx, grantPrefix+id)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, ErrSignInAgain
	case err != nil:
		return nil, nil, fmt.Errorf("%w: reading a grant: %w", ErrUnavailable, err)
	}
	g, err := decodeGrant(r.Value)
	if err != nil {
		return nil, nil, err
	}
	if !g.live(time.Now(), s.mint.keys) {
		return nil, nil, ErrSignInAgain
	}
	u, err := g.openUpstream(data)
	return u, g, err
}

// renewUpstream renews the login's token under the lease, outside of a token request.
func (s *grants) renewUpstream(ctx context.Context, g *grant, u *upstream, data []byte) (*oauth2.Token, error) {
	if u.Refresh == "" || s.renewer == nil {
		if !u.endsBy(time.Now()) {
			return u.token(false), nil // the rest of it
		}
		return nil, s.signInAgain(ctx, g.ID, "the token of the login has ended")
	}
	with, err := s.renew(ctx, g, data, "", g.Scopes, true)
	switch {
	case errors.Is(err, ErrSignInAgain):
		return nil, s.signInAgain(ctx, g.ID, "the login has ended upstream")
	case err != nil && !u.endsBy(time.Now()):
		s.log.WarnContext(ctx, "oauth: upstream token not renewed", "grant", g.ID, "err", err)
		return u.token(false), nil // good for less than a minute, but good
	case err != nil:
		return nil, err
	}
	_, g, err = s.change(ctx, g.ID, func(g *grant, now time.Time) decision {
		if !g.live(now, s.mint.keys) || !bytes.Equal(g.Upstream, with.from) {
			return decision{}
		}
		next := g.clone()
		next.take(data, with)
		return decision{next: next, mine: next.Upstream}
	})
	if err != nil {
		s.log.ErrorContext(ctx, "oauth: a renewed upstream token was not stored; if it was good once, the person has to sign in again", "grant", with.grant, "err", err)
		return nil, err
	}
	if g == nil || !g.live(time.Now(), s.mint.keys) {
		return nil, ErrSignInAgain
	}
	u, _, err = s.readUpstream(ctx, g.ID, data, false)
	return u.orNil(), err
}

// signInAgain ends a grant whose login has ended. That is what makes clients ask for a new
// one, once, instead of trying the old one for ever.
func (s *grants) signInAgain(ctx context.Context, id, reason string) error {
	if err := s.revoke(ctx, id, reason, func(*grant) bool { return true }); err != nil {
		return err
	}
	return ErrSignInAgain
}
