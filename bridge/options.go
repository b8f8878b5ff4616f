package bridge

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Options say which servers a [Bridge] leads to, and how. Servers must be set; the zero
// value of every other field is useful.
type Options struct {
	// Servers are the remote servers, at least one. Several are merged into one: the names
	// of their tools and prompts get the server's name and two underscores put before them.
	Servers []Server

	// Transport sends the requests. It may block as long as a person needs to sign in, and
	// is where tokens are added: the bridge never sees one. It may say with [ErrSignIn] that
	// nobody can be asked. Nil: [NewTransport] with its zero options.
	Transport http.RoundTripper
	// Jar keeps cookies, which some load balancers need to find a session again. Nil: none.
	Jar http.CookieJar
	// AllowHTTP allows plain http to a server that is not on this machine. Whoever is on the
	// way can then read everything, tokens included.
	AllowHTTP bool

	// Protocol limits the eras that are tried at the server.
	Protocol Protocol
	// TransportOrder says when the HTTP+SSE transport of 2024-11-05 is tried.
	TransportOrder TransportOrder

	// AllowTools, if not empty, are the only tools that the host sees and can call; IgnoreTools
	// are hidden. In a pattern * stands for any text; case does not matter.
	AllowTools, IgnoreTools []string
	// ReadOnly hides all tools that do not say of themselves that they only read
	// (annotations.readOnlyHint). That is the server's word, not a proof.
	ReadOnly bool

	// InitializeWait is how long the answer to initialize or server/discover may wait for the
	// server, before the host is told what is remembered or guessed. Zero: 1.5 s.
	InitializeWait time.Duration
	// ReconnectTime is how long a request is kept while the server cannot be reached. Zero: 20 s.
	ReconnectTime time.Duration
	// Linger is how long calls in flight may go on after the host has closed its end. Zero: 1 s.
	Linger time.Duration
	// IdleTimeout ends an answer of which no byte comes for that long. Zero: 5 min.
	IdleTimeout time.Duration
	// PingInterval is the pause between pings that keep a session of the old eras, and what is
	// on the way to it, from falling asleep. Zero: no pings.
	PingInterval time.Duration
	// MaxMessage is the most bytes of one message, in either direction. Zero: 64 MiB.
	MaxMessage int

	// CacheDir is where the bridge remembers, per server, what it speaks and how it introduced
	// itself; no secrets. Empty: nothing is kept.
	CacheDir string

	// Logger gets what happens. It names hosts and causes, never a header, a body, a path or
	// a session. Nil: nothing is logged.
	Logger *slog.Logger
}

// A Server is one of those behind a bridge.
type Server struct {
	// URL is its MCP endpoint: https, or http on this machine.
	URL string
	// Name is put before the names of its tools and prompts if there are several servers.
	// Empty: made of the URL's host.
	Name string
	// Header is sent with every request.
	Header http.Header
	// Transport sends the requests to this server, in place of [Options.Transport].
	Transport http.RoundTripper
}

// A Protocol limits the eras that are tried.
type Protocol int

const (
	// ProtocolAuto tries the host's own era first, and the other one after that.
	ProtocolAuto Protocol = iota
	// ProtocolLegacy tries revisions up to 2025-11-25 only.
	ProtocolLegacy
	// ProtocolModern tries 2026-07-28 only.
	ProtocolModern
)

// A TransportOrder says which transports are tried, with the names of mcp-remote.
type TransportOrder int

const (
	HTTPFirst TransportOrder = iota // Streamable HTTP, then HTTP+SSE
	SSEFirst                        // HTTP+SSE, then Streamable HTTP
	HTTPOnly
	SSEOnly
)

func (o *Options) fill() {
	if o.Transport == nil {
		o.Transport = NewTransport(TransportOptions{})
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.InitializeWait, 1500 * time.Millisecond}, {&o.ReconnectTime, 20 * time.Second}, {&o.Linger, time.Second}, {&o.IdleTimeout, 5 * time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = 64 << 20
	}
}

// TransportOptions are those of [NewTransport].
type TransportOptions struct {
	// Proxy takes the proxy from HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Requests to this machine
	// never go to a proxy.
	Proxy bool
	// IPv4 connects by IPv4 only.
	IPv4 bool
	// ConnectTimeout is for reaching the server. Zero: 10 s.
	ConnectTimeout time.Duration
	// HeadersTimeout is for the beginning of an answer; a server that answers with JSON may
	// take as long as the work does. Zero: 5 min.
	HeadersTimeout time.Duration
}

// NewTransport makes the transport that a bridge uses by itself, for wrapping.
func NewTransport(o TransportOptions) *http.Transport {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.HeadersTimeout == 0 {
		o.HeadersTimeout = 5 * time.Minute
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    o.ConnectTimeout,
		ResponseHeaderTimeout:  o.HeadersTimeout,
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         16 << 10,
		WriteBufferSize:        16 << 10,
	}
	if o.IPv4 {
		t.DialContext = ipv4(dialer)
	}
	if o.Proxy {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func ipv4(d *net.Dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == "tcp" {
			network = "tcp4"
		}
		return d.DialContext(ctx, network, address)
	}
}
