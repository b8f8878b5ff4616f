package sqlwal

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
)

// conn is the one connection that SQLite ever has to the database. It is not safe for concurrent use.
type conn struct {
	path string
	raw  rawConn
	auth authorizer
	tail tail

	begin, commit, rollback driver.StmtExecContext

	commits int  // by SQLite's own count; one that we did not ask for must not pass unseen
	rolled  bool // the transaction in progress was rolled back, by us or by SQLite
	inTx    bool
	before  int // pages SQLite had written when the transaction began
	statements
}

// rawConn is what modernc's connection can do and database/sql has no words for.
type rawConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	RegisterAuthorizer(sqlite.AuthorizerFn) error
	RegisterCommitHook(sqlite.CommitHookFn)
	RegisterRollbackHook(sqlite.RollbackHookFn)
	sqlite.DBStatus
	Serialize() ([]byte, error)
}

// openConn opens the database at path, whose file must be exactly what the journal says.
func openConn(ctx context.Context, path string, maxPages uint32) (_ *conn, err error) {
	// Whatever stands in a -wal we did not write in this life may not have been acknowledged.
	if err := removeWAL(path); err != nil {
		return nil, err
	}
	connector, err := sqlite.NewConnector("file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() +
		"?_time_format=sqlite&_defensive=1")
	if err != nil {
		return nil, err
	}
	dc, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := dc.(rawConn)
	if !ok {
		_ = dc.Close()
		return nil, errors.New("sqlwal: the SQLite driver lacks an authorizer or hooks")
	}
	c := &conn{path: path, raw: raw}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.discard())
		}
	}()
	return c, c.setUp(ctx, maxPages)
}

func (c *conn) setUp(ctx context.Context, maxPages uint32) error {
	c.auth.trusted = true
	defer func() { c.auth.trusted = false }()
	// EXCLUSIVE before the first read keeps the wal-index in memory: no -shm file, no locking.
	pragmas := []string{
		"locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=OFF", "wal_autocheckpoint=0",
		"foreign_keys=ON", "temp_store=MEMORY", "trusted_schema=OFF",
	}
	if maxPages > 0 {
		pragmas = append(pragmas, fmt.Sprintf("max_page_count=%d", maxPages))
	}
	for _, pragma := range pragmas {
		if _, err := c.raw.ExecContext(ctx, "PRAGMA "+pragma, nil); err != nil {
			return fmt.Errorf("PRAGMA %s: %w", pragma, err)
		}
	}
	if err := c.raw.RegisterAuthorizer(c.auth.decide); err != nil {
		return err
	}
	c.raw.RegisterCommitHook(func() int32 { c.commits++; return 0 })
	c.raw.RegisterRollbackHook(func() { c.rolled = true })
	for text, at := range map[string]*driver.StmtExecContext{"BEGIN": &c.begin, "COMMIT": &c.commit, "ROLLBACK": &c.rollback} {
		st, err := c.raw.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		*at = st.(driver.StmtExecContext)
	}
	// The first read makes SQLite create the -wal that the tail is read from.
	if _, err := c.raw.ExecContext(ctx, "SELECT 1 FROM sqlite_schema LIMIT 1", nil); err != nil {
		return err
	}
	file, err := os.Open(c.path + "-wal")
	if err != nil {
		return err
	}
	c.tail.file = file
	return nil
}

// own runs one of our own statements. They finish whatever the caller's context does: a COMMIT that was
// interrupted half-way is worth nothing to anyone.
func (c *conn) own(st driver.StmtExecContext) error {
	c.auth.trusted = true
	defer func() { c.auth.trusted = false }()
	_, err := st.ExecContext(context.Background(), nil)
	return err
}

// Begin starts a transaction.
func (c *conn) Begin() error {
	if c.inTx {
		return errors.New("sqlwal: a transaction is in progress")
	}
	c.rolled = false
	if err := c.own(c.begin); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	var err error
	if c.before, err = c.written(); err != nil {
		return broken(err)
	}
	c.inTx, c.auth.inTx = true, true
	return nil
}

// Rollback ends the transaction and leaves nothing of it. Without one it does nothing.
func (c *conn) Rollback() error {
	if !c.inTx {
		return nil
	}
	c.inTx, c.auth.inTx = false, false
	if !c.rolled { // otherwise SQLite did it already
		if err := c.own(c.rollback); err != nil {
			return broken(fmt.Errorf("rollback: %w", err))
		}
	}
	return nil
}

// Commit ends the transaction and returns what it changed, nil for nothing. When it returns an error that
// is not errBroken the transaction left nothing.
func (c *conn) Commit(limit int) (*Change, error) {
	if !c.inTx {
		return nil, errors.New("sqlwal: no transaction to commit")
	}
	if c.rolled {
		_ = c.Rollback()
		return nil, ErrRolledBack
	}
	if err := c.checkPending(limit); err != nil {
		return nil, errors.Join(err, c.Rollback())
	}
	if err := c.own(c.commit); err != nil {
		return nil, c.commitFailed(err)
	}
	c.inTx, c.auth.inTx = false, false
	change, err := c.tail.read()
	if err != nil {
		return nil, broken(err)
	}
	if change == nil {
		return nil, c.proveIdle()
	}
	return change, nil
}

// checkPending refuses a transaction that has grown over the limit before SQLite makes it a fact. What is
// pending is in SQLite's cache until that overflows (cacheBytes); the rest it has spilled into the -wal.
func (c *conn) checkPending(limit int) error {
	written, err := c.written()
	if err != nil {
		return broken(err)
	}
	if spilled := (written - c.before) * PageSize; spilled > 0 && spilled+cacheBytes > limit {
		return &TooLargeError{Limit: limit}
	}
	return nil
}

// written counts the pages that SQLite has written since the connection began.
func (c *conn) written() (int, error) {
	n, _, err := c.raw.Status(sqlite.DBStatusCacheWrite, false)
	return n, err
}

// commitFailed handles a COMMIT that SQLite refused: a deferred foreign key, a full disk.
func (c *conn) commitFailed(cause error) error {
	cause = fmt.Errorf("commit: %w", cause)
	if err := c.Rollback(); err != nil {
		return broken(errors.Join(cause, err))
	}
	if change, err := c.tail.read(); err != nil || change != nil {
		return broken(errors.Join(cause, err, errors.New("sqlwal: the failed commit left frames")))
	}
	return cause
}

// proveIdle makes sure that a commit without frames (an UPDATE to the same value writes none) was one without
// pages, and has ended the transaction: a rollback must find nothing to roll back.
func (c *conn) proveIdle() error {
	if written, err := c.written(); err != nil || written != c.before {
		return broken(errors.Join(err, errors.New("sqlwal: COMMIT wrote pages, and the -wal has no commit with them")))
	}
	if c.own(c.rollback) == nil {
		return broken(errors.New("sqlwal: COMMIT wrote nothing and left the transaction open"))
	}
	return nil
}

// Checkpoint moves the -wal's pages into the base file. Every commit in the -wal must be in the journal.
func (c *conn) Checkpoint(ctx context.Context) error {
	c.auth.trusted = true
	defer func() { c.auth.trusted = false }()
	how := "PRAGMA wal_checkpoint(RESTART)" // the file is written over: no blocks to allocate again
	if c.tail.off > keptWAL {
		how = "PRAGMA wal_checkpoint(TRUNCATE)"
	}
	rows, err := c.raw.QueryContext(ctx, how, nil)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer rows.Close()
	var row [3]driver.Value
	if err := rows.Next(row[:]); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if busy, _ := row[0].(int64); busy != 0 {
		return errors.New("sqlwal: checkpoint blocked")
	}
	c.tail.restart()
	return nil
}

// check has SQLite look at every page.
func (c *conn) check(ctx context.Context) error {
	rows, err := c.raw.QueryContext(ctx, "PRAGMA integrity_check(1)", nil)
	if err != nil {
		return err
	}
	row := make([]driver.Value, 1)
	if err = rows.Next(row); err == nil && row[0] != "ok" {
		err = fmt.Errorf("%v", row[0])
	}
	return errors.Join(err, rows.Close())
}

// keptWAL is how large a -wal file may stay for the next transactions to write over, in bytes.
const keptWAL = 8 << 20

// walBytes is how much of the -wal is live.
func (c *conn) walBytes() int64 { return c.tail.off }

// close ends the connection. The -wal must have been checkpointed: SQLite would do it now, whatever is in it.
func (c *conn) close() error {
	if c.tail.off != 0 {
		return c.discard()
	}
	err := c.closeRaw()
	return errors.Join(err, removeWAL(c.path))
}

// discard ends the connection and drops everything that is in the -wal only.
//
// SQLite checkpoints when its last connection closes, and the driver cannot switch that off. But it leaves
// alone a database whose file is no longer at its name, so it is moved aside meanwhile.
func (c *conn) discard() error {
	aside := c.path + asideSuffix
	if err := os.Rename(c.path, aside); err != nil {
		return err
	}
	err := c.closeRaw()
	err = errors.Join(err, removeWAL(c.path))
	return errors.Join(err, os.Rename(aside, c.path))
}

const asideSuffix = ".aside"

// putBack undoes the first half of a discard that a crash interrupted.
func putBack(path string) error {
	if _, err := os.Lstat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(path+asideSuffix, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *conn) closeRaw() error {
	err := c.statements.closeAll()
	for _, st := range []driver.StmtExecContext{c.begin, c.commit, c.rollback} {
		if st != nil {
			err = errors.Join(err, st.(driver.Stmt).Close())
		}
	}
	if c.tail.file != nil {
		err = errors.Join(err, c.tail.file.Close())
	}
	return errors.Join(err, c.raw.Close())
}

func removeWAL(path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// statements keeps the compiled form of the texts that were run last.
type statements struct {
	byText map[string]*list.Element
	recent list.List // of *statement, the latest in front
}

type statement struct {
	text   string
	stmt   driver.Stmt
	writes bool // or may write: it runs inside a transaction
	nests  bool // a SAVEPOINT or the end of one
}

const (
	maxStatements    = 64
	maxStatementText = 8 << 10
)

// statement compiles text, or finds it compiled. release is called when it has run.
func (c *conn) statement(ctx context.Context, text string) (st *statement, release func(), err error) {
	if at, ok := c.byText[text]; ok {
		c.recent.MoveToFront(at)
		st = at.Value.(*statement)
		if st.nests && !c.inTx { // it was compiled where it was allowed
			return nil, nil, loneSavepoint
		}
		return st, func() {}, nil
	}
	st = &statement{text: text}
	st.writes, err = c.auth.compile(func() (err error) {
		st.stmt, err = c.raw.PrepareContext(ctx, text)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	st.nests = c.auth.nests
	if isScript(text) { // the driver has compiled its first statement only
		st.writes = true
		return st, func() { _ = st.stmt.Close() }, nil
	}
	if len(text) > maxStatementText {
		return st, func() { _ = st.stmt.Close() }, nil
	}
	c.keep(st)
	return st, func() {}, nil
}

func (c *conn) keep(st *statement) {
	if c.byText == nil {
		c.byText = make(map[string]*list.Element)
	}
	c.byText[st.text] = c.recent.PushFront(st)
	for c.recent.Len() > maxStatements {
		oldest := c.recent.Remove(c.recent.Back()).(*statement)
		delete(c.byText, oldest.text)
		_ = oldest.stmt.Close()
	}
}

func (s *statements) closeAll() error {
	var errs error
	for at := s.recent.Front(); at != nil; at = at.Next() {
		errs = errors.Join(errs, at.Value.(*statement).stmt.Close())
	}
	s.byText = nil
	s.recent.Init()
	return errs
}

// isScript tells whether text may hold more than one statement. A semicolon in a string or a trigger makes
// it say yes too, which costs nothing but a transaction around it.
func isScript(text string) bool {
	at := strings.IndexByte(text, ';')
	return at >= 0 && strings.TrimSpace(text[at+1:]) != ""
}

// run executes one statement (or script) with what the authorizer knows now.
func (c *conn) exec(ctx context.Context, st *statement, args []driver.NamedValue) (driver.Result, error) {
	c.auth.refused = nil
	r, err := st.stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err != nil && c.auth.refused != nil {
		err = c.auth.refused
	}
	return r, err
}

func (c *conn) query(ctx context.Context, st *statement, args []driver.NamedValue) (driver.Rows, error) {
	c.auth.refused = nil
	r, err := st.stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil && c.auth.refused != nil {
		err = c.auth.refused
	}
	return r, err
}
