package oauth

import (
	"context"
	"errors"
	"time"
)

// Holdings is what a program keeps for people besides what they allowed: sessions,
// objects, documents. The account page shows it to whom it belongs, who can erase it
// there; and it hears of what people allow and take back. causeway.App brings one; a
// program with none leaves [Provider.Holdings] nil. Methods are called at the same time by
// many.
type Holdings interface {
	// Held lists what is kept for a person. Allowed is what the person allows now.
	Held(ctx context.Context, user string, allowed []Allowed) ([]Holding, error)
	// Erase erases one of them at once; [ErrNotHeld] if it is not this person's.
	Erase(ctx context.Context, user string, allowed []Allowed, id string) error
	// Granted: the person has allowed a client something, perhaps again.
	Granted(ctx context.Context, user string, a Allowed) error
	// Revoked: the person has taken back the last grant of a client at a resource. What is
	// kept for it should be out of reach from now on, and erased some time later unless
	// Granted comes before.
	Revoked(ctx context.Context, user string, a Allowed) error
}

// Allowed is that a person lets a client use a resource. Issuer, Client and Resource are
// what handlers find as [ExtraIssuer], [ExtraClient] and [ExtraResource].
type Allowed struct {
	Issuer, Client, ClientName, Resource string
}

// A Holding is something kept for a person.
type Holding struct {
	ID   string // names it in Erase
	Kind string // "session", "object", or the program's own word
	What string // for people: which one it is
	// Client is the client_id of the client that it is kept for; "" is all of them.
	Client string
	// Used is when it was last used, and Ends when it will be erased by itself; zero where
	// that is not known or not so.
	Used, Ends time.Time
}

// ErrNotHeld: there is no such thing, or it is somebody else's.
var ErrNotHeld = errors.New("oauth: nothing of that name is kept for this person")

// allowed are what the grants allow, each once.
func (s *Server) allowed(grants []*grant) []Allowed {
	var all []Allowed
	seen := map[Allowed]bool{}
	for _, g := range grants {
		a := s.allowedBy(g)
		key := a
		key.ClientName = ""
		if !seen[key] {
			seen[key] = true
			all = append(all, a)
		}
	}
	return all
}

func (s *Server) allowedBy(g *grant) Allowed {
	return Allowed{Issuer: s.provider.Issuer, Client: g.Client, ClientName: g.ClientName, Resource: g.Resource}
}

// tellGranted lets the holdings know of a new grant. A failure must not keep anybody out.
func (s *Server) tellGranted(ctx context.Context, g *grant) {
	if s.provider.Holdings == nil {
		return
	}
	if err := s.provider.Holdings.Granted(ctx, g.User, s.allowedBy(g)); err != nil {
		s.log.ErrorContext(ctx, "oauth: what was hidden for a client may stay so", "client", g.Client, "err", err)
	}
}

// tellRevoked lets the holdings know that a grant was the last of its client and resource.
func (s *Server) tellRevoked(ctx context.Context, revoked *grant) error {
	if s.provider.Holdings == nil {
		return nil
	}
	live, err := s.grants.ofUser(ctx, revoked.User)
	if err != nil {
		return err
	}
	for _, g := range live {
		if g.ID != revoked.ID && g.Client == revoked.Client && g.Resource == revoked.Resource {
			return nil
		}
	}
	return s.provider.Holdings.Revoked(ctx, revoked.User, s.allowedBy(revoked))
}

// held lists what else is kept for a person.
func (s *Server) held(ctx context.Context, user string, live []*grant) ([]Holding, error) {
	if s.provider.Holdings == nil {
		return nil, nil
	}
	return s.provider.Holdings.Held(ctx, user, s.allowed(live))
}
