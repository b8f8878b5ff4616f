package object_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
	"github.com/causeway-mcp/causeway/store/storetest"
)

// The journal alone must give the database, whatever an author does and whatever a checkpoint that was torn by a
// power failure has left in the file. Every sort of write is made in a random order, on engines that share files
// with the objects and on one that does not; now and then all is stopped, files are damaged as a power failure
// could, and everything is compared with what the living objects held.

// modelRounds is how many histories are made, and how long they are: short ones, one for each sort of store, unless
// CAUSEWAY_MODEL_ROUNDS says how many. CAUSEWAY_MODEL_FROM is the first seed.
func modelRounds(t *testing.T) (from, n uint64, lives, steps int) {
	read := func(name string, usual uint64) uint64 {
		s := os.Getenv(name)
		if s == "" {
			return usual
		}
		v, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		return v
	}
	from, n = read("CAUSEWAY_MODEL_FROM", 0), read("CAUSEWAY_MODEL_ROUNDS", 0)
	if n == 0 {
		return from, 4, 1, 14
	}
	return from, n, 5, 40
}

type modelState struct {
	N     int
	Words []string
}

// model is one history: a store, a host and what is known of its objects.
type model struct {
	t      *testing.T
	rnd    *rand.Rand
	dir    string
	shared store.Engine // not exclusive; nil for store/local
	tuning uint64
	when   string

	mu      sync.Mutex
	flushed map[string][]byte // files as they were last flushed

	local  *local.Store
	faulty *storetest.Faulty
	host   *object.Host
	kind   *object.Kind[modelState]
}

// othersToo is an engine that others may write to as well.
type othersToo struct{ store.Engine }

func (othersToo) Exclusive() bool { return false }

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 77)), dir: t.TempDir(), flushed: map[string][]byte{}, tuning: seed % 4}
	if seed%4 == 1 {
		m.shared = othersToo{store.NewMemory()}
	}
	m.open()
	return m
}

func (m *model) open() {
	m.t.Helper()
	engine := m.shared
	if engine == nil {
		s, err := local.Open(filepath.Join(m.dir, "log"), &local.Options{Logger: quiet, SegmentSize: 1 << 20, Segments: 3})
		must(m.t, err)
		m.local, engine = s, s
	}
	m.faulty = storetest.NewFaulty(engine)
	h, err := object.NewHost(m.faulty, &object.Options{Dir: filepath.Join(m.dir, "objects"), Logger: quiet,
		IdleAfter: 20 * time.Millisecond, MaxOpen: 1, MaxCommit: 6 << 20, MaxDatabase: 24 << 20})
	must(m.t, err)
	switch m.tuning {
	case 0, 1:
		h.TuneForTests(m.note) // flushes are rare
	case 2:
		h.TuneForTests(nil) // everything is often
	}
	h.WatchFlushes(m.note)
	m.host = h
	m.kind = register(m.t, h, object.Spec[modelState]{Name: "model"})
}

func (m *model) note(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushed[path] = b
}

// crash stops everything at once: nothing more can be journalled, nor a file be made part of a snapshot.
func (m *model) crash() {
	m.t.Helper()
	if m.shared == nil {
		must(m.t, m.local.Close())
	} else {
		m.faulty.Decide(func(store.Write) storetest.Fault { return storetest.Full })
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = m.host.Close(ctx)
	for path, now := range files(m.t, filepath.Join(m.dir, "objects")) {
		m.damage(path, now)
	}
	m.open()
}

// damage makes the file any mix of what was flushed last and what was written since.
func (m *model) damage(path string, now []byte) {
	then := m.flushed[path]
	for off := 0; off < len(now); off += 4096 {
		if m.rnd.IntN(2) == 0 {
			continue
		}
		old := make([]byte, 4096)
		if off < len(then) {
			copy(old, then[off:])
		}
		copy(now[off:], old)
	}
	if m.rnd.IntN(4) == 0 && len(then) > len(now) { // the cut may be what was lost
		now = append(now, then[len(now):]...)
	}
	must(m.t, os.WriteFile(path, now, 0o600))
}

const modelObjects = 3

func (m *model) pick() *object.Object[modelState] {
	return m.kind.Get(fmt.Sprint(m.rnd.IntN(modelObjects)))
}

const modelSchema = `CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, n INTEGER, pad BLOB);
	CREATE INDEX IF NOT EXISTS tn ON t(n);
	CREATE TABLE IF NOT EXISTS child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, body TEXT);
	CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(body);
	CREATE TABLE IF NOT EXISTS audit(what TEXT, id INTEGER);
	CREATE TRIGGER IF NOT EXISTS ti AFTER INSERT ON t WHEN new.id % 7 = 0 BEGIN INSERT INTO audit VALUES('insert', new.id); END;
	CREATE TRIGGER IF NOT EXISTS stop BEFORE UPDATE ON t WHEN new.n = -13 BEGIN SELECT RAISE(ROLLBACK, 'unlucky'); END;
	CREATE TABLE IF NOT EXISTS bare(k TEXT PRIMARY KEY, v) WITHOUT ROWID`

const many = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < ?) "

// step makes one write of some sort. Errors are part of it.
func (m *model) step() {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	o, r := m.pick(), m.rnd
	run := func(query string, args ...any) {
		if db, err := o.SQL(ctx); err == nil {
			_, _ = db.ExecContext(ctx, query, args...)
		}
	}
	switch r.IntN(28) {
	case 0:
		run(modelSchema)
	case 1:
		run(many+"INSERT INTO t(n, pad) SELECT i, randomblob(?) FROM c", r.IntN(300), r.IntN(500))
	case 2:
		run("DELETE FROM t WHERE id % ? = 0", 1+r.IntN(5))
	case 3:
		_ = o.Vacuum(ctx)
	case 4: // larger than the page cache, and rolled back by a statement's own means
		_ = o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *modelState) error {
			st.N++
			_, _ = tx.ExecContext(ctx, many+"INSERT INTO t(n, pad) SELECT i, randomblob(3000) FROM c", 900)
			if r.IntN(2) == 0 {
				return errors.New("never mind")
			}
			_, err := tx.ExecContext(ctx, "INSERT OR ROLLBACK INTO t(id, n) SELECT id, n FROM t LIMIT 2")
			return err
		})
	case 5: // larger than the page cache, and kept
		run(many+"INSERT INTO t(n, pad) SELECT i, randomblob(3000) FROM c", 800+r.IntN(400))
	case 6: // too large
		run(many+"INSERT INTO t(n, pad) SELECT i, randomblob(3000) FROM c", 3000)
	case 7, 8:
		m.savepoints(ctx, o)
	case 9:
		func() {
			defer func() { _ = recover() }()
			_ = o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *modelState) error {
				st.N = 1 << 20
				_, _ = tx.ExecContext(ctx, "UPDATE t SET n = n + 1")
				panic("at the worst moment")
			})
		}()
	case 10:
		cancelled, stop := context.WithTimeout(ctx, time.Duration(r.IntN(4000))*time.Microsecond)
		defer stop()
		_ = o.Tx(cancelled, func(ctx context.Context, tx object.Tx, st *modelState) error {
			st.N++
			_, err := tx.ExecContext(ctx, many+"INSERT INTO t(n, pad) SELECT i, randomblob(900) FROM c", 500)
			_, _ = tx.ExecContext(ctx, "UPDATE t SET n = n + 1 WHERE id < 40")
			return err
		})
	case 11:
		run("UPDATE t SET n = CASE WHEN id % 11 = 10 THEN -13 ELSE n + 1 END WHERE id BETWEEN ? AND ?", r.IntN(40), 40+r.IntN(40))
	case 12: // a deferred constraint fails at COMMIT
		_ = o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *modelState) error {
			st.N++
			_, err := tx.ExecContext(ctx, "INSERT INTO child(parent, body) VALUES(?, 'x')", r.IntN(2000))
			return err
		})
	case 13:
		run("INSERT INTO words(body) VALUES(?)", fmt.Sprintf("%x lorem ipsum %d", r.Uint64(), r.IntN(9)))
	case 14:
		run([]string{"INSERT INTO words(words) VALUES('optimize')", "DELETE FROM words WHERE rowid % 3 = 0", "REINDEX", "ANALYZE"}[r.IntN(4)])
	case 15:
		run(fmt.Sprintf("CREATE TABLE IF NOT EXISTS extra%d(a, b, c DEFAULT 7)", r.IntN(4)))
	case 16:
		run(fmt.Sprintf("DROP TABLE IF EXISTS extra%d", r.IntN(4)))
	case 17:
		run(fmt.Sprintf("ALTER TABLE extra%d ADD COLUMN d%d", r.IntN(4), r.IntN(100)))
	case 18:
		run(fmt.Sprintf("PRAGMA user_version = %d", r.IntN(1000)))
	case 19:
		run("INSERT INTO bare VALUES(?, randomblob(?)) ON CONFLICT DO UPDATE SET v = excluded.v", fmt.Sprint(r.IntN(30)), r.IntN(9000))
	case 20:
		m.transaction(ctx, o)
	case 21:
		_, _ = object.Once(ctx, o, fmt.Sprint(r.IntN(40)), func(ctx context.Context, tx object.Tx, st *modelState) (int, error) {
			st.Words = append(st.Words, fmt.Sprint(st.N))
			_, err := tx.ExecContext(ctx, "INSERT INTO bare VALUES(?, 1)", rand.Uint64())
			return st.N, err
		})
	case 22: // run ahead, and perhaps lose it
		gated, call := effect.NewCall(ctx)
		call.Gate()
		fault := []storetest.Fault{storetest.NoFault, storetest.LostRequest, storetest.LostAnswer, storetest.Full}[r.IntN(4)]
		at := r.IntN(12)
		m.faulty.Decide(func(store.Write) storetest.Fault {
			if at--; at == 0 {
				return fault
			}
			return storetest.NoFault
		})
		for range 8 {
			_ = o.Tx(gated, func(ctx context.Context, tx object.Tx, st *modelState) error {
				st.N++
				_, err := tx.ExecContext(ctx, "UPDATE t SET n = n + 1, pad = randomblob(20) WHERE id = ?", r.IntN(60))
				return err
			})
		}
		_ = call.Flush(gated)
		m.faulty.Decide(nil)
	case 23:
		m.travel(ctx, o)
	case 24:
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
	default:
		run("INSERT INTO t VALUES(?, ?, randomblob(?)) ON CONFLICT DO UPDATE SET n = n + 1", r.IntN(300), r.IntN(9), r.IntN(700))
	}
}

func (m *model) savepoints(ctx context.Context, o *object.Object[modelState]) {
	r := m.rnd
	_ = o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *modelState) error {
		st.N++
		for i := range 1 + r.IntN(4) {
			_, _ = tx.ExecContext(ctx, fmt.Sprintf("SAVEPOINT s%d", i))
			_, _ = tx.ExecContext(ctx, many+"INSERT INTO t(n, pad) SELECT i, randomblob(1000) FROM c", r.IntN(1200))
			_, _ = tx.ExecContext(ctx, fmt.Sprintf([]string{"ROLLBACK TO s%d", "RELEASE s%d", "SELECT %d"}[r.IntN(3)], i))
			_, _ = tx.ExecContext(ctx, "UPDATE OR IGNORE t SET n = n + 1 WHERE id % 5 = 1")
		}
		return nil
	})
}

func (m *model) transaction(ctx context.Context, o *object.Object[modelState]) {
	db, err := o.SQL(ctx)
	if err != nil {
		return
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: m.rnd.IntN(4) == 0})
	if err != nil {
		return
	}
	for range m.rnd.IntN(5) {
		_, _ = tx.ExecContext(ctx, "INSERT OR REPLACE INTO t VALUES(?, 1, zeroblob(?))", m.rnd.IntN(400), m.rnd.IntN(20_000))
	}
	if m.rnd.IntN(3) == 0 {
		_ = tx.Rollback()
		return
	}
	_ = tx.Commit()
}

// travel makes another object out of a copy of this one.
func (m *model) travel(ctx context.Context, o *object.Object[modelState]) {
	var b bytes.Buffer
	if o.Export(ctx, &b) != nil {
		return
	}
	to := m.pick()
	if to.ID() == o.ID() || to.Delete(ctx) != nil {
		return
	}
	if err := to.Import(ctx, &b); err != nil {
		m.t.Errorf("import: %v", err)
		return
	}
	if m.local == nil { // the image is in the store
		return
	}
	sum := sha256.Sum256([]byte(to.Kind() + "\x00" + to.ID()))
	name := hex.EncodeToString(sum[:16])
	path := filepath.Join(m.dir, "objects", name[:2], name+".db")
	if image, err := os.ReadFile(path); err == nil { // an import flushes the file, too
		m.mu.Lock()
		m.flushed[path] = image
		m.mu.Unlock()
	}
}

// digest is everything that an object holds.
func (m *model) digest(o *object.Object[modelState]) string {
	m.t.Helper()
	st := state(m.t, o)
	sum := sha256.New()
	fmt.Fprintln(sum, st.N, st.Words)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	db, err := o.SQL(ctx)
	must(m.t, err)
	if ok := query[string](m.t, o, "PRAGMA integrity_check"); ok != "ok" {
		m.t.Fatalf("%s: object %s: %s", m.when, o.ID(), ok)
	}
	fmt.Fprintln(sum, query[int](m.t, o, "PRAGMA user_version"))
	rows, err := db.QueryContext(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
	must(m.t, err)
	tables := []string{"sqlite_schema"}
	for rows.Next() {
		var name string
		must(m.t, rows.Scan(&name))
		tables = append(tables, name)
	}
	must(m.t, errors.Join(rows.Err(), rows.Close()))
	total := 0
	for _, table := range tables {
		rows, err := db.QueryContext(ctx, `SELECT * FROM "`+table+`"`)
		must(m.t, err)
		columns, err := rows.Columns()
		must(m.t, err)
		for rows.Next() {
			cells := make([]any, len(columns))
			at := make([]any, len(columns))
			for i := range cells {
				at[i] = &cells[i]
			}
			must(m.t, rows.Scan(at...))
			fmt.Fprintf(sum, "%s%q\n", table, cells)
			total++
		}
		must(m.t, errors.Join(rows.Err(), rows.Close()))
	}
	return fmt.Sprintf("%d rows, N %d, %s", total, st.N, hex.EncodeToString(sum.Sum(nil)[:8]))
}

func (m *model) digests() (all [modelObjects]string) {
	m.t.Helper()
	for i := range all {
		all[i] = m.digest(m.kind.Get(fmt.Sprint(i)))
	}
	return all
}

func TestWhateverIsDoneTheJournalGivesTheSameObjects(t *testing.T) {
	from, n, lives, steps := modelRounds(t)
	for seed := from; seed < from+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			defer func() {
				shut(t, m.host)
				if m.local != nil {
					_ = m.local.Close()
				}
			}()
			for i := range modelObjects {
				exec(t, m.kind.Get(fmt.Sprint(i)), modelSchema)
			}
			for life := range lives {
				for range steps {
					m.step()
				}
				m.when = fmt.Sprintf("alive in life %d", life)
				before := m.digests()
				m.crash()
				m.when = fmt.Sprintf("rebuilt after life %d", life)
				if after := m.digests(); after != before {
					t.Fatalf("rebuilt:\n%v, not\n%v", after, before)
				}
			}
		})
	}
}
