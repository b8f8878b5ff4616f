package object

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/store"
)

// Spec describes one kind of object.
type Spec[S any] struct {
	// Name is the kind's name in the store: 1 to 64 of a-z, 0-9, '.', '_', '-'. Changing it loses the objects.
	Name string
	// Initial is the state of an object that was never written. S is stored as JSON; fields may be added
	// later, and unknown ones are dropped by the next update.
	Initial S
	// Migrations bring objects that were written by earlier versions of the program to S and to the present SQL
	// schema. An object runs those it has not had before anything else touches it: a stored one when it wakes, a new one
	// before its first unit or SQL. Each is a journal entry of its own, with the count, which PRAGMA user_version says
	// as well. While one fails every call of the object fails with *[MigrationError]; one that a newer
	// version has migrated fails with [ErrNewer]. Only append to the list. OnUpdate and Tell hear nothing of it.
	Migrations []Migration
	// OnUpdate, if not nil, is called with each new state once it is durable, one call at a time and in order
	// for each object. It is not called for states of the past after a restart. [Told] says whether Tell had
	// something told of the state.
	OnUpdate func(ctx context.Context, o *Object[S], st S)
	// Tell, if not nil, is asked with each new state what to tell of it: a topic and data, as for [Object.Notify]
	// and in the same entry as the state, or "" for nothing. It must be quick, must not use the object, and must
	// neither change nor keep the state.
	Tell func(id string, st *S) (topic string, data any)
	// OnAlarm runs alarms set with Schedule. A nil error ends the alarm, or this round of it; an error or panic
	// has it tried again (see Schedule). The object may be used freely.
	OnAlarm func(ctx context.Context, o *Object[S], a Alarm) error
	// OnJob runs jobs put into the queue with Enqueue, one at a time for each object.
	OnJob func(ctx context.Context, o *Object[S], j Job) error
}

// Kind is a registered kind of object.
type Kind[S any] struct {
	host  *Host
	spec  Spec[S]
	codec codec[S]
}

var kindName = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// Register makes a kind known to the host. Each name can be registered once.
func Register[S any](h *Host, spec Spec[S]) (*Kind[S], error) {
	if !kindName.MatchString(spec.Name) {
		return nil, fmt.Errorf("%w: kind %q: 1 to 64 of a-z, 0-9, '.', '_', '-'", ErrInvalid, spec.Name)
	}
	if i := slices.IndexFunc(spec.Migrations, func(m Migration) bool { return m == nil }); i >= 0 {
		return nil, fmt.Errorf("%w: kind %q: migration %d is nil", ErrInvalid, spec.Name, i+1)
	}
	codec, err := newCodec(spec.Initial)
	if err != nil {
		return nil, fmt.Errorf("%w: kind %q: %w", ErrInvalid, spec.Name, err)
	}
	k := &Kind[S]{host: h, spec: spec, codec: codec}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if h.kinds[spec.Name] != nil {
		return nil, fmt.Errorf("%w: kind %q is registered already", ErrInvalid, spec.Name)
	}
	h.kinds[spec.Name] = k.definition()
	return k, nil
}

func (k *Kind[S]) definition() *definition {
	d := &definition{name: k.spec.Name, migrations: k.spec.Migrations, check: func(state []byte) error { _, err := k.codec.decode(state); return err }}
	if k.spec.OnUpdate != nil {
		d.onUpdate = func(ctx context.Context, id string, state []byte) {
			if st, err := k.codec.decode(state); err == nil {
				k.spec.OnUpdate(ctx, k.Get(id), st)
			}
		}
	}
	d.handles = func(n lane) bool {
		return n == alarmLane && k.spec.OnAlarm != nil || n == jobLane && k.spec.OnJob != nil
	}
	d.run = func(ctx context.Context, id string, t *task) error {
		if t.lane() == jobLane {
			return k.spec.OnJob(ctx, k.Get(id), t.job())
		}
		return k.spec.OnAlarm(ctx, k.Get(id), t.alarm())
	}
	return d
}

// Get returns a handle of the object with that id: 1 to 256 bytes of UTF-8. It costs nothing and wakes nobody; errors
// of the id come from the handle's first use.
func (k *Kind[S]) Get(id string) *Object[S] {
	return &Object[S]{kind: k, id: store.ObjectID{Kind: k.spec.Name, ID: id}}
}

// Object is a handle of one durable object. Handles are small, may be made at any time and kept; all
// methods are safe for concurrent use. Errors of the store (store.ErrFenced, store.ErrUnknown, store.ErrFull …)
// come wrapped from every method that takes a context.
type Object[S any] struct {
	kind *Kind[S]
	id   store.ObjectID
}

// ID returns the object's id.
func (o *Object[S]) ID() string { return o.id.ID }

// Kind returns the name of the object's kind.
func (o *Object[S]) Kind() string { return o.id.Kind }

// live returns the live copy for a call from outside a unit.
func (o *Object[S]) live(ctx context.Context) (*live, error) {
	if unitOf(ctx) != nil {
		return nil, fmt.Errorf("%w: a call of object %s", ErrInUnit, o.id.Kind)
	}
	if err := o.id.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !utf8.ValidString(o.id.ID) { // notes say it in JSON
		return nil, fmt.Errorf("%w: an id is not UTF-8", ErrInvalid)
	}
	return o.kind.host.live(ctx, o.id)
}

// enter wakes the object and waits for its turn.
func (o *Object[S]) enter(ctx context.Context) (*live, error) {
	return enter(ctx, func() (*live, error) { return o.live(ctx) })
}

func enter(ctx context.Context, find func() (*live, error)) (*live, error) {
	for {
		l, err := find()
		if err != nil {
			return nil, err
		}
		err = l.enter(ctx)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, ErrGone) {
			return nil, err
		}
		select {
		case <-l.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// joined returns the unit that ctx belongs to if it is one of this object.
func (o *Object[S]) joined(ctx context.Context) (*unit, error) {
	u := unitOf(ctx)
	if u == nil {
		return nil, nil
	}
	if u.live.id != o.id || u.live.host != o.kind.host {
		return nil, fmt.Errorf("%w: a call of another object, %s", ErrInUnit, o.id.Kind)
	}
	if u.state == nil {
		return nil, fmt.Errorf("%w: a migration has its Tx and the state it is given", ErrInUnit)
	}
	return u, u.alive()
}

// State returns a copy of the state. Inside a unit of the object it is what the unit has made of it so far.
func (o *Object[S]) State(ctx context.Context) (st S, err error) {
	u, err := o.joined(ctx)
	if err != nil {
		return st, err
	}
	if u != nil {
		return o.copy(u.state.(*S))
	}
	for {
		l, err := o.live(ctx)
		if err != nil {
			return st, err
		}
		l.touch()
		if st, err = o.read(l.current.Load()); err != nil {
			return st, err
		}
		err = l.tell(ctx)
		if err == nil || ctx.Err() != nil || !l.isDead() {
			return st, err
		}
		// What was seen is lost, and nobody was told: look again.
	}
}

func (o *Object[S]) read(s *seen) (st S, err error) {
	if v, ok := s.value.(S); ok {
		return v, nil
	}
	b := s.json
	if b == nil {
		b = o.kind.codec.initial
	}
	if st, err = o.kind.codec.decode(b); err != nil {
		return st, fmt.Errorf("%w: the stored state does not fit kind %q: %w", ErrDamaged, o.id.Kind, err)
	}
	return st, nil
}

func (o *Object[S]) copy(st *S) (out S, err error) {
	if o.kind.codec.flat {
		return *st, nil
	}
	b, err := json.Marshal(st)
	if err != nil {
		return out, err
	}
	return o.kind.codec.decode(b)
}

// Update changes the state: fn gets a copy and, if it returns nil, what it made of it becomes the state, in
// one journal entry, and is returned. If fn fails or panics nothing has happened and the error is fn's. fn
// must not use the object or anything that waits; use Tx where it has to.
//
// It fails with *TooLargeError over Options.MaxState, ErrBusy, and errors of the store. A result that equals
// the present state is not written.
func (o *Object[S]) Update(ctx context.Context, fn func(*S) error) (st S, err error) {
	return o.run(ctx, func(_ context.Context, _ Tx, st *S) error { return fn(st) })
}

// SetState replaces the state. It is Update for a state that does not depend on the present one.
func (o *Object[S]) SetState(ctx context.Context, st S) error {
	_, err := o.Update(ctx, func(now *S) error { *now = st; return nil })
	return err
}

// Tx runs fn as one unit: the state it leaves, the SQL it runs on tx (or on [Object.SQL] with the context it
// is given), and what it does with that context by Schedule, Enqueue, Once and Notify are one journal
// entry. If fn fails or panics, or ctx ends before it returns, nothing has happened.
//
// fn holds up every other unit of the object: it should compute and store, not wait. Calls of other objects
// and questions to clients with its context fail with [ErrInUnit]. A Tx inside a Tx of the same object joins
// it; its failure is then the outer one's to handle, and SQL of it that succeeded stays.
func (o *Object[S]) Tx(ctx context.Context, fn func(ctx context.Context, tx Tx, st *S) error) error {
	_, err := o.run(ctx, fn)
	return err
}

// run is Update and Tx.
func (o *Object[S]) run(ctx context.Context, fn func(context.Context, Tx, *S) error) (st S, err error) {
	u, err := o.joined(ctx)
	if err != nil {
		return st, err
	}
	if u != nil {
		return o.runJoined(ctx, u, fn)
	}
	l, err := o.enter(ctx)
	if err != nil {
		return st, err
	}
	effect.MarkWrite(ctx)
	st, p, err := o.runLocked(ctx, l, fn)
	if err != nil {
		var none S
		return none, l.failed(ctx, err)
	}
	if p == nil { // nothing to write, but something was seen
		return st, l.tell(ctx)
	}
	return st, l.outcome(ctx, p)
}

func (o *Object[S]) runLocked(ctx context.Context, l *live, fn func(context.Context, Tx, *S) error) (st S, p store.Pending, err error) {
	defer l.leave()
	if err := l.migrateNew(ctx); err != nil {
		return st, nil, err
	}
	before := l.current.Load()
	if st, err = o.read(before); err != nil {
		return st, nil, err
	}
	u := l.begin()
	u.state = &st
	defer u.abort() // does nothing after a commit
	if err = fn(u.context(ctx), Tx{u}, &st); err != nil {
		return st, nil, err
	}
	next, err := o.next(before, &st)
	if err != nil {
		return st, nil, err
	}
	told := false
	if next != nil && o.kind.spec.Tell != nil {
		if told, err = o.tell(u, &st); err != nil {
			return st, nil, err
		}
	}
	p, err = u.commit(ctx, next)
	if next != nil && p != nil {
		l.watch(p, next, told)
	}
	return st, p, err
}

// tell has the unit tell what the kind wants told of its new state.
func (o *Object[S]) tell(u *unit, st *S) (told bool, err error) {
	topic, data := o.kind.spec.Tell(o.id.ID, st)
	if topic == "" || o.kind.host.opts.Deliver == nil {
		return false, nil
	}
	n, err := o.note(topic, data)
	if err != nil {
		return false, err
	}
	return true, u.tell(n)
}

// next encodes the state that a unit has made; nil when it is the present one.
func (o *Object[S]) next(before *seen, st *S) (*seen, error) {
	b, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("%w: the state cannot be stored as JSON: %w", ErrInvalid, err)
	}
	if limit := o.kind.host.opts.MaxState; len(b) > limit {
		return nil, &TooLargeError{What: "state", Size: len(b), Limit: limit}
	}
	if bytes.Equal(b, before.json) || before.json == nil && bytes.Equal(b, o.kind.codec.initial) {
		return nil, nil
	}
	n := &seen{json: b}
	if o.kind.codec.flat && !bytes.Contains(b, []byte(`\ufffd`)) { // what is not UTF-8 is another value in JSON
		n.value = *st
	}
	return n, nil
}

func (o *Object[S]) runJoined(ctx context.Context, u *unit, fn func(context.Context, Tx, *S) error) (st S, err error) {
	outer := u.state.(*S)
	if st, err = o.copy(outer); err != nil {
		return st, err
	}
	if err = fn(ctx, Tx{u}, &st); err != nil {
		var none S
		return none, err
	}
	*outer = st
	return o.copy(outer)
}

// SQL returns the object's database, which is made by its first use. It is an ordinary *sql.DB: each
// statement is a journal entry of its own and returns when that is durable; several share one through BeginTx
// or [Object.Tx]. With a unit's context its statements belong to the unit.
//
// It is SQLite 3.54 with foreign keys enforced and FTS5. All statements of an object run one after the other.
// Results are read to their end before they are handed out (at most 1 GiB, beyond 1 MiB in a file). ATTACH,
// VACUUM (see [Object.Vacuum]), TEMP tables, transaction control in SQL text and PRAGMAs that change the
// library's settings are refused. One transaction may change Options.MaxCommit bytes. An open transaction
// holds the object's turn: end it before calling Update.
//
// Use the handle for the call at hand and ask again in the next: it works until ctx ends (the object stays
// awake as long), and with a ctx that cannot end until Options.IdleAfter after the last use. It also ends when
// a failed write makes the object read itself anew.
func (o *Object[S]) SQL(ctx context.Context) (*sql.DB, error) {
	u, err := o.joined(ctx)
	if err != nil {
		return nil, err
	}
	if u != nil {
		return u.live.db.SQL(), nil
	}
	l, err := o.enter(ctx) // a copy on its way out would hand out a closed handle
	if err != nil {
		return nil, err
	}
	defer l.leave()
	l.pinFor(ctx)
	return l.db.SQL(), nil
}

// Vacuum rebuilds the database without its free space. It writes the whole database to the journal.
func (o *Object[S]) Vacuum(ctx context.Context) error {
	l, err := o.enter(ctx)
	if err != nil {
		return err
	}
	effect.MarkWrite(ctx)
	p, err := l.vacuum(ctx)
	if err != nil || p == nil {
		return err
	}
	return l.outcome(ctx, p)
}

func (l *live) vacuum(ctx context.Context) (store.Pending, error) {
	defer l.leave()
	change, err := l.db.Vacuum(ctx)
	if change == nil || err != nil && change == nil {
		return nil, err
	}
	p, commitErr := l.commitChange(ctx, change)
	return p, errors.Join(err, commitErr)
}

// Flush returns when everything that was written to the object before the call, by anyone, is durable. Call
// it before an effect outside the object that must not happen without the write.
func (o *Object[S]) Flush(ctx context.Context) error {
	l, err := o.live(ctx)
	if err != nil {
		return err
	}
	return l.Flush(ctx)
}

// KeepAlive keeps the object in memory until release is called, which may be done more than once.
func (o *Object[S]) KeepAlive(ctx context.Context) (release func(), err error) {
	l, err := o.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer l.leave()
	return l.pin(), nil
}

// Delete erases the object: state, database, alarms, queue, remembered results. The next write makes a new
// one. Deleting what does not exist is no error.
func (o *Object[S]) Delete(ctx context.Context) error {
	l, err := o.enter(ctx)
	if err != nil {
		return err
	}
	effect.MarkWrite(ctx)
	return l.erase(ctx)
}
