package oauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

const (
	leasePrefix = "oauth/lease/"
	// leaseTTL is how long a grant waits for a process that died with its lease. It is
	// longer than anything that is done under one.
	leaseTTL = 20 * time.Second
	// leaseWait is how long one waits for a lease.
	leaseWait = 25 * time.Second
)

// A lease is the right to renew a grant: one process has it at a time, and in it one
// request. It keeps others from calling the login twice with a refresh token that is good
// once. It is no fence: what is written is still decided by compare-and-set.
type lease struct {
	s     *grants
	id    string
	rev   store.Revision
	leave func()
}

// lease waits for the lease of a grant.
func (s *grants) lease(ctx context.Context, id string) (*lease, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	leave, err := s.turns.take(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("%w: waiting for the lease of a grant: %w", ErrUnavailable, err)
	}
	holder := make([]byte, 16)
	rand.Read(holder)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		rev, err := s.records.Put(ctx, leasePrefix+id, holder, 0, &store.PutOptions{TTL: leaseTTL})
		if errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrConflict) {
			// Whether it is ours shows in the record: our own write may have been the unknown one.
			var r store.Record
			if r, err = s.records.Get(ctx, leasePrefix+id); err == nil && bytes.Equal(r.Value, holder) {
				rev = r.Revision
			} else if err == nil || errors.Is(err, store.ErrNotFound) {
				err = store.ErrConflict
			}
		}
		if err == nil {
			return &lease{s: s, id: id, rev: rev, leave: leave}, nil
		}
		if errors.Is(err, store.ErrConflict) {
			err = sleep(ctx, wait/2+mathrand.N(wait/2))
		}
		if err != nil {
			leave()
			return nil, fmt.Errorf("%w: taking the lease of a grant: %w", ErrUnavailable, err)
		}
	}
}

func (l *lease) release() {
	defer l.leave()
	ctx, cancel := context.WithTimeout(context.Background(), leaseTTL)
	defer cancel()
	err := l.s.records.Delete(ctx, leasePrefix+l.id, l.rev)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
		l.s.log.DebugContext(ctx, "oauth: a lease ends by itself", "grant", l.id, "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
