// Package sqlwal makes a redo stream of a SQLite database: every committed transaction is captured as the
// pages it wrote (a [Change]) before the one who committed it learns of it. The stream is the truth
// and the database file only a cache, which [Rebuild] brings up to date from it.
//
// There is exactly one SQLite connection to a database, with SQLite's stock pager in WAL mode; a change is
// what its -wal file gained. The author's *sql.DB consists of virtual connections that share it, so that
// nothing done through database/sql can checkpoint, reset or delete the -wal unseen:
//
//   - Close and the pool's settings never reach SQLite (its last connection would checkpoint on closing).
//   - Results are read to their end before they are handed out, so that statements nest; long ones go to a file.
//   - Transaction control in SQL text, ATTACH, DETACH, TEMP tables and unknown PRAGMAs are refused.
//   - Frames count only if their checksums continue the chain; rolled-back ones keep the live salt.
//   - A commit without frames passes only if SQLite is out of the transaction.
//   - Checkpoints are ours, made when every commit in the -wal is acknowledged.
//   - A transaction that has grown too large is refused before COMMIT.
package sqlwal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
)

var (
	// ErrBroken: the local copy of the database can no longer be trusted. It has been closed and will be
	// rebuilt from the journal when it is used next.
	ErrBroken = errors.New("sqlwal: the local copy of the database is broken")
	// ErrRolledBack: SQLite has rolled the transaction back by itself (INSERT OR ROLLBACK, RAISE(ROLLBACK),
	// an interrupted write, a full disk). Nothing of it is left.
	ErrRolledBack = errors.New("sqlwal: the transaction was rolled back")
	// ErrNested: a transaction was begun inside a unit that is one already.
	ErrNested = errors.New("sqlwal: already inside a transaction")
	// ErrReadOnly: a statement that writes, in a read-only transaction.
	ErrReadOnly = errors.New("sqlwal: the transaction is read-only")
	// ErrResultTooLarge: a query yielded more than Options.MaxResult.
	ErrResultTooLarge = errors.New("sqlwal: the result is too large")
	// ErrNoBase: the file that the journal continues is missing.
	ErrNoBase = errors.New("sqlwal: the database file is missing")
)

// TooLargeError tells that a transaction changed more than may be committed at once. It left nothing.
type TooLargeError struct{ Limit int } // in bytes

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the transaction changes more than %d bytes of the database: split it", e.Limit)
}

func broken(err error) error { return fmt.Errorf("%w: %w", ErrBroken, err) }

// cacheBytes is what SQLite's page cache holds back at most before it spills (its default cache_size).
const cacheBytes = 2000 << 10

// An Owner is whom a database belongs to. It serialises all writers and journals what they did.
type Owner interface {
	// Lock waits for the owner's turn: one holder at a time, for one statement or one transaction.
	Lock(ctx context.Context) error
	Unlock()
	// Join tells whether ctx was handed out by the unit that has the turn now, so that its statements run
	// inside the unit's transaction. The error says that the unit is over: it does from before the unit's Commit
	// or Rollback on. It must not wait for either of them.
	Join(ctx context.Context) (bool, error)
	// Restore brings the file at path to what the journal says. It is called with the turn held, before
	// SQLite opens a file that was not closed cleanly in this life.
	Restore(ctx context.Context, path string) error
	// Commit takes a committed change, with the turn held; it keeps nothing of it. The wait it returns is
	// called after the turn has ended and returns when the change is durable.
	Commit(ctx context.Context, c *Change) (wait func(context.Context) error, err error)
	// Seen returns a wait for everything that a reader with the turn could have seen, nil when all of it is
	// durable. It is called with the turn held; the wait, after the turn has ended.
	Seen() (wait func(context.Context) error)
	// Failed is called with the turn held when the local copy broke, after it was discarded.
	Failed(err error)
}

// Options of a database. The zero value is useful.
type Options struct {
	// MaxCommit is how much one transaction may change, in bytes of pages. Zero is 32 MiB. What fits
	// SQLite's page cache (2 MiB) always passes.
	MaxCommit int
	// ReadAhead is how much of one result is kept in memory, in bytes; the rest goes to a file. Zero is 1 MiB.
	ReadAhead int
	// MaxResult is how large one result may be, in bytes. Zero is 1 GiB.
	MaxResult int64
	// MaxPages is how large the database may grow, in pages; SQLite refuses what goes beyond. Zero is no limit.
	MaxPages uint32
	// Opened is told +1 when SQLite opens the file and -1 when it closes it. May be nil.
	Opened func(delta int)
}

func (o Options) withDefaults() Options {
	if o.MaxCommit == 0 {
		o.MaxCommit = 32 << 20
	}
	if o.ReadAhead == 0 {
		o.ReadAhead = 1 << 20
	}
	if o.Opened == nil {
		o.Opened = func(int) {}
	}
	if o.MaxResult == 0 {
		o.MaxResult = 1 << 30
	}
	return o
}

// DB is one database. Methods that say so need the owner's turn; the others are safe for concurrent use.
type DB struct {
	path  string
	owner Owner
	opts  Options

	mu    sync.Mutex // one goroutine at a time inside SQLite; a unit may have several
	conn  *conn      // nil while closed
	clean bool       // the file is what the journal says: it was closed so in this life
	named bool       // the file's name is durable; needs the turn

	poolMu sync.Mutex
	pool   *sql.DB
}

// New returns the database kept at path. Nothing is opened before it is used.
func New(owner Owner, path string, opts Options) *DB {
	return &DB{path: path, owner: owner, opts: opts.withDefaults()}
}

// SQL returns the author's handle. It works until Shut.
func (d *DB) SQL() *sql.DB {
	d.poolMu.Lock()
	defer d.poolMu.Unlock()
	if d.pool == nil {
		d.pool = sql.OpenDB(connector{d})
		d.pool.SetMaxIdleConns(8) // they are a few bytes each; making one costs a goroutine switch
	}
	return d.pool
}

// Shut closes the author's handle. The turn is not needed.
func (d *DB) Shut() error {
	d.poolMu.Lock()
	defer d.poolMu.Unlock()
	if d.pool == nil {
		return nil
	}
	err := d.pool.Close()
	d.pool = nil
	return err
}

// Begin starts the transaction of a unit, unless it has begun. Needs the turn.
func (d *DB) Begin(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begin(ctx)
}

func (d *DB) begin(ctx context.Context) error {
	c, err := d.open(ctx)
	if err != nil || c.inTx {
		return err
	}
	return d.check(c.Begin())
}

// InTx tells whether a transaction is in progress. Needs the turn.
func (d *DB) InTx() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil && d.conn.inTx
}

// Commit ends the transaction begun with Begin and returns what it changed, nil for nothing. The change
// is valid until the database is used again. Needs the turn.
func (d *DB) Commit() (*Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.commit()
}

func (d *DB) commit() (*Change, error) {
	if d.conn == nil {
		return nil, ErrRolledBack
	}
	c, err := d.conn.Commit(d.opts.MaxCommit)
	return c, d.check(err)
}

// Rollback ends the transaction and leaves nothing of it. Needs the turn.
func (d *DB) Rollback() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rollback()
}

func (d *DB) rollback() error {
	if d.conn == nil {
		return nil
	}
	return d.check(d.conn.Rollback())
}

// Pending is how many bytes of the -wal a checkpoint would move. Needs the turn.
func (d *DB) Pending() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return 0
	}
	return d.conn.walBytes()
}

// Checkpoint moves what is committed into the file. Everything committed must be acknowledged by the
// journal. Needs the turn.
func (d *DB) Checkpoint(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.conn.walBytes() == 0 {
		return nil
	}
	if d.conn.inTx {
		return errors.New("sqlwal: checkpoint inside a transaction")
	}
	if err := d.conn.Checkpoint(ctx); err != nil {
		return d.check(broken(err))
	}
	d.conn.tail.trim()
	return nil
}

// Close checkpoints and closes the database; it opens again when it is used. The rule of Checkpoint holds.
// Needs the turn.
func (d *DB) Close(ctx context.Context) error {
	if err := d.Checkpoint(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	c := d.conn
	d.conn = nil
	d.opts.Opened(-1)
	if err := c.close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	d.clean = true
	return nil
}

// Sync makes the file hold everything committed, durably. Changes after it do not build on what came
// before. The rule of Checkpoint holds. Needs the turn.
func (d *DB) Sync(ctx context.Context) error {
	d.mu.Lock()
	_, err := d.open(ctx)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if err := d.Checkpoint(ctx); err != nil {
		return err
	}
	sync := SyncFile
	if d.named { // a name needs flushing once
		sync = syncPath
	}
	if err := sync(d.path); err != nil {
		return err
	}
	d.named = true
	return nil
}

// SyncFile makes a database file, its name and its directory's name durable.
func SyncFile(path string) error {
	for _, p := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := syncPath(p); err != nil {
			return err
		}
	}
	return nil
}

// syncPath flushes a file, or a directory's names.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make the database file durable: %w", err)
	}
	return nil
}

// Discard closes the database and drops what is not checkpointed. Needs the turn.
func (d *DB) Discard() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.discard()
}

func (d *DB) discard() error {
	d.clean = false
	if d.conn == nil {
		return nil
	}
	c := d.conn
	d.conn = nil
	d.opts.Opened(-1)
	return c.discard()
}

// Open tells whether SQLite has the database open now.
func (d *DB) Open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil
}

// Vacuum rebuilds the database without its free space and returns every page of it. The change is valid
// until the database is used again. Needs the turn.
func (d *DB) Vacuum(ctx context.Context) (*Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	if c.inTx {
		return nil, ErrNested
	}
	c.auth.trusted = true
	_, err = c.raw.ExecContext(ctx, "VACUUM", nil)
	c.auth.trusted = false
	change, tailErr := c.tail.read()
	if tailErr != nil {
		return nil, d.check(broken(tailErr))
	}
	return change, err
}

// Image returns the database as one file's bytes, what is in the -wal included. Changes after it do not
// build on what came before. Needs the turn.
func (d *DB) Image(ctx context.Context) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	c.tail.forget()
	return c.raw.Serialize()
}

// Check has SQLite look at every page. Needs the turn.
func (d *DB) Check(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.open(ctx)
	if err != nil {
		return err
	}
	return c.check(ctx)
}

// open returns the connection, opening the file if need be.
func (d *DB) open(ctx context.Context) (*conn, error) {
	if d.conn != nil {
		return d.conn, nil
	}
	if !d.clean {
		if err := d.owner.Restore(ctx, d.path); err != nil {
			return nil, fmt.Errorf("restore the database: %w", err)
		}
	}
	c, err := openConn(ctx, d.path, d.opts.MaxPages)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	d.conn, d.clean = c, false
	d.opts.Opened(+1)
	return c, nil
}

// check discards the local copy when err says that it is broken.
func (d *DB) check(err error) error {
	if !errors.Is(err, ErrBroken) {
		return err
	}
	err = errors.Join(err, d.discard())
	d.owner.Failed(err)
	return err
}

// Rebuild makes the file at path what base and the changes after it say. The file may be half-way through
// a checkpoint of these same changes. With fresh there is no base: the database begins empty.
func Rebuild(path string, fresh bool, changes iter.Seq2[*Change, error]) (err error) {
	if err := putBack(path); err != nil {
		return err
	}
	if err := removeWAL(path); err != nil {
		return err
	}
	flags := os.O_RDWR
	if fresh {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		flags |= os.O_CREATE | os.O_TRUNC
	}
	base, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoBase, filepath.Base(path))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	if fresh {
		if _, err := base.WriteAt(empty(), 0); err != nil {
			return err
		}
	}
	for c, err := range changes {
		if err != nil {
			return err
		}
		if err := c.Apply(base); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes the database's files. The database must not be open.
func Remove(path string) error {
	err := removeWAL(path)
	for _, p := range []string{path, path + asideSuffix} {
		if e := os.Remove(p); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// result of a statement run for the author.
type result struct {
	res  driver.Result
	rows driver.Rows
}

// inTx runs one statement in the transaction in progress.
func (d *DB) inTx(ctx context.Context, text string, args []driver.NamedValue, query, readOnly bool) (result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inTxLocked(ctx, text, args, query, readOnly)
}

func (d *DB) inTxLocked(ctx context.Context, text string, args []driver.NamedValue, query, readOnly bool) (result, error) {
	c := d.conn
	if c == nil || !c.inTx || c.rolled {
		return result{}, ErrRolledBack
	}
	st, release, err := c.statement(ctx, text)
	if err != nil {
		return result{}, err
	}
	defer release()
	if readOnly && st.writes {
		return result{}, ErrReadOnly
	}
	return d.runStatement(ctx, c, st, args, query)
}

func (d *DB) runStatement(ctx context.Context, c *conn, st *statement, args []driver.NamedValue, query bool) (r result, err error) {
	if !query {
		r.res, err = c.exec(ctx, st, args)
		return r, err
	}
	rows, err := c.query(ctx, st, args)
	if err != nil {
		return r, err
	}
	r.rows, err = d.readAhead(ctx, rows)
	return r, err
}

// joined runs one statement inside the unit that ctx belongs to.
func (d *DB) joined(ctx context.Context, text string, args []driver.NamedValue, query bool) (result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// A goroutine that the unit has left behind may come when the unit is over.
	if _, err := d.owner.Join(ctx); err != nil {
		return result{}, err
	}
	if err := d.begin(ctx); err != nil {
		return result{}, err
	}
	return d.inTxLocked(ctx, text, args, query, false)
}

// alone runs one statement as a transaction of its own and returns when it is durable.
func (d *DB) alone(ctx context.Context, text string, args []driver.NamedValue, query bool) (result, error) {
	if err := d.owner.Lock(ctx); err != nil {
		return result{}, err
	}
	r, wait, err := d.aloneLocked(ctx, text, args, query)
	d.owner.Unlock()
	if wait != nil {
		err = errors.Join(err, wait(ctx))
	}
	if err != nil && r.rows != nil {
		_ = r.rows.Close()
	}
	return r, err
}

func (d *DB) aloneLocked(ctx context.Context, text string, args []driver.NamedValue, query bool) (r result, wait func(context.Context) error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.open(ctx)
	if err != nil {
		return r, nil, err
	}
	st, release, err := c.statement(ctx, text)
	if err != nil {
		return r, nil, err
	}
	defer release()
	before := c.commits
	if st.writes {
		if err := d.check(c.Begin()); err != nil {
			return r, nil, err
		}
	}
	r, err = d.runStatement(ctx, c, st, args, query)
	if st.writes && err != nil {
		return r, nil, errors.Join(err, d.rollback())
	}
	var change *Change
	var commitErr error
	if st.writes {
		change, commitErr = d.commit()
	} else if c.commits != before { // it wrote although the authorizer saw nothing: capture it all the same
		change, commitErr = c.tail.read()
		commitErr = d.check(commitErr)
	}
	if err = errors.Join(err, commitErr); err != nil {
		return r, nil, err
	}
	if change == nil {
		return r, d.owner.Seen(), nil
	}
	wait, err = d.owner.Commit(ctx, change)
	return r, wait, err
}
