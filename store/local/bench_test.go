package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
)

// diskSyncs measures how often per second the disk makes an overwritten page
// durable for one writer: what "physical" means in the figures.
func diskSyncs(b *testing.B) float64 {
	b.Helper()
	d := disk.OS(b.TempDir())
	f, err := d.Open("probe", os.O_RDWR|os.O_CREATE)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := fill(f, 4<<20); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, page)
	n, began := 0, time.Now()
	for ; time.Since(began) < 300*time.Millisecond; n++ {
		buf[0]++
		if _, err := f.WriteAt(buf, int64(n%1024)*page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

// BenchmarkAppend is durable appends per second, each waited for, to as many
// objects as there are writers. "x-disk" is in multiples of what the same disk
// syncs per second for one writer. Every hundredth entry is a snapshot.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{300, 4096} {
		for _, writers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("size=%d/writers=%d", size, writers), func(b *testing.B) {
				s := open(b, b.TempDir(), &Options{Logger: quiet()})
				physical := diskSyncs(b)
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				times := make([][]time.Duration, writers)
				b.ResetTimer()
				for w := range writers {
					wg.Go(func() { times[w] = appendUntil(b, s, w, size, &left) })
				}
				wg.Wait()
				b.StopTimer()
				all := slices.Sorted(slices.Values(slices.Concat(times...)))
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-p99")
				rate := float64(b.N) / b.Elapsed().Seconds()
				b.ReportMetric(rate, "appends/s")
				b.ReportMetric(rate/physical, "x-disk")
			})
		}
	}
}

func appendUntil(b *testing.B, s *Store, w, size int, left *atomic.Int64) (times []time.Duration) {
	id := store.ObjectID{Kind: "bench", ID: fmt.Sprint(w)}
	body := make([]byte, size)
	var tail store.Seq
	for n := 0; left.Add(-1) >= 0; n++ {
		wr := store.Write{Object: id, Prev: tail, Entry: store.Entry{Body: body}}
		if n%100 == 0 {
			wr.Entry.Kind = store.EntrySnapshot
		}
		var err error
		began := time.Now()
		if tail, err = s.Append(context.Background(), wr).Wait(context.Background()); err != nil {
			b.Error(err)
			return
		}
		times = append(times, time.Since(began))
	}
	return times
}

// BenchmarkRunAhead is one object that waits only for its eighth append behind.
func BenchmarkRunAhead(b *testing.B) {
	s := open(b, b.TempDir(), &Options{Logger: quiet()})
	body := make([]byte, 300)
	var last store.Pending
	var window []store.Pending
	for n := range b.N {
		w := store.Write{Object: store.ObjectID{Kind: "bench", ID: "one"}, After: last, Entry: store.Entry{Body: body}}
		if n%100 == 0 {
			w.Entry.Kind = store.EntrySnapshot
		}
		last = s.Append(context.Background(), w)
		window = append(window, last)
		if len(window) == 8 {
			if _, err := window[0].Wait(context.Background()); err != nil {
				b.Fatal(err)
			}
			window = window[1:]
		}
	}
	if _, err := last.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkPut is durable compare-and-set writes of 200-byte records.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, b.TempDir(), &Options{Logger: quiet()})
			physical := diskSyncs(b)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					key, value := fmt.Sprint("session/", w), make([]byte, 200)
					var rev store.Revision
					for left.Add(-1) >= 0 {
						var err error
						if rev, err = s.Put(context.Background(), key, value, rev, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "puts/s")
			b.ReportMetric(rate/physical, "x-disk")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, b.TempDir(), &Options{Logger: quiet()})
	for i := range 1000 {
		if _, err := s.Put(b.Context(), fmt.Sprint("session/", i), make([]byte, 200), 0, nil); err != nil {
			b.Fatal(err)
		}
		if i == 100 {
			b.ResetTimer()
			break
		}
	}
	b.ReportAllocs()
	for i := range b.N {
		if _, err := s.Get(context.Background(), fmt.Sprint("session/", i%100)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHibernated makes N objects with one small snapshot each and reports
// what one costs in memory and on disk, and how long the store takes to open, with
// its index and without.
func BenchmarkHibernated(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("short")
			}
			dir := b.TempDir()
			s := open(b, dir, &Options{Logger: quiet()})
			fillObjects(b, s, n)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			s = open(b, dir, &Options{Logger: quiet()})
			b.ReportMetric(time.Since(began).Seconds(), "s/open")
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B-RAM/object")
			p50, p99 := wakeTimes(b, s, n)
			b.ReportMetric(float64(p50.Microseconds()), "µs-load-p50")
			b.ReportMetric(float64(p99.Microseconds()), "µs-load-p99")
			s.Close()
			b.ReportMetric(float64(diskUse(b, dir))/float64(n), "B-disk/object")
			if err := os.Remove(filepath.Join(dir, indexFile)); err != nil {
				b.Fatal(err)
			}
			began = time.Now()
			s = open(b, dir, &Options{Logger: quiet()})
			b.ReportMetric(time.Since(began).Seconds(), "s/open-rebuilt")
			s.Close()
			b.ReportMetric(0, "ns/op")
		})
	}
}

// wakeTimes loads objects at random.
func wakeTimes(b *testing.B, s *Store, n int) (p50, p99 time.Duration) {
	rnd := rand.New(rand.NewPCG(1, 1))
	times := make([]time.Duration, 20_000)
	for i := range times {
		id := store.ObjectID{Kind: "counter", ID: fmt.Sprintf("%032x", rnd.IntN(n))}
		began := time.Now()
		for _, err := range s.Load(context.Background(), id) {
			if err != nil {
				b.Fatal(err)
			}
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}

func fillObjects(b *testing.B, s *Store, n int) {
	var wg sync.WaitGroup
	const writers = 256
	for w := range writers {
		wg.Go(func() {
			body := []byte(`{"counter":42,"name":"a small state of a sleeping object","when":"2026-11-22T12:00:00Z"}`)
			for i := w; i < n; i += writers {
				wr := store.Write{Object: store.ObjectID{Kind: "counter", ID: fmt.Sprintf("%032x", i)},
					Entry: store.Entry{Kind: store.EntrySnapshot, Body: body}}
				if _, err := s.Append(context.Background(), wr).Wait(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func diskUse(b *testing.B, dir string) int64 {
	var total int64
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}
