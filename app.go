package causeway

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// DefaultAddr is where an App listens unless told otherwise: on this machine only.
const DefaultAddr = "127.0.0.1:8787"

// Bounds of the HTTP server. Bodies, streams and calls have their own, in
// mcphttp.Options.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	defaultDrain      = 10 * time.Second
	closeTime         = 5 * time.Second // after the drain, for closing what the App keeps things in
	http2WriteTimeout = 10 * time.Second
)

// An App is a program that serves MCP servers. Its zero value is ready to mount
// them. Fields are set before [App.Run], [App.Main] or [App.Handler] is called and
// left alone afterwards; for those that have a flag they are the default of it.
type App struct {
	// Addr is the TCP address to listen on, "host:port"; port 0 takes a free one.
	// Empty is [DefaultAddr]. Flag -addr.
	Addr string

	// TLSCert and TLSKey are files, PEM, of a certificate with those that vouch for it and of
	// its private key. With them the App serves HTTPS alone, HTTP/1.1 and HTTP/2 from TLS 1.2
	// on, and its URLs begin with https. Files that change are read again within two seconds;
	// if they make no sense then, the old ones stay and the log says why. Both empty is plain
	// HTTP, for loopback or behind a proxy. They are not for [App.Handler]. Flags -tls-cert
	// and -tls-key.
	TLSCert, TLSKey string

	// AllowAnonymous lets an App without sign-in listen on an address that others
	// can reach. Without it Run refuses to start there. Flag -allow-anonymous.
	AllowAnonymous bool

	// AllowedOrigins are the web origins whose pages may call the servers from a
	// browser, see [mcphttp.Options]. Flag -allow-origin, separated by commas.
	AllowedOrigins []string

	// AllowedHosts are further names the Host header may have while the App listens
	// on loopback, for a reverse proxy on the same machine that passes the public
	// name on. Flag -allow-host, separated by commas.
	AllowedHosts []string

	// Data is the directory in which sessions, tasks and the objects of agents are
	// kept, made if it is not there. It belongs to one process at a time. Empty is
	// .causeway/NAME in the working directory for [App.Run] and [App.Main], where NAME
	// is the program's, and memory for [App.Handler] alone. Flag -data.
	Data string
	// DefaultData names the directory that Run uses if nobody says one, from the
	// address it is to listen on; empty is memory. Nil is .causeway/NAME.
	DefaultData func(addr string) string
	// Store says the same in general: "file:DIR", or "memory" for nothing that
	// outlives the process. Flag -store.
	Store string
	// Engine, if not nil, keeps everything instead. It is not closed by the App.
	Engine store.Engine
	// Secret signs handles and seals rounds of questions: at least 32 random bytes.
	// Nil is a file secret.key in Data, made at the first start. Several processes
	// that serve the same data need the same.
	Secret []byte

	// SignIn, if not nil, lets only signed-in people use the mounts, except those whose
	// Options say AllowAnonymous. What it leaves open is filled in: Records and Keys are
	// the App's, each mount that Resources do not name becomes one of them, and on
	// loopback Issuer is the address that is listened on. (Elsewhere it must be set: it
	// is never guessed from a request.)
	SignIn *oauth.Provider

	// Guard, if not nil, protects the mounts instead of SignIn, where the authorization
	// server is elsewhere: Protect of an [oauth.ResourceServer], whose Resources name them,
	// or any middleware that puts the SDK's auth.TokenInfo into requests. It sees every
	// request, also those for what is not a mount.
	Guard func(next http.Handler) (http.Handler, error)

	// Drain bounds how long Run waits for requests that are being worked on when it
	// is told to stop. Zero is 10 seconds. What is not done by then is cut.
	Drain time.Duration

	// Logger gets what an operator should know. Nil is slog.Default().
	Logger *slog.Logger

	// Flags are flags of the program's own. Run adds its flags to them and parses
	// all of them, from command line, environment and settings file alike. Nil is a
	// set of Run's own.
	Flags *flag.FlagSet

	// Prepare, if not nil, is called by Run and Main once all flags are known and before
	// anything is opened or listened on: here a program uses flags of its own, and may
	// still mount servers and set fields. Its error is one of the settings.
	Prepare func() error

	// Ready is called once, when the address is bound, with the base URL of the App
	// ("http://127.0.0.1:8787"). Nil prints the URL of every mount on standard
	// output.
	Ready func(base string)

	mux      *http.ServeMux
	mounts   []*mount
	opening  sync.Once
	openErr  error
	storage  *storage
	holdings *holdings
	root     http.Handler // the mux, behind sign-in where there is one
	base     string       // the address that is listened on, as a URL, if it is loopback

	certificate *certificate // nil for plain HTTP
}

// A MountHandler is an MCP server to be mounted with [App.Mount]; [Server] makes
// one.
type MountHandler struct {
	// Server gives the server for a request, as for mcphttp.NewHandler.
	Server func(*http.Request) *mcp.Server

	// Options of the wire. Logger, AllowedOrigins, AllowedHosts and AllowAnonymous
	// are the App's where they are not set.
	Options mcphttp.Options

	// SSEPath, if not empty, is a second path, for the HTTP+SSE pair of 2024-11-05
	// alone. The mount's own path serves that as well; some old clients insist on
	// /sse.
	SSEPath string

	agents []func(*storage) error
	only   *mcp.Server // what Server gives for every request, if that is known
}

// Server is s, unmodified, for [App.Mount].
func Server(s *mcp.Server) MountHandler {
	if s == nil {
		panic("causeway: Server(nil)")
	}
	return MountHandler{Server: func(*http.Request) *mcp.Server { return s }, only: s}
}

// mount is where a server is mounted. The wire handler is made when settings are
// known.
type mount struct {
	MountHandler
	path    string
	handler *mcphttp.Handler
	serve   http.Handler
	sse     http.Handler
}

// Mount serves h at path, which starts with a slash and has no pattern in it. Like
// http.ServeMux it panics when the path is malformed or taken.
func (a *App) Mount(path string, h MountHandler) {
	if h.Server == nil {
		panic("causeway: Mount at " + path + " of a MountHandler without Server")
	}
	m := &mount{MountHandler: h, path: path}
	a.handlePath(path, func(w http.ResponseWriter, r *http.Request) { m.serve.ServeHTTP(w, r) })
	if h.SSEPath != "" {
		a.handlePath(h.SSEPath, func(w http.ResponseWriter, r *http.Request) { m.sse.ServeHTTP(w, r) })
	}
	a.mounts = append(a.mounts, m)
}

func (a *App) handlePath(path string, h http.HandlerFunc) {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{} ") {
		panic(fmt.Sprintf("causeway: mount path %q: want a plain path that starts with a slash", path))
	}
	a.Handle(path, h)
}

// Handle serves h, any http.Handler, for a pattern of http.ServeMux beside the MCP
// servers: pages, webhooks, health checks. It is not behind the checks that mounts
// have.
func (a *App) Handle(pattern string, h http.Handler) {
	if a.mux == nil {
		a.mux = http.NewServeMux()
	}
	a.mux.Handle(pattern, h)
}

// Handler is the App as an http.Handler, for a program that has an http.Server of
// its own. Call [App.Shutdown] before that server's Shutdown.
//
// If what the App keeps things in cannot be opened, every request is answered with
// 503; call [App.Open] before to find out why.
func (a *App) Handler() http.Handler {
	if err := a.Open(); err != nil {
		a.logger().Error("the App cannot be served", "error", err)
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the server cannot be served at the moment; its log says why", http.StatusServiceUnavailable)
		})
	}
	return a.root
}

// Open opens what the App keeps things in and makes its mounts ready; alarms and
// queues of its agents begin to run. Run, Main and Handler do it themselves.
// [App.Shutdown] closes it again.
func (a *App) Open() error {
	a.opening.Do(func() {
		if a.storage, a.openErr = openStorage(a); a.openErr != nil {
			return
		}
		if a.openErr = a.buildMounts(); a.openErr == nil {
			a.openErr = a.resume()
		}
		if a.openErr != nil {
			a.openErr = errors.Join(a.openErr, a.storage.close(context.Background()))
		}
	})
	return a.openErr
}

// resume goes on with what an earlier process has left: those who are to hear of what
// alarms do are there before the alarms.
func (a *App) resume() error {
	ctx := context.WithValue(context.Background(), storageKey{}, a.storage)
	for _, m := range a.mounts {
		var servers []*mcp.Server
		if m.only != nil {
			servers = append(servers, m.only)
		}
		if err := m.handler.Restore(ctx, servers...); err != nil {
			return fmt.Errorf("%s: taking up what was left: %w", m.path, err)
		}
	}
	if err := a.storage.objects.Start(context.Background()); err != nil {
		return err
	}
	a.storage.background(a.sweepSessions)
	return nil
}

// alsoWhenEnded calls what the author of a mount wants to know before what they kept is gone.
func alsoWhenEnded(theirs, ours func(context.Context, string)) func(context.Context, string) {
	if theirs == nil {
		return ours
	}
	return func(ctx context.Context, session string) { theirs(ctx, session); ours(ctx, session) }
}

func (a *App) buildMounts() error {
	if a.mux == nil {
		a.mux = http.NewServeMux()
	}
	for _, m := range a.mounts {
		for _, register := range m.agents {
			if err := register(a.storage); err != nil {
				return err
			}
		}
		o := m.Options
		if o.Records == nil {
			o.Records = store.Namespace(a.storage.engine, mountPrefix+m.path+"|")
		}
		if o.Secret == nil {
			o.Secret = a.storage.secret
		}
		o.SessionEnded = alsoWhenEnded(o.SessionEnded, a.storage.sessionEnded)
		if o.Logger == nil {
			o.Logger = a.logger()
		}
		if o.AllowedOrigins == nil {
			o.AllowedOrigins = a.AllowedOrigins
		}
		if o.AllowedHosts == nil {
			o.AllowedHosts = a.AllowedHosts
		}
		o.AllowAnonymous = o.AllowAnonymous || a.AllowAnonymous
		m.handler = mcphttp.NewHandler(m.Server, &o)
		m.serve = withStorage(a.storage, m.handler)
		m.sse = withStorage(a.storage, m.handler.SSE())
	}
	var err error
	switch {
	case a.SignIn != nil && a.Guard != nil:
		return settingsError{errors.New("SignIn and Guard are both set: people sign in here, or elsewhere")}
	case a.SignIn != nil:
		a.root, err = a.protect()
	case a.Guard != nil:
		a.root, err = a.Guard(a.mux)
	default:
		a.root = a.mux
	}
	if err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	return nil
}

// protect puts sign-in in front of the mounts.
func (a *App) protect() (http.Handler, error) {
	p := *a.SignIn
	ctx, stop := context.WithCancel(context.Background()) // what sign-in does by itself ends with the storage
	a.storage.stops = append(a.storage.stops, stop)
	if p.Records == nil && p.Keys == nil && a.storage.dir != "" {
		p.Records = store.Namespace(a.storage.engine, "oauth|")
		keys, err := oauth.OpenKeyFile(ctx, filepath.Join(a.storage.dir, "signin.key"), p.Records)
		if err != nil {
			return nil, err
		}
		p.Keys = keys
	}
	p.Resources = a.resources(p.Resources)
	if p.Issuer == "" {
		p.Issuer = a.base
	}
	if p.Issuer == "" {
		return nil, settingsError{fmt.Errorf("SignIn.Issuer is not set: it is the URL under which clients reach this server, such as https://mcp.example.com, and is guessed on loopback only (%s is not)", a.Addr)}
	}
	if err := a.checkIssuer(p.Issuer); err != nil {
		return nil, settingsError{err}
	}
	if p.AllowedOrigins == nil {
		p.AllowedOrigins = a.AllowedOrigins
	}
	if p.Holdings == nil {
		h, err := newHoldings(a, p.Issuer, p.Resources)
		if err != nil {
			return nil, err
		}
		p.Holdings, a.holdings = h, h
	}
	if p.Logger == nil {
		p.Logger = a.logger()
	}
	streams := &signedInStreams{next: a.mux}
	srv, err := p.Protect(ctx, streams)
	if err != nil {
		return nil, err
	}
	streams.validator = srv
	return srv, nil
}

// checkIssuer refuses an issuer that cannot be true where TLS is served.
func (a *App) checkIssuer(issuer string) error {
	if a.certificate == nil {
		return nil
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil // Protect says what is wrong
	}
	if u.Scheme == "http" {
		return fmt.Errorf("the issuer %s is not https, and with -tls-cert nothing else is served: say https, or leave the issuer out on loopback", issuer)
	}
	a.certificate.host = u.Hostname()
	return nil
}

// resources are those given and every mount that is none of them: what is mounted is
// never left open by an omission. The path of the old transport is the same server, and
// needs what that needs.
func (a *App) resources(given []oauth.Resource) []oauth.Resource {
	all := slices.Clone(given)
	covering := func(path string) int {
		return slices.IndexFunc(all, func(r oauth.Resource) bool {
			return r.Path != "" && (r.Path == path || strings.HasPrefix(path, strings.TrimSuffix(r.Path, "/")+"/"))
		})
	}
	for _, m := range a.mounts {
		if m.Options.AllowAnonymous {
			continue
		}
		if covering(m.path) < 0 {
			all = append(all, oauth.Resource{Path: m.path, Default: len(all) == 0})
		}
		if m.SSEPath != "" && covering(m.SSEPath) < 0 {
			same := all[covering(m.path)]
			same.Path, same.ID, same.Default = m.SSEPath, "", false
			all = append(all, same)
		}
	}
	return all
}

// Shutdown drains the mounted servers: streams end with a hint to reconnect, calls
// being worked on may finish until ctx ends. Then it closes what the App keeps things
// in. Run does this by itself. An App that was shut down stays so.
func (a *App) Shutdown(ctx context.Context) error {
	if err := a.Open(); err != nil {
		return err
	}
	errs := make([]error, len(a.mounts))
	var wg sync.WaitGroup
	for i, m := range a.mounts {
		wg.Go(func() {
			if err := m.handler.Shutdown(ctx); err != nil {
				errs[i] = fmt.Errorf("draining %s: %w", m.path, err)
			}
		})
	}
	wg.Wait()
	// A drain that took all its time is no reason to leave the databases as a crash would.
	closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTime, cancel) })()
	return errors.Join(append(errs, a.storage.close(closing))...)
}

// Main runs the App with the process's flags until SIGINT or SIGTERM, then drains
// it; a second signal ends the process at once. It does not return: it exits with 0
// after a drain, with 1 after a failure and with 2 when a setting makes no sense,
// having said why on standard error.
//
// The process is the App's own: unless GOGC or GOMEMLIMIT is set, its heap may grow to
// 32 MiB before garbage is collected, and to twice of what is alive beyond that.
func (a *App) Main() {
	keepHeapFloor(heapFloor)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(exitCode(a.Run(ctx, os.Args[1:]), filepath.Base(os.Args[0]), os.Stderr))
}

// A settingsError is a mistake of whoever started the program.
type settingsError struct{ error }

func (e settingsError) Unwrap() error { return e.error }

// ExitCode is how a program ends that runs an App and does not leave it to Main.
func (e settingsError) ExitCode() int { return 2 }

func exitCode(err error, program string, stderr io.Writer) int {
	var bad settingsError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &bad):
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return 2
	default:
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return 1
	}
}

// Run serves the App until ctx ends, then drains it and returns nil; requests that
// outlast the drain are cut and logged.
//
// Args are the program's arguments without its name. Flags are
//
//	-addr HOST:PORT       where to listen, default 127.0.0.1:8787
//	-data DIR             where to keep things, default .causeway/NAME
//	-store file:DIR       the same; or "memory" for nothing that outlives the process
//	-tls-cert FILE        the certificate to serve HTTPS with, and
//	-tls-key FILE         its key
//	-allow-anonymous      serve without sign-in where others can reach it
//	-allow-origin LIST    web origins whose pages may call the servers
//	-allow-host LIST      further names the Host header may have on loopback
//	-config FILE          a settings file; default causeway.json, if it is there
//
// and those of [App.Flags]. A flag on the command line wins over the environment
// (CAUSEWAY_ADDR for -addr, CAUSEWAY_ALLOW_ORIGIN for -allow-origin), that over the
// settings file, a JSON object of flag names ({"addr": "127.0.0.1:9000"}), and that
// over the App's fields. Anything unknown is an error, and nothing is served.
func (a *App) Run(ctx context.Context, args []string) error {
	if err := a.configure(args); err != nil {
		return err
	}
	if a.Prepare != nil {
		if err := a.Prepare(); err != nil {
			return settingsError{err}
		}
	}
	var err error
	if a.certificate, err = openCertificate(a.TLSCert, a.TLSKey, a.logger()); err != nil {
		return settingsError{err}
	}
	ln, err := a.listen(ctx)
	if err != nil {
		return err
	}
	if err := a.Open(); err != nil {
		ln.Close()
		return err
	}
	return a.serve(ctx, ln)
}

func (a *App) configure(args []string) error {
	set := a.Flags
	if set == nil {
		set = flag.NewFlagSet(filepath.Base(os.Args[0]), flag.ContinueOnError)
	}
	if a.Addr == "" {
		a.Addr = DefaultAddr
	}
	set.StringVar(&a.Addr, "addr", a.Addr, "`host:port` to listen on; port 0 takes a free one")
	set.StringVar(&a.Data, "data", a.Data, "`directory` to keep sessions and state in (default "+defaultData(set.Name())+")")
	set.StringVar(&a.Store, "store", a.Store, "`where` to keep things: file:DIR, or memory for nothing that outlives the process")
	set.StringVar(&a.TLSCert, "tls-cert", a.TLSCert, "PEM `file` of the certificate to serve HTTPS with, then those that vouch for it; read again when it changes")
	set.StringVar(&a.TLSKey, "tls-key", a.TLSKey, "PEM `file` of its private key")
	set.BoolVar(&a.AllowAnonymous, "allow-anonymous", a.AllowAnonymous, "serve without sign-in where others can reach it")
	set.Var((*list)(&a.AllowedOrigins), "allow-origin", "web origins, separated by commas, whose pages may call the servers")
	set.Var((*list)(&a.AllowedHosts), "allow-host", "further names, separated by commas, the Host header may have on loopback")
	set.String(settingsFlag, "", "settings `file`, a JSON object of flag names (default "+settingsFile+", if it is there)")

	help := set.Output()
	set.SetOutput(io.Discard) // errors are returned, and told once
	err := parseSettings(set, args, os.LookupEnv)
	set.SetOutput(help)
	if errors.Is(err, flag.ErrHelp) {
		if set.Name() != "" {
			fmt.Fprintf(help, "Usage of %s:\n", set.Name())
		}
		set.PrintDefaults()
		return err
	}
	if err != nil {
		return settingsError{err}
	}
	switch {
	case a.Data != "" || a.Store != "" || a.Engine != nil:
	case a.DefaultData != nil:
		a.Data = a.DefaultData(a.Addr)
	default:
		a.Data = defaultData(set.Name())
	}
	return nil
}

// defaultData is where the program of that name keeps things if nobody says.
func defaultData(program string) string {
	words := strings.Fields(program)
	name := "app"
	if len(words) > 0 {
		name = filepath.Base(words[len(words)-1])
	}
	return filepath.Join(".causeway", strings.TrimSuffix(name, ".exe"))
}

// listen binds the address, or says what is wrong with it and what to do.
func (a *App) listen(ctx context.Context) (net.Listener, error) {
	_, port, err := net.SplitHostPort(a.Addr)
	if err != nil {
		return nil, settingsError{fmt.Errorf("-addr %q: want host:port, such as %s", a.Addr, DefaultAddr)}
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 0 || n > 65535) {
		return nil, settingsError{fmt.Errorf("-addr %q: there is no port %s: from 1 to 65535, or 0 for any free one", a.Addr, port)}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", a.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("cannot listen on %s: another program does already; stop it, or take another port with -addr (port 0 is any free one): %w", a.Addr, err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("cannot listen on %s: %w: ports below 1024 are for privileged programs; take another with -addr, or allow it (on Linux: setcap cap_net_bind_service=+ep PROGRAM, or AmbientCapabilities=CAP_NET_BIND_SERVICE in a unit of systemd)", a.Addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", a.Addr, err)
	}
	if isLoopback(ln.Addr()) {
		a.base = a.url(ln)
	}
	if !isLoopback(ln.Addr()) && a.SignIn == nil && a.Guard == nil && !a.AllowAnonymous && !a.everyMountIsOpen() {
		ln.Close()
		return nil, settingsError{fmt.Errorf("refusing to serve without sign-in on %s, which others can reach: listen on loopback (-addr %s), or say -allow-anonymous if everyone may call these tools", ln.Addr(), DefaultAddr)}
	}
	return ln, nil
}

// url is the listener's address as a URL.
func (a *App) url(ln net.Listener) string {
	if a.certificate != nil {
		return a.certificate.url(ln.Addr()).String()
	}
	return "http://" + ln.Addr().String()
}

// everyMountIsOpen reports whether the author said of each server that everyone may
// call it.
func (a *App) everyMountIsOpen() bool {
	for _, m := range a.mounts {
		if !m.Options.AllowAnonymous {
			return false
		}
	}
	return true
}

func isLoopback(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func (a *App) serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(quietHandshakes{a.logger().Handler()}, slog.LevelWarn),
	}
	accept := srv.Serve
	if a.certificate != nil {
		// A client that does not read holds up all streams of its connection.
		srv.HTTP2 = &http.HTTP2Config{WriteByteTimeout: http2WriteTimeout}
		srv.TLSConfig = a.certificate.config()
		accept = func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") }
		watching, stop := context.WithCancel(ctx)
		defer stop()
		a.checkCertificate(ln)
		go a.certificate.watch(watching)
	}
	failed := make(chan error, 1)
	go func() { failed <- accept(ln) }()
	a.announce(a.url(ln))

	select {
	case err := <-failed:
		return fmt.Errorf("serving %s: %w", ln.Addr(), err)
	case <-a.storage.failed:
		// What was acknowledged is kept, and nothing more can be: a new process may find
		// the disk in order again.
		a.drain(srv)
		return errors.New("the disk under the data directory has failed; the log says how. Start again when it is in order")
	case <-ctx.Done():
		a.drain(srv)
		return nil
	}
}

// checkCertificate warns if clients will not like the certificate, as far as it is known
// under which name they come.
func (a *App) checkCertificate(ln net.Listener) {
	host := a.certificate.host
	if host == "" && isLoopback(ln.Addr()) && len(a.AllowedHosts) == 0 {
		host = a.certificate.url(ln.Addr()).Hostname()
	}
	a.certificate.isFor(host)
}

// quietHandshakes takes the warning out of what the HTTP server says of failed handshakes:
// everybody who looks for open ports causes one.
type quietHandshakes struct{ slog.Handler }

func (q quietHandshakes) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "TLS handshake error") {
		r.Level = slog.LevelDebug
		if !q.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return q.Handler.Handle(ctx, r)
}

// drain ends streams with a hint to reconnect, lets calls finish, and cuts what is
// left when the time is up. The servers drain while the listener closes, so that
// nobody reconnects to a process that is going away.
func (a *App) drain(srv *http.Server) {
	limit := a.Drain
	if limit == 0 {
		limit = defaultDrain
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- a.Shutdown(ctx) }()
	err := errors.Join(srv.Shutdown(ctx), <-drained)
	if err != nil {
		a.logger().Warn("requests were cut: they outlasted the drain", "limit", limit, "err", err)
		srv.Close()
	}
}

func (a *App) announce(base string) {
	if a.Ready != nil {
		a.Ready(base)
		return
	}
	for _, m := range a.mounts {
		fmt.Printf("MCP server at %s%s\n", base, m.path)
	}
}

func (a *App) logger() *slog.Logger {
	if a.Logger != nil {
		return a.Logger
	}
	return slog.Default()
}
