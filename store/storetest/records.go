package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

func writesNeedTheirRevision(t *testing.T, e store.Engine) {
	ctx := t.Context()
	first := put(t, e, "k", "one", 0)
	_, err := e.Put(ctx, "k", nil, 0, nil)
	wantErr(t, err, store.ErrConflict)
	second := put(t, e, "k", "two", first)
	_, err = e.Put(ctx, "k", nil, first, nil)
	wantErr(t, err, store.ErrConflict)
	wantErr(t, e.Delete(ctx, "k", first), store.ErrConflict)
	if r := wantValue(t, e, "k", "two"); r.Revision != second {
		t.Fatalf("revision is %d, want %d", r.Revision, second)
	}
	must(t, e.Delete(ctx, "k", second))
	wantNone(t, e, "k")
	wantErr(t, e.Delete(ctx, "k", second), store.ErrNotFound)
	wantErr(t, e.Delete(ctx, "k", 0), store.ErrInvalid)
	_, err = e.Put(ctx, "k", nil, second, nil)
	wantErr(t, err, store.ErrConflict)
	third := put(t, e, "k", "", 0)
	if third <= second {
		t.Fatalf("revision %d after a deletion does not come after %d", third, second)
	}
	wantValue(t, e, "k", "")
	put(t, e, "k", "whatever", store.AnyRevision)
	must(t, e.Delete(ctx, "k", store.AnyRevision))
	wantNone(t, e, "k")
	put(t, e, "k", "back", store.Revision(0))
}

func oneRacingWriterWins(t *testing.T, e store.Engine) {
	const writers, rounds = 8, 40
	var wg sync.WaitGroup
	var created atomic.Int32
	for range writers {
		wg.Go(func() {
			if _, err := e.Put(t.Context(), "made once", nil, 0, nil); err == nil {
				created.Add(1)
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
			for range rounds {
				increment(t, e, "sum")
			}
		})
	}
	wg.Wait()
	if n := created.Load(); n != 1 {
		t.Errorf("%d writers created one record", n)
	}
	wantValue(t, e, "sum", strconv.Itoa(writers*rounds))
}

func increment(t testing.TB, e store.Records, key string) {
	for {
		r, err := e.Get(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
			return
		}
		n, _ := strconv.Atoi(string(r.Value))
		_, err = e.Put(t.Context(), key, []byte(strconv.Itoa(n+1)), r.Revision, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrConflict) {
			t.Error(err)
			return
		}
	}
}

func expiredRecordsAreGone(t *testing.T, e store.Engine) {
	ctx := t.Context()
	rev, err := e.Put(ctx, "short", []byte("x"), 0, &store.PutOptions{TTL: 50 * time.Millisecond})
	must(t, err)
	put(t, e, "shorter", "stays", 0)
	eventually(t, "expiry", func() bool {
		r, err := e.Get(ctx, "short")
		if err == nil && !time.Now().Before(r.Expires.Add(time.Second)) {
			t.Fatal("a read returned a record past its time")
		}
		return errors.Is(err, store.ErrNotFound)
	})
	if got := keys(t, e, "short"); !slices.Equal(got, []string{"shorter"}) {
		t.Errorf("list shows %q", got)
	}
	if _, _, err := e.GetCached(ctx, "short"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("cached read: %v", err)
	}
	_, err = e.Put(ctx, "short", nil, rev, nil)
	wantErr(t, err, store.ErrConflict)
	wantErr(t, e.Delete(ctx, "short", rev), store.ErrNotFound)
	if again := put(t, e, "short", "again", 0); again <= rev {
		t.Errorf("revision %d after expiry does not come after %d", again, rev)
	}
	_, err = e.Put(ctx, "for ages", nil, 0, &store.PutOptions{TTL: math.MaxInt64})
	must(t, err)
	wantValue(t, e, "for ages", "")
	_, err = e.Put(ctx, "k", nil, 0, &store.PutOptions{TTL: -1})
	wantErr(t, err, store.ErrInvalid)
}

func putReplacesTTL(t *testing.T, e store.Engine) {
	ctx := t.Context()
	const short = 500 * time.Millisecond
	ttl := func(d time.Duration) *store.PutOptions { return &store.PutOptions{TTL: d} }
	began := time.Now()
	longer, err := e.Put(ctx, "longer", nil, 0, ttl(short))
	must(t, err)
	never, err := e.Put(ctx, "never", nil, 0, ttl(short))
	must(t, err)
	sooner, err := e.Put(ctx, "sooner", nil, 0, ttl(time.Hour))
	must(t, err)
	_, longerErr := e.Put(ctx, "longer", []byte("x"), longer, ttl(time.Hour))
	_, neverErr := e.Put(ctx, "never", []byte("x"), never, nil)
	if time.Since(began) > short {
		t.Skip("too slow a machine: the first times to live are over")
	}
	must(t, errors.Join(longerErr, neverErr))
	_, err = e.Put(ctx, "sooner", nil, sooner, ttl(short))
	must(t, err)
	eventually(t, "the sooner one expires", func() bool {
		_, err := e.Get(ctx, "sooner")
		return errors.Is(err, store.ErrNotFound)
	})
	if r := wantValue(t, e, "longer", "x"); time.Until(r.Expires) < 50*time.Minute {
		t.Errorf("expires at %v", r.Expires)
	}
	if r := wantValue(t, e, "never", "x"); !r.Expires.IsZero() {
		t.Errorf("expires at %v, want never", r.Expires)
	}
}

func listIsOrderedAndComplete(t *testing.T, e store.Engine) {
	var want []string
	var wg sync.WaitGroup
	for i := range 600 {
		want = append(want, fmt.Sprintf("list/%04d", i*2))
	}
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < len(want); i += 4 {
				put(t, e, want[i], want[i], 0)
			}
		})
	}
	wg.Wait()
	put(t, e, "lisu", "beyond", 0)
	put(t, e, "lis", "before", 0)
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key := fmt.Sprintf("list/%04d", i%1200|1) // between the ones that stay
			if rev, err := e.Put(t.Context(), key, nil, 0, nil); err == nil {
				must(t, e.Delete(t.Context(), key, rev))
			}
		}
	})
	for range 10 {
		var got []string
		last := ""
		for r, err := range e.List(t.Context(), "list/") {
			must(t, err)
			if r.Key <= last {
				t.Fatalf("%q comes after %q", r.Key, last)
			}
			last = r.Key
			if len(r.Value) > 0 {
				got = append(got, string(r.Value))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("listed %d of %d records", len(got), len(want))
		}
	}
	close(stop)
	wg.Wait()
	for range e.List(t.Context(), "list/") {
		break // a caller may stop
	}
	if got := keys(t, e, "none"); len(got) != 0 {
		t.Errorf("%q under a prefix without records", got)
	}
	if got := keys(t, e, ""); len(got) < len(want)+2 {
		t.Errorf("%d records under the empty prefix", len(got))
	}
}

func valuesAreCopied(t *testing.T, e store.Engine) {
	value := []byte("mine")
	_, err := e.Put(t.Context(), "k", value, 0, nil)
	must(t, err)
	copy(value, "XXXX")
	r := wantValue(t, e, "k", "mine")
	copy(r.Value, "YYYY")
	wantValue(t, e, "k", "mine")
	for r, err := range e.List(t.Context(), "k") {
		must(t, err)
		copy(r.Value, "ZZZZ")
	}
	wantValue(t, e, "k", "mine")
}

func recordLimits(t *testing.T, e store.Engine) {
	ctx := t.Context()
	key := strings.Repeat("k", store.MaxKey)
	value := bytes.Repeat([]byte("v"), store.MaxValue)
	_, err := e.Put(ctx, key, value, 0, nil)
	must(t, err)
	r, err := e.Get(ctx, key)
	must(t, err)
	if !bytes.Equal(r.Value, value) {
		t.Error("the largest value came back changed")
	}
	_, err = e.Put(ctx, key+"k", nil, 0, nil)
	wantErr(t, err, store.ErrTooLarge)
	_, err = e.Put(ctx, "k", append(value, 'v'), 0, nil)
	wantErr(t, err, store.ErrTooLarge)
	_, err = e.Put(ctx, "", nil, 0, nil)
	wantErr(t, err, store.ErrInvalid)
	wantNone(t, e, "k")
	odd := "a/b\x00\xff ../é*>"
	put(t, e, odd, odd, 0)
	wantValue(t, e, odd, odd)
}

func readsAreFresh(t *testing.T, e store.Engine) {
	var acknowledged atomic.Uint64
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		rev := store.Revision(0)
		for range 300 {
			var err error
			if rev, err = e.Put(t.Context(), "k", nil, rev, nil); err != nil {
				t.Error(err)
				return
			}
			acknowledged.Store(uint64(rev))
		}
	})
	for range 3 {
		wg.Go(func() {
			var last store.Revision
			for {
				want := store.Revision(acknowledged.Load())
				r, err := e.Get(t.Context(), "k")
				if err != nil && (want != 0 || !errors.Is(err, store.ErrNotFound)) {
					t.Error(err)
					return
				}
				if r.Revision < want || r.Revision < last {
					t.Errorf("read revision %d after %d was acknowledged and %d seen", r.Revision, want, last)
					return
				}
				last = r.Revision
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	wg.Wait()
}

func cancelledCallWritesNothing(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Put(ctx, "k", nil, 0, nil)
	wantErr(t, err, context.Canceled)
	wantNone(t, e, "k")
	rev := put(t, e, "k", "v", 0)
	wantErr(t, e.Delete(ctx, "k", rev), context.Canceled)
	_, err = e.Get(ctx, "k")
	wantErr(t, err, context.Canceled)
	wantValue(t, e, "k", "v")
}
