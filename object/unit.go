package object

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/store"
)

// unit is one Update, Tx or Once in progress. It has the object's turn from begin to end.
type unit struct {
	live  *live
	state any // *S: what the unit is making of the state

	mu      sync.Mutex
	over    bool
	ending  bool     // no more statements: SQLite's transaction is being ended
	body    fields   // what the entry will hold beside state and SQL
	undo    []func() // what takes body's effects on memory back, newest last
	records []store.RecordWrite
	onGood  []func() // run when the entry has been accepted
}

type unitKey struct{}

// unitOf returns the unit that ctx was handed out by.
func unitOf(ctx context.Context) *unit {
	u, _ := ctx.Value(unitKey{}).(*unit)
	return u
}

func (l *live) begin() *unit { return &unit{live: l} }

// context is what the unit hands out.
func (u *unit) context(ctx context.Context) context.Context {
	return effect.EnterUnit(context.WithValue(ctx, unitKey{}, u))
}

func (u *unit) alive() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || u.ending {
		return ErrUnitOver
	}
	return nil
}

// change runs fn, which changes memory and adds to the entry, unless the unit is over.
func (u *unit) change(fn func() error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return ErrUnitOver
	}
	if u.body == nil {
		u.body = newFields()
	}
	return fn()
}

// abort takes everything back.
func (u *unit) abort() {
	if !u.takeBack() {
		return
	}
	if u.live.db.InTx() {
		if err := u.live.db.Rollback(); err != nil {
			u.live.host.log.Warn("object: roll a unit back", "kind", u.live.id.Kind, "err", err)
		}
	}
}

// takeBack ends the unit and takes its effects on memory back, unless it is over.
func (u *unit) takeBack() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return false
	}
	u.over = true
	for _, undo := range slices.Backward(u.undo) {
		undo()
	}
	return true
}

// end lets no more statements into the unit. Those under way are waited for by whoever ends the transaction.
func (u *unit) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
}

// commit journals the unit: the new state (nil when it has not changed), its SQL and its body. It returns nil
// when there was nothing to journal. An error leaves nothing.
func (u *unit) commit(ctx context.Context, state *seen) (p store.Pending, err error) {
	l := u.live
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer l.trim()
	u.end()
	body := append(l.body[:0], entryFormat)
	var blobs []store.Blob
	sqlDone := false
	defer func() {
		if err != nil && sqlDone { // SQLite has committed what the journal will never have
			l.fail(fmt.Errorf("journal a unit: %w", err))
		}
	}()
	if l.db.InTx() {
		change, err := l.db.Commit()
		if err != nil {
			return nil, err
		}
		if change != nil {
			sqlDone = true
			if blobs, err = l.addChange(ctx, &body, change, blobs); err != nil {
				return nil, err
			}
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if state != nil {
		body.add(fieldState, state.json)
	}
	if len(u.body) > 1 {
		body = append(body, u.body[1:]...)
	}
	l.body = body
	if len(body) == 1 && len(u.records) == 0 {
		u.over = true
		return nil, nil
	}
	kind := store.EntryUpdate
	before := l.memory.state
	if state != nil {
		l.memory.state = state.json
		defer func() {
			if err != nil {
				l.memory.state = before
			}
		}()
	}
	if !l.hasSQL && l.overdue() { // then a snapshot costs no more than an update
		if body, err = l.memory.whole(); err != nil {
			return nil, err
		}
		kind = store.EntrySnapshot
	}
	if body, blobs, err = l.fit(ctx, body, blobs); err != nil {
		return nil, err
	}
	records := l.withWake(u.records)
	if p, err = l.append(ctx, kind, body, blobs, records); err != nil {
		return nil, err
	}
	u.over = true
	if state != nil {
		l.current.Store(state)
	}
	l.afterAppend()
	for _, fn := range u.onGood {
		fn()
	}
	return p, nil
}

// Tx is the SQL side of a unit. It is valid until the unit returns, and safe for concurrent use.
type Tx struct{ unit *unit }

// DB returns the object's database. Statements run inside the unit only with the unit's context.
func (t Tx) db() *sql.DB { return t.unit.live.db.SQL() }

// ExecContext runs a statement (or several, separated by semicolons) inside the unit.
func (t Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, err := t.inside(ctx)
	if err != nil {
		return nil, err
	}
	return t.db().ExecContext(ctx, query, args...)
}

// QueryContext runs a query inside the unit. The result is read to its end before it is handed out, so that
// further statements may run while it is being scanned.
func (t Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, err := t.inside(ctx)
	if err != nil {
		return nil, err
	}
	return t.db().QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query inside the unit that yields at most one row. Errors come from Scan.
func (t Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if inside, err := t.inside(ctx); err == nil {
		ctx = inside
	}
	return t.db().QueryRowContext(ctx, query, args...)
}

// inside makes ctx the unit's own: an author may have brought another one of the same call.
func (t Tx) inside(ctx context.Context) (context.Context, error) {
	switch u := unitOf(ctx); u {
	case t.unit:
		return ctx, nil
	case nil:
		return t.unit.context(ctx), nil
	default:
		return nil, errors.Join(ErrInUnit, errors.New("the Tx belongs to another unit"))
	}
}
