package object_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/object"
)

// busy lists how many objects work at once in the benchmarks.
var busy = []int{1, 64, 256}

// drive runs op b.N times in all, one goroutine for each object, and reports the rate and the slow ones.
func drive(b *testing.B, objects int, op func(object, i int) error) {
	b.Helper()
	for i := range objects { // what is measured is work, not creation
		if err := op(i, 0); err != nil {
			b.Fatal(err)
		}
	}
	took := make([][]time.Duration, objects)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for o := range objects {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				before := time.Now()
				if err := op(o, int(i)); err != nil {
					b.Error(err)
					return
				}
				took[o] = append(took[o], time.Since(before))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "tx/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
}

func benchHost(b *testing.B) (*object.Host, *object.Kind[counter]) {
	b.Helper()
	dir := b.TempDir()
	s := openLocal(b, dir+"/log")
	b.Cleanup(func() { must(b, s.Close()) })
	h := open(b, s, object.Options{Dir: dir + "/objects", IdleAfter: time.Hour})
	return h, register(b, h, object.Spec[counter]{})
}

const (
	benchTable  = "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, pad TEXT); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < 100) INSERT INTO t SELECT i, 0, hex(randomblob(50)) FROM c"
	benchUpdate = "UPDATE t SET n = n + ? WHERE id = ?"
)

// BenchmarkSQL is durable one-row transactions through Object.SQL.
func BenchmarkSQL(b *testing.B) {
	for _, n := range busy {
		b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
			_, k := benchHost(b)
			dbs := make([]*sql.DB, n)
			for i := range dbs {
				o := k.Get(fmt.Sprint(i))
				exec(b, o, benchTable)
				var err error
				dbs[i], err = o.SQL(b.Context())
				must(b, err)
			}
			drive(b, n, func(o, i int) error {
				_, err := dbs[o].Exec(benchUpdate, 1, 1+i%100)
				return err
			})
		})
	}
}

// BenchmarkPlainSQLite is the same with one database file for each object, flushed by SQLite itself.
func BenchmarkPlainSQLite(b *testing.B) {
	for _, n := range busy {
		b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			dbs := make([]*sql.DB, n)
			for i := range dbs {
				db, err := sql.Open("sqlite", filepath.Join(dir, fmt.Sprint(i, ".db"))+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
				must(b, err)
				b.Cleanup(func() { db.Close() })
				if _, err := db.Exec(benchTable); err != nil {
					b.Fatal(err)
				}
				dbs[i] = db
			}
			drive(b, n, func(o, i int) error {
				_, err := dbs[o].Exec(benchUpdate, 1, 1+i%100)
				return err
			})
		})
	}
}

// BenchmarkTx is State and SQL in one unit.
func BenchmarkTx(b *testing.B) {
	_, k := benchHost(b)
	const n = 64
	objects := make([]*object.Object[counter], n)
	for i := range objects {
		objects[i] = k.Get(fmt.Sprint(i))
		exec(b, objects[i], benchTable)
	}
	drive(b, n, func(o, i int) error {
		return objects[o].Tx(context.Background(), func(ctx context.Context, tx object.Tx, st *counter) error {
			st.N++
			_, err := tx.ExecContext(ctx, benchUpdate, 1, 1+i%100)
			return err
		})
	})
}

// BenchmarkState is durable updates of the state alone.
func BenchmarkState(b *testing.B) {
	for _, n := range busy {
		b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
			_, k := benchHost(b)
			drive(b, n, func(o, i int) error {
				_, err := k.Get(fmt.Sprint(o)).Update(context.Background(), add(1))
				return err
			})
		})
	}
}

// BenchmarkStateOfOneObject is 64 callers of one object: updates run ahead of the disk together.
func BenchmarkStateOfOneObject(b *testing.B) {
	_, k := benchHost(b)
	o := k.Get("hot")
	drive(b, 64, func(_, i int) error {
		_, err := o.Update(context.Background(), add(1))
		return err
	})
}

// BenchmarkWake is the first use of an object that sleeps.
func BenchmarkWake(b *testing.B) {
	for _, what := range []string{"state", "sql"} {
		b.Run(what, func(b *testing.B) {
			dir := b.TempDir()
			s := openLocal(b, dir+"/log")
			b.Cleanup(func() { must(b, s.Close()) })
			const n = 500
			make1 := func() (*object.Host, *object.Kind[counter]) {
				h, err := object.NewHost(s, &object.Options{Dir: dir + "/objects", Logger: quiet, IdleAfter: time.Hour, MaxOpen: n})
				must(b, err)
				return h, register(b, h, object.Spec[counter]{})
			}
			h, k := make1()
			for i := range n {
				must(b, k.Get(fmt.Sprint(i)).SetState(b.Context(), counter{i + 1}))
				if what == "sql" {
					exec(b, k.Get(fmt.Sprint(i)), benchTable)
				}
			}
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				if i%n == 0 {
					b.StopTimer()
					shut(b, h) // all asleep
					h, k = make1()
					b.StartTimer()
				}
				o := k.Get(fmt.Sprint(i % n))
				before := time.Now()
				if what == "sql" {
					if got := query[int](b, o, "SELECT count(*) FROM t"); got != 100 {
						b.Fatal(got)
					}
				} else if got := state(b, o).N; got != 1+i%n {
					b.Fatal(got)
				}
				took = append(took, time.Since(before))
			}
			b.StopTimer()
			shut(b, h)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		})
	}
}

// BenchmarkDisk is what the disk does: overwrite 4 KiB of an allocated file and flush it.
func BenchmarkDisk(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	must(b, err)
	defer f.Close()
	page := make([]byte, 4096)
	for range 256 {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
	}
	must(b, f.Sync())
	b.ResetTimer()
	start := time.Now()
	for i := range b.N {
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
		must(b, fdatasync(f))
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "flushes/s")
}
