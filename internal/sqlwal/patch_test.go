package sqlwal

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// newest is how many bytes the newest entry of the journal has.
func (j *journal) newest() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries[len(j.entries)-1])
}

func TestASmallChangeOfAPageIsASmallEntry(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, pad TEXT)")
	j.exec("INSERT INTO t VALUES(1, 100, hex(randomblob(1500)))")
	whole := j.newest()
	for n := range 10 {
		j.exec("UPDATE t SET n = ?", 200+n)
	}
	if small := j.newest(); small > 64 || whole < 1500 {
		t.Errorf("entries of %d bytes, after %d", small, whole)
	}
	if got := one[int](t, j.rebuilt(), "SELECT n FROM t"); got != 209 {
		t.Errorf("rebuilt: %d", got)
	}
}

// After a snapshot the journal begins anew, over a file that may be ahead of it.
func TestAfterASnapshotTheFirstImageOfAPageIsWhole(t *testing.T) {
	for name, snapshot := range map[string]func(j *journal) error{
		"a flushed file": func(j *journal) error { return j.db.Sync(j.t.Context()) },
		"an image":       func(j *journal) error { _, err := j.db.Image(j.t.Context()); return err },
		"a checkpoint":   func(j *journal) error { return j.db.Checkpoint(j.t.Context()) },
		"a reopening":    func(j *journal) error { return j.db.Close(j.t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t, Options{})
			j.exec("CREATE TABLE t(n INTEGER, pad TEXT)")
			j.exec("INSERT INTO t VALUES(1, hex(randomblob(1500)))")
			if err := j.Lock(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := snapshot(j); err != nil {
				t.Fatal(err)
			}
			j.Unlock()
			begin := j.len()
			j.exec("UPDATE t SET n = 2")
			j.exec("UPDATE t SET n = 3")
			seen := map[uint32]bool{}
			for c, err := range j.changes(begin) {
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range c.Pages {
					if p.Data == nil && !seen[p.No] {
						t.Errorf("page %d begins with a patch", p.No)
					}
					seen[p.No] = true
				}
			}
			if len(seen) == 0 || j.newest() > 64 {
				t.Errorf("%d pages, the last entry of %d bytes", len(seen), j.newest())
			}
		})
	}
}

// Whatever is written, rolled back, cut off and written again: the journal alone gives the same database.
func TestTheJournalGivesTheDatabaseAfterAnyHistory(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		j := newJournal(t, Options{})
		j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, pad BLOB)")
		j.exec("CREATE INDEX i ON t(n)")
		for range 300 {
			switch id := r.IntN(200); r.IntN(12) {
			case 0:
				j.exec("DELETE FROM t WHERE id % 3 = ?", r.IntN(3))
			case 1:
				j.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < ?) INSERT INTO t(n, pad) SELECT i, randomblob(300) FROM c", r.IntN(200))
			case 2:
				if err := j.Lock(t.Context()); err != nil {
					t.Fatal(err)
				}
				c, err := j.db.Vacuum(t.Context())
				if err == nil && c != nil {
					_, err = j.Commit(t.Context(), c)
				}
				if err != nil {
					t.Fatal(err)
				}
				j.Unlock()
			case 3:
				_, _ = j.db.SQL().Exec("INSERT OR ROLLBACK INTO t(id, n) SELECT id, n FROM t LIMIT 100")
			case 4:
				if err := j.Lock(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := j.db.Checkpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
				j.Unlock()
			default:
				j.exec("INSERT INTO t VALUES(?, ?, randomblob(?)) ON CONFLICT DO UPDATE SET n = n + 1", id, id, r.IntN(600))
			}
		}
		const sum = "SELECT count(*) || ':' || coalesce(sum(n), 0) || ':' || coalesce(group_concat(hex(substr(pad, 1, 8))), '') FROM (SELECT * FROM t ORDER BY id)"
		if got, want := one[string](t, j.rebuilt(), sum), one[string](t, j.db.SQL(), sum); got != want {
			t.Fatalf("seed %d: rebuilt %.80s, not %.80s", seed, got, want)
		}
		if got := one[string](t, j.rebuilt(), "PRAGMA integrity_check"); got != "ok" {
			t.Fatal(fmt.Errorf("seed %d: %s", seed, got))
		}
	}
}
