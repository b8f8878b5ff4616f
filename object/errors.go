package object

import (
	"errors"
	"fmt"

	"github.com/causeway-mcp/causeway/internal/sqlwal"
)

var (
	// ErrInUnit: inside a unit of atomicity something was tried that would wait for the world outside the
	// object, or that cannot be part of the unit. Do it before the unit or after it.
	ErrInUnit = errors.New("object: not possible inside a unit (Update, Tx, Once)")
	// ErrUnitOver: a context or Tx of a unit was used after the unit had returned.
	ErrUnitOver = errors.New("object: the unit is over")
	// ErrBusy: another unit, or an open SQL transaction, held the object for longer than Options.BusyTimeout.
	ErrBusy = errors.New("object: busy: another unit or an open SQL transaction holds it")
	// ErrGone: a database handle has outlived its call: the object has slept since, or read itself anew after
	// a failed write. Ask for the handle again.
	ErrGone = errors.New("object: the database handle has ended, ask SQL for it again")
	// ErrClosed: the host has been closed.
	ErrClosed = errors.New("object: the host is closed")
	// ErrExists: the object to import into exists already.
	ErrExists = errors.New("object: it exists already")
	// ErrNotFound: there is no such alarm or job, or no object to export.
	ErrNotFound = errors.New("object: not found")
	// ErrInvalid: a kind, id, key or schedule that cannot be used.
	ErrInvalid = errors.New("object: invalid")
)

// ErrRolledBack: SQLite rolled the unit's or transaction's SQL back by itself. Nothing of it is left.
var ErrRolledBack = sqlwal.ErrRolledBack

// TooLargeError tells that something is over a limit. The unit that caused it left nothing.
type TooLargeError struct {
	What  string // such as "state"
	Size  int    // in bytes, or a count
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("object: %s of %d is over the limit of %d", e.What, e.Size, e.Limit)
}
