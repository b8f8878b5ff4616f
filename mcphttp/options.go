package mcphttp

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Options configure a [Handler]. Nil is the zero value, and the zero value is
// right for a server on loopback and for one behind sign-in.
type Options struct {
	// Records keeps sessions, event logs and tasks. Nil is an in-memory store of
	// this handler's own: sessions then end with the process.
	Records store.Records

	// Logger gets what an operator should know: panics of tools, streams that were
	// cut, refused requests (at debug level). No tokens, arguments or session ids
	// are ever logged. Nil is slog.Default().
	Logger *slog.Logger

	// AllowedOrigins are the web origins ("https://app.example.com") whose pages
	// may call this server from a browser; "*" is any. A request with any other
	// Origin gets 403, whatever its Host says. Requests without Origin, which is
	// every client that is not a web page, are not concerned. On a loopback
	// address, pages of the same machine (http://localhost and its numbers, any
	// port) are allowed as well.
	AllowedOrigins []string

	// AllowedHosts are further values of the Host header, without port, that a
	// server listening on loopback accepts, besides localhost and the loopback
	// addresses: the public name, when a reverse proxy on the same machine passes
	// it on.
	AllowedHosts []string

	// AllowAnonymous serves requests without sign-in on an address that is not
	// loopback. Without it such requests get 401: a server meant for everyone
	// should say so. Signed-in means that auth.TokenInfo is in the request's
	// context (oauth.Provider or the SDK's auth.RequireBearerToken put it there).
	AllowAnonymous bool

	// AskAsLegacy names tools whose handlers use req.Session.Elicit and its like
	// directly. In 2026-07-28 the SDK refuses those calls; for these tools they are
	// turned into input-required rounds, as [Elicit] does, so the handler runs
	// again from its start with the answers.
	AskAsLegacy []string

	// ConnectionPerSession hosts the server over a connection of the SDK's own for
	// every session (and, in 2026-07-28, for every request) instead of calling it
	// directly. It costs a goroutine a session and several times the CPU, and such
	// sessions end with the process. It is for servers that need what
	// docs/compat.md lists: Server.Sessions, custom methods, a server per session.
	ConnectionPerSession bool

	// AlwaysStream answers every request (but batches) as an event stream. The zero value answers
	// as JSON unless the handler has something to say before its result, or takes
	// longer than a moment.
	AlwaysStream bool

	// Secret seals the requestState of input-required rounds and signs handles. All
	// replicas of a server need the same; at least 32 random bytes. Nil is a fresh
	// one per handler: rounds that were open when the process ended then start
	// over.
	Secret []byte

	// SessionEnded, if not nil, is called when a session is over for good, with what
	// Caller.SessionID says of it: its client or its user ended it, its connection is
	// gone (WebSocket, HTTP+SSE), or it is found to have expired. It may be called more
	// than once, and is not if the process dies first: [Handler.SessionIDs] tells what
	// is left. A DELETE is answered when it returns.
	SessionEnded func(ctx context.Context, id string)

	// SessionTTL is how long a session outlives its last use. Default 30 days.
	SessionTTL time.Duration
	// SessionSleep is how long an idle session keeps its place in memory before
	// only its record remains. Default 60 seconds.
	SessionSleep time.Duration
	// MaxSessions bounds the sessions in the store, default 100,000, and
	// MaxSessionsPerUser those of one signed-in user, default 1,000. One more gets
	// 503 and 429.
	MaxSessions, MaxSessionsPerUser int

	// MaxTasks bounds the tasks that this handler works on at a time, default 1,000,
	// and MaxTasksPerUser those of one signed-in user, default 100. One more is an
	// error at once. See [AddTask].
	MaxTasks, MaxTasksPerUser int

	// MaxBody bounds the body of a POST and a WebSocket message, in bytes. Default
	// 4 MiB.
	MaxBody int64
	// MaxBatch bounds the messages of one 2025-03-26 batch. Default 50.
	MaxBatch int
	// MaxDepth bounds the nesting of JSON. Default (and most) 1000, as in the SDK.
	MaxDepth int
	// MaxCallsPerSession bounds the requests of one session, or of one WebSocket,
	// that are being worked on at a time. Default 100. One more gets an error at
	// once.
	MaxCallsPerSession int
	// MaxStreams bounds the open event streams and WebSockets in all. Default
	// 100,000. One more gets 503.
	MaxStreams int

	// CallTimeout ends a request that takes longer: its context is cancelled and
	// its caller gets an error. Default 30 minutes, negative is never. Streams and
	// subscriptions are not concerned.
	CallTimeout time.Duration
	// ReadTimeout bounds the time in which the body of a POST must arrive. Default 30
	// seconds.
	ReadTimeout time.Duration
	// WriteTimeout bounds each write to a stream: a reader that stops reading loses
	// its stream. Default 10 seconds.
	WriteTimeout time.Duration
	// KeepAlive is the pause after which a comment is written to a silent stream.
	// Default 15 seconds, negative is never.
	KeepAlive time.Duration
	// StreamAfter is how long a request may be worked on before its answer becomes
	// an event stream, which can carry keep-alives and be resumed. Default 2
	// seconds.
	StreamAfter time.Duration
	// QueueLength and QueueBytes bound what waits for a slow reader of a GET
	// stream, a subscription or a WebSocket. Default 256 messages and 4 MiB. A
	// stream over it is ended; what it missed is replayed when the client resumes.
	QueueLength, QueueBytes int
	// EventTTL is how long events are kept for replay after Last-Event-ID. Default
	// 10 minutes. MaxEvents and MaxEventBytes bound them per stream: default 1,000
	// and 4 MiB; the oldest go first.
	EventTTL                 time.Duration
	MaxEvents, MaxEventBytes int
	// RetryAfter is the reconnection hint sent when streams are ended by
	// [Handler.Shutdown]. Default 1 second.
	RetryAfter time.Duration
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Records == nil {
		d.Records = store.NewMemory()
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Secret == nil {
		d.Secret = make([]byte, 32)
		rand.Read(d.Secret)
	}
	orDefault(&d.SessionTTL, 30*24*time.Hour)
	orDefault(&d.SessionSleep, time.Minute)
	orDefault(&d.MaxSessions, 100_000)
	orDefault(&d.MaxSessionsPerUser, 1000)
	orDefault(&d.MaxTasks, 1000)
	orDefault(&d.MaxTasksPerUser, 100)
	orDefault(&d.MaxBody, 4<<20)
	orDefault(&d.MaxBatch, 50)
	orDefault(&d.MaxDepth, 1000)
	orDefault(&d.MaxCallsPerSession, 100)
	orDefault(&d.MaxStreams, 100_000)
	orDefault(&d.CallTimeout, 30*time.Minute)
	orDefault(&d.ReadTimeout, 30*time.Second)
	orDefault(&d.WriteTimeout, 10*time.Second)
	orDefault(&d.KeepAlive, 15*time.Second)
	orDefault(&d.StreamAfter, 2*time.Second)
	orDefault(&d.QueueLength, 256)
	orDefault(&d.QueueBytes, 4<<20)
	orDefault(&d.EventTTL, 10*time.Minute)
	orDefault(&d.MaxEvents, 1000)
	orDefault(&d.MaxEventBytes, 4<<20)
	orDefault(&d.RetryAfter, time.Second)
	return d
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
