package object_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// A tool that lets a model write SQL hands it all of this. Nothing of it reaches other files or takes the
// database out of the journal's sight: each is refused, or leaves the database as the journal has it.
func TestSQLOfStrangersStaysInTheDatabase(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(t.TempDir(), "out")
	h := open(t, store.NewMemory(), object.Options{Dir: dir})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t(v) VALUES('kept'); CREATE VIRTUAL TABLE f USING fts5(b); INSERT INTO f VALUES('words')")
	for _, text := range strings.Split(strings.ReplaceAll(`ATTACH 'OUT' AS a
VACUUM INTO 'OUT'
VACUUM
SELECT 1; ATTACH 'OUT' AS a
SELECT 1; VACUUM INTO 'OUT'
EXPLAIN VACUUM INTO 'OUT'
SELECT load_extension('OUT')
SELECT writefile('OUT', 'x')
SELECT edit('x', 'touch OUT')
SELECT fts3_tokenizer('simple')
PRAGMA journal_mode=DELETE
PRAGMA main.journal_mode(MEMORY)
PRAGMA journal_mode = 'OFF'
SELECT * FROM pragma_journal_mode('delete')
SELECT * FROM pragma_wal_checkpoint
SELECT * FROM pragma_wal_checkpoint('truncate')
PRAGMA wal_checkpoint(TRUNCATE)
PRAGMA wal_autocheckpoint=1
SELECT * FROM pragma_wal_autocheckpoint(1)
PRAGMA locking_mode=NORMAL
SELECT * FROM pragma_locking_mode('normal')
PRAGMA schema_version=1
PRAGMA writable_schema=ON
PRAGMA writable_schema=RESET
PRAGMA trusted_schema=ON
PRAGMA cache_size=-1000000
PRAGMA cache_spill=OFF
PRAGMA mmap_size=1000000000
PRAGMA max_page_count=100000000
SELECT * FROM pragma_max_page_count(100000000)
PRAGMA page_size=512
PRAGMA auto_vacuum=FULL
PRAGMA incremental_vacuum
PRAGMA synchronous=EXTRA
PRAGMA temp_store=1
PRAGMA temp_store_directory='OUT'
PRAGMA foreign_keys=OFF
PRAGMA hard_heap_limit=1
PRAGMA optimize
SELECT * FROM pragma_optimize
PRAGMA shrink_memory
PRAGMA query_only=ON
PRAGMA read_uncommitted=1
PRAGMA recursive_triggers=1
PRAGMA reverse_unordered_selects=1
PRAGMA threads=8
PRAGMA busy_timeout=100000
PRAGMA analysis_limit=1
PRAGMA defer_foreign_keys=ON
PRAGMA user_version=7
CREATE TEMP TABLE x(a)
CREATE TABLE temp.x(a)
CREATE TEMP TRIGGER tt AFTER INSERT ON t BEGIN DELETE FROM t; END
INSERT INTO temp.sqlite_schema VALUES('table','x','x',0,'CREATE TABLE x(a)')
INSERT INTO sqlite_schema VALUES('table','x','x',2,'CREATE TABLE x(a)')
UPDATE sqlite_schema SET sql='CREATE TABLE t(oh, no)'
DELETE FROM sqlite_schema
CREATE VIRTUAL TABLE p USING sqlite_dbpage
UPDATE sqlite_dbpage SET data=zeroblob(4096) WHERE pgno=1
INSERT INTO sqlite_dbpage(pgno, data) VALUES(2, NULL)
SELECT * FROM fsdir('/')
CREATE VIRTUAL TABLE c USING csv(filename='/etc/passwd')
CREATE VIRTUAL TABLE z USING zipfile('OUT')
INSERT INTO f_data(id, block) VALUES(10, x'00')
UPDATE f_data SET block=zeroblob(10)
DROP TABLE f_data
INSERT INTO f(f, rank) VALUES('rank', 'load_extension()')
INSERT INTO f(f) VALUES('integrity-check')
BEGIN
BEGIN EXCLUSIVE; DELETE FROM t
COMMIT
END
ROLLBACK
SAVEPOINT s
RELEASE s
ROLLBACK TO s
DELETE FROM t; ROLLBACK
DELETE FROM t; COMMIT; BEGIN
/* */ ; ; ROLLBACK
CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT load_extension('OUT'); END; INSERT INTO t(v) VALUES('x')
CREATE TRIGGER tr AFTER DELETE ON t BEGIN SELECT RAISE(ROLLBACK, 'no'); END; DELETE FROM t
CREATE VIEW w AS SELECT load_extension('OUT'); SELECT * FROM w
DETACH main
DETACH temp
WITH x AS (SELECT * FROM pragma_database_list) SELECT * FROM x
SELECT zeroblob(2000000000)
SELECT printf('%.*c', 2000000000, 'x')
SELECT abs(-9223372036854775808)
EXPLAIN QUERY PLAN PRAGMA journal_mode=DELETE
REINDEX nosuch`, "OUT", out), "\n") {
		for name, run := range map[string]func(ctx context.Context) error{
			"alone": func(ctx context.Context) error {
				db, err := o.SQL(ctx)
				if err == nil {
					_, err = db.ExecContext(ctx, text)
				}
				return err
			},
			"as a query": func(ctx context.Context) error {
				db, err := o.SQL(ctx)
				if err != nil {
					return err
				}
				rows, err := db.QueryContext(ctx, text)
				if err != nil {
					return err
				}
				return rows.Close()
			},
			"in a unit": func(ctx context.Context) error {
				return o.Tx(ctx, func(ctx context.Context, tx object.Tx, _ *counter) error {
					_, err := tx.ExecContext(ctx, text)
					return err
				})
			},
			"in a transaction": func(ctx context.Context) error {
				db, err := o.SQL(ctx)
				if err != nil {
					return err
				}
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, text); err != nil {
					_ = tx.Rollback()
					return err
				}
				return tx.Commit()
			},
		} {
			ctx, end := context.WithCancel(t.Context())
			err := run(ctx)
			end()
			if _, stat := os.Lstat(out); stat == nil {
				t.Fatalf("%s, %s: it made a file", text, name)
			}
			if got := query[int](t, o, "SELECT count(*) FROM t WHERE v = 'kept'"); got != 1 {
				t.Fatalf("%s, %s: %d rows, %v", text, name, got, err)
			}
			for pragma, want := range map[string]string{"journal_mode": "wal", "foreign_keys": "1", "synchronous": "0", "page_size": "4096", "auto_vacuum": "0"} {
				if got := query[string](t, o, "PRAGMA "+pragma); got != want {
					t.Fatalf("%s, %s: %s is %s", text, name, pragma, got)
				}
			}
		}
		// It is still journalled.
		exec(t, o, "INSERT INTO f VALUES(?)", text)
	}
	want := query[int](t, o, "SELECT count(*) FROM f")
	must(t, h.Check(t.Context(), store.ObjectID{Kind: "test", ID: "x"}))
	if got := query[int](t, o, "SELECT count(*) FROM f"); got != want {
		t.Errorf("%d rows of %d after a rebuild", got, want)
	}
	if got := query[string](t, o, "SELECT v FROM t"); got != "kept" {
		t.Error(got)
	}
}
