package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Client signs in to MCP servers and keeps their tokens. Its methods may be called
// concurrently; one Client is enough for any number of servers.
type Client struct {
	options Options
	store   Store
	log     *slog.Logger
	now     func() time.Time

	// Flights outlive the requests that started them, and end with the Client.
	ctx   context.Context
	close context.CancelCauseFunc

	mu       sync.Mutex
	closed   bool
	flights  sync.WaitGroup
	sessions map[string]*session
	waiting  map[string]*callback // sign-ins that wait for a browser, by state
}

// New checks the options and returns a Client. It reads and contacts nothing.
func New(options Options) (*Client, error) {
	if err := options.check(); err != nil {
		return nil, fmt.Errorf("options of the OAuth client: %w", err)
	}
	c := &Client{
		options: options, store: options.Store, log: options.Logger, now: time.Now,
		sessions: map[string]*session{}, waiting: map[string]*callback{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.store == nil {
		folder, err := DefaultFolder()
		if err != nil {
			return nil, err
		}
		folder.Logger = c.log
		c.store = folder
	}
	c.ctx, c.close = context.WithCancelCause(context.Background())
	return c, nil
}

// Close ends sign-ins that wait for a person, and waits, for at most 5 seconds, until a renewal or an
// exchange that is under way has stored what it got: a server that has renewed a token does
// not take the old one any more. Requests that wait fail with ErrClosed. Tokens stay where
// they are.
func (c *Client) Close() error {
	const patience = 5 * time.Second
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.close(ErrClosed)
	landed := make(chan struct{})
	go func() {
		c.flights.Wait()
		close(landed)
	}()
	select {
	case <-landed:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%w while tokens were under way", ErrClosed)
	}
}

// takeOff counts a flight, unless the Client is closed.
func (c *Client) takeOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.flights.Add(1)
	}
	return !c.closed
}

// Transport returns a http.RoundTripper for requests to the MCP server at serverURL. A nil base
// is http.DefaultTransport.
//
// It attaches tokens to requests to the origin (scheme, host and port) of serverURL and to
// no others, and not to requests that have an Authorization header. When the server asks
// for a token, or for more scopes, RoundTrip renews or signs in and repeats the request;
// until that is done, or the request's context ends, it blocks. A sign-in goes on when the
// request that started it has given up, so that the next one finds its result. Requests
// that wait at the same time share one sign-in, in all processes that share the Store.
//
// A request is repeated if it has GetBody or a body of at most 4 MiB; else the answer 401
// is returned as it came. If signing in fails, RoundTrip returns an error that wraps the
// reason.
func (c *Client) Transport(serverURL string, base http.RoundTripper) (http.RoundTripper, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{session: s, base: base}, nil
}

// Login signs in at the server, even if there are tokens already, and waits until that is
// done. A server that asks for no token and publishes no metadata is ErrNoSignIn.
func (c *Client) Login(ctx context.Context, serverURL string) error {
	s, err := c.session(serverURL)
	if err != nil {
		return err
	}
	challenges, err := s.probe(ctx)
	if err != nil {
		return signInError(s, err)
	}
	if _, err = s.acquire(ctx, need{challenge: challenges, afresh: true, since: c.now()}); err != nil {
		return signInError(s, err)
	}
	return nil
}

// Logout revokes the tokens for the server, whatever options they were got with, where its
// authorization server can do that (RFC 7009), and forgets them in any case. The registration
// is kept for the next sign-in. It is no error that there are none; an error of the
// revocation is returned after they are forgotten.
func (c *Client) Logout(ctx context.Context, serverURL string) error {
	s, err := c.session(serverURL)
	if err != nil {
		return err
	}
	names, err := c.store.List(ctx)
	if err != nil {
		return fmt.Errorf("listing tokens: %w", err)
	}
	errs := []error{s.logout(ctx)}
	for _, name := range names {
		if !strings.HasPrefix(name, serverPrefix) || name == s.name {
			continue
		}
		if record, err := c.loadServer(ctx, name); err == nil && record.server == s.server.String() {
			other := newSession(c, s.server)
			other.name = name
			errs = append(errs, other.logout(ctx))
		}
	}
	return errors.Join(errs...)
}

// A TokenInfo says what is known of the tokens for a server, without them.
type TokenInfo struct {
	Server      string    `json:"server"`
	Issuer      string    `json:"issuer"`
	Resource    string    `json:"resource,omitempty"`
	ClientID    string    `json:"client_id"`
	Type        string    `json:"type"` // Bearer or DPoP
	Scopes      []string  `json:"scopes,omitempty"`
	Obtained    time.Time `json:"obtained"`
	Expires     time.Time `json:"expires,omitzero"` // zero: the server did not say
	Refreshable bool      `json:"refreshable"`
	Imported    bool      `json:"imported,omitempty"` // from mcp-remote
}

// Tokens lists what is kept, for all servers and whatever options were used, sorted by server.
func (c *Client) Tokens(ctx context.Context) ([]TokenInfo, error) {
	names, err := c.store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	var all []TokenInfo
	for _, name := range names {
		if !strings.HasPrefix(name, serverPrefix) {
			continue
		}
		record, err := c.loadServer(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("listing tokens: %w", err)
		}
		if record.tokens != nil {
			all = append(all, record.info())
		}
	}
	slices.SortFunc(all, func(a, b TokenInfo) int { return strings.Compare(a.Server, b.Server) })
	return all, nil
}

// Complete hands over the address a browser was sent to after a sign-in, for people whose
// browser runs on another machine and cannot reach this one: they copy it from there. It
// reports whether a sign-in of this process was waiting for it.
func (c *Client) Complete(redirected string) bool {
	u, err := url.Parse(strings.TrimSpace(redirected))
	if err != nil {
		return false
	}
	c.mu.Lock()
	waiting := c.waiting[u.Query().Get("state")]
	c.mu.Unlock()
	return waiting != nil && waiting.take(u.Query()) == nil
}

// session returns the session of a server; all users of one server share it.
func (c *Client) session(serverURL string) (*session, error) {
	server, err := parseServer(serverURL, c.options.Policy)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := server.String()
	s, ok := c.sessions[name]
	if !ok {
		s = newSession(c, server)
		c.sessions[name] = s
	}
	return s, nil
}
