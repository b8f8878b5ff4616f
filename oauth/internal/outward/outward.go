// Package outward fetches documents from addresses that strangers name. It reaches
// public addresses only, whatever a name resolves to at that moment: the address is
// checked when it is dialled, after resolution.
package outward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Errors that say how a fetch failed.
var (
	// ErrForbidden: the address is not a public one, or the port not 443.
	ErrForbidden = errors.New("address is not allowed")
	// ErrTooLarge: the document is over the limit.
	ErrTooLarge = errors.New("document is too large")
	// ErrRedirect: the server sent a redirect, which is not followed.
	ErrRedirect = errors.New("redirects are not followed")
)

// A StatusError is an answer other than 200.
type StatusError int

func (e StatusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// special are the networks of the IANA registries of special-purpose addresses that
// netip has no method for.
var special = func() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10", "::/96", "::ffff:0:0:0/96",
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}()

// IsPublic reports whether an address is one of the public internet.
func IsPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Zone() != "" || !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.IsLoopback() {
		return false
	}
	for _, network := range special {
		if network.Contains(addr) {
			return false
		}
	}
	return true
}

// guard is called with the address that is really dialled.
func guard(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || ap.Port() != 443 || !IsPublic(ap.Addr()) {
		return ErrForbidden
	}
	return nil
}

// NewClient returns a client for fetches of at most the given time. It uses no proxy,
// keeps no connection and sends no cookie.
func NewClient(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, ControlContext: guard}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			DisableKeepAlives:      true,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    timeout,
			ResponseHeaderTimeout:  timeout,
			MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

// Get fetches a JSON document of at most limit bytes, decoded.
func Get(ctx context.Context, c *http.Client, url string, limit int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "causeway")
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, nil, ErrRedirect
	case resp.StatusCode != http.StatusOK:
		return nil, nil, StatusError(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > limit {
		return nil, nil, ErrTooLarge
	}
	return body, resp.Header, nil
}
