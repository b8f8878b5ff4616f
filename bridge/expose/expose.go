package expose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A Scope says who shares a child.
type Scope int

const (
	// PerUser gives every signed-in person one child. People who are not signed in are
	// nobody in particular and share one.
	PerUser Scope = iota
	// PerSession gives every session of a person a child. 2026-07-28 has no sessions:
	// its requests go to one child of the person.
	PerSession
	// Shared gives everybody the same child. What it asks or says during a call
	// reaches a client only while it is certain whose call it is about.
	Shared
)

// An Era says how to speak with the program.
type Era int

const (
	// EraAuto finds out: initialize first, server/discover if that is refused.
	EraAuto Era = iota
	// EraLegacy is 2024-11-05 to 2025-11-25, with initialize.
	EraLegacy
	// EraModern is 2026-07-28.
	EraModern
)

// Options say what to expose and within which limits. All but Command may be left out.
type Options struct {
	// Command is the program and its arguments. It is executed as it stands here,
	// without a shell. Arguments may be templates (text/template) of [Data]:
	// "{{.Dir}}". A value that begins with a dash is refused where the argument does
	// not begin with text of its own, so that nobody's name becomes an option.
	Command []string
	// Env are further variables, "NAME=VALUE"; values may be templates:
	// "GITHUB_TOKEN={{.Props.access_token}}", "REGION={{env \"REGION\"}}". A child has,
	// besides these, PATH and a few like it, and a HOME of its person's own; nothing
	// else of our environment.
	Env []string
	// PassEnv names variables of our environment that children get as they are.
	PassEnv []string
	// Dir is where directories of people are made, one for each, with permissions
	// 0700. A child starts in its person's. Empty is a new directory for temporary files,
	// which Close removes.
	Dir string
	// Scope says who shares a child. The zero value is PerUser.
	Scope Scope
	// Era says how to speak with the program. The zero value finds out.
	Era Era
	// Props is what templates get as Props, from the context of the request that
	// starts the child: oauth.Props[map[string]any](ctx), say. Nil is nothing. It is
	// not asked for a child with the Shared scope, which belongs to no person.
	Props func(context.Context) any
	// Roots lets clients tell the program which folders they work on. The folders are
	// names on the client's machine, but the program takes them for names on this one;
	// @modelcontextprotocol/server-filesystem serves them instead of those in its
	// arguments. Set it only for programs that are known not to.
	Roots bool

	// MaxChildren bounds the children in all, default 100, MaxChildrenPerUser those of
	// one person, default 10. When there is no room the one that has been idle for
	// longest goes; if none is idle, who needs one more gets an error.
	MaxChildren, MaxChildrenPerUser int
	// MaxMemory bounds the resident memory of a child with everything it started, in
	// bytes, default 1 GiB, and MaxProcesses their number, default 64. A child beyond
	// them is ended within half a second. Linux only.
	MaxMemory    int64
	MaxProcesses int
	// MaxMessage bounds one message of the program, in bytes. Default 16 MiB. What is
	// larger ends the child.
	MaxMessage int
	// MaxCalls bounds the requests a child works on at a time, those that wait for an
	// answer of the client included. Default 100. One more is an error at once.
	MaxCalls int
	// StartTimeout is how long a program may take to answer its first request.
	// Default 60 seconds: npx downloads.
	StartTimeout time.Duration
	// IdleAfter is after how long without a call a child goes to sleep. Its memory is
	// lost, its files stay. A resource subscription keeps it awake. Default 10 minutes,
	// negative is never.
	IdleAfter time.Duration
	// AnswerTimeout is how long a program waits for what it asked a person. Default 5
	// minutes.
	AnswerTimeout time.Duration
	// StopGrace is how long a child may take to end when its input ended, and again
	// when it was told to (SIGTERM), before it is killed. Default 2 seconds.
	StopGrace time.Duration
	// MaxBackoff bounds the pause before a program that ends by itself is started
	// again. It begins at nothing, then one second, and doubles. Default 1 minute.
	MaxBackoff time.Duration

	// Guard is the command of a program that calls [Guard]: it ends children and what
	// they started when this process is killed. Empty is none: then on Linux the
	// children themselves still end, elsewhere they see the end of their input.
	Guard []string
	// Working is told of each request that a child is to work on, and with how many it makes
	// now, of all children. It is called by many at once and must not wait. Nil is nobody.
	Working func(requests int)
	// Logger gets what an operator should know, and what programs write to standard
	// error, without the values of templated variables. Nil is slog.Default().
	Logger *slog.Logger
}

// A Server runs the children. It is safe for concurrent use.
type Server struct {
	opts     Options
	recipe   *recipe
	log      *slog.Logger
	forge    *forge
	guardian *guardian
	running  running
	stop     context.CancelFunc
	janitors sync.WaitGroup

	temporary bool         // Dir is ours to remove
	working   atomic.Int64 // requests that children work on

	mu      sync.Mutex
	tenants map[string]*tenant
	places  int // children that run or are about to
	closed  bool
}

// New checks the options and returns a Server. No program is started yet. On Unix it marks
// every descriptor of this process above 2 to be closed in what is started from now on.
func New(o Options) (*Server, error) {
	r, err := parseRecipe(&o)
	if err != nil {
		return nil, err
	}
	orDefault(&o.MaxChildren, 100)
	orDefault(&o.MaxChildrenPerUser, 10)
	orDefault(&o.MaxMemory, 1<<30)
	orDefault(&o.MaxProcesses, 64)
	orDefault(&o.MaxMessage, 16<<20)
	orDefault(&o.MaxCalls, 100)
	orDefault(&o.StartTimeout, time.Minute)
	orDefault(&o.IdleAfter, 10*time.Minute)
	orDefault(&o.AnswerTimeout, 5*time.Minute)
	orDefault(&o.StopGrace, 2*time.Second)
	orDefault(&o.MaxBackoff, time.Minute)
	if o.Working == nil {
		o.Working = func(int) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Props == nil || o.Scope == Shared {
		o.Props = func(context.Context) any { return map[string]any{} }
	}
	if o.Scope == Shared {
		// What it needs of a person is missing now as well as later.
		if _, err := r.prepare(Data{Dir: os.TempDir(), Props: map[string]any{}}); err != nil {
			return nil, fmt.Errorf("%w (a shared child belongs to no person)", err)
		}
	}
	if r.argv[0].text, err = findProgram(o.Command[0]); err != nil {
		return nil, err
	}
	temporary := o.Dir == ""
	if temporary {
		// In a place that others can write to, so it must be new.
		if o.Dir, err = os.MkdirTemp("", "causeway-expose-"); err != nil {
			return nil, fmt.Errorf("expose: making a directory: %w", err)
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("expose: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("expose: making the directory: %w", err)
	}
	keepDescriptors()
	s := &Server{opts: o, recipe: r, log: o.Logger, forge: newForge(), tenants: make(map[string]*tenant), temporary: temporary}
	s.guardian = startGuard(o.Guard, o.Logger)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.janitors.Go(func() { s.watchUsage(ctx) })
	s.janitors.Go(func() { s.putToSleep(ctx) })
	return s, nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// name is what sessions in the store call the server; see mcphttp.
const name = "causeway-expose"

// Server gives the server for a request: one for every person. It is what
// causeway.MountHandler and mcphttp.NewHandler take.
func (s *Server) Server(r *http.Request) *mcp.Server {
	user := ""
	if t := auth.TokenInfoFromContext(r.Context()); t != nil && s.opts.Scope != Shared {
		user = t.UserID
	}
	t := s.tenant(user)
	if t == nil {
		return nil
	}
	switch r.Method {
	case http.MethodGet:
		t.hold(r.Context())
	case http.MethodDelete:
		// The session belongs to this person if it is among theirs.
		t.endSession(r.Header.Get("Mcp-Session-Id"))
	}
	return t.server
}

func (s *Server) tenant(user string) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	t := s.tenants[user]
	if t == nil {
		t = newTenant(s, user)
		s.tenants[user] = t
	}
	t.touch()
	return t
}

// Close ends all children, politely at first, and returns when nothing of them is
// left, or, with an error, when ctx ends; then they have been killed. Shut down what
// serves requests before.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.janitors.Wait()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A child that was being started when we closed comes late.
		for all := s.running.list(); len(all) > 0; all = s.running.list() {
			var wg sync.WaitGroup
			for _, p := range all {
				wg.Go(func() { p.stop(s.opts.StopGrace) })
			}
			wg.Wait()
		}
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("expose: programs were killed: %w", context.Cause(ctx))
		for _, p := range s.running.list() {
			p.kill()
		}
		<-done
	}
	s.guardian.close()
	s.forge.close()
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.opts.Dir))
	}
	return err
}

var errClosed = errors.New("the server is shutting down")

var errTooMany = errors.New("too many sessions of one person run programs: end some of them")

// place makes room for one more child.
func (s *Server) place() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if s.places < s.opts.MaxChildren {
		s.places++
		s.mu.Unlock()
		return nil
	}
	tenants := make([]*tenant, 0, len(s.tenants))
	for _, t := range s.tenants {
		tenants = append(tenants, t)
	}
	s.mu.Unlock()
	var oldest *slot
	for _, t := range tenants {
		if sl := t.idlest(); sl != nil && (oldest == nil || sl.lastUse().Before(oldest.lastUse())) {
			oldest = sl
		}
	}
	if oldest == nil || !oldest.sleep(0) {
		return fmt.Errorf("all %d programs that may run at a time are busy: try again later", s.opts.MaxChildren)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places >= s.opts.MaxChildren {
		return fmt.Errorf("all %d programs that may run at a time are busy: try again later", s.opts.MaxChildren)
	}
	s.places++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places--
}

// tenantLinger is how long the server of a person without a child is kept.
const tenantLinger = time.Hour

// putToSleep ends children that nobody uses, from time to time.
func (s *Server) putToSleep(ctx context.Context) {
	every := 30 * time.Second
	if s.opts.IdleAfter > 0 {
		every = min(every, max(s.opts.IdleAfter/4, 20*time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		tenants := make([]*tenant, 0, len(s.tenants))
		for user, t := range s.tenants {
			if t.isForgettable(tenantLinger) {
				delete(s.tenants, user)
				continue
			}
			tenants = append(tenants, t)
		}
		s.mu.Unlock()
		for _, t := range tenants {
			for _, sl := range t.all() {
				if s.opts.IdleAfter > 0 {
					sl.sleep(s.opts.IdleAfter)
				}
			}
			t.dropEmpty()
		}
	}
}
