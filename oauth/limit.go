package oauth

import (
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// maxLimited bounds the addresses that are remembered.
const maxLimited = 16 << 10

// Limits bound what one address (an IPv6 network of /64) may ask for. Zero values are
// the defaults; negative ones turn a limit off.
type Limits struct {
	// Token bounds requests to /token and /revoke: per second, with a burst of 20 times
	// that. Zero is 10.
	Token float64
	// Introspect bounds requests to /introspect: per second, with a burst of 20 times
	// that. Zero is 200.
	Introspect float64
	// Pages bounds requests to the pages a person sees: per second, with a burst of 20
	// times that. Zero is 3.
	Pages float64
	// Register bounds registrations: per minute, with a burst of as many. Zero is 5.
	Register float64
	// Unused bounds registered clients that nobody has signed in to yet; they are
	// dropped after an hour. Zero is 1000.
	Unused int
}

type limiter struct {
	token, introspect, pages, register *addressLimit

	unused int
}

func newLimiter(l Limits) *limiter {
	or := func(v, zero float64) float64 {
		if v == 0 {
			return zero
		}
		return v
	}
	unused := l.Unused
	if unused == 0 {
		unused = 1000
	}
	perMinute := or(l.Register, 5)
	return &limiter{
		token:      newAddressLimit(or(l.Token, 10), 20),
		introspect: newAddressLimit(or(l.Introspect, 200), 20),
		pages:      newAddressLimit(or(l.Pages, 3), 20),
		register:   newAddressLimit(perMinute/60, 60),
		unused:     unused,
	}
}

// addressLimit is a bucket for each address.
type addressLimit struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex
	buckets map[netip.Addr]*rate.Limiter
}

func newAddressLimit(perSecond float64, seconds float64) *addressLimit {
	return &addressLimit{perSecond: rate.Limit(perSecond), burst: max(1, int(perSecond*seconds+0.5)), buckets: map[netip.Addr]*rate.Limiter{}}
}

func (l *addressLimit) allow(addr netip.Addr) bool {
	if l.perSecond < 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[addr]
	if b == nil {
		l.makeRoom()
		b = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets[addr] = b
	}
	return b.Allow()
}

// makeRoom forgets addresses whose bucket is full again, and some other if all are busy.
func (l *addressLimit) makeRoom() {
	if len(l.buckets) < maxLimited {
		return
	}
	looked := 0
	for addr, b := range l.buckets {
		looked++
		if b.Tokens() >= float64(l.burst) || looked == 64 {
			delete(l.buckets, addr)
		}
		if looked == 64 {
			return
		}
	}
}

// addr is the address that a request is counted under.
func (s *Server) addr(r *http.Request) netip.Addr {
	var addr netip.Addr
	if s.provider.ClientAddr != nil {
		addr = s.provider.ClientAddr(r)
	} else if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		addr = ap.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}
