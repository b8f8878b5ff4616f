package oauth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	json "github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/store"
)

// ErrSealed: what was asked for is sealed under the tokens of the client, and the server
// alone cannot open it. That needs an [Escrow], and a sign-in since there is one.
var ErrSealed = errors.New("oauth: sealed under the tokens of the client: opening it without one needs Provider.Escrow, at the time of the sign-in")

// An Escrow keeps the key of each grant once more, under the server keys alone. It is for
// servers that work for people who are not there: the token of the login can be renewed
// in the background, is revoked with the grant if the login is an [UpstreamRevoker], and
// [PropsOf] and [Server.UpstreamOf] open a grant by its id. Without it they report
// [ErrSealed].
//
// The price: whoever has both the store and the server keys can open every grant, with the
// upstream tokens in it; without an Escrow they would need a live token of each client as
// well. Grants from before the Escrow stay sealed until the person signs in anew.
type Escrow struct {
	// Ahead is how long before its end a token of the login is renewed without anybody
	// asking for it. Zero is 10 minutes, the least is a minute; negative renews only what
	// is asked for.
	Ahead time.Duration
}

// An UpstreamRevoker is a [Login] that can end the tokens that it gave.
type UpstreamRevoker interface {
	// RevokeUpstream ends t, its refresh token first. It is called when the last grant of
	// a person has been revoked, and again for a day until it succeeds.
	RevokeUpstream(ctx context.Context, t *oauth2.Token) error
}

// escrowed is a data key sealed under a server key.
type escrowed struct {
	Key    string // the id of the server key
	Sealed []byte
}

func (s *Server) setEscrow() error {
	e := s.provider.Escrow
	if e == nil {
		if _, can := s.provider.Login.(UpstreamRevoker); can {
			s.log.Info("oauth: Provider.Escrow is off: tokens of the login are forgotten when a grant is revoked, and not revoked there")
		}
		return nil
	}
	own := *e
	switch {
	case own.Ahead == 0:
		own.Ahead = 10 * time.Minute
	case own.Ahead > 0 && own.Ahead < time.Minute:
		return fmt.Errorf("Escrow.Ahead is %v: want a minute at least", own.Ahead)
	}
	s.provider.Escrow = &own
	if _, can := s.provider.Login.(UpstreamRevoker); can {
		s.grants.farewell = s.sweeper.farewell
	}
	return nil
}

func (k *serverKey) escrow() []byte { return expand(k.master, "causeway/oauth/v1/escrow") }

func (g *grant) aboutEscrow() []string { return []string{"escrow", g.ID, g.Client, g.User, g.Resource} }

// escrow keeps the data key for the server, if the author said so.
func (g *grant) escrow(m *mint, p *policy, data []byte) {
	if !p.escrow {
		return
	}
	key := m.keys.active
	g.Escrow = &escrowed{Key: key.id.String(), Sealed: seal(key.escrow(), data, g.aboutEscrow()...)}
}

// openEscrow is the data key of the grant.
func (g *grant) openEscrow(keys *KeyRing) ([]byte, error) {
	if g.Escrow == nil {
		return nil, ErrSealed
	}
	id, err := hex.DecodeString(g.Escrow.Key)
	if err != nil || len(id) != len(keyID{}) {
		return nil, errSealBroken
	}
	key := keys.keys[keyID(id)]
	if key == nil {
		return nil, ErrSealed
	}
	return unseal(key.escrow(), g.Escrow.Sealed, g.aboutEscrow()...)
}

func (g *grant) forgetUpstream() {
	g.Upstream, g.UpstreamEnds, g.Renewable, g.Escrow = nil, time.Time{}, false, nil
}

// opened is a live grant and its data key, without a token in hand.
func (s *Server) opened(ctx context.Context, id string) (*grant, []byte, error) {
	if s.provider.Escrow == nil {
		return nil, nil, ErrSealed
	}
	if !isID(id) {
		return nil, nil, ErrNoGrant
	}
	g, _, err := s.grants.get(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, ErrNoGrant
	case err != nil:
		return nil, nil, fmt.Errorf("%w: reading a grant: %w", ErrUnavailable, err)
	case !g.live(time.Now(), s.mint.keys):
		return nil, nil, ErrNoGrant
	}
	data, err := g.openEscrow(s.mint.keys)
	return g, data, err
}

// PropsOf is [Props] outside of a request, for the work of a server on its own: grant is
// what handlers find as [ExtraGrant]. It fails with [ErrSealed] without an [Escrow], with
// [ErrNoGrant] when the grant has ended, and when the props are not a T.
func PropsOf[T any](ctx context.Context, s *Server, grant string) (T, error) {
	var p, zero T
	g, data, err := s.opened(ctx, grant)
	if err != nil {
		return zero, err
	}
	props, err := unseal(data, g.Props, g.aboutProps()...)
	if err != nil {
		return zero, err
	}
	if json.Unmarshal(props, &p) != nil { // the error may quote a secret
		return zero, fmt.Errorf("oauth: the props of grant %s are no %T", grant, zero)
	}
	return p, nil
}

// UpstreamOf is [UpstreamToken] outside of a request. It fails as [PropsOf] does, too.
func (s *Server) UpstreamOf(ctx context.Context, grant string) (*oauth2.Token, error) {
	_, data, err := s.opened(ctx, grant)
	if err != nil {
		return nil, err
	}
	return s.grants.upstreamOf(ctx, grant, data)
}
