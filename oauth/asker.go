package oauth

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

type askerKey struct{}

// withAsker puts the address that a request is counted under into its context, for what is shared out
// by address further down.
func (s *Server) withAsker(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), askerKey{}, s.addr(r)))
}

// askerOf is the address; the zero one is the program itself.
func askerOf(ctx context.Context) netip.Addr {
	addr, _ := ctx.Value(askerKey{}).(netip.Addr)
	return addr
}

const (
	// maxBegun is from how many sign-ins of the last ten minutes on an address that began many is
	// refused; nobody begins any more from twice as many on. Each is a record of about a kilobyte.
	maxBegun = 100_000
	// fewBegun is how many an address may always begin in that time: two pages for each person, of
	// an office behind one address.
	fewBegun = 60
)

// begun counts the sign-ins that this process began in the last ten minutes, by address. The records of
// what nobody finished end by themselves after that time (transactionTTL).
type begun struct {
	mu      sync.Mutex
	minutes [int(transactionTTL / time.Minute)]map[netip.Addr]int
	minute  int64 // of the Unix epoch, the latest
	total   int
}

// allow counts one more, if it may begin.
func (b *begun) allow(addr netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turnTo(now.Unix() / 60)
	if b.total >= maxBegun && (b.total >= 2*maxBegun || b.by(addr) >= fewBegun) {
		return false
	}
	at := int(b.minute) % len(b.minutes)
	if b.minutes[at] == nil {
		b.minutes[at] = map[netip.Addr]int{}
	}
	b.minutes[at][addr]++
	b.total++
	return true
}

func (b *begun) by(addr netip.Addr) (n int) {
	for _, m := range b.minutes {
		n += m[addr]
	}
	return n
}

// turnTo forgets the minutes that are over. A clock that goes back is waited for.
func (b *begun) turnTo(minute int64) {
	for steps := 0; b.minute < minute && steps < len(b.minutes); steps++ {
		next := max(b.minute+1, minute-int64(len(b.minutes))+1)
		at := int(next) % len(b.minutes)
		for _, n := range b.minutes[at] {
			b.total -= n
		}
		b.minutes[at] = nil
		b.minute = next
	}
}
