package doctor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of what is taken from a server.
const (
	maxAnswer = 1 << 20
	maxShown  = 1200
)

// A prober makes requests and keeps what was said on both sides.
type prober struct {
	server   *url.URL
	timeout  time.Duration
	plain    *http.Transport
	signedIn http.RoundTripper
}

var errInside = errors.New("a server on the internet names an address inside this network; it was not contacted")

func newProber(server *url.URL, timeout time.Duration) *prober {
	p := &prober{server: server, timeout: timeout}
	public := isPublicHost(server.Hostname())
	dialer := &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err == nil && public && !isPublicAddr(ap.Addr()) {
			return errInside
		}
		return nil
	}}
	p.plain = &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: timeout,
		ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	return p
}

func (p *prober) close() { p.plain.CloseIdleConnections() }

// isPublicHost reports whether a host is on the internet: if it is not known to be
// elsewhere, it is.
func isPublicHost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal") {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return isPublicAddr(a)
	}
	addrs, err := net.LookupHost(host)
	if err != nil {
		return true
	}
	for _, s := range addrs {
		if a, err := netip.ParseAddr(s); err == nil && !isPublicAddr(a) {
			return false
		}
	}
	return true
}

func isPublicAddr(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() &&
		!netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// An exchange is a request and what came of it.
type exchange struct {
	sent, got string
	status    int
	header    http.Header
	body      []byte
	err       error
	took      time.Duration
}

func (x *exchange) step(s Step) Step {
	s.Sent, s.Got, s.Took = x.sent, x.got, x.took.Milliseconds()
	return s
}

// headersOnly, as what is waited for, is nothing: a stream need not say anything.
const headersOnly = "\x00"

// do makes a request. An event stream is read up to the first message with the id that
// is waited for. Redirects are answers like others: an MCP client that sends a token
// must not follow them elsewhere.
func (p *prober) do(ctx context.Context, method, to string, header http.Header, body string, waitFor string) *exchange {
	x := &exchange{}
	start := time.Now()
	defer func() { x.took = time.Since(start) }()
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		x.err = errors.New("no request can be made of this URL")
		return x
	}
	maps.Copy(req.Header, header)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "causeway-doctor")
	}
	x.sent = showRequest(req, body)
	var rt http.RoundTripper = p.plain
	if p.signedIn != nil && req.URL.Host == p.server.Host {
		rt = p.signedIn
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		x.err = plainError(err)
		x.got = x.err.Error()
		return x
	}
	defer resp.Body.Close()
	x.status, x.header = resp.StatusCode, resp.Header
	switch {
	case waitFor == headersOnly && resp.StatusCode == http.StatusOK:
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"):
		x.body, err = readEvent(resp.Body, waitFor)
	default:
		x.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	}
	x.got = showResponse(resp, x.body)
	if err != nil && ctx.Err() != nil && len(x.body) == 0 {
		x.err = fmt.Errorf("the answer began but did not end within %v", p.timeout)
	}
	return x
}

// readEvent returns the data of the first event that has waitFor in it, or of the first
// with data at all if that is empty.
func readEvent(r io.Reader, waitFor string) ([]byte, error) {
	lines := bufio.NewReader(io.LimitReader(r, maxAnswer))
	var data []byte
	for {
		line, err := lines.ReadBytes('\n')
		switch text := bytes.TrimRight(line, "\r\n"); {
		case bytes.HasPrefix(text, []byte("data:")):
			data = append(append(data, bytes.TrimPrefix(text[5:], []byte(" "))...), '\n')
		case len(text) == 0 && len(data) > 0:
			if data = bytes.TrimRight(data, "\n"); bytes.Contains(data, []byte(waitFor)) {
				return data, nil
			}
			data = nil
		}
		if err != nil {
			return bytes.TrimRight(data, "\n"), err
		}
	}
}

// plainError is what went wrong, for people, without the URL.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, errInside):
		return errInside
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("the connection was refused")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was cut")
	}
	return errors.New(clean(err.Error()))
}

// secretHeaders are shown by name only.
var secretHeaders = map[string]bool{"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Set-Cookie": true, "Mcp-Session-Id": true, "X-Api-Key": true, "Dpop": true}

// ourHeaders are those of a request that are what they seem; what the caller added may
// be a key.
var ourHeaders = map[string]bool{"Accept": true, "Content-Type": true, "Mcp-Protocol-Version": true, "Mcp-Method": true, "Mcp-Name": true, "Origin": true, "User-Agent": true}

func showRequest(r *http.Request, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, redactURL(r.URL.String()))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		value := "[redacted]"
		if ourHeaders[name] {
			value = strings.Join(r.Header[name], ", ")
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	if body != "" {
		b.WriteString("\n" + body)
	}
	return clean(b.String())
}

func showResponse(r *http.Response, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Proto, r.Status)
	for _, name := range []string{"Content-Type", "Www-Authenticate", "Mcp-Session-Id", "Location", "Allow", "Retry-After", "Server", "Date"} {
		for _, v := range r.Header.Values(name) {
			switch {
			case secretHeaders[name]:
				v = "[redacted]"
			case name == "Location":
				v = redactURL(v)
			}
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	if len(body) > 0 {
		b.WriteString("\n" + redactBody(string(body)))
	}
	return clean(b.String())
}

var secretField = regexp.MustCompile(`(?i)("(?:access_token|refresh_token|id_token|client_secret|registration_access_token|code|code_verifier|password|secret|api_?key|token|assertion|device_code)"\s*:\s*")(?:[^"\\]|\\.)*(")`)

var looksLikeToken = regexp.MustCompile(`\b(?:eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+|(?:gh[pousr]|sk|xox[abp]|cw_[a-z]+)[_-][A-Za-z0-9_.-]{16,})`)

func redactBody(s string) string {
	s = secretField.ReplaceAllString(s, "${1}[redacted]${2}")
	return looksLikeToken.ReplaceAllString(s, "[redacted]")
}

// redactURL keeps what tells where a URL leads: the values of its query may be keys.
func redactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "[a URL that makes no sense]"
	}
	if u.User != nil {
		u.User = url.User("[redacted]")
	}
	q := u.Query()
	for name := range q {
		q[name] = []string{"…"}
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), url.QueryEscape("…"), "…")
	u.Fragment = ""
	return strings.ReplaceAll(u.String(), "%5Bredacted%5D", "[redacted]")
}

// clean makes text of a stranger fit for a terminal: no control characters, and not
// too much of it.
func clean(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e || r >= 0x2066 && r <= 0x2069:
			return '·'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}
