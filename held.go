package causeway

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// eraseAfter is how long what was kept for a client is kept on after its person took back
// what they allowed it: time to change one's mind.
const eraseAfter = 30 * 24 * time.Hour

// holdings is what an App keeps for signed-in people: their sessions, and the objects of
// agents that are theirs alone. It implements oauth.Holdings for the account page.
type holdings struct {
	app       *App
	st        *storage
	origin    string
	resources []oauth.Resource
	after     time.Duration // from being taken back to being erased
	hidden    *object.Kind[hidden]
}

// hidden is what waits to be erased, of one person, by who it was for. Only names of
// objects are in it, which tell nothing.
type hidden struct {
	For map[string]hiddenFor `json:"for,omitempty"`
}

type hiddenFor struct {
	Client  string           `json:"client"`
	Until   time.Time        `json:"until"`
	Objects []store.ObjectID `json:"objects"`
}

// An ownedKind is the kind of an agent, as far as a person's objects go.
type ownedKind struct {
	name  string
	scope Scope
	erase func(ctx context.Context, id string) error
}

func newHoldings(a *App, issuer string, resources []oauth.Resource) (*holdings, error) {
	h := &holdings{app: a, st: a.storage, origin: issuer, resources: resources, after: eraseAfter}
	if u, err := url.Parse(issuer); err == nil {
		h.origin = u.Scheme + "://" + u.Host
	}
	var err error
	h.hidden, err = object.Register(a.storage.objects, object.Spec[hidden]{
		Name: "causeway.hidden",
		OnAlarm: func(ctx context.Context, o *object.Object[hidden], alarm object.Alarm) error {
			return h.eraseHidden(ctx, o, alarm.ID, alarm.At)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("registering what is to be erased: %w", err)
	}
	return h, nil
}

// grantID is the id of the objects that are kept for what is allowed: that of objectID.
func (h *holdings) grantID(user string, a oauth.Allowed) string {
	return h.st.name("g", a.Issuer, user, a.Client, a.Resource)
}

func (h *holdings) hiddenOf(user string) *object.Object[hidden] {
	return h.hidden.Get(h.st.name("hidden", user))
}

// A holding is one with what it takes to erase it.
type holding struct {
	oauth.Holding
	erase func(context.Context) error
}

// Held implements oauth.Holdings.
func (h *holdings) Held(ctx context.Context, user string, allowed []oauth.Allowed) ([]oauth.Holding, error) {
	all, err := h.list(ctx, user, allowed)
	if err != nil {
		return nil, err
	}
	out := make([]oauth.Holding, len(all))
	for i, one := range all {
		out[i] = one.Holding
	}
	return out, nil
}

// Erase implements oauth.Holdings.
func (h *holdings) Erase(ctx context.Context, user string, allowed []oauth.Allowed, id string) error {
	all, err := h.list(ctx, user, allowed)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.ID == id {
			return one.erase(ctx)
		}
	}
	return oauth.ErrNotHeld
}

func (h *holdings) list(ctx context.Context, user string, allowed []oauth.Allowed) (all []holding, err error) {
	add := func(kind ownedKind, id, what, client string) error {
		if _, err := h.st.objects.Inspect(ctx, store.ObjectID{Kind: kind.name, ID: id}); errors.Is(err, object.ErrNotFound) {
			return nil
		} else if err != nil {
			return fmt.Errorf("looking for %s: %w", kind.name, err)
		}
		all = append(all, holding{
			oauth.Holding{ID: kind.name + "/" + id, Kind: "object", What: what, Client: client},
			func(ctx context.Context) error { return kind.erase(ctx, id) },
		})
		return nil
	}
	sessions, err := h.sessions(ctx, user)
	if err != nil {
		return nil, err
	}
	for _, kind := range h.st.personal {
		if kind.scope == PerUser {
			if err := add(kind, h.st.name("u", user), kind.name, ""); err != nil {
				return nil, err
			}
			continue
		}
		for _, a := range allowed {
			if err := add(kind, h.grantID(user, a), kind.name, a.Client); err != nil {
				return nil, err
			}
		}
		for _, s := range sessions {
			if kind.scope == PerSession {
				if err := add(kind, h.st.name("s", s.session), kind.name+" of a session", s.Client); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, s := range sessions {
		all = append(all, s.holding)
	}
	waiting, err := h.waiting(ctx, user)
	return append(all, waiting...), err
}

type heldSession struct {
	holding
	session, path string
}

// at reports whether what is mounted at path is the resource, or part of it.
func (h *holdings) at(resource, path string) bool {
	for _, r := range h.resources {
		id := r.ID
		if id == "" {
			id = h.origin + r.Path
		}
		if id == resource {
			return r.Path == path || strings.HasPrefix(path, strings.TrimSuffix(r.Path, "/")+"/")
		}
	}
	return false
}

func (h *holdings) sessions(ctx context.Context, user string) ([]heldSession, error) {
	var all []heldSession
	for _, m := range h.app.mounts {
		found, err := m.handler.Sessions(ctx, user)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
		for _, s := range found {
			what := "session at " + m.path
			if s.Program != "" {
				what += " of " + s.Program
			}
			all = append(all, heldSession{session: s.ID, path: m.path, holding: holding{
				// Its own id opens it, and has no place on a page.
				oauth.Holding{ID: h.st.name("x", m.path, s.ID), Kind: "session", What: what, Client: s.Client, Used: s.Kept},
				func(ctx context.Context) error { return m.handler.EndSession(ctx, user, s.ID) },
			}})
		}
	}
	return all, nil
}

// waiting is what was hidden and is not erased yet.
func (h *holdings) waiting(ctx context.Context, user string) ([]holding, error) {
	o := h.hiddenOf(user)
	st, err := o.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what is to be erased: %w", err)
	}
	var all []holding
	for key, of := range st.For {
		for _, id := range of.Objects {
			all = append(all, holding{
				oauth.Holding{ID: id.Kind + "/" + id.ID, Kind: "object", What: id.Kind + ", out of reach", Client: of.Client, Ends: of.Until},
				func(ctx context.Context) error { return h.eraseHidden(ctx, o, key, of.Until) },
			})
		}
	}
	return all, nil
}

// Granted implements oauth.Holdings: who signs in again goes on where they were.
func (h *holdings) Granted(ctx context.Context, user string, a oauth.Allowed) error {
	o, key := h.hiddenOf(user), h.grantID(user, a)
	st, err := o.State(ctx)
	if err != nil {
		return fmt.Errorf("reading what is to be erased: %w", err)
	}
	if _, ok := st.For[key]; !ok {
		return nil
	}
	return o.Tx(ctx, func(ctx context.Context, _ object.Tx, st *hidden) error {
		delete(st.For, key)
		err := o.Cancel(ctx, key)
		if errors.Is(err, object.ErrNotFound) {
			return nil
		}
		return err
	})
}

// Revoked implements oauth.Holdings: sessions and connections of the client end, and its
// objects wait to be erased. Nobody reaches them meanwhile: they are found by a token.
func (h *holdings) Revoked(ctx context.Context, user string, a oauth.Allowed) error {
	var errs []error
	var objects []store.ObjectID
	keep := func(kind ownedKind, id string) {
		oid := store.ObjectID{Kind: kind.name, ID: id}
		_, err := h.st.objects.Inspect(ctx, oid)
		switch {
		case err == nil:
			objects = append(objects, oid)
		case !errors.Is(err, object.ErrNotFound):
			errs = append(errs, err)
		}
	}
	for _, kind := range h.st.personal {
		if kind.scope == PerUser {
			continue // the person's own, whatever the client
		}
		keep(kind, h.grantID(user, a)) // those of its sessions are erased with the sessions
	}
	for _, m := range h.app.mounts {
		if h.at(a.Resource, m.path) {
			errs = append(errs, m.handler.EndClient(ctx, user, a.Client))
		}
	}
	if len(objects) > 0 {
		errs = append(errs, h.hide(ctx, user, a, objects))
	}
	return errors.Join(errs...)
}

func (h *holdings) hide(ctx context.Context, user string, a oauth.Allowed, objects []store.ObjectID) error {
	o, key, until := h.hiddenOf(user), h.grantID(user, a), time.Now().Add(h.after)
	name := a.ClientName
	if name == "" {
		name = "a program without a name"
	}
	return o.Tx(ctx, func(ctx context.Context, _ object.Tx, st *hidden) error {
		if st.For == nil {
			st.For = map[string]hiddenFor{}
		}
		for _, id := range st.For[key].Objects { // of an earlier time
			if !slices.Contains(objects, id) {
				objects = append(objects, id)
			}
		}
		st.For[key] = hiddenFor{Client: name, Until: until, Objects: objects}
		_, err := o.Schedule(ctx, object.At(until), "erase", nil, &object.AlarmOptions{ID: key, Retries: 1000})
		return err
	})
}

// eraseHidden erases what waits under a key, unless it was hidden anew meanwhile.
func (h *holdings) eraseHidden(ctx context.Context, o *object.Object[hidden], key string, until time.Time) error {
	st, err := o.State(ctx)
	if err != nil {
		return err
	}
	of, ok := st.For[key]
	if !ok || of.Until.After(until.Add(time.Second)) {
		return nil
	}
	for _, id := range of.Objects {
		for _, kind := range h.st.personal {
			if kind.name == id.Kind {
				if err := kind.erase(ctx, id.ID); err != nil {
					return fmt.Errorf("erasing %s: %w", id.Kind, err)
				}
			}
		}
	}
	return o.Tx(ctx, func(ctx context.Context, _ object.Tx, st *hidden) error {
		delete(st.For, key)
		err := o.Cancel(ctx, key)
		if errors.Is(err, object.ErrNotFound) {
			return nil // it is the alarm that runs
		}
		return err
	})
}
