package sqlwal

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestPreparedStatementsWorkInAndOutsideTransactions(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	insert, err := j.db.SQL().Prepare("INSERT INTO t(v) VALUES(?)")
	if err != nil {
		t.Fatal(err)
	}
	defer insert.Close()
	get, err := j.db.SQL().Prepare("SELECT v FROM t WHERE id = :id")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	r, err := insert.Exec("one")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := r.LastInsertId(); id != 1 || err != nil {
		t.Errorf("id %d, %v", id, err)
	}
	tx, err := j.db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := tx.Stmt(insert).Exec("two"); err != nil {
		t.Error(err)
	} else if n, err := r.RowsAffected(); n != 1 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	// A change of the schema has them compiled again, under the same rules.
	j.exec("ALTER TABLE t ADD COLUMN more; CREATE INDEX i ON t(v)")
	for id, want := range map[int]string{1: "one", 2: "two"} {
		var v string
		if err := get.QueryRow(sql.Named("id", id)).Scan(&v); err != nil || v != want {
			t.Errorf("row %d: %q, %v", id, v, err)
		}
	}
	if _, err := insert.Exec("three"); err != nil {
		t.Error(err)
	}
	if bad, err := j.db.SQL().Prepare("COMMIT"); err == nil { // compiled when it is run
		if _, err := bad.Exec(); err == nil {
			t.Error("a prepared COMMIT ran")
		}
	}
	if n := one[int](t, j.rebuilt(), "SELECT count(*) FROM t"); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func TestMoreStatementsThanAreKept(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v)")
	for round := range 2 {
		for i := range 2 * maxStatements {
			j.exec(fmt.Sprintf("INSERT INTO t VALUES(%d)", i))
			if got := one[int](t, j.db.SQL(), fmt.Sprintf("SELECT %d", i)); got != i {
				t.Errorf("round %d: %d", round, got)
			}
		}
	}
	if n := len(j.db.conn.byText); n != maxStatements || j.db.conn.recent.Len() != n {
		t.Errorf("%d statements kept", n)
	}
	for _, nothing := range []string{"", " ", ";", "-- a comment", "/* another */ ;"} {
		if _, err := j.db.SQL().Exec(nothing); err != nil {
			t.Errorf("%q: %v", nothing, err)
		}
		if rows, err := j.db.SQL().Query(nothing); err != nil {
			t.Errorf("%q: %v", nothing, err)
		} else if err := rows.Close(); err != nil {
			t.Errorf("%q: %v", nothing, err)
		}
	}
	j.exec("INSERT INTO t VALUES('still here')")
}

func TestAnImageFromOutsideIsChecked(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v); INSERT INTO t VALUES(randomblob(20000))")
	good, err := j.db.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(good); err != nil {
		t.Errorf("a sound image: %v", err)
	}
	rollback := append([]byte(nil), good...)
	rollback[18], rollback[19] = 1, 1
	torn := append([]byte(nil), good...)
	copy(torn[PageSize+100:], make([]byte, 3000))
	for name, b := range map[string][]byte{
		"nothing": nil, "text": make([]byte, PageSize), "cut": good[:len(good)-1], "a page short": good[:len(good)-PageSize],
		"another journal mode": rollback, "a torn page": torn,
	} {
		if err := Verify(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSyncAndRemove(t *testing.T) {
	j := newJournal(t, Options{})
	j.exec("CREATE TABLE t(v); INSERT INTO t VALUES(1)")
	for range 2 {
		if err := j.db.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.db.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := j.db.Discard(); err != nil { // the file alone has it
		t.Fatal(err)
	}
	if n := one[int](t, openPlain(t, j.db.path), "SELECT count(*) FROM t"); n != 1 {
		t.Errorf("%d rows in the file", n)
	}
	for range 2 {
		if err := Remove(j.db.path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(j.db.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}
