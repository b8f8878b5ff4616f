package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
	// maxActors bounds how often a token may be handed on.
	maxActors = 4
	// leastExchanged is the least that a token made by exchange is good for.
	leastExchanged = time.Minute
)

// A TokenExchange allows a client to exchange access tokens for others (RFC 8693): a
// resource server that calls another one in the name of the same person, or that wants
// a weaker token to hand on.
//
// An exchange never widens: the new token has at most the scopes of the old one, ends
// no later, and lives in the same grant, so that revoking that ends both. Each is a write
// to the store, and counts for Limits.Token: a busy client keeps what it got until that
// ends.
type TokenExchange struct {
	// Client is the client_id of the one that may; it must have a secret or a key.
	Client string
	// From are the IDs of the resources whose tokens it may bring. Empty is all.
	From []string
	// To are the IDs of the resources that it may get tokens for, besides the resource
	// of the token that it brings. Only scopes that both resources have by the same
	// name come along.
	To []string
	// Impersonate makes tokens that do not say who acts. Otherwise they name the client
	// in "act" (RFC 8693 §4.1).
	Impersonate bool
}

// exchanged is what distinguishes a token made by exchange from the grant's own.
type exchanged struct {
	// Holder is the client that it was made for.
	Holder string
	// Resource is the resource that it is for.
	Resource string
	// Actors are who acts, the present one first; nobody, when impersonated.
	Actors []string `json:",omitzero"`
}

func (e *exchanged) about() []string {
	if e == nil {
		return nil
	}
	return append([]string{"exchanged", e.Holder, e.Resource}, e.Actors...)
}

// actorClaim is the "act" claim (RFC 8693 §4.1): who acts, and below, for whom they do.
type actorClaim struct {
	Subject string      `json:"sub"`
	Actor   *actorClaim `json:"act,omitempty"`
}

func (e *exchanged) claim() *actorClaim {
	if e == nil {
		return nil
	}
	var claim *actorClaim
	for _, name := range slices.Backward(e.Actors) {
		claim = &actorClaim{Subject: name, Actor: claim}
	}
	return claim
}

// actors reads an "act" claim, at most so many.
func (c *actorClaim) actors() []string {
	var names []string
	for ; c != nil && len(names) <= maxActors; c = c.Actor {
		names = append(names, c.Subject)
	}
	return names
}

// holder is the client that an access token was given to.
func (g *grant) holder(s *accessSlot) string {
	if s.Exchanged != nil {
		return s.Exchanged.Holder
	}
	return g.Client
}

// resourceOf is the resource that an access token is for.
func (g *grant) resourceOf(s *accessSlot) string {
	if s.Exchanged != nil {
		return s.Exchanged.Resource
	}
	return g.Resource
}

func (s *Server) setExchanges() error {
	s.exchanges = map[string]*TokenExchange{}
	for _, given := range s.provider.TokenExchanges {
		rule := given
		c := s.clients[rule.Client]
		switch {
		case c == nil:
			return fmt.Errorf("TokenExchanges: there is no client %q in Clients", rule.Client)
		case c.public():
			return fmt.Errorf("TokenExchanges: client %q has neither a secret nor a key, so anybody could claim to be it", rule.Client)
		case s.exchanges[rule.Client] != nil:
			return fmt.Errorf("TokenExchanges: client %q is there twice", rule.Client)
		}
		for _, list := range []*[]string{&rule.From, &rule.To} {
			ids, err := s.resourceIDs(*list)
			if err != nil {
				return fmt.Errorf("TokenExchanges: client %q: %w", rule.Client, err)
			}
			*list = ids
		}
		s.exchanges[rule.Client] = &rule
	}
	return nil
}

// resourceIDs are IDs of resources in the form that they are compared in.
func (s *Server) resourceIDs(named []string) ([]string, error) {
	var ids []string
	for _, name := range named {
		res := s.resourceByID(name)
		if res == nil {
			return nil, fmt.Errorf("there is no resource %q", name)
		}
		ids = append(ids, res.id)
	}
	return ids, nil
}

// exchangeToken answers a token request of RFC 8693 §2.1.
func (s *Server) exchangeToken(r *http.Request, c *client, f form, bound string) ([]byte, error) {
	rule := s.exchanges[c.ID]
	if rule == nil {
		return nil, errUnauthorizedClient("this client may not exchange tokens")
	}
	if werr := checkExchangeForm(f); werr != nil {
		return nil, werr
	}
	target, werr := s.exchangeTarget(f)
	if werr != nil {
		return nil, werr
	}
	subject, err := s.mint.parseAccess(f.get("subject_token"))
	if err != nil {
		return nil, errInvalidRequest("the subject_token is not valid")
	}
	actor, err := s.exchangeActor(r.Context(), c, f)
	if err != nil {
		return nil, err
	}
	return s.grants.exchange(r.Context(), exchange{
		subject: subject, client: c.ID, actor: actor, rule: rule, target: target,
		scopes: strings.Fields(f.get("scope")), bound: bound, find: s.resourceByID,
	})
}

func checkExchangeForm(f form) *wireError {
	switch t := f.get("requested_token_type"); {
	case t != "" && t != typeAccessToken:
		return errInvalidRequest("requested_token_type: want an access token")
	case f.get("subject_token") == "":
		return errInvalidRequest("subject_token is missing")
	case f.get("subject_token_type") != typeAccessToken:
		return errInvalidRequest("subject_token_type: want an access token")
	case (f.get("actor_token") == "") != (f.get("actor_token_type") == ""):
		return errInvalidRequest("actor_token and actor_token_type come together or not at all")
	case f.get("actor_token") != "" && f.get("actor_token_type") != typeAccessToken:
		return errInvalidRequest("actor_token_type: want an access token")
	}
	return nil
}

// exchangeTarget is the resource asked for, by resource or by audience (RFC 8693 §2.1);
// nil is that of the subject token.
func (s *Server) exchangeTarget(f form) (*resource, *wireError) {
	id, werr := f.resource()
	switch {
	case werr != nil:
		return nil, werr
	case id != "" && f.get("audience") != "" && s.resourceByID(id) != s.resourceByID(f.get("audience")):
		return nil, errInvalidTarget("one resource at a time")
	case id == "" && f.get("audience") == "":
		return nil, nil
	}
	res := s.resourceByID(cmpOr(id, f.get("audience")))
	if res == nil {
		return nil, errInvalidTarget("there is no such resource here")
	}
	return res, nil
}

// exchangeActor is who will act: the client, or the subject of the token that it brings
// to say so, which must have been given to it.
func (s *Server) exchangeActor(ctx context.Context, c *client, f form) (string, error) {
	if f.get("actor_token") == "" {
		return serviceUser(c.ID), nil
	}
	v, err := s.grants.validate(ctx, f.get("actor_token"))
	if err != nil && errors.Is(err, ErrUnavailable) {
		return "", err
	}
	if err != nil || v == nil || v.grant.holder(v.slot) != c.ID {
		return "", errInvalidRequest("the actor_token is not valid")
	}
	return v.grant.User, nil
}

// An exchange is a checked request of RFC 8693.
type exchange struct {
	subject token
	client  string
	actor   string
	rule    *TokenExchange
	target  *resource // nil for that of the subject
	scopes  []string  // nil for all that can be had
	bound   string
	find    func(id string) *resource
}

// exchange makes a token out of another one of the same grant.
func (s *grants) exchange(ctx context.Context, r exchange) ([]byte, error) {
	d, g, err := s.change(ctx, r.subject.id, func(g *grant, now time.Time) decision {
		return g.exchange(s.mint, &s.policy, now, r)
	})
	if err != nil {
		return nil, err
	}
	if d.next != nil && d.refuse == nil {
		s.log.InfoContext(ctx, "oauth: token exchanged", "grant", g.ID, "client", r.client)
	}
	return s.conclude(ctx, d, g)
}

func (g *grant) exchange(m *mint, p *policy, now time.Time, r exchange) decision {
	slot, data, err := g.findAccess(r.subject, now, m.keys)
	if slot == nil || err != nil {
		return refused(errInvalidRequest("the subject_token is not valid"), "")
	}
	from := g.resourceOf(slot)
	to := from
	if r.target != nil {
		to = r.target.id
	}
	switch {
	case slot.Bound != "" && slot.Bound != r.bound:
		// Without the key of the token the client is not the one that it was given to.
		return refused(errInvalidRequest("the subject_token is not valid"), "exchange without the key of the token")
	case len(r.rule.From) > 0 && !slices.Contains(r.rule.From, from):
		return refused(errInvalidRequest("the subject_token is not valid"), "exchange of a token for another resource")
	case to != from && !slices.Contains(r.rule.To, to):
		return refused(errInvalidTarget("this client may not get tokens for that resource"), "exchange for a resource that is not allowed")
	case slot.Expires.Sub(now) < leastExchanged:
		return refused(errInvalidRequest("the subject_token ends within a minute"), "")
	}
	actors := slices.Clone(slot.Exchanged.actors())
	if !r.rule.Impersonate {
		actors = append([]string{r.actor}, actors...)
	}
	if len(actors) > maxActors {
		return refused(errInvalidRequest("the subject_token has been handed on too often"), "")
	}
	scopes, werr := g.exchangedScopes(slot, to, r)
	if werr != nil {
		return refused(werr, "")
	}
	next := g.clone()
	at, ends := next.addAccess(m, p, now, data, accessSlot{
		Scopes: scopes, Expires: slot.Expires, Bound: r.bound,
		Exchanged: &exchanged{Holder: r.client, Resource: to, Actors: actors},
	})
	return decision{next: next, mine: at.mac(), answer: encodeAnswer(tokenAnswer{
		AccessToken: at.text, TokenType: tokenType(r.bound), ExpiresIn: int64(ends.Sub(now) / time.Second),
		Scope: strings.Join(scopes, " "), IssuedType: typeAccessToken,
	})}
}

func (e *exchanged) actors() []string {
	if e == nil {
		return nil
	}
	return e.Actors
}

// exchangedScopes are the scopes of the new token, each of them one that the target has:
// those asked for, all of which the old one must cover; without asking, those of the old
// one.
func (g *grant) exchangedScopes(slot *accessSlot, to string, r exchange) ([]string, *wireError) {
	source, target := r.find(g.resourceOf(slot)), r.find(to)
	if source == nil || target == nil {
		return nil, errInvalidTarget("there is no such resource here")
	}
	known := target.names()
	if len(r.scopes) == 0 {
		return slices.DeleteFunc(slices.Clone(slot.Scopes), func(name string) bool { return !slices.Contains(known, name) }), nil
	}
	var scopes []string
	for _, name := range r.scopes {
		if !source.covers(slot.Scopes, name) || !slices.Contains(known, name) {
			return nil, errInvalidScope("scope exceeds that of the subject_token")
		}
		if !slices.Contains(scopes, name) {
			scopes = append(scopes, name)
		}
	}
	return scopes, nil
}
