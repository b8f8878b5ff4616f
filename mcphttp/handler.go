package mcphttp

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A Handler serves an MCP server over HTTP in every protocol era. It is made by
// [NewHandler] and safe for concurrent use.
type Handler struct {
	getServer func(*http.Request) *mcp.Server
	opts      Options
	log       *slog.Logger

	rounds      *sealer
	askAsLegacy map[string]bool
	anyOrigin   bool
	origins     map[string]bool

	census   census
	mounted  sync.Map // *host → *sync.Once, done when it is
	sweepMu  sync.Mutex
	sweeping map[*host]bool
	streams  atomic.Int64 // open event streams and WebSockets
	nonces   atomic.Uint64
	prefix   string // makes stream names of this process unlike another's
	links    links
	conns    connSessions
	watch    watch
	tasks    taskBoard
	base     atomic.Pointer[baseContext]

	draining  chan struct{}
	drainOnce sync.Once
	calls     sync.WaitGroup
	callsMu   sync.Mutex // orders calls.Add against the Wait of Shutdown

	configErr error
	ballast   []byte
}

// NewHandler returns a handler that serves, for each request, the server that
// getServer returns for it: the signature of the SDK's own NewStreamableHTTPHandler.
// A nil server is answered with 404. Nil options are the zero value.
//
// The server is used as it is, with its middleware, its handlers and its
// features. The first request captures its chain of receiving middleware:
// middleware that is added later is not run for requests served here. Features
// may be added and removed at any time. The same server may be served by several
// handlers, and by the SDK's own transports beside them.
//
// getServer is asked for every request, so it should return the same server for
// requests that belong together. A server made anew per request keeps no state
// between them; what differs from user to user belongs in middleware or in
// objects. Options.ConnectionPerSession hosts servers that are made per session.
func NewHandler(getServer func(*http.Request) *mcp.Server, opts *Options) *Handler {
	h := &Handler{getServer: getServer, opts: opts.withDefaults(), draining: make(chan struct{}), prefix: rand.Text()[:8], ballast: ballast()}
	h.log = h.opts.Logger
	h.watch.grain = grainOf(h.opts.StreamAfter, h.opts.KeepAlive, h.opts.CallTimeout, h.opts.ReadTimeout, h.opts.WriteTimeout)
	h.tasks.init(h)
	h.rounds, h.configErr = newSealer(h.opts.Secret, "request state")
	if getServer == nil {
		h.configErr = errors.New("mcphttp: NewHandler needs a function that returns the server")
	}
	h.askAsLegacy = make(map[string]bool)
	for _, t := range h.opts.AskAsLegacy {
		h.askAsLegacy[t] = true
	}
	h.origins = make(map[string]bool)
	for _, o := range h.opts.AllowedOrigins {
		h.anyOrigin = h.anyOrigin || o == "*"
		h.origins[strings.ToLower(strings.TrimSuffix(o, "/"))] = true
	}
	return h
}

// nonce makes stream names unique.
func (h *Handler) nonce() string {
	n := h.nonces.Add(1)
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b [13]byte
	i := len(b)
	for ; n > 0; n /= 36 {
		i--
		b[i] = digits[n%36]
	}
	return h.prefix + string(b[i:])
}

// ServeHTTP serves one request of any era.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, ok := h.accept(w, r)
	if !ok {
		return
	}
	if h.opts.ConnectionPerSession {
		h.serveConnected(w, r)
		return
	}
	switch r.Method {
	case http.MethodPost:
		h.servePost(w, r, host)
	case http.MethodGet:
		h.serveGet(w, r, host)
	case http.MethodDelete:
		h.serveDelete(w, r, host)
	default:
		notAllowed(w, "GET, POST, DELETE, OPTIONS")
	}
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, "method not allowed: this MCP endpoint takes "+allow, http.StatusMethodNotAllowed)
}

// accept decides about everything that does not depend on the message: who may
// talk to us at all.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request) (*host, bool) {
	if h.configErr != nil {
		h.log.Error("the MCP handler is misconfigured", "error", h.configErr)
		http.Error(w, "the server is misconfigured; its log says how", http.StatusInternalServerError)
		return nil, false
	}
	if !h.originAllowed(w, r) {
		return nil, false
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent) // the preflight's headers are set
		return nil, false
	}
	if !h.hostAllowed(r) {
		writeError(w, http.StatusForbidden, nil, wireError(jsonrpc.CodeInvalidRequest,
			"Host %q is not a name of this server: it listens on loopback (Options.AllowedHosts adds names)", r.Host))
		return nil, false
	}
	if !h.opts.AllowAnonymous && auth.TokenInfoFromContext(r.Context()) == nil && isPublic(r) {
		writeError(w, http.StatusUnauthorized, nil, wireError(jsonrpc.CodeInvalidRequest,
			"this server has no sign-in and is not declared to be open to everyone (Options.AllowAnonymous)"))
		return nil, false
	}
	select {
	case <-h.draining:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the server is shutting down; try again", http.StatusServiceUnavailable)
		return nil, false
	default:
	}
	s := h.getServer(r)
	if s == nil {
		http.Error(w, "no MCP server here", http.StatusNotFound)
		return nil, false
	}
	if h.opts.ConnectionPerSession {
		return nil, true
	}
	host, err := hostOf(s)
	if err != nil {
		h.log.Error("the MCP server cannot be hosted", "error", err)
		http.Error(w, "the MCP server cannot be hosted; the log says why", http.StatusInternalServerError)
		return nil, false
	}
	if err := h.mount(context.Background(), host); err != nil {
		h.log.Error("not all sessions are told of what happens until their clients are back", "error", err)
	}
	return host, true
}

// mount makes host and handler known to each other at the first request, or before it
// ([Handler.Restore]). The error is for who was first.
func (h *Handler) mount(ctx context.Context, host *host) (err error) {
	once, known := h.mounted.Load(host)
	if !known {
		once, _ = h.mounted.LoadOrStore(host, new(sync.Once))
	}
	once.(*sync.Once).Do(func() {
		host.mount(h)
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		err = h.wakeSessions(ctx, host)
	})
	return err
}

// originAllowed refuses foreign web pages, and lets allowed ones see the answer
// (CORS). Host has no say in it: a page that rebinds its name to our address has
// a matching one.
func (h *Handler) originAllowed(w http.ResponseWriter, r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 || !h.isAllowedOrigin(r, origins[0]) {
		writeError(w, http.StatusForbidden, nil, wireError(jsonrpc.CodeInvalidRequest, "Origin: pages of this origin may not call this server (Options.AllowedOrigins)"))
		return false
	}
	hd := w.Header()
	hd.Set("Access-Control-Allow-Origin", origins[0])
	hd.Add("Vary", "Origin")
	hd.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, DPoP-Nonce")
	if r.Method == http.MethodOptions {
		hd.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
		hd.Set("Access-Control-Max-Age", "600")
		allow := "Authorization, DPoP, Content-Type, Accept, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Last-Event-ID"
		for _, name := range strings.Split(r.Header.Get("Access-Control-Request-Headers"), ",") {
			if name = strings.TrimSpace(name); len(name) > 10 && strings.EqualFold(name[:10], "mcp-param-") && isToken(name) {
				allow += ", " + name
			}
		}
		hd.Set("Access-Control-Allow-Headers", allow)
	}
	return true
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != ""
}

func (h *Handler) isAllowedOrigin(r *http.Request, origin string) bool {
	if h.anyOrigin || h.origins[strings.ToLower(origin)] {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return false
	}
	return isLoopbackName(u.Hostname()) && !isPublic(r)
}

// hostAllowed guards a server on loopback against pages whose name an attacker
// points at 127.0.0.1.
func (h *Handler) hostAllowed(r *http.Request) bool {
	if isPublic(r) || localAddr(r) == nil {
		return true
	}
	name := r.Host
	if n, _, err := net.SplitHostPort(name); err == nil {
		name = n
	}
	name = strings.Trim(name, "[]")
	return isLoopbackName(name) || slices.ContainsFunc(h.opts.AllowedHosts, func(a string) bool { return strings.EqualFold(a, name) })
}

func isLoopbackName(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

func localAddr(r *http.Request) net.Addr {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return a
}

// isPublic tells whether the request came in on an address that others than this
// machine can reach. Without a network (tests) it did not.
func isPublic(r *http.Request) bool {
	switch a := localAddr(r).(type) {
	case *net.TCPAddr:
		return !a.IP.IsLoopback()
	case nil, *net.UnixAddr:
		return false
	default:
		return a.Network() != "pipe"
	}
}

// userOf is the user a request is made for, "" for nobody.
func userOf(r *http.Request) string {
	if t := auth.TokenInfoFromContext(r.Context()); t != nil {
		return t.UserID
	}
	return ""
}

// clientOf is the client that a request's token was given to, "" where sign-in says of
// none (the claim of RFC 9068 §2.2 and RFC 7662 §2.2).
func clientOf(ctx context.Context) string {
	if t := auth.TokenInfoFromContext(ctx); t != nil {
		client, _ := t.Extra["client_id"].(string)
		return client
	}
	return ""
}

func extraOf(r *http.Request) *mcp.RequestExtra {
	return &mcp.RequestExtra{TokenInfo: auth.TokenInfoFromContext(r.Context()), Header: r.Header}
}

// readBody reads a POST's message.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if !isJSON(r.Header["Content-Type"]) {
		writeError(w, http.StatusUnsupportedMediaType, nil, wireError(jsonrpc.CodeInvalidRequest, "Content-Type: must be application/json"))
		return nil, false
	}
	if jsonOK, eventsOK := accepts(r.Header["Accept"]); !jsonOK || !eventsOK {
		writeError(w, http.StatusNotAcceptable, nil, wireError(jsonrpc.CodeInvalidRequest, "Accept: must list application/json and text/event-stream"))
		return nil, false
	}
	if r.ContentLength > h.opts.MaxBody {
		h.tooLarge(w)
		return nil, false
	}
	// The header is only a claim: room for a large body is made as it arrives, and
	// it must arrive in time.
	size := int64(512)
	if r.ContentLength > 0 {
		size = min(r.ContentLength+1, 64<<10)
	}
	buf := make([]byte, 0, size)
	defer h.watch.done(h.watch.start(&transfer{rc: http.NewResponseController(w)}, h.opts.ReadTimeout))
	body := http.MaxBytesReader(w, r.Body, h.opts.MaxBody)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, true
		}
		if err != nil {
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				h.tooLarge(w)
			} else {
				writeError(w, http.StatusBadRequest, nil, wireError(jsonrpc.CodeParseError, "the body could not be read"))
			}
			return nil, false
		}
	}
}

func (h *Handler) tooLarge(w http.ResponseWriter) {
	writeError(w, http.StatusRequestEntityTooLarge, nil, wireError(jsonrpc.CodeInvalidRequest, "the body is larger than %d bytes", h.opts.MaxBody))
}

func isJSON(types []string) bool {
	if len(types) != 1 {
		return false
	}
	if types[0] == "application/json" {
		return true
	}
	base, _, err := mime.ParseMediaType(types[0])
	return err == nil && base == "application/json"
}

// accepts reads Accept. A client that sends none takes anything (RFC 9110 §12.5.1).
func accepts(values []string) (jsonOK, eventsOK bool) {
	if len(values) == 0 {
		return true, true
	}
	for _, v := range values {
		if v == "application/json, text/event-stream" {
			return true, true
		}
		for part := range strings.SplitSeq(v, ",") {
			base, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(base)) {
			case "*/*":
				return true, true
			case "application/json", "application/*":
				jsonOK = true
			case "text/event-stream", "text/*":
				eventsOK = true
			}
		}
	}
	return jsonOK, eventsOK
}

// startCall counts a request in that Shutdown must wait for.
func (h *Handler) startCall() bool {
	h.callsMu.Lock()
	defer h.callsMu.Unlock()
	select {
	case <-h.draining:
		return false
	default:
		h.calls.Add(1)
		return true
	}
}

// openStream counts an event stream or WebSocket in, and lets it hear what the
// server tells everyone, until release is called; or it answers why there is no
// stream. id is that of the request, if it has one.
func (h *Handler) openStream(w http.ResponseWriter, host *host, id []byte) (release func(), ok bool) {
	if h.streams.Add(1) > int64(h.opts.MaxStreams) {
		h.streams.Add(-1)
		writeError(w, http.StatusServiceUnavailable, id, wireError(jsonrpc.CodeInternalError, "too many open streams; try again later"))
		return nil, false
	}
	drop, err := host.fan.hold()
	if err != nil {
		h.streams.Add(-1)
		writeError(w, http.StatusInternalServerError, id, wireError(jsonrpc.CodeInternalError, "internal error"))
		return nil, false
	}
	return func() { drop(); h.streams.Add(-1) }, true
}

// Shutdown ends the handler's service in order: no new requests are taken, GET
// streams, subscriptions and connections end with a hint when to come back, and
// requests and tasks being worked on get until ctx is done. Sessions, and what became of
// tasks, remain in the store.
//
// A task that is still at work then is cancelled and left to the next process, where
// its handler runs again from its start (see [AddTask]); one that waits for an answer is
// left to it at once. It fails, with the reason, if it cannot run again.
//
// Shutdown returns ctx's error if requests were still at work, which are then
// cancelled, or if handlers of tasks have not returned a second after they were told to. A
// handler that was shut down stays so.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.callsMu.Lock()
	h.drainOnce.Do(func() { close(h.draining) })
	h.callsMu.Unlock()
	h.tasks.close()
	calls, tasks := make(chan struct{}), make(chan struct{})
	go func() { h.calls.Wait(); close(calls) }()
	go func() { h.tasks.wait(); close(tasks) }()
	answered := ends(ctx, calls)
	if answered && ends(ctx, tasks) {
		return nil
	}
	h.watch.cancelCalls(errShutdown)
	h.tasks.part(tasks)
	select {
	case <-tasks:
		if answered {
			return nil
		}
	default:
	}
	return context.Cause(ctx)
}

// ends waits for the end of something, and reports whether it came before that of ctx.
func ends(ctx context.Context, end <-chan struct{}) bool {
	select {
	case <-end:
		return true
	case <-ctx.Done():
	}
	select {
	case <-end:
		return true
	default:
		return false
	}
}
