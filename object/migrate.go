package object

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/causeway-mcp/causeway/store"
)

// A Migration brings an object from one version of its kind's state and schema to the next. Every object of the
// kind runs each of them once, in order, before anything else touches it: see [Spec].
//
// state is the stored state as JSON, of whatever type it was then; what Migration leaves there is the state.
// It is nil for an object whose state was never written: Spec.Initial holds there, unless the migration sets one.
// SQL is run on tx. Both are one journal entry with the count of migrations. If the migration fails or panics nothing
// of it has happened.
//
// The rules of [Object.Tx] hold: a migration computes and stores. It may be begun again after a crash.
type Migration func(ctx context.Context, tx Tx, state *json.RawMessage) error

// MigrateSQL is a migration that runs SQL statements, separated by semicolons.
func MigrateSQL(text string) Migration {
	return func(ctx context.Context, tx Tx, _ *json.RawMessage) error {
		_, err := tx.ExecContext(ctx, text)
		return err
	}
}

// MigrateState is a migration that turns the state of one type into that of another. Objects whose state was never
// written are passed over. The types are those of then and stay so: give each that is no longer the Spec's a name
// of its own.
func MigrateState[Old, New any](change func(Old) (New, error)) Migration {
	return func(_ context.Context, _ Tx, state *json.RawMessage) error {
		if *state == nil {
			return nil
		}
		var old Old
		if err := json.Unmarshal(*state, &old); err != nil {
			return fmt.Errorf("the stored state is not the one that is expected: %w", err)
		}
		changed, err := change(old)
		if err != nil {
			return err
		}
		*state, err = json.Marshal(changed)
		return err
	}
}

// ErrNewer means that the object was migrated by a newer version of the program, whose data this one does not know. Nothing
// was touched: run the newer version.
var ErrNewer = errors.New("object: it was migrated by a newer version of the program")

// MigrationError tells which migration of an object failed. The object is as the one before has left it, and cannot
// be used; it is tried again when it is used next.
type MigrationError struct {
	Kind          string
	Number, Count int // the first is 1
	Err           error
}

func (e *MigrationError) Error() string {
	return fmt.Sprintf("object: migration %d of %d of kind %q failed, and nothing of it has happened: %v", e.Number, e.Count, e.Kind, e.Err)
}

func (e *MigrationError) Unwrap() error { return e.Err }

func isMigration(err error) bool {
	var failed *MigrationError
	return errors.As(err, &failed)
}

// behind tells whether there are migrations to run. Needs the turn, or nobody else may have it yet.
func (l *live) behind() bool { return l.def != nil && l.memory.migrated < len(l.def.migrations) }

// checkMigrated refuses an object that this program is too old for.
func (l *live) checkMigrated(migrated int) error {
	if l.def == nil || migrated <= len(l.def.migrations) {
		return nil
	}
	return fmt.Errorf("%w: object of kind %q has had %d migrations, this program knows %d", ErrNewer, l.id.Kind, migrated, len(l.def.migrations))
}

// migrateStored runs, before anyone has the object, what it has not had yet. One that does not exist is left so
// until it is written.
func (l *live) migrateStored(ctx context.Context) error {
	if err := l.checkMigrated(l.memory.migrated); err != nil {
		return err
	}
	if !l.exists || !l.behind() {
		return nil
	}
	l.turn <- struct{}{}
	defer l.leave()
	err := l.migrate(ctx)
	if err != nil {
		err = errors.Join(err, l.db.Shut(), l.db.Discard()) // this copy is not used any further
	}
	return err
}

// migrateNew runs, before the first unit or SQL of an object that did not exist when it woke, the migrations. Needs
// the turn.
func (l *live) migrateNew(ctx context.Context) error {
	if !l.behind() {
		return nil
	}
	err := l.migrate(ctx)
	if err != nil && l.exists { // readers would take it for one that does not
		l.fail(err)
	}
	return err
}

// migrate runs the migrations that the object has not had. Needs the turn. It does not end with the call that
// happens to be the first: those after it would have to begin again.
func (l *live) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.host.opts.TaskTimeout)
	defer cancel()
	defer context.AfterFunc(l.host.ctx, cancel)()
	for l.behind() {
		number, count := l.memory.migrated+1, len(l.def.migrations)
		if err := l.migrateOnce(ctx, number, l.def.migrations[number-1]); err != nil {
			return &MigrationError{Kind: l.id.Kind, Number: number, Count: count, Err: err}
		}
		l.host.log.Debug("object: migrated", "kind", l.id.Kind, "migration", number, "of", count)
	}
	return nil
}

// migrateOnce runs one migration as a unit, and returns when it is durable.
func (l *live) migrateOnce(ctx context.Context, number int, migration Migration) error {
	u := l.begin()
	defer u.abort() // does nothing after a commit
	before := l.memory.state
	state := json.RawMessage(bytes.Clone(before))
	inside := u.context(ctx)
	if err := safely(func() error { return migration(inside, Tx{u}, &state) }); err != nil {
		return err
	}
	if state == nil && before != nil {
		return fmt.Errorf("%w: it left no state", ErrInvalid)
	}
	var next *seen
	if !bytes.Equal(state, before) {
		if !json.Valid(state) {
			return fmt.Errorf("%w: the state it left is not JSON", ErrInvalid)
		}
		if limit := l.host.opts.MaxState; len(state) > limit {
			return &TooLargeError{What: "state", Size: len(state), Limit: limit}
		}
		next = &seen{json: state}
	}
	if l.hasSQL || l.db.InTx() {
		// The journal counts. This is for those who look at the database.
		if _, err := (Tx{u}).ExecContext(inside, fmt.Sprintf("PRAGMA user_version = %d", number)); err != nil {
			return err
		}
	}
	p, err := l.commitMigration(ctx, u, next, number)
	if err != nil {
		return err
	}
	return l.await(ctx, p)
}

func (l *live) commitMigration(ctx context.Context, u *unit, next *seen, number int) (store.Pending, error) {
	err := u.change(func() error {
		was := l.memory.migrated
		l.memory.migrated = number
		u.body.add(fieldMigrated, binary.AppendUvarint(nil, uint64(number)))
		u.undo = append(u.undo, func() { l.memory.migrated = was })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u.commit(ctx, next)
}

// safely makes an error of a panic: nobody further out would know what it was that panicked.
func safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

// readMigrated is the count in a field.
func readMigrated(content []byte) (int, error) {
	n, size := binary.Uvarint(content)
	if size != len(content) || size <= 0 || n == 0 || n > 1<<20 {
		return 0, fmt.Errorf("%w: count of migrations", ErrDamaged)
	}
	return int(n), nil
}
