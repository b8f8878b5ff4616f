package causeway

import (
	"context"
	"fmt"
	"net/http"

	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An Agent gives the handlers of an MCP server a durable object to keep their
// state in: a typed value, a SQL database, alarms and a queue, which outlive the
// process. Which object serves a request is the Scope.
//
//	var counter = &causeway.Agent[State]{Kind: "counter", Initial: State{Counter: 1}}
//
//	app.Mount("/mcp", counter.Handler(s))
//
// and in a handler of s, with the context it was given:
//
//	st, err := counter.Self(ctx).Update(ctx, func(st *State) error { st.Counter++; return nil })
//
// An Agent is a description: it holds no state itself and may be a package
// variable. Its fields are set before Handler is called and left alone afterwards.
type Agent[State any] struct {
	// Kind names the agent's objects in the store: 1 to 64 of a-z, 0-9, '.', '_', '-'.
	// Changing it loses them.
	Kind string

	// Initial is the state of an object that was never written. State is kept as
	// JSON, at most 256 KiB.
	Initial State

	// Scope says which object serves a request. The zero value is [PerSession].
	Scope Scope

	// OnUpdate, if not nil, is called with each new state of an object once it is
	// durable, one call at a time for each object.
	OnUpdate func(ctx context.Context, me *Self[State], st State)

	// Resources are URIs of resources of the server that show the state: after each
	// change of it (not of the SQL database alone) their subscribers are told. All
	// subscribers of the URI are, since only reading it finds out whose state it is.
	// The server must allow subscriptions: see [Subscribable].
	Resources []string

	// Tools are the names of those tools of the server that use the object: the only ones
	// that get an argument "handle" where the Scope needs one. Nil is all tools.
	Tools []string

	// Prompts are likewise the names of the prompts that use the object. Nil is all
	// prompts, or none where Tools is set.
	Prompts []string

	// Migrations bring objects that an earlier version of the program has written to the
	// present State and SQL schema, and give new ones their tables: each object runs those it
	// has not had, in order, before anything else touches it. While one fails, tools that
	// use the object fail with the reason. Only append to the list. See [object.Spec].
	Migrations []object.Migration

	// OnAlarm runs what was set with Schedule, and OnJob what was put into the queue
	// with Enqueue: at least once, also across restarts. An error means again, later.
	OnAlarm func(ctx context.Context, me *Self[State], alarm object.Alarm) error
	OnJob   func(ctx context.Context, me *Self[State], job object.Job) error
}

// Self is the object that serves a request, as its handlers see it. The methods
// are those of [object.Object].
type Self[State any] struct {
	*object.Object[State]
}

// Handler serves s, whose handlers find their object with [Agent.Self], for
// [App.Mount]. s may be any server; its tools need not be made for this.
//
// One Agent may serve several servers: they share its objects.
func (a *Agent[State]) Handler(s *mcp.Server) MountHandler {
	if s == nil {
		panic("causeway: Agent.Handler(nil)")
	}
	m := Server(s)
	s.AddReceivingMiddleware(a.handles)
	m.agents = append(m.agents, func(st *storage) error { return a.register(st, s) })
	return m
}

// agentKey finds an agent's kind in a storage.
type agentKey struct{ agent any }

func (a *Agent[State]) register(st *storage, s *mcp.Server) error {
	if len(a.Resources) > 0 {
		st.audienceOf(a.Kind, a.Resources).add(s)
	}
	if _, ok := st.kinds.Load(agentKey{a}); ok {
		return nil // mounted twice
	}
	spec := object.Spec[State]{Name: a.Kind, Initial: a.Initial, Migrations: a.Migrations}
	if len(a.Resources) > 0 {
		heard := st.audienceOf(a.Kind, a.Resources)
		spec.Tell = func(string, *State) (string, any) { return heard.topic(), nil }
	}
	if a.OnUpdate != nil || len(a.Resources) > 0 {
		spec.OnUpdate = func(ctx context.Context, o *object.Object[State], state State) {
			if a.OnUpdate != nil {
				a.OnUpdate(ctx, &Self[State]{o}, state)
			}
			if len(a.Resources) > 0 && !object.Told(ctx) {
				st.audienceOf(a.Kind, a.Resources).tell(ctx, st, o.ID())
			}
		}
	}
	if a.OnAlarm != nil {
		spec.OnAlarm = func(ctx context.Context, o *object.Object[State], alarm object.Alarm) error {
			return a.OnAlarm(ctx, &Self[State]{o}, alarm)
		}
	}
	if a.OnJob != nil {
		spec.OnJob = func(ctx context.Context, o *object.Object[State], job object.Job) error {
			return a.OnJob(ctx, &Self[State]{o}, job)
		}
	}
	kind, err := object.Register(st.objects, spec)
	if err != nil {
		return fmt.Errorf("agent %q: %w", a.Kind, err)
	}
	st.kinds.Store(agentKey{a}, kind)
	if a.Scope == PerSession || a.Scope == PerUser || a.Scope == PerGrant {
		st.personal = append(st.personal, ownedKind{a.Kind, a.Scope, func(ctx context.Context, id string) error { return kind.Get(id).Delete(ctx) }})
	}
	return nil
}

// Subscribable is opts, or new options for nil, for a server whose resources can be
// subscribed to: the SDK declares that only for servers with handlers for it, which
// most have no other use for. Handlers that are set stay.
func Subscribable(opts *mcp.ServerOptions) *mcp.ServerOptions {
	var o mcp.ServerOptions
	if opts != nil {
		o = *opts
	}
	if o.SubscribeHandler == nil {
		o.SubscribeHandler = func(context.Context, *mcp.SubscribeRequest) error { return nil }
	}
	if o.UnsubscribeHandler == nil {
		o.UnsubscribeHandler = func(context.Context, *mcp.UnsubscribeRequest) error { return nil }
	}
	return &o
}

// Self returns the object that serves the request of ctx, which is the context
// that a handler of the agent's server was given, or one derived from it. It costs
// next to nothing and reads nothing.
//
// With any other context it panics: that is a mistake in the program. (A panic of
// a handler is an error to its caller and a line in the log.)
func (a *Agent[State]) Self(ctx context.Context) *Self[State] {
	st, kind := a.kind(ctx)
	if kind == nil {
		panic(fmt.Sprintf("causeway: agent %q: Self needs the context of a request to a server that App.Mount serves with this agent's Handler", a.Kind))
	}
	return &Self[State]{kind.Get(st.objectID(ctx, a.Scope))}
}

func (a *Agent[State]) kind(ctx context.Context) (*storage, *object.Kind[State]) {
	st, _ := ctx.Value(storageKey{}).(*storage)
	if st == nil {
		return nil, nil
	}
	k, _ := st.kinds.Load(agentKey{a})
	kind, _ := k.(*object.Kind[State])
	return st, kind
}

// Object returns the agent's object with the given id, from anywhere in the
// program that has the App: a webhook, a page, a test. Ids are what [object.Object.ID]
// returns.
func (a *Agent[State]) Object(app *App, id string) (*Self[State], error) {
	if err := app.Open(); err != nil {
		return nil, err
	}
	k, _ := app.storage.kinds.Load(agentKey{a})
	kind, ok := k.(*object.Kind[State])
	if !ok {
		return nil, fmt.Errorf("causeway: agent %q is not mounted in this App", a.Kind)
	}
	return &Self[State]{kind.Get(id)}, nil
}

// Once runs fn as one unit of me and remembers its result under key and the call:
// in the same journal entry as all that fn did. Over the rounds of one
// input-required request, and for repetitions of a round whose answer was lost,
// it is the same call; so what fn does happens once, also if the process is killed
// at any moment. Another call with the same key is another doing.
//
// For what must happen once ever, under a key of the application's own, use
// [object.Once] with me.Object.
func Once[State, R any](ctx context.Context, me *Self[State], key string, fn func(ctx context.Context, tx object.Tx, st *State) (R, error)) (R, error) {
	return object.Once(ctx, me.Object, callKey(ctx)+key, fn)
}

// withStorage gives the handlers of a mount the App's storage.
func withStorage(st *storage, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), storageKey{}, st)))
	})
}
