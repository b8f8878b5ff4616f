package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store/local"
	_ "modernc.org/sqlite"
)

// A contender does one durable write at a time to each of several objects.
type contender struct {
	name  string
	write func(object, i int) error
	// turns, if there is a log that wraps around, tells how often it has.
	turns func() float64
	close func() error
}

// What all of them do with SQL: one row of a hundred changes.
const (
	makeTable = "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, pad TEXT); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < 100) INSERT INTO t SELECT i, 0, hex(randomblob(50)) FROM c"
	changeRow = "UPDATE t SET n = n + ? WHERE id = ?"
)

// tally is what a contender did in one round.
type tally struct {
	perSecond float64
	p50, p99  time.Duration
}

// run writes with one goroutine for each object.
func (c *contender) run(objects int, length time.Duration) (tally, error) {
	took := make([][]time.Duration, objects)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(length)
	for o := range objects {
		wg.Go(func() {
			for before := time.Now(); before.Before(end) && failed.Load() == nil; {
				if err := c.write(o, int(next.Add(1))); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				now := time.Now()
				took[o] = append(took[o], now.Sub(before))
				before = now
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if err := failed.Load(); err != nil {
		return tally{}, fmt.Errorf("%s: %w", c.name, *err)
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return tally{perSecond: float64(len(all)) / elapsed.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100]}, nil
}

// plainSQLite is a database file for each object, made durable by SQLite itself.
func plainSQLite(name, dir string, objects int) (*contender, error) {
	dbs := make([]*sql.DB, objects)
	c := &contender{name: name, close: func() error {
		var errs error
		for _, db := range dbs {
			if db != nil {
				errs = errors.Join(errs, db.Close())
			}
		}
		return errs
	}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for i := range dbs {
		db, err := sql.Open("sqlite", filepath.Join(dir, fmt.Sprint(i, ".db"))+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		dbs[i] = db
		if _, err := db.Exec(makeTable); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	c.write = func(o, i int) error {
		_, err := dbs[o].Exec(changeRow, 1, 1+i%100)
		return err
	}
	return c, nil
}

type tallyState struct{ N int }

// objectsIn opens a host over a directory of its own. The log's files are smaller than the
// default, so that it wraps around within the benchmark and checkpoints, compaction and
// recycling are paid for.
func objectsIn(dir string) (*object.Host, *object.Kind[tallyState], func() float64, func() error, error) {
	s, err := local.Open(filepath.Join(dir, "store"), &local.Options{SegmentSize: logSegment, Segments: logSegments})
	if err != nil {
		return nil, nil, nil, nil, err
	}
	h, err := object.NewHost(s, &object.Options{Dir: filepath.Join(dir, "objects"), IdleAfter: time.Hour})
	if err != nil {
		return nil, nil, nil, nil, errors.Join(err, s.Close())
	}
	stop := func() error { return errors.Join(h.Close(context.Background()), s.Close()) }
	k, err := object.Register(h, object.Spec[tallyState]{Name: "busy"})
	if err != nil {
		return nil, nil, nil, nil, errors.Join(err, stop())
	}
	return h, k, func() float64 { return logTurns(filepath.Join(dir, "store", "log")) }, stop, nil
}

const (
	logSegment  = 1 << 20
	logSegments = 8
)

// logTurns is how often the log in dir has gone through all its files. They are numbered
// in the order in which they are begun.
func logTurns(dir string) float64 {
	newest := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var n int
		if err == nil && !d.IsDir() {
			if _, err := fmt.Sscanf(filepath.Base(path), "%d.seg", &n); err == nil {
				newest = max(newest, n)
			}
		}
		return nil
	})
	return float64(newest) / logSegments
}

// ourSQL is durable one-row transactions through Object.SQL, an ordinary *sql.DB.
func ourSQL(dir string, objects int) (*contender, error) {
	_, k, turns, stop, err := objectsIn(dir)
	if err != nil {
		return nil, err
	}
	dbs := make([]*sql.DB, objects)
	for i := range dbs {
		if dbs[i], err = k.Get(fmt.Sprint(i)).SQL(context.Background()); err == nil {
			_, err = dbs[i].Exec(makeTable)
		}
		if err != nil {
			return nil, errors.Join(err, stop())
		}
	}
	return &contender{name: "Object.SQL", turns: turns, close: stop, write: func(o, i int) error {
		_, err := dbs[o].Exec(changeRow, 1, 1+i%100)
		return err
	}}, nil
}

// ourTx is the same through Object.Tx, which leaves database/sql out, and changes the
// state in the same entry.
func ourTx(dir string, objects int) (*contender, error) {
	_, k, turns, stop, err := objectsIn(dir)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	all := make([]*object.Object[tallyState], objects)
	for i := range all {
		all[i] = k.Get(fmt.Sprint(i))
		db, err := all[i].SQL(ctx)
		if err == nil {
			_, err = db.Exec(makeTable)
		}
		if err != nil {
			return nil, errors.Join(err, stop())
		}
	}
	return &contender{name: "Object.Tx, SQL and state", turns: turns, close: stop, write: func(o, i int) error {
		return all[o].Tx(ctx, func(ctx context.Context, tx object.Tx, st *tallyState) error {
			st.N++
			_, err := tx.ExecContext(ctx, changeRow, 1, 1+i%100)
			return err
		})
	}}, nil
}

// ourState is durable updates of the state alone.
func ourState(dir string, objects int) (*contender, error) {
	_, k, turns, stop, err := objectsIn(dir)
	if err != nil {
		return nil, err
	}
	return &contender{name: "Object.Update, state only", turns: turns, close: stop, write: func(o, _ int) error {
		_, err := k.Get(fmt.Sprint(o)).Update(context.Background(), func(st *tallyState) error { st.N++; return nil })
		return err
	}}, nil
}

// theDisk overwrites 4 KiB of an allocated file and flushes them, one at a time: the
// measure of what a disk can do for someone who does not gather writes.
func theDisk(dir string) (*contender, error) {
	f, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		return nil, err
	}
	page := make([]byte, 4096)
	for range 256 {
		if _, err := f.Write(page); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &contender{name: "fdatasync of 4 KiB, one at a time", close: f.Close, write: func(_, i int) error {
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			return err
		}
		return datasync(f)
	}}, nil
}
