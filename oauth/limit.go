package oauth

import (
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// maxLimited bounds the addresses, and the clients, that are remembered.
const maxLimited = 16 << 10

// Limits bound what one address (an IPv6 network of /64), or one client, may ask for. Zero values are
// the defaults; negative ones turn a limit off.
type Limits struct {
	// Token bounds requests to /token and /revoke: per second, with a burst of 20 times
	// that. Zero is 10.
	Token float64
	// Client bounds requests of one client to /token, from all addresses together, once it
	// has proved who it is: per second, with a burst of 20 times that. Zero is 100. Public
	// clients, which anybody can claim to be, are bounded by address only.
	Client float64
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
	token, introspect, pages, register *limit[netip.Addr]
	client                             *limit[string]

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
		token:      newLimit[netip.Addr](or(l.Token, 10), 20),
		client:     newLimit[string](or(l.Client, 100), 20),
		introspect: newLimit[netip.Addr](or(l.Introspect, 200), 20),
		pages:      newLimit[netip.Addr](or(l.Pages, 3), 20),
		register:   newLimit[netip.Addr](perMinute/60, 60),
		unused:     unused,
	}
}

// A limit is a bucket for each key: an address, or a client.
type limit[K comparable] struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

func newLimit[K comparable](perSecond float64, seconds float64) *limit[K] {
	return &limit[K]{perSecond: rate.Limit(perSecond), burst: max(1, int(perSecond*seconds+0.5)), buckets: map[K]*rate.Limiter{}}
}

func (l *limit[K]) allow(key K) bool {
	if l.perSecond < 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		l.makeRoom()
		b = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets[key] = b
	}
	return b.Allow()
}

// makeRoom forgets keys whose bucket is full again, and some other if all are busy.
func (l *limit[K]) makeRoom() {
	if len(l.buckets) < maxLimited {
		return
	}
	looked := 0
	for key, b := range l.buckets {
		looked++
		if b.Tokens() >= float64(l.burst) || looked == 64 {
			delete(l.buckets, key)
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
