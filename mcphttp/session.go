package mcphttp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A sessionRecord is a session as it is kept: everything another process needs to
// go on with it.
type sessionRecord struct {
	// Server is the name of the server it is a session of: records may be shared.
	Server string `json:"n"`
	// Version is the protocol version agreed on.
	Version string `json:"v"`
	// User is the user that opened it, by auth.TokenInfo's UserID; "" is nobody.
	User string `json:"u,omitempty"`
	// Client is the client whose token opened it, where sign-in says so.
	Client string `json:"c,omitempty"`
	// Initialize is the params of initialize as the client sent them.
	Initialize json.RawMessage `json:"i"`
	// Initialized: the client has confirmed.
	Initialized bool `json:"r,omitempty"`
	// Level is the log level the client asked for.
	Level mcp.LoggingLevel `json:"l,omitempty"`
	// Subscriptions are the URIs the client subscribed to, sorted.
	Subscriptions []string `json:"s,omitempty"`
	// Listened: the client has opened the GET stream, so events are kept for it.
	Listened bool `json:"g,omitempty"`
	// Touched is when the record was last written, Unix seconds. Its TTL counts
	// from here.
	Touched int64 `json:"t"`
}

// A session is the part of a session that this process has in memory. All that
// must last is in its record; what is here can be made again from that, except
// for open streams and requests being worked on, which are this process's own.
type session struct {
	id   string
	h    *Handler
	host *host
	ss   *mcp.ServerSession
	// transient sessions (WebSocket, HTTP+SSE) end with their connection and have no record.
	transient bool

	lastUse atomic.Int64 // Unix seconds
	active  atomic.Int32 // calls and streams that need it in memory

	streams openStreams
	logs    keptLogs
	asks    pendingAsks

	mu       sync.Mutex
	rec      sessionRecord
	rev      store.Revision
	ended    bool
	calls    []*call // at work; seldom more than one
	listen   listener
	link     *link // the connection of a transient session
	kept     bool  // its record has been written again since it was opened or woken
	restored bool  // subscriptions have been handed to the server
	keeper   bool  // counted as one of the host's subscribed sessions
}

// liveSessions are the sessions of one host that are in memory.
type liveSessions struct {
	mu   sync.RWMutex
	byID map[string]*session
}

func (l *liveSessions) get(id string) *session {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byID[id]
}

// acquire returns a session that stays in memory until it is released.
func (l *liveSessions) acquire(id string) *session {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.byID[id]
	if s != nil {
		s.active.Add(1)
	}
	return s
}

// add puts s in, unless another is there already, which is then returned,
// acquired.
func (l *liveSessions) add(s *session) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.byID[s.id]; old != nil {
		old.active.Add(1)
		return old
	}
	if l.byID == nil {
		l.byID = make(map[string]*session)
	}
	l.byID[s.id] = s
	return s
}

func (l *liveSessions) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[s.id] == s {
		delete(l.byID, s.id)
	}
}

// removeIdle takes s out if nobody has acquired it. The lock excludes acquire, so
// that there is never a second copy of a session in use.
func (l *liveSessions) removeIdle(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.active.Load() != 0 || l.byID[s.id] != s {
		return false
	}
	delete(l.byID, s.id)
	return true
}

func (l *liveSessions) all() []*session {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]*session, 0, len(l.byID))
	for _, s := range l.byID {
		out = append(out, s)
	}
	return out
}

// Session ids carry a short digest of their user before 130 random bits, so that
// the sessions of one user lie together in the store and can be counted, and so
// that nobody's id can be mistaken for another user's.
func (h *Handler) newSessionID(user string) string { return h.userDigest(user) + "-" + rand.Text() }

// userDigest is what the ids of a user's sessions and tasks have in common. Ids are seen by
// others (proxies, logs), so it takes the secret to tell whose they are.
func (h *Handler) userDigest(user string) string {
	if user == "" {
		return "0"
	}
	mac := hmac.New(sha256.New, h.opts.Secret)
	mac.Write([]byte("mcp session user\x00" + user))
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:5]))
}

const sessionPrefix = "mcp/session/"

// sessionKey is the record key of an id from outside, "" if it cannot be one.
func sessionKey(id string) string {
	digest, random, ok := strings.Cut(id, "-")
	if !ok || len(id) > 64 || digest == "" || random == "" {
		return ""
	}
	for i := range len(id) {
		if c := id[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return ""
		}
	}
	return sessionPrefix + digest + "/" + random
}

var (
	errNoSession       = errors.New("session not found")
	errTooManySessions = errors.New("too many sessions")
)

// openSession finds the session of a request, which must release it. The session of
// another user or of another client of the same user, an expired one and one that
// never was all look the same: errNoSession.
func (h *Handler) openSession(ctx context.Context, host *host, id, user string) (*session, error) {
	key := sessionKey(id)
	if key == "" {
		return nil, errNoSession
	}
	r, _, err := h.opts.Records.GetCached(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		if s := host.sessions.get(id); s != nil && !s.transient {
			s.end() // ended elsewhere, or expired
			h.sessionEnded(ctx, id)
		}
		return nil, errNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("reading the session: %w", err)
	}
	s := host.sessions.acquire(id)
	if s == nil {
		if s, err = h.wake(host, id, r); err != nil {
			return nil, err
		}
		// It may have ended since it was read, and whoever ended it could not see this
		// copy: nobody would ever end that.
		if _, err := h.opts.Records.Get(ctx, key); err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				s.release()
				return nil, fmt.Errorf("reading the session: %w", err)
			}
			s.end()
			s.release()
			return nil, errNoSession
		}
	}
	if err := s.see(r); err != nil {
		s.release()
		return nil, err
	}
	if s.h != h || !s.belongsTo(host, user, clientOf(ctx)) {
		s.release()
		return nil, errNoSession
	}
	s.touch()
	return s, nil
}

func (s *session) release() { s.active.Add(-1) }

// wake makes a session's part in memory out of its record, acquired.
func (h *Handler) wake(host *host, id string, r store.Record) (*session, error) {
	s := &session{id: id, h: h, host: host}
	if err := s.decode(r); err != nil {
		return nil, err
	}
	state, err := s.rec.state()
	if err != nil {
		return nil, err
	}
	if s.ss, err = host.connect(id, state); err != nil {
		return nil, err
	}
	s.kept = s.rec.Initialized // confirming has written it with its full time to live
	s.active.Store(1)
	if got := host.sessions.add(s); got != s {
		_ = s.ss.Close()
		return got, nil
	}
	h.sweep(host)
	s.restoreSubscriptions()
	return s, nil
}

func (s *session) decode(r store.Record) error {
	var rec sessionRecord
	if err := json.Unmarshal(r.Value, &rec); err != nil {
		return fmt.Errorf("session record: %w", err)
	}
	s.rec, s.rev = rec, r.Revision
	if s.restored { // or else it is counted when its subscriptions are
		s.countKeeper()
	}
	return nil
}

// see takes note of the record as it was read, which another process may have
// changed.
func (s *session) see(r store.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Revision <= s.rev {
		return nil
	}
	return s.decode(r)
}

// state is what the SDK's session starts from. The version is the one agreed on,
// not the one asked for: the SDK decides by it what it may do.
func (r *sessionRecord) state() (*mcp.ServerSessionState, error) {
	p, err := decodeInitialize(r.Initialize)
	if err != nil {
		return nil, fmt.Errorf("session record: %w", err)
	}
	p.ProtocolVersion = r.Version
	st := &mcp.ServerSessionState{InitializeParams: p, NegotiatedProtocolVersion: r.Version, LogLevel: r.Level}
	if r.Initialized {
		st.InitializedParams = &mcp.InitializedParams{}
	}
	return st, nil
}

func (s *session) user() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.User
}

func (s *session) belongsTo(host *host, user, client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.Server == host.name && s.rec.User == user && s.rec.Client == client
}

func (s *session) version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.Version
}

// resumable tells whether the session's streams can be left and come back to.
func (s *session) resumable() bool { return !s.transient && s.version() >= version20250326 }

func (s *session) touch() { s.lastUse.Store(time.Now().Unix()) }

// update changes the record by compare-and-set, as often as it takes.
func (s *session) update(ctx context.Context, change func(*sessionRecord)) error {
	if s.transient {
		s.mu.Lock()
		change(&s.rec)
		s.mu.Unlock()
		return nil
	}
	key := sessionKey(s.id)
	for {
		s.mu.Lock()
		rec, rev := s.rec, s.rev
		s.mu.Unlock()
		rec.Subscriptions = slices.Clone(rec.Subscriptions)
		change(&rec)
		rec.Touched = time.Now().Unix()
		v, err := json.Marshal(&rec)
		if err != nil {
			return err
		}
		newRev, err := s.h.opts.Records.Put(ctx, key, v, rev, &store.PutOptions{TTL: s.h.opts.SessionTTL})
		switch {
		case err == nil:
			s.mu.Lock()
			if newRev > s.rev {
				s.rec, s.rev = rec, newRev
				s.countKeeper()
			}
			s.kept = true
			s.mu.Unlock()
			return nil
		case errors.Is(err, store.ErrConflict):
			r, err := s.h.opts.Records.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				return errNoSession
			}
			if err != nil {
				return fmt.Errorf("reading the session: %w", err)
			}
			if err := s.see(r); err != nil {
				return err
			}
		default:
			return fmt.Errorf("writing the session: %w", err)
		}
	}
}

// keep renews the record's time to live when a good part of it has passed.
func (s *session) keep(ctx context.Context) {
	s.mu.Lock()
	due := !s.transient && (!s.kept || time.Since(time.Unix(s.rec.Touched, 0)) > s.h.opts.SessionTTL/16)
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.update(ctx, func(*sessionRecord) {}); err != nil {
		s.h.log.Warn("a session could not be renewed", "error", err)
	}
}

// unconfirmedTTL is how long a session waits for notifications/initialized, or for
// a client that does without and just goes on.
const unconfirmedTTL = 10 * time.Minute

// createSession makes a new session for user, or says why there cannot be one.
func (h *Handler) createSession(ctx context.Context, host *host, id string, rec sessionRecord, ss *mcp.ServerSession) (*session, error) {
	s := &session{id: id, h: h, host: host, ss: ss, rec: rec}
	s.rec.Touched = time.Now().Unix()
	v, err := json.Marshal(&s.rec)
	if err != nil {
		return nil, err
	}
	// Until the client confirms, the session is worth little: it keeps its place for
	// a while only.
	if s.rev, err = h.opts.Records.Put(ctx, sessionKey(id), v, 0, &store.PutOptions{TTL: min(unconfirmedTTL, h.opts.SessionTTL)}); err != nil {
		return nil, fmt.Errorf("writing the session: %w", err)
	}
	s.touch()
	host.sessions.add(s)
	h.sweep(host)
	return s, nil
}

// delete ends the session for good.
func (s *session) delete(ctx context.Context) error {
	key := sessionKey(s.id)
	for {
		s.mu.Lock()
		rev := s.rev
		s.mu.Unlock()
		err := s.h.opts.Records.Delete(ctx, key, rev)
		if errors.Is(err, store.ErrConflict) {
			r, err := s.h.opts.Records.Get(ctx, key)
			if err == nil {
				if err = s.see(r); err == nil {
					continue
				}
			}
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			return err
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("deleting the session: %w", err)
		}
		break
	}
	s.h.census.removed(s.id)
	s.end()
	s.h.dropEvents(ctx, s.id)
	s.h.sessionEnded(ctx, s.id)
	return nil
}

// sessionEnded tells whoever keeps something for sessions.
func (h *Handler) sessionEnded(ctx context.Context, id string) {
	if h.opts.SessionEnded == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	h.opts.SessionEnded(ctx, id)
}

// dropEvents removes what was kept for a session's replay. What is missed here
// expires by itself.
func (h *Handler) dropEvents(ctx context.Context, id string) {
	for r, err := range h.opts.Records.List(ctx, "mcp/event/"+id+"/") {
		if err != nil {
			return
		}
		_ = h.opts.Records.Delete(ctx, r.Key, r.Revision)
	}
}

// end releases everything that hangs on the session in this process: its streams
// end, its calls are cancelled, its questions fail.
func (s *session) end() {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	s.countKeeper()
	calls := slices.Clone(s.calls)
	subs := s.rec.Subscriptions
	s.mu.Unlock()
	for _, c := range calls {
		c.cancel(errSessionEnded)
	}
	s.listen.end()
	s.asks.fail(errSessionEnded)
	s.host.sessions.remove(s)
	s.forget(subs)
}

var errSessionEnded = errors.New("the session has ended")

// forget lets the server forget the session.
func (s *session) forget(subscriptions []string) {
	for _, uri := range subscriptions {
		s.unsubscribeSDK(uri)
	}
	_ = s.ss.Close()
}

// sleep takes an idle session out of memory. Its record remains.
func (s *session) sleep() bool {
	if s.transient {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A subscribed session is known to the server by its handle and stays. Calls and
	// open streams have acquired the session.
	if len(s.rec.Subscriptions) > 0 || !s.host.sessions.removeIdle(s) {
		return false
	}
	_ = s.ss.Close()
	return true
}

// restoreSubscriptions tells the server, which may be a new process, what the
// session is subscribed to.
func (s *session) restoreSubscriptions() {
	s.mu.Lock()
	subs := s.rec.Subscriptions
	done := s.restored
	s.restored = true
	s.countKeeper()
	s.mu.Unlock()
	if done {
		return
	}
	for _, uri := range subs {
		if err := s.subscribeSDK(context.Background(), uri, nil); err != nil {
			s.h.log.Warn("a subscription could not be restored", "error", err)
		}
	}
}

// census counts sessions, roughly but cheaply; when a limit seems reached the
// store is asked.
type census struct {
	mu      sync.Mutex
	total   int
	byUser  map[string]int
	counted bool
	full    time.Time // when counting last found no room
}

func (c *census) removed(id string) {
	digest, _, _ := strings.Cut(id, "-")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counted {
		c.total--
		if c.byUser[digest]--; c.byUser[digest] <= 0 {
			delete(c.byUser, digest)
		}
	}
}

// admit counts one more session of user in, or refuses it.
func (h *Handler) admit(ctx context.Context, user string) error {
	c := &h.census
	digest := h.userDigest(user)
	c.mu.Lock()
	defer c.mu.Unlock()
	over := func() bool {
		return c.total >= h.opts.MaxSessions || (user != "" && c.byUser[digest] >= h.opts.MaxSessionsPerUser)
	}
	if over() && time.Since(c.full) < time.Second {
		return errTooManySessions // counted just now
	}
	if !c.counted || over() {
		// The counts do not see sessions that expired or that other processes
		// opened, so before anyone is refused they are taken anew.
		c.total, c.byUser, c.counted = 0, make(map[string]int), true
		for r, err := range h.opts.Records.List(ctx, sessionPrefix) {
			if err != nil {
				c.counted = false
				return fmt.Errorf("counting sessions: %w", err)
			}
			d, _, _ := strings.Cut(strings.TrimPrefix(r.Key, sessionPrefix), "/")
			c.total++
			c.byUser[d]++
		}
	}
	if over() {
		c.full = time.Now()
		return errTooManySessions
	}
	c.total++
	c.byUser[digest]++
	return nil
}

// sweep puts idle sessions to sleep from time to time, as long as there are any.
func (h *Handler) sweep(hs *host) {
	h.sweepMu.Lock()
	defer h.sweepMu.Unlock()
	if h.sweeping == nil {
		h.sweeping = make(map[*host]bool)
	}
	if h.sweeping[hs] {
		return
	}
	h.sweeping[hs] = true
	every := max(h.opts.SessionSleep/4, 10*time.Millisecond)
	go func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-h.draining:
				return
			case <-t.C:
			}
			if h.sweepOnce(hs) {
				return
			}
		}
	}()
}

// sweepOnce reports whether there is nothing left to sweep.
func (h *Handler) sweepOnce(hs *host) bool {
	old := time.Now().Add(-h.opts.SessionSleep).Unix()
	left := 0
	for _, s := range hs.sessions.all() {
		if s.h != h {
			continue
		}
		switch {
		case s.lastUse.Load() > old:
			left++
		case s.sleep():
		case h.isGone(s):
			s.end()
			h.sessionEnded(context.Background(), s.id)
		default:
			left++
		}
	}
	if left > 0 {
		return false
	}
	h.sweepMu.Lock()
	defer h.sweepMu.Unlock()
	// A session that woke in between has called sweep and found us running; look
	// once more under the lock.
	for _, s := range hs.sessions.all() {
		if s.h == h {
			return false
		}
	}
	delete(h.sweeping, hs)
	return true
}

// isGone tells whether a session that stays in memory, because it is subscribed to
// something, has lost its record: it expired, or was deleted elsewhere.
func (h *Handler) isGone(s *session) bool {
	if s.transient || s.active.Load() != 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	_, err := h.opts.Records.Get(ctx, sessionKey(s.id))
	return errors.Is(err, store.ErrNotFound)
}

// sessionError turns an error of openSession into the answer for it.
func sessionError(err error) (int, error) {
	switch {
	case errors.Is(err, errNoSession):
		return http.StatusNotFound, wireError(jsonrpc.CodeInvalidRequest, "session not found: it ended, expired or is not yours; initialize a new one")
	case errors.Is(err, errTooManySessions):
		return http.StatusServiceUnavailable, wireError(jsonrpc.CodeInternalError, "too many sessions: try again later, or DELETE one that is no longer needed")
	default:
		return http.StatusInternalServerError, wireError(jsonrpc.CodeInternalError, "the session store is not available")
	}
}
