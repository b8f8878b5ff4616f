package sqlwal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const manyRows = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < 1500) INSERT INTO t(pad) SELECT randomblob(3000) FROM c"

// SQLite writes a header for pages that it spills. As long as nothing is committed it writes another one, with
// another salt, for the next transaction: who took the first for the beginning of the log reads nothing any more.
func TestWhatFollowsASpillThatLeftNothingIsJournalled(t *testing.T) {
	for name, nothing := range map[string]func(t *testing.T, j *journal){
		"rolled back to a savepoint": func(t *testing.T, j *journal) {
			tx, err := j.db.SQL().Begin()
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{"SAVEPOINT s", manyRows, "ROLLBACK TO s"} {
				if _, err := tx.Exec(text); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		},
		"refused at its commit": func(t *testing.T, j *journal) {
			if _, err := j.db.SQL().Exec(manyRows + "; INSERT INTO child VALUES(-1)"); err == nil {
				t.Fatal("the foreign key was not looked at")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t, Options{})
			j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, pad)")
			j.exec("CREATE TABLE child(parent REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED)")
			j.exec(manyRows)
			j.exec("DELETE FROM t WHERE id > 700")
			if err := j.Lock(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := j.db.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			j.Unlock()
			nothing(t, j)
			n := j.len()
			j.exec("INSERT INTO t(pad) VALUES('kept')")
			if j.len() != n+1 {
				t.Error("a commit was acknowledged and not journalled")
			}
			if got := one[int](t, j.rebuilt(), "SELECT count(*) FROM t WHERE pad = 'kept'"); got != 1 {
				t.Errorf("rebuilt: %d rows", got)
			}
		})
	}
}

// Whatever hides its frames: SQLite has written pages and says they are committed, so there must be some.
func TestACommitWhosePagesAreNotFoundIsNotAcknowledged(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	elsewhere, err := os.Create(filepath.Join(t.TempDir(), "empty"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.db.conn.tail.file.Close(); err != nil {
		t.Fatal(err)
	}
	j.db.conn.tail.file = elsewhere
	if _, err := j.db.SQL().Exec("INSERT INTO t VALUES(1)"); !errors.Is(err, ErrBroken) {
		t.Errorf("the write was acknowledged: %v", err)
	}
	if n := one[int](t, j.db.SQL(), "SELECT count(*) FROM t"); n != 0 {
		t.Errorf("%d rows that the journal does not have", n)
	}
}
