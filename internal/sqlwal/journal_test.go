package sqlwal

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// journal is the smallest owner: a list of encoded changes, and a turn.
type journal struct {
	t    *testing.T
	db   *DB
	turn chan struct{}

	mu      sync.Mutex
	entries [][]byte
	refuse  error // what Commit answers instead of keeping the change
	failed  []error

	restores int
}

type unitKey struct{}

func newJournal(t *testing.T, opts Options) *journal {
	t.Helper()
	j := &journal{t: t, turn: make(chan struct{}, 1)}
	j.db = New(j, filepath.Join(t.TempDir(), "object.db"), opts)
	t.Cleanup(func() {
		if err := errors.Join(j.db.Shut(), j.db.Discard()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return j
}

func (j *journal) Lock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case j.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *journal) Unlock() { <-j.turn }

func (j *journal) Join(ctx context.Context) (bool, error) { return ctx.Value(unitKey{}) != nil, nil }

func (j *journal) Restore(_ context.Context, path string) error {
	j.restores++
	return Rebuild(path, true, j.changes(0))
}

func (j *journal) changes(from int) func(func(*Change, error) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := j.entries[from:]
	return func(yield func(*Change, error) bool) {
		for _, e := range entries {
			if !yield(ParseChange(e)) {
				return
			}
		}
	}
}

func (j *journal) Commit(_ context.Context, c *Change) (func(context.Context) error, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil {
		return nil, j.refuse
	}
	e, _ := c.AppendTo(nil, nil)
	j.entries = append(j.entries, e)
	return func(context.Context) error { return nil }, nil
}

func (j *journal) Seen() func(context.Context) error { return nil }

func (j *journal) Failed(err error) { j.failed = append(j.failed, err) }

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

func (j *journal) exec(text string, args ...any) {
	j.t.Helper()
	if _, err := j.db.SQL().Exec(text, args...); err != nil {
		j.t.Fatalf("%s: %v", text, err)
	}
}

// smallCache makes SQLite spill early.
func (j *journal) smallCache() {
	j.t.Helper()
	c := j.db.conn
	c.auth.trusted = true
	defer func() { c.auth.trusted = false }()
	if _, err := c.raw.ExecContext(j.t.Context(), "PRAGMA cache_size=10", nil); err != nil {
		j.t.Fatal(err)
	}
}

// rebuilt opens a second database made from the journal alone.
func (j *journal) rebuilt() *sql.DB {
	j.t.Helper()
	path := filepath.Join(j.t.TempDir(), "rebuilt.db")
	if err := Rebuild(path, true, j.changes(0)); err != nil {
		j.t.Fatal(err)
	}
	return openPlain(j.t, path)
}

// openPlain opens a file with the plain driver and checks every page of it.
func openPlain(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if got := one[string](t, db, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("integrity_check: %s", got)
	}
	return db
}

func one[T any](t *testing.T, db *sql.DB, text string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(text, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
