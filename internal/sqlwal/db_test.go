package sqlwal

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTheJournalAloneRebuildsTheDatabase(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	for i := range 200 {
		j.exec("INSERT INTO t(v) VALUES(?)", fmt.Sprint("row ", i))
	}
	if j.len() != 201 {
		t.Errorf("%d entries for 201 commits", j.len())
	}
	if n := one[int](t, j.rebuilt(), "SELECT count(*) FROM t"); n != 200 {
		t.Errorf("rebuilt: %d rows, want 200", n)
	}
}

func TestAnEmptyDatabaseIsWhatSQLiteWouldMake(t *testing.T) {
	path := t.TempDir() + "/empty.db"
	if err := os.WriteFile(path, empty(), 0o600); err != nil {
		t.Fatal(err)
	}
	db := openPlain(t, path)
	if mode := one[string](t, db, "PRAGMA journal_mode"); mode != "wal" {
		t.Errorf("journal mode %q", mode)
	}
	if enc := one[string](t, db, "PRAGMA encoding"); enc != "UTF-8" {
		t.Errorf("encoding %q", enc)
	}
}

func TestClosingHandleAndPoolNeverReachesSQLite(t *testing.T) {
	j := newJournal(t, Options{})
	db := j.db.SQL()
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(0)
	db.SetConnMaxLifetime(time.Nanosecond)
	j.exec("CREATE TABLE t(v)")
	j.exec("INSERT INTO t VALUES(1)")
	base := contents(t, j.db.path)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if contents(t, j.db.path) != base {
		t.Error("closing the handle checkpointed the database")
	}
	if info, err := os.Stat(j.db.path + "-wal"); err != nil || info.Size() == 0 {
		t.Errorf("closing the handle took the -wal away: %v", err)
	}
	if !j.db.Open() {
		t.Error("SQLite's connection was closed")
	}
}

func TestStatementsNest(t *testing.T) {
	for _, readAhead := range []int{1 << 20, 100} {
		t.Run(fmt.Sprintf("with %d bytes read ahead", readAhead), func(t *testing.T) {
			j := newJournal(t, Options{ReadAhead: readAhead})
			j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a ANY, at DATETIME)")
			when := time.Date(2026, 11, 22, 1, 2, 3, 4e6, time.UTC)
			values := []any{int64(-5), 2.5, "text", []byte{0, 1, 2}, nil, strings.Repeat("long", 100)}
			for _, v := range values {
				j.exec("INSERT INTO t(a, at) VALUES(?, ?)", v, when)
			}
			rows, err := j.db.SQL().Query("SELECT id, a, at FROM t ORDER BY id")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for rows.Next() {
				var id int
				var a any
				var at time.Time
				if err := rows.Scan(&id, &a, &at); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(a) != fmt.Sprint(values[n]) || !at.Equal(when) {
					t.Errorf("row %d: %v at %v", n, a, at)
				}
				j.exec("DELETE FROM t WHERE id = ?", id) // while the query is open
				inner := one[int](t, j.db.SQL(), "SELECT count(*) FROM t")
				if n++; inner != len(values)-n {
					t.Errorf("inner query saw %d rows", inner)
				}
			}
			if err := rows.Err(); err != nil || n != len(values) {
				t.Errorf("%d rows, %v", n, err)
			}
			left, _ := os.ReadDir(t.TempDir())
			for _, e := range left {
				if strings.HasPrefix(e.Name(), "rows-") {
					t.Errorf("%s was left behind", e.Name())
				}
			}
		})
	}
}

func TestAResultHasALimit(t *testing.T) {
	j := newJournal(t, Options{ReadAhead: 100, MaxResult: 10_000})
	_, err := j.db.SQL().Query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n")
	if !errors.Is(err, ErrResultTooLarge) {
		t.Errorf("endless query: %v", err)
	}
	j.exec("CREATE TABLE t(v)")
}

func TestStatementsThatWouldEscapeTheJournalAreRefused(t *testing.T) {
	refused := []string{
		"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a",
		"ATTACH 'other.db' AS other", "DETACH main", "VACUUM", "VACUUM INTO 'copy.db'",
		"PRAGMA journal_mode=DELETE", "PRAGMA journal_mode=OFF", "PRAGMA wal_checkpoint(TRUNCATE)",
		"PRAGMA wal_autocheckpoint=1", "PRAGMA locking_mode=NORMAL", "PRAGMA synchronous=FULL",
		"PRAGMA writable_schema=ON", "PRAGMA foreign_keys=OFF", "PRAGMA query_only=ON", "PRAGMA cache_spill=OFF",
		"PRAGMA optimize", "PRAGMA incremental_vacuum", "PRAGMA temp_store_directory='x'", "PRAGMA schema_version=9",
		"PRAGMA cache_size=1000000", "PRAGMA page_size=512", "PRAGMA encoding='UTF-16'",
		"CREATE TEMP TABLE x(a)", "CREATE TEMP VIEW v AS SELECT 1", "SELECT load_extension('x')",
		"SELECT * FROM pragma_wal_checkpoint", "CREATE TABLE bad(a); COMMIT; CREATE TABLE worse(a)",
		"/* hidden */ cOmMiT",
	}
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	base, entries := contents(t, j.db.path), j.len()
	for _, text := range refused {
		t.Run(text, func(t *testing.T) {
			if _, err := j.db.SQL().Exec(text); err == nil {
				t.Error("Exec let it through")
			}
			if rows, err := j.db.SQL().Query(text); err == nil {
				rows.Close()
				t.Error("Query let it through")
			}
			tx, err := j.db.SQL().Begin()
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if _, err := tx.Exec(text); err == nil && !strings.HasPrefix(text, "SAVEPOINT") {
				t.Error("a transaction let it through")
			}
		})
	}
	if contents(t, j.db.path) != base || j.len() != entries {
		t.Error("a refused statement has changed something")
	}
	for _, what := range []string{"ATTACH", "DETACH", "SAVEPOINT", "BEGIN", "PRAGMA journal_mode"} {
		text := map[string]string{"ATTACH": "ATTACH 'x' AS y", "DETACH": "DETACH main", "SAVEPOINT": "SAVEPOINT a", "PRAGMA journal_mode": "PRAGMA journal_mode=OFF"}[what]
		var why *RefusedError
		if _, err := j.db.SQL().Exec(cmp.Or(text, what)); !errors.As(err, &why) || why.What != what {
			t.Errorf("the refusal of %s does not say why: %v", what, err)
		}
	}
	j.exec("INSERT INTO t VALUES(1)")
}

func TestHarmlessPragmasPass(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE p(id INTEGER PRIMARY KEY)")
	j.exec("CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)")
	for _, text := range []string{"PRAGMA table_info(c)", "PRAGMA foreign_key_list(c)", "PRAGMA integrity_check",
		"PRAGMA page_count", "PRAGMA user_version", "SELECT name FROM pragma_table_list", "PRAGMA journal_mode"} {
		rows, err := j.db.SQL().Query(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		rows.Close()
	}
	j.exec("PRAGMA user_version = 7")
	if v := one[int](t, j.rebuilt(), "PRAGMA user_version"); v != 7 {
		t.Errorf("user_version %d was not journalled", v)
	}
	if on := one[int](t, j.db.SQL(), "PRAGMA foreign_keys"); on != 1 {
		t.Error("foreign keys are not enforced")
	}
}

func TestSavepointsStayInsideTheirTransaction(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	tx, _ := j.db.SQL().Begin()
	for _, text := range []string{"INSERT INTO t VALUES(1)", "SAVEPOINT a", "INSERT INTO t VALUES(2)", "ROLLBACK TO a", "RELEASE a"} {
		if _, err := tx.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	// Compiled while a transaction was open, run outside of one: it must not begin one of its own.
	var refused *RefusedError
	if _, err := j.db.SQL().Exec("SAVEPOINT a"); !errors.As(err, &refused) {
		t.Errorf("a savepoint outside a transaction: %v", err)
	}
	j.exec("INSERT INTO t VALUES(3)")
	if n := one[int](t, j.rebuilt(), "SELECT group_concat(v, '') FROM t"); n != 13 {
		t.Errorf("rows %d, want 1 and 3", n)
	}
}

func TestAnUpdateToTheSameValueIsNoEntry(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	j.exec("INSERT INTO t VALUES(1)")
	n := j.len()
	j.exec("UPDATE t SET v = 1")
	tx, _ := j.db.SQL().Begin()
	if _, err := tx.Exec("UPDATE t SET v = 1"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Errorf("commit without frames: %v", err)
	}
	if j.len() != n {
		t.Errorf("%d entries for nothing", j.len()-n)
	}
	j.exec("UPDATE t SET v = 2")
	if j.len() != n+1 {
		t.Error("the change after it was lost")
	}
}

func TestACommitWithoutFramesMustHaveEndedTheTransaction(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	if err := j.db.conn.commit.(driver.Stmt).Close(); err != nil {
		t.Fatal(err)
	}
	st, err := j.db.conn.raw.PrepareContext(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	j.db.conn.commit = st.(driver.StmtExecContext) // a COMMIT that does nothing
	if _, err := j.db.SQL().Exec("INSERT INTO t VALUES(1)"); !errors.Is(err, ErrBroken) {
		t.Errorf("the write was acknowledged: %v", err)
	}
	if len(j.failed) != 1 {
		t.Errorf("the owner heard of %d failures", len(j.failed))
	}
	if n := one[int](t, j.db.SQL(), "SELECT count(*) FROM t"); n != 0 {
		t.Errorf("%d rows of a commit that never was", n)
	}
}

func TestATransactionThatSQLiteRolledBackIsOver(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v UNIQUE)")
	j.exec("INSERT INTO t VALUES(1)")
	n := j.len()
	tx, _ := j.db.SQL().Begin()
	if _, err := tx.Exec("INSERT INTO t VALUES(2)"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT OR ROLLBACK INTO t VALUES(1)"); err == nil {
		t.Fatal("the conflict passed")
	}
	if _, err := tx.Exec("INSERT INTO t VALUES(3)"); !errors.Is(err, ErrRolledBack) {
		t.Errorf("a statement after the rollback ran by itself: %v", err)
	}
	if err := tx.Commit(); !errors.Is(err, ErrRolledBack) {
		t.Errorf("commit: %v", err)
	}
	if got := one[int](t, j.db.SQL(), "SELECT count(*) FROM t"); got != 1 || j.len() != n {
		t.Errorf("%d rows, %d entries left of it", got, j.len()-n)
	}
}

func TestAFailingStatementOrScriptLeavesNothing(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v UNIQUE); INSERT INTO t VALUES(1)")
	n := j.len()
	if _, err := j.db.SQL().Exec("INSERT INTO t VALUES(2); INSERT INTO t VALUES(1); INSERT INTO t VALUES(3)"); err == nil {
		t.Fatal("the conflict passed")
	}
	if got := one[int](t, j.db.SQL(), "SELECT count(*) FROM t"); got != 1 || j.len() != n {
		t.Errorf("%d rows, %d entries", got, j.len()-n)
	}
	j.exec("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)")
	if _, err := j.db.SQL().Exec("INSERT INTO c VALUES(9)"); err == nil {
		t.Error("COMMIT with a dangling reference passed")
	}
	j.exec("INSERT INTO p VALUES(9); INSERT INTO c VALUES(9)")
	if got := one[int](t, j.rebuilt(), "SELECT count(*) FROM c"); got != 1 {
		t.Errorf("%d children", got)
	}
}

func TestARolledBackSpillNeverReachesTheJournal(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
	j.smallCache()
	c := j.db.conn
	if err := c.Begin(); err != nil {
		t.Fatal(err)
	}
	const fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 300) INSERT INTO t(v) SELECT randomblob(3000) FROM n"
	if _, err := c.raw.ExecContext(t.Context(), fill, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.own(c.rollback); err != nil { // without cutSpill: the dead frames stay
		t.Fatal(err)
	}
	c.inTx = false
	wal := contents(t, j.db.path+"-wal")
	dead := (len(wal) - int(c.tail.off)) / (frameHeader + PageSize)
	if dead < 100 || wal[c.tail.off+8:c.tail.off+16] != string(c.tail.salt[:]) {
		t.Fatalf("no dead frames under the live salt (%d): the test proves nothing", dead)
	}
	if change, err := c.tail.read(); change != nil || err != nil {
		t.Errorf("dead frames were taken for a commit: %v", err)
	}
	// A commit frame can be dead too (SQLite ran out of memory after writing it): a live salt, a commit
	// mark, and a checksum that continues nothing.
	j.exec("INSERT INTO t(v) VALUES('kept')")
	stride := int64(frameHeader + PageSize)
	frame := []byte(contents(t, j.db.path+"-wal")[c.tail.off-stride : c.tail.off])
	f, err := os.OpenFile(j.db.path+"-wal", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(frame, c.tail.off); err != nil {
		t.Fatal(err)
	}
	if change, err := c.tail.read(); change != nil || err != nil {
		t.Errorf("a dead commit frame was taken for a commit: %v", err)
	}
	last, err := ParseChange(j.entries[len(j.entries)-1])
	if err != nil || len(last.Pages) > 3 {
		t.Errorf("a one-row commit journalled %d pages (%v)", len(last.Pages), err)
	}
	if got := one[string](t, j.rebuilt(), "SELECT group_concat(v) FROM t"); got != "kept" {
		t.Errorf("rebuilt: %.40q", got)
	}
}

func TestASmallTransactionAfterALargeRollbackIsNotTooLarge(t *testing.T) {
	j := newJournal(t, Options{MaxCommit: 3 << 20})
	j.exec("CREATE TABLE t(v BLOB)")
	for range 3 {
		if _, err := j.db.SQL().Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1500) INSERT INTO t SELECT zeroblob(3000) FROM n"); err == nil {
			t.Fatal("6 MB passed a limit of 3 MiB")
		} else if tooLarge := new(TooLargeError); !errors.As(err, &tooLarge) {
			t.Fatal(err)
		}
		j.exec("INSERT INTO t VALUES('small')")
	}
	if got := one[string](t, j.rebuilt(), "SELECT group_concat(v) FROM t"); got != "small,small,small" {
		t.Errorf("rebuilt: %.60q", got)
	}
}

func TestTheBaseNeverHoldsUnacknowledgedFrames(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	j.exec("INSERT INTO t VALUES('acknowledged')")
	base := contents(t, j.db.path)
	j.refuse = errors.New("the journal is away")
	if _, err := j.db.SQL().Exec("INSERT INTO t VALUES('unacknowledged')"); !errors.Is(err, j.refuse) {
		t.Fatalf("the failed append did not reach the caller: %v", err)
	}
	if err := j.db.Discard(); err != nil { // what an owner does then
		t.Fatal(err)
	}
	if contents(t, j.db.path) != base {
		t.Error("closing wrote unacknowledged pages into the base")
	}
	if _, err := os.Stat(j.db.path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the -wal is still there: %v", err)
	}
	j.refuse = nil
	if got := one[string](t, j.db.SQL(), "SELECT group_concat(v) FROM t"); got != "acknowledged" {
		t.Errorf("after the rebuild: %q", got)
	}
	j.exec("INSERT INTO t VALUES('later')")
	if got := one[string](t, j.rebuilt(), "SELECT group_concat(v) FROM t"); got != "acknowledged,later" {
		t.Errorf("rebuilt: %q", got)
	}
}

func TestAWALThatADeadProcessLeftIsNotReplayed(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	j.refuse = errors.New("the process dies before the append")
	if _, err := j.db.SQL().Exec("INSERT INTO t VALUES('unacknowledged')"); err == nil {
		t.Fatal("no error")
	}
	wal := contents(t, j.db.path+"-wal")
	next := newJournal(t, Options{}) // the next process
	next.entries = j.entries
	if err := Rebuild(next.db.path, true, next.changes(0)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(next.db.path+"-wal", []byte(wal), 0o600); err != nil {
		t.Fatal(err)
	}
	next.db.clean = true // even if somebody thought that the file needs no rebuilding
	if n := one[int](t, next.db.SQL(), "SELECT count(*) FROM t"); n != 0 {
		t.Errorf("%d unacknowledged rows came back", n)
	}
}

func TestAnInterruptedDiscardIsPutBack(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	if err := j.db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(j.db.path, j.db.path+asideSuffix); err != nil {
		t.Fatal(err)
	}
	if err := Rebuild(j.db.path, false, j.changes(j.len())); err != nil {
		t.Fatal(err)
	}
	one[int](t, openPlain(t, j.db.path), "SELECT count(*) FROM t")
}

func TestCheckpointsKeepTheStreamWhole(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	for i := range 60 {
		j.exec("INSERT INTO t(v) VALUES(?)", i)
		if i%7 == 0 {
			if err := j.db.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if j.db.Pending() != 0 {
				t.Error("the -wal was not reset")
			}
		}
		if i%20 == 0 { // and closing, which opens it anew
			if err := j.db.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if j.restores != 1 {
		t.Errorf("%d restores: a clean close needs none", j.restores)
	}
	if got := one[int](t, j.rebuilt(), "SELECT sum(v) FROM t"); got != 60*59/2 {
		t.Errorf("sum %d", got)
	}
}

func TestATornCheckpointIsRepairedByTheEntriesSinceTheLast(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 7))
	for round := range 20 {
		j := newJournal(t, Options{})
		j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); CREATE INDEX i ON t(v)")
		write := func(n int) {
			for range n {
				j.exec("INSERT INTO t(v) VALUES(randomblob(?))", 1+rnd.IntN(9000))
				j.exec("DELETE FROM t WHERE id = (SELECT id FROM t ORDER BY random() LIMIT 1) AND random() % 2")
			}
		}
		write(10)
		if err := j.db.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		good, position := contents(t, j.db.path), j.len()
		write(1 + rnd.IntN(20))
		want := one[string](t, j.db.SQL(), "SELECT count(*) || ' ' || sum(length(v)) || hex(group_concat(v, '')) FROM t")
		newest, err := j.db.Image(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		torn := []byte(good)
		for c := range j.changes(position) { // some pages arrive, whole, half, or not at all
			for _, p := range c.Pages {
				if end := int(p.No) * PageSize; rnd.IntN(2) == 0 {
					for len(torn) < end {
						torn = append(torn, 0)
					}
					copy(torn[end-PageSize:end], newest[end-PageSize:][:rnd.IntN(PageSize+1)])
				}
			}
		}
		path := t.TempDir() + "/torn.db"
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Rebuild(path, false, j.changes(position)); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, openPlain(t, path), "SELECT count(*) || ' ' || sum(length(v)) || hex(group_concat(v, '')) FROM t"); got != want {
			t.Fatalf("round %d: the repaired database differs", round)
		}
	}
}

func TestAMissingBaseIsAnErrorNotAnEmptyDatabase(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	if err := Rebuild(t.TempDir()+"/none.db", false, j.changes(1)); !errors.Is(err, ErrNoBase) {
		t.Errorf("got %v", err)
	}
}

func TestVacuumIsJournalled(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v BLOB)")
	for range 100 {
		j.exec("INSERT INTO t VALUES(randomblob(4000))")
	}
	j.exec("DELETE FROM t WHERE rowid > 3")
	if err := j.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := j.db.Vacuum(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int(c.Size) != len(c.Pages) || c.Size > 20 {
		t.Errorf("%d pages of %d", len(c.Pages), c.Size)
	}
	if _, err := j.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	j.Unlock()
	j.exec("INSERT INTO t VALUES('after')")
	if got := one[int](t, j.rebuilt(), "SELECT count(*) FROM t"); got != 4 {
		t.Errorf("%d rows", got)
	}
	image, err := j.db.Image(t.Context())
	if err != nil || len(image) > 21*PageSize {
		t.Errorf("image of %d bytes, %v", len(image), err)
	}
}

func TestAUnitsStatementsShareItsTransaction(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	ctx := context.WithValue(t.Context(), unitKey{}, true)
	run := func(end func() error) {
		t.Helper()
		if err := j.Lock(ctx); err != nil {
			t.Fatal(err)
		}
		defer j.Unlock()
		for v := range 3 {
			if _, err := j.db.SQL().ExecContext(ctx, "INSERT INTO t VALUES(?)", v); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.db.SQL().BeginTx(ctx, nil); !errors.Is(err, ErrNested) {
			t.Errorf("nested transaction: %v", err)
		}
		if !j.db.InTx() {
			t.Error("no transaction in progress")
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	n := j.len()
	run(j.db.Rollback)
	if j.len() != n {
		t.Error("statements of a unit were journalled one by one")
	}
	run(func() error {
		c, err := j.db.Commit()
		if err == nil {
			_, err = j.Commit(ctx, c)
		}
		return err
	})
	if got := one[int](t, j.rebuilt(), "SELECT count(*) FROM t"); got != 3 || j.len() != n+1 {
		t.Errorf("%d rows in %d entries", got, j.len()-n)
	}
}

func TestAReadOnlyTransactionRefusesWrites(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	tx, err := j.db.SQL().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelSerializable})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("INSERT INTO t VALUES(1)"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if _, err := tx.Query("SELECT * FROM t"); err != nil {
		t.Errorf("read: %v", err)
	}
}

func TestACancelledCallLeavesTheDatabaseUsable(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	for _, text := range []string{
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) INSERT INTO t SELECT i FROM n WHERE i < 0",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := j.db.SQL().ExecContext(ctx, text); !errors.Is(err, context.Canceled) {
			t.Errorf("endless statement: %v", err)
		}
		j.exec("INSERT INTO t VALUES('fine')")
	}
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := j.db.SQL().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES('gone')"); err != nil {
		t.Fatal(err)
	}
	cancel() // database/sql rolls back; the turn comes back with it
	j.exec("INSERT INTO t VALUES('fine')")
	if got := one[string](t, j.rebuilt(), "SELECT group_concat(v) FROM t"); got != "fine,fine,fine" {
		t.Errorf("rebuilt: %q", got)
	}
}

func TestRowsOfAMebibyteAndMore(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
	for i := range 4 {
		j.exec("INSERT INTO t(v) VALUES(?)", []byte(strings.Repeat(string(rune('a'+i)), 1<<20+i)))
	}
	j.exec("UPDATE t SET v = v || v WHERE id = 2")
	db := j.rebuilt()
	for id, want := range map[int]int{1: 1 << 20, 2: 2<<20 + 2, 3: 1<<20 + 2, 4: 1<<20 + 3} {
		if got := one[int](t, db, "SELECT length(v) FROM t WHERE id = ?", id); got != want {
			t.Errorf("row %d: %d bytes", id, got)
		}
	}
}

func TestManyGoroutinesShareOneConnection(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				switch (g + i) % 3 {
				case 0:
					if _, err := j.db.SQL().Exec("INSERT INTO t VALUES(?)", i); err != nil {
						t.Error(err)
					}
				case 1:
					tx, err := j.db.SQL().Begin()
					if err != nil {
						t.Error(err)
						return
					}
					_, err = tx.Exec("INSERT INTO t VALUES(?)", i)
					if err = errors.Join(err, tx.Commit()); err != nil {
						t.Error(err)
					}
				default:
					var n int
					if err := j.db.SQL().QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	live := one[int](t, j.db.SQL(), "SELECT count(*) FROM t")
	if got := one[int](t, j.rebuilt(), "SELECT count(*) FROM t"); got != live || got != 160 {
		t.Errorf("rebuilt %d rows, live %d", got, live)
	}
}

// Random histories of everything an author can do, and then the journal alone must tell the same.
func TestRandomHistoriesAreRebuiltExactly(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		j := newJournal(t, Options{})
		j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
		for range 60 {
			switch rnd.IntN(9) {
			case 0, 1, 2:
				j.exec("INSERT INTO t(v) VALUES(randomblob(?))", rnd.IntN(9_000))
			case 3:
				j.exec("DELETE FROM t WHERE id % 3 = ?", rnd.IntN(3))
			case 4:
				tx, _ := j.db.SQL().Begin()
				j.smallCache() // so that it spills
				_, _ = tx.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?) INSERT INTO t(v) SELECT zeroblob(2000) FROM n", rnd.IntN(100))
				if rnd.IntN(2) == 0 {
					_ = tx.Rollback()
				} else if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			case 5:
				j.exec(fmt.Sprintf("CREATE TABLE IF NOT EXISTS x%d AS SELECT * FROM t LIMIT 5", rnd.IntN(4)))
			case 6:
				j.exec(fmt.Sprintf("DROP TABLE IF EXISTS x%d", rnd.IntN(4)))
			case 7:
				if err := j.db.Checkpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 8:
				end := j.db.Close(t.Context())
				if rnd.IntN(2) == 0 {
					end = j.db.Discard()
				}
				if end != nil {
					t.Fatal(end)
				}
			}
		}
		const all = "SELECT count(*) || ':' || coalesce(hex(group_concat(id || hex(v), ' ')), '') FROM (SELECT * FROM t ORDER BY id)"
		if one[string](t, j.db.SQL(), all) != one[string](t, j.rebuilt(), all) {
			t.Fatalf("seed %d: the rebuilt database differs", seed)
		}
	}
}
