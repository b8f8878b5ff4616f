package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

const (
	grantClientCredentials = "client_credentials"
	// maxDirect bounds the grants of one kind, user and client that nobody redeemed.
	maxDirect = 200
	// servicePrefix starts the UserID of a client that acts for itself.
	servicePrefix = "client:"
)

// A grantKind says how a grant came to be; "" is a person's sign-in.
type grantKind string

const (
	// kindService is a client's own (RFC 6749 §4.4).
	kindService grantKind = "service"
	// kindAsserted is by the word of a trusted issuer (RFC 7523 §2.1).
	kindAsserted grantKind = "asserted"
)

// An Access is what a client may get for itself, without a person.
type Access struct {
	// Resource is the ID of the resource. Empty is the only one there is.
	Resource string
	// Scopes are those it may ask for there; it gets all if it asks for none.
	Scopes []string
}

// serviceUser is the UserID of a client that acts for itself. No person has one like it
// (RFC 9068 §5: a client must not be able to pass for a person).
func serviceUser(client string) string { return servicePrefix + client }

// grantService answers a token request with client credentials (RFC 6749 §4.4).
func (s *Server) grantService(r *http.Request, c *client, f form, bound string) ([]byte, error) {
	if len(c.service) == 0 {
		return nil, errUnauthorizedClient("this client may not act for itself")
	}
	res := s.requestedResource(f)
	if res == nil {
		return nil, errInvalidTarget("there is no such resource here, or more than one to choose from")
	}
	i := slices.IndexFunc(c.service, func(a Access) bool { return a.Resource == res.id })
	if i < 0 {
		return nil, errInvalidTarget("this client may not act there")
	}
	scopes, werr := res.within(c.service[i].Scopes, f.get("scope"))
	if werr != nil {
		return nil, werr
	}
	return s.grants.createDirect(r.Context(), grant{
		Kind: kindService, Client: c.ID, ClientName: c.Name, User: serviceUser(c.ID), UserName: c.Name, Resource: res.id, Scopes: scopes,
	}, []byte("null"), bound, time.Time{})
}

// within are the scopes asked for, all of which the ones at hand must cover; without
// asking, those at hand.
func (r *resource) within(have []string, asked string) ([]string, *wireError) {
	names := slices.DeleteFunc(strings.Fields(asked), func(n string) bool { return n == "offline_access" })
	if len(names) == 0 {
		return append([]string{}, have...), nil
	}
	var scopes []string
	for _, name := range names {
		if !slices.Contains(r.names(), name) || !r.covers(have, name) {
			return nil, errInvalidScope("scope exceeds what is allowed")
		}
		if !slices.Contains(scopes, name) {
			scopes = append(scopes, name)
		}
	}
	return scopes, nil
}

// setService checks what the configured clients may do for themselves.
func (s *Server) setService() error {
	for _, given := range s.provider.Clients {
		c := s.clients[given.ID]
		if len(given.Service) > 0 && c.public() {
			return fmt.Errorf("client %q may act for itself, but has neither a secret nor a key", c.ID)
		}
		for _, access := range given.Service {
			res := s.onlyOr(access.Resource)
			if res == nil {
				return fmt.Errorf("client %q may act for itself at %q, which is not a resource", c.ID, access.Resource)
			}
			for _, name := range access.Scopes {
				if !slices.Contains(res.names(), name) {
					return fmt.Errorf("client %q may act for itself with %q, which is not a scope of %s", c.ID, name, res.id)
				}
			}
			c.service = append(c.service, Access{Resource: res.id, Scopes: access.Scopes})
		}
	}
	return nil
}

// onlyOr is the resource with an ID; without one, the only one there is.
func (s *Server) onlyOr(id string) *resource {
	if id == "" && len(s.resources) == 1 {
		return s.resources[0]
	}
	return s.resourceByID(id)
}

// newDirect makes a grant that nobody has to redeem: it has one access token, ends with
// it, and cannot be refreshed.
func newDirect(m *mint, p *policy, now time.Time, g grant, props []byte, bound string, ends time.Time) (*grant, []byte) {
	g.V, g.ID, g.Created = grantVersion, newID(), now
	g.Ends = now.Add(m.accessTTL(g.Resource, p.accessTTL))
	if !ends.IsZero() {
		g.Ends = earlier(g.Ends, ends)
	}
	data := newDataKey()
	g.Props = seal(data, props, g.aboutProps()...)
	g.escrow(m, p, data)
	at, until := g.addAccess(m, p, now, data, accessSlot{Scopes: g.Scopes, Bound: bound})
	return &g, encodeAnswer(tokenAnswer{
		AccessToken: at.text, TokenType: tokenType(bound), ExpiresIn: int64(until.Sub(now) / time.Second), Scope: strings.Join(g.Scopes, " "),
	})
}

// createDirect writes such a grant and returns the answer to the client.
func (s *grants) createDirect(ctx context.Context, g grant, props []byte, bound string, ends time.Time) ([]byte, error) {
	made, answer := newDirect(s.mint, &s.policy, time.Now(), g, props, bound, ends)
	value, err := made.encode()
	if err != nil {
		return nil, err
	}
	for range maxAttempts {
		_, err = s.records.Put(ctx, grantPrefix+made.ID, value, 0, &store.PutOptions{TTL: max(time.Until(made.Ends), time.Second)})
		// The id is random: a conflict can only be with an attempt of this loop.
		if err == nil || errors.Is(err, store.ErrConflict) {
			s.index(ctx, made)
			s.makeRoom(ctx, made)
			s.log.InfoContext(ctx, "oauth: granted without a person", "grant", made.ID, "kind", made.Kind, "client", made.Client, "resource", made.Resource)
			return answer, nil
		}
		if !errors.Is(err, store.ErrUnknown) {
			break
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: writing a grant: %w", ErrUnavailable, err)
}
