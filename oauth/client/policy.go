package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-mcp/causeway/oauth/internal/outward"
)

const (
	defaultMaxResponse    = 256 << 10
	defaultRequestTimeout = 30 * time.Second
	maxURL                = 8 << 10 // bytes
	maxRedirects          = 3
)

// parseServer reads the URL of an MCP server, as a person or a configuration gives it, in
// one spelling: no fragment, no default port, lower-case host, no slash at the end of a path.
func parseServer(text string, policy Policy) (*url.URL, error) {
	u, err := parseURL(text)
	if err != nil {
		return nil, fmt.Errorf("server URL: %w", err)
	}
	if u.Scheme != "https" && !isLoopbackHost(u.Hostname()) && !policy.AllowHTTP {
		return nil, fmt.Errorf("server URL %s: %w: plain http is for this machine only; use https, or allow it if the network is yours", u.Redacted(), ErrForbiddenAddress)
	}
	u.Fragment, u.RawFragment = "", ""
	u.Host = strings.ToLower(u.Host)
	if u.Port() != "" && u.Port() == portOf(&url.URL{Scheme: u.Scheme}) {
		u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	return u, nil
}

// parseURL reads an absolute http or https URL with a host and without a user.
func parseURL(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("%w: a URL of %d bytes", ErrBadAnswer, len(text))
	}
	for _, r := range text {
		if r <= ' ' || r == 0x7f || r == '\\' || r == '"' || r == '<' || r == '>' || r == '`' || r == '\ufffd' {
			return nil, fmt.Errorf("%w: %q is in the URL", ErrForbiddenAddress, r)
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The error of url.Parse repeats the URL, which may hold a password.
		return nil, fmt.Errorf("%w: not a URL", ErrForbiddenAddress)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w: scheme %q is neither https nor http", ErrForbiddenAddress, clean(u.Scheme, 20))
	case u.Opaque != "" || u.Hostname() == "":
		return nil, fmt.Errorf("%w: the URL has no host", ErrForbiddenAddress)
	case u.User != nil:
		return nil, fmt.Errorf("%w: the URL has a user name", ErrForbiddenAddress)
	}
	return u, nil
}

// isLoopbackHost reports whether a host is this machine by its very name, whatever a resolver says.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// A reach says where a server is, and so where it may lead.
type reach int

const (
	public   reach = iota // on the internet
	private               // on a network that the internet does not reach
	loopback              // on this machine
)

func (r reach) String() string { return [...]string{"public", "private", "this machine"}[r] }

func reachOf(addr netip.Addr) reach {
	switch {
	case outward.IsPublic(addr):
		return public
	case addr.Unmap().IsLoopback() || addr.Unmap().IsUnspecified():
		return loopback
	default:
		return private
	}
}

// A fetcher sends the requests that are not the caller's own: metadata, registration and tokens.
// It belongs to one MCP server, which decides how far it reaches.
type fetcher struct {
	policy Policy
	server *url.URL
	client *http.Client
	// lookup finds the addresses of a host.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	proxy  func(*http.Request) (*url.URL, error)
}

func newFetcher(policy Policy, server *url.URL, custom http.RoundTripper) *fetcher {
	if policy.MaxResponse == 0 {
		policy.MaxResponse = defaultMaxResponse
	}
	if policy.RequestTimeout == 0 {
		policy.RequestTimeout = defaultRequestTimeout
	}
	f := &fetcher{policy: policy, server: server, proxy: http.ProxyFromEnvironment}
	f.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if custom == nil {
		custom = f.transport()
	} else {
		f.proxy = nil
	}
	f.client = &http.Client{
		Transport: custom, Timeout: policy.RequestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

// bounds are in the context of a dial: where it may lead.
type bounds struct {
	host   string
	reach  reach // of the server
	inside bool  // the host may be on a private network though the server is public
}

// boundsKey is the key of bounds in a context.
type boundsKey struct{}

// check says whether an address that is about to be dialled is within the bounds.
func (b bounds) check(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrForbiddenAddress
	}
	got := reachOf(ap.Addr())
	switch {
	case got <= b.reach, b.inside && isInside(ap.Addr()):
		return nil
	case isInside(ap.Addr()):
		return &PrivateHostError{Host: b.host}
	}
	return fmt.Errorf("%w: it leads to %s, and the server is %s", ErrForbiddenAddress, got, b.reach)
}

// shared is the address space of carriers and of overlay networks (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// cloudMetadata is where a cloud tells its machines their secrets, on a private address.
var cloudMetadata = netip.MustParseAddr("fd00:ec2::254")

// isInside reports whether an address is one of those that organizations use inside.
func isInside(addr netip.Addr) bool {
	addr = addr.Unmap()
	return (addr.IsPrivate() || shared.Contains(addr)) && addr != cloudMetadata
}

// isPrivateHost reports whether a text may be one of Policy.PrivateHosts.
func isPrivateHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return isInside(addr)
	}
	u, err := parseURL("https://" + host)
	return err == nil && u.Host == host && u.Port() == "" && !strings.ContainsAny(host, "*[]:/?#@%") && !isLoopbackHost(host)
}

// mayBeInside reports whether the policy lets a host be on a private network.
func (f *fetcher) mayBeInside(host string) bool {
	addr, err := netip.ParseAddr(host)
	for _, allowed := range f.policy.PrivateHosts {
		if strings.EqualFold(host, allowed) {
			return true
		}
		if other, bad := netip.ParseAddr(allowed); err == nil && bad == nil && addr.Unmap() == other.Unmap() {
			return true
		}
	}
	return false
}

// transport dials only what the request's context allows. The address is checked when it
// is dialled, after resolution, so that a name that changes its mind changes nothing.
func (f *fetcher) transport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: f.policy.RequestTimeout, ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		if b, limited := ctx.Value(boundsKey{}).(bounds); limited {
			return b.check(address)
		}
		return nil
	}}
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return f.proxy(r) },
		DialContext:            dialer.DialContext,
		DisableKeepAlives:      true, // a connection would outlive the check of where it leads
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// check says whether the policy allows a request to u, as far as that shows in u.
func (f *fetcher) check(u *url.URL) error {
	if sameOrigin(u, f.server) {
		return nil
	}
	if u.Scheme != "https" && !(isLoopbackHost(u.Hostname()) && isLoopbackHost(f.server.Hostname())) {
		return fmt.Errorf("%w: %s is not https", ErrForbiddenAddress, clean(u.Redacted(), 200))
	}
	limit, known := f.literalReach()
	if !known {
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil && !isLoopbackHost(u.Hostname()) {
		return nil
	}
	got := loopback
	if err == nil {
		got = reachOf(addr)
	}
	switch {
	case got <= limit, isInside(addr) && f.mayBeInside(u.Hostname()):
		return nil
	case isInside(addr):
		return &PrivateHostError{Host: u.Hostname()}
	}
	return fmt.Errorf("%w: %s is %s, and the server is %s", ErrForbiddenAddress, clean(u.Host, 100), got, limit)
}

// endpoint parses and checks an address that a server named.
func (f *fetcher) endpoint(what, text string) (*url.URL, error) {
	u, err := parseURL(text)
	if err == nil {
		err = f.check(u)
	}
	if err == nil && u.Fragment != "" {
		err = fmt.Errorf("%w: a fragment", ErrForbiddenAddress)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return u, nil
}

// literalReach is the reach of a server that is named by an address or localhost.
func (f *fetcher) literalReach() (reach, bool) {
	host := f.server.Hostname()
	if isLoopbackHost(host) {
		return loopback, true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return 0, false
	}
	return reachOf(addr), true
}

// serverReach is how near the server's addresses let others be. Of a name with several
// addresses the most public counts; a name is never this machine, or whoever owns a
// name could say so.
func (f *fetcher) serverReach(ctx context.Context) (reach, error) {
	if limit, known := f.literalReach(); known {
		return limit, nil
	}
	addrs, err := f.lookup(ctx, f.server.Hostname())
	if err != nil {
		return 0, fmt.Errorf("finding the address of %s: %w", f.server.Hostname(), err)
	}
	limit := private
	for _, addr := range addrs {
		limit = min(limit, reachOf(addr))
	}
	return limit, nil
}

// boundsFor is where a request to u may lead.
func (f *fetcher) boundsFor(ctx context.Context, u *url.URL) (bounds, error) {
	limit, err := f.serverReach(ctx)
	return bounds{host: u.Hostname(), reach: limit, inside: f.mayBeInside(u.Hostname())}, err
}

// do sends one request, if the policy allows it. Redirects are answers.
func (f *fetcher) do(r *http.Request) (*http.Response, error) {
	if err := f.check(r.URL); err != nil {
		return nil, err
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "causeway")
	}
	own := sameOrigin(r.URL, f.server) // chosen by the user, not by a stranger
	proxied := false
	if f.proxy != nil {
		through, err := f.proxy(r)
		if err != nil {
			return nil, fmt.Errorf("choosing a proxy: %w", err)
		}
		proxied = through != nil
	}
	if !own && !proxied {
		within, err := f.boundsFor(r.Context(), r.URL)
		if err != nil {
			return nil, err
		}
		r = r.WithContext(context.WithValue(r.Context(), boundsKey{}, within))
	}
	answer, err := f.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, withoutQuery(r.URL), bare(err))
	}
	return answer, nil
}

// bare takes the URL out of an error of http.Client: its query may hold something secret.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func withoutQuery(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// body reads an answer whole, up to the limit.
func (f *fetcher) body(answer *http.Response) ([]byte, error) {
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, f.policy.MaxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", bare(err))
	}
	if int64(len(content)) > f.policy.MaxResponse {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBadAnswer, f.policy.MaxResponse)
	}
	return content, nil
}

// A statusError is an answer to a GET other than 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// get fetches a document. Redirects within the origin are followed.
func (f *fetcher) get(ctx context.Context, u *url.URL, headers func(*http.Request)) ([]byte, error) {
	for range maxRedirects + 1 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept", "application/json")
		if headers != nil {
			headers(r)
		}
		answer, err := f.do(r)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode == http.StatusOK {
			return f.body(answer)
		}
		drain(answer)
		if answer.StatusCode < 300 || answer.StatusCode > 399 || answer.StatusCode == http.StatusNotModified {
			return nil, statusError(answer.StatusCode)
		}
		next, err := u.Parse(answer.Header.Get("Location"))
		if err != nil || !sameOrigin(next, u) {
			return nil, fmt.Errorf("%w: %s redirects to another origin", ErrForbiddenAddress, withoutQuery(u))
		}
		u = next
	}
	return nil, fmt.Errorf("%w: %s redirects too often", ErrBadAnswer, withoutQuery(u))
}
