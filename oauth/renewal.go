package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/oauth2"
)

// A Renewal is tokens about to be handed out for a grant. What [Provider.Renew] changes in
// it is written together with them, in one compare-and-set.
type Renewal struct {
	// GrantType is what the tokens are handed out for: "authorization_code" or
	// "refresh_token"; "" when none are, but the token of the login was renewed in a
	// running session.
	GrantType string
	// Grant is the id of the grant. User, Client and Resource are whose it is.
	Grant, User, Client, Resource string
	// Scopes are those of the new access token. They may be narrowed, not widened.
	Scopes []string
	// Props are those of the person, at most 64 KiB of JSON. They may be replaced, for
	// all access tokens of the grant: handlers see it within five seconds.
	Props jsontext.Value
	// Upstream is the token of the login, renewed already if it had to be; nil if none
	// is kept. It may be replaced, and nil erases it.
	Upstream *oauth2.Token
	// AccessTTL is how long the new access token will be good at most. It may be
	// shortened to a minute.
	AccessTTL time.Duration
}

// String keeps props and tokens out of logs.
func (r Renewal) String() string { return "[a renewal of grant " + r.Grant + "]" }

// GoString keeps them out of %#v.
func (r Renewal) GoString() string { return r.String() }

// LogValue implements slog.LogValuer.
func (r Renewal) LogValue() slog.Value { return slog.StringValue(r.String()) }

// renewed is what a renewal changes of a grant.
type renewed struct {
	grant    string
	from     []byte // the sealed tokens of the login that it started from
	upstream []byte // encoded; nil for none
	changed  bool   // upstream is new
	props    []byte // nil leaves them
	scopes   []string
	ttl      time.Duration
}

// take puts what was renewed into the grant. The tokens of the login are left if somebody
// else has put in others since.
func (g *grant) take(data []byte, with *renewed) {
	if with == nil {
		return
	}
	if with.props != nil {
		g.Props = seal(data, with.props, g.aboutProps()...)
	}
	if with.changed && bytes.Equal(g.Upstream, with.from) {
		if g.keepUpstream(data, with.upstream) != nil {
			panic("oauth: tokens of a login just encoded do not decode")
		}
	}
}

// wants reports whether a decision to hand out tokens has to wait for a renewal.
func (s *grants) wants(g *grant, d decision, now time.Time) bool {
	if d.data == nil || d.refuse != nil {
		return false
	}
	return s.hook != nil || s.renewable(g, now.Add(s.policy.accessTTL+upstreamAhead))
}

// renewable reports whether the token of the login can be renewed and ends by then.
func (s *grants) renewable(g *grant, by time.Time) bool {
	return s.renewer != nil && g.Renewable && !g.UpstreamEnds.IsZero() && !by.Before(g.UpstreamEnds)
}

// changeRenewing is change for what hands out tokens: the login's token is renewed and the
// author asked before, under the lease of the grant, so that both happen once however many
// ask at the same time.
func (s *grants) changeRenewing(ctx context.Context, id, grantType string, decide func(*grant, time.Time, *renewed) decision) (decision, *grant, error) {
	attempt := func(with *renewed) (decision, *grant, error) {
		return s.change(ctx, id, func(g *grant, now time.Time) decision {
			d := decide(g, now, with)
			if with == nil && s.wants(g, d, now) {
				return decision{data: d.data, scopes: d.scopes, waits: true}
			}
			return d
		})
	}
	d, g, err := attempt(nil)
	if err != nil || !d.waits {
		return d, g, err
	}
	// A client that hangs up must not cost the new tokens of the login.
	var cancel func()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), leaseWait+renewalTime)
	defer cancel()
	lease, err := s.lease(ctx, id)
	if err != nil {
		return decision{}, nil, err
	}
	defer lease.release()
	if d, g, err = attempt(nil); err != nil || !d.waits {
		return d, g, err // somebody else did it meanwhile
	}
	with, err := s.renew(ctx, g, d.data, grantType, d.scopes, s.renewable(g, time.Now().Add(s.policy.accessTTL+upstreamAhead)))
	switch {
	case errors.Is(err, ErrSignInAgain):
		if err := s.signInAgain(ctx, id, "the login has ended upstream"); !errors.Is(err, ErrSignInAgain) {
			return decision{}, nil, err
		}
		return refused(errInvalidGrant("the person has to sign in again"), ""), g, nil
	case err != nil:
		return decision{}, nil, err
	}
	data := d.data
	d, g, err = attempt(with)
	if err == nil && with.changed && (d.next == nil || d.refuse != nil) {
		err = s.keepAnyway(ctx, data, with, nil)
	}
	if err != nil && with.changed {
		s.log.ErrorContext(ctx, "oauth: a renewed upstream token was not stored; if it was good once, the person has to sign in again", "grant", id, "err", err)
	}
	return d, g, err
}

// renew asks the login and the author. It fails with ErrSignInAgain, or with an error for
// which nothing has to change.
func (s *grants) renew(ctx context.Context, g *grant, data []byte, grantType string, scopes []string, ask bool) (*renewed, error) {
	ctx, cancel := context.WithTimeout(ctx, renewalTime)
	defer cancel()
	with := &renewed{grant: g.ID, from: g.Upstream}
	u, err := g.openUpstream(data)
	if err != nil && !errors.Is(err, ErrNoUpstream) {
		return nil, err
	}
	if ask && u != nil {
		fresh, err := s.askLogin(ctx, g, u)
		switch {
		case err == nil:
			u, with.changed = fresh, true
		case grantType == "" || errors.Is(err, ErrSignInAgain):
			return nil, err
		default:
			// The login does not answer: that is no reason to sign anybody out. The token is
			// renewed when it is asked for.
			s.log.WarnContext(ctx, "oauth: upstream token not renewed", "grant", g.ID, "client", g.Client, "err", err)
		}
	}
	if with.changed {
		if with.upstream, err = encodeUpstream(u.token(true)); err != nil {
			return nil, fmt.Errorf("oauth: %w", err)
		}
	}
	if s.hook == nil {
		return with, nil
	}
	err = s.askAuthor(ctx, g, data, grantType, scopes, u, with)
	if err != nil && with.changed && !errors.Is(err, ErrSignInAgain) {
		return with, s.keepAnyway(ctx, data, with, err)
	}
	return with, err
}

// keepAnyway stores what the login rotated although the author failed: a token that is
// good once must not be lost for that.
func (s *grants) keepAnyway(ctx context.Context, data []byte, with *renewed, cause error) error {
	only := &renewed{grant: with.grant, from: with.from, upstream: with.upstream, changed: true}
	_, _, err := s.change(ctx, with.grant, func(g *grant, now time.Time) decision {
		if !g.live(now, s.mint.keys) || !bytes.Equal(g.Upstream, only.from) {
			return decision{}
		}
		next := g.clone()
		next.take(data, only)
		return decision{next: next, mine: next.Upstream}
	})
	return errors.Join(cause, err)
}

func (s *grants) askLogin(ctx context.Context, g *grant, u *upstream) (*upstream, error) {
	t, err := s.renewer.RenewUpstream(ctx, u.token(true))
	if err == nil && (t == nil || t.AccessToken == "") {
		err = errors.New("the login renewed a token and gave none")
	}
	switch {
	case errors.Is(err, ErrSignInAgain):
		return nil, ErrSignInAgain
	case err != nil:
		return nil, fmt.Errorf("%w: renewing the token of the login: %w", ErrUnavailable, err)
	}
	s.log.InfoContext(ctx, "oauth: upstream token renewed", "grant", g.ID, "client", g.Client)
	fresh := &upstream{Access: t.AccessToken, Type: t.TokenType, Refresh: cmpOr(t.RefreshToken, u.Refresh), Ends: t.Expiry}
	return fresh, nil
}

// askAuthor calls Provider.Renew and checks what it changed.
func (s *grants) askAuthor(ctx context.Context, g *grant, data []byte, grantType string, scopes []string, u *upstream, with *renewed) error {
	props, err := unseal(data, g.Props, g.aboutProps()...)
	if err != nil {
		return err
	}
	ttl := s.mint.accessTTL(g.Resource, s.policy.accessTTL)
	r := &Renewal{
		GrantType: grantType, Grant: g.ID, User: g.User, Client: g.Client, Resource: g.Resource,
		Scopes: slices.Clone(scopes), Props: slices.Clone(jsontext.Value(props)), AccessTTL: ttl,
	}
	if u != nil {
		r.Upstream = u.token(true)
	}
	if err := s.hook(ctx, r); errors.Is(err, ErrSignInAgain) {
		return ErrSignInAgain
	} else if err != nil {
		return fmt.Errorf("%w: Provider.Renew: %w", ErrUnavailable, err)
	}
	return with.read(r, props, u, scopes, ttl)
}

// read takes over what the author changed.
func (with *renewed) read(r *Renewal, props []byte, u *upstream, scopes []string, ttl time.Duration) error {
	switch {
	case len(r.Props) > maxProps || len(r.Props) > 0 && !r.Props.IsValid():
		return fmt.Errorf("oauth: Provider.Renew left props that are not JSON, or longer than %d bytes", maxProps)
	case slices.ContainsFunc(r.Scopes, func(name string) bool { return !slices.Contains(scopes, name) }):
		return errors.New("oauth: Provider.Renew widened the scopes")
	case r.AccessTTL < time.Minute || r.AccessTTL > ttl:
		return fmt.Errorf("oauth: Provider.Renew set AccessTTL to %v: want a minute to %v", r.AccessTTL, ttl)
	}
	if !bytes.Equal(r.Props, props) {
		if with.props = r.Props; len(with.props) == 0 {
			with.props = []byte("null")
		}
	}
	with.scopes, with.ttl = r.Scopes, r.AccessTTL
	tokens, err := encodeUpstream(r.Upstream)
	if err != nil {
		return fmt.Errorf("oauth: Provider.Renew: %w", err)
	}
	var before []byte
	if u != nil {
		if before, err = json.Marshal(u); err != nil {
			return errors.New("oauth: encoding the tokens of the login")
		}
	}
	if !bytes.Equal(tokens, before) {
		with.upstream, with.changed = tokens, true
	}
	return nil
}
