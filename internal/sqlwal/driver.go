package sqlwal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// connector makes the virtual connections of the author's *sql.DB. They hold nothing but a transaction.
type connector struct{ db *DB }

func (c connector) Connect(context.Context) (driver.Conn, error) { return &virtual{db: c.db}, nil }
func (c connector) Driver() driver.Driver                        { return noDriver{} }

type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("an object's database is opened by the object")
}

// virtual is a connection for database/sql. All of one database share one SQLite connection.
type virtual struct {
	db *DB
	tx *transaction
}

var _ interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
} = (*virtual)(nil)

func (v *virtual) Ping(context.Context) error { return nil }

// Close is not SQLite's business: the pool may do it at any time.
func (v *virtual) Close() error {
	if v.tx != nil {
		return v.tx.Rollback()
	}
	return nil
}

func (v *virtual) Begin() (driver.Tx, error) {
	return v.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx takes the owner's turn until Commit or Rollback. Transactions are serial, so every isolation
// level is kept.
func (v *virtual) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if sql.IsolationLevel(opts.Isolation) > sql.LevelLinearizable {
		return nil, fmt.Errorf("unknown isolation level %d", opts.Isolation)
	}
	if joined, err := v.db.owner.Join(ctx); joined || err != nil {
		return nil, errors.Join(err, ErrNested)
	}
	if err := v.db.owner.Lock(ctx); err != nil {
		return nil, err
	}
	if err := v.db.Begin(ctx); err != nil {
		v.db.owner.Unlock()
		return nil, err
	}
	v.tx = &transaction{conn: v, ctx: ctx, readOnly: opts.ReadOnly}
	return v.tx, nil
}

type transaction struct {
	conn     *virtual
	ctx      context.Context // of BeginTx: whose call this is
	readOnly bool
}

// Commit returns when what the transaction changed is durable.
func (t *transaction) Commit() error {
	db := t.conn.db
	if t.conn.tx != t {
		return sql.ErrTxDone
	}
	t.conn.tx = nil
	wait, err := t.commitLocked()
	db.owner.Unlock()
	if wait != nil {
		err = errors.Join(err, wait(t.ctx))
	}
	return err
}

func (t *transaction) commitLocked() (wait func(context.Context) error, err error) {
	db := t.conn.db
	db.mu.Lock()
	defer db.mu.Unlock()
	change, err := db.commit()
	if err != nil {
		return nil, err
	}
	if change == nil {
		return db.owner.Seen(), nil
	}
	return db.owner.Commit(t.ctx, change)
}

// Rollback returns when what the transaction could have seen is durable.
func (t *transaction) Rollback() error {
	if t.conn.tx != t {
		return sql.ErrTxDone
	}
	t.conn.tx = nil
	db := t.conn.db
	wait := db.owner.Seen()
	err := db.Rollback()
	db.owner.Unlock()
	if wait != nil && t.ctx.Err() == nil { // what was read will be told
		err = errors.Join(err, wait(t.ctx))
	}
	return err
}

func (v *virtual) run(ctx context.Context, text string, args []driver.NamedValue, query bool) (result, error) {
	if v.tx != nil {
		return v.db.inTx(ctx, text, args, query, v.tx.readOnly)
	}
	joined, err := v.db.owner.Join(ctx)
	if err != nil {
		return result{}, err
	}
	if joined {
		return v.db.joined(ctx, text, args, query)
	}
	return v.db.alone(ctx, text, args, query)
}

func (v *virtual) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	r, err := v.run(ctx, text, args, false)
	if err != nil {
		return nil, err
	}
	if r.res == nil { // a text without a statement
		return driver.ResultNoRows, nil
	}
	return r.res, nil
}

func (v *virtual) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := v.run(ctx, text, args, true)
	if err != nil {
		return nil, err
	}
	return r.rows, nil
}

func (v *virtual) Prepare(text string) (driver.Stmt, error) { return &prepared{v, text}, nil }

// PrepareContext compiles nothing yet: the text is compiled once on the shared connection and kept there.
func (v *virtual) PrepareContext(_ context.Context, text string) (driver.Stmt, error) {
	return &prepared{v, text}, nil
}

type prepared struct {
	conn *virtual
	text string
}

func (p *prepared) Close() error  { return nil }
func (p *prepared) NumInput() int { return -1 }

func (p *prepared) Exec(args []driver.Value) (driver.Result, error) {
	return p.conn.ExecContext(context.Background(), p.text, named(args))
}

func (p *prepared) Query(args []driver.Value) (driver.Rows, error) {
	return p.conn.QueryContext(context.Background(), p.text, named(args))
}

func (p *prepared) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return p.conn.ExecContext(ctx, p.text, args)
}

func (p *prepared) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return p.conn.QueryContext(ctx, p.text, args)
}

func named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, v := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out
}
