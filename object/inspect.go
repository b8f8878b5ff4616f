package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/causeway-mcp/causeway/store"
)

// Inspection is what an object holds, for people and tools that do not know its Go type.
type Inspection struct {
	State    json.RawMessage // nil before the first write
	Alarms   []Alarm         // by time
	Jobs     []Job           // by time, dead letters included
	Results  int             // remembered by Once
	Database bool            // it has used SQL
	Entries  int             // of its journal, from the newest snapshot on
	Migrated int             // how many migrations it has had
}

// Inspect tells what an object holds; its kind need not be registered. ErrNotFound if it does not exist.
func (h *Host) Inspect(ctx context.Context, id store.ObjectID) (Inspection, error) {
	l, err := h.enter(ctx, id)
	if err != nil {
		return Inspection{}, err
	}
	defer l.leave()
	in := Inspection{State: append(json.RawMessage(nil), l.memory.state...), Results: len(l.memory.once), Database: l.hasSQL, Entries: l.entries, Migrated: l.memory.migrated}
	for _, t := range l.memory.sorted() {
		if t.Job {
			in.Jobs = append(in.Jobs, t.job())
		} else {
			in.Alarms = append(in.Alarms, t.alarm())
		}
	}
	return in, l.Flush(ctx)
}

// Check reads the whole object, rebuilding its database as after a crash, and has SQLite check every page.
// It returns nil when all is well. Its kind need not be registered.
func (h *Host) Check(ctx context.Context, id store.ObjectID) error {
	l, err := h.enter(ctx, id)
	if err != nil {
		return err
	}
	defer l.leave()
	if !l.hasSQL {
		return l.Flush(ctx)
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	if err := l.db.Discard(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	if err := l.db.Check(ctx); err != nil {
		return fmt.Errorf("%w: the database of %s: %w", ErrDamaged, id, err)
	}
	return nil
}

// Export is [Object.Export] for an object whose Go type is not known.
func (h *Host) Export(ctx context.Context, id store.ObjectID, w io.Writer) error {
	l, err := h.enter(ctx, id)
	if err != nil {
		return err
	}
	return l.export(ctx, w)
}

// enter wakes an object that exists and waits for its turn.
func (h *Host) enter(ctx context.Context, id store.ObjectID) (*live, error) {
	if unitOf(ctx) != nil {
		return nil, ErrInUnit
	}
	if _, err := h.engine.Stat(ctx, id); errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: object %s", ErrNotFound, id)
	} else if err != nil {
		return nil, err
	}
	return enter(ctx, func() (*live, error) { return h.live(ctx, id) })
}
