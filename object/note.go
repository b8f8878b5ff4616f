package object

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Note is something an object tells the world with one of its units: an event for subscribers, a message
// for a session. It exists if and only if the unit's entry does.
type Note struct {
	ID    string          `json:"id"` // the same on every delivery
	Kind  string          `json:"kind"`
	Obj   string          `json:"object"`
	Topic string          `json:"topic"`
	Data  json.RawMessage `json:"data"`
}

const notePrefix = "object/note/"

// maxNotes is how many notes one unit may tell; they are records written with its entry.
const maxNotes = 32

// Notify tells topic and data (JSON of at most 64 KiB) to Options.Deliver when the unit that ctx belongs to is
// durable: at least once, also across a crash. Outside a unit it is one of its own. At most 32 for a unit.
func (o *Object[S]) Notify(ctx context.Context, topic string, data any) error {
	n, err := o.note(topic, data)
	if err != nil || o.kind.host.opts.Deliver == nil {
		return err
	}
	return o.change(ctx, func(u *unit) error { return u.tell(n) })
}

func (o *Object[S]) note(topic string, data any) (Note, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return Note{}, fmt.Errorf("%w: the note cannot be stored as JSON: %w", ErrInvalid, err)
	}
	if len(b) > maxPayload {
		return Note{}, &TooLargeError{What: "note", Size: len(b), Limit: maxPayload}
	}
	// Time first, so that records list in the order in which they were told.
	return Note{ID: fmt.Sprintf("%016x-%s", time.Now().UnixNano(), rand.Text()), Kind: o.id.Kind, Obj: o.id.ID, Topic: topic, Data: b}, nil
}

func (u *unit) tell(n Note) error {
	return u.change(func() error {
		if len(u.records) >= maxNotes {
			return &TooLargeError{What: "number of notes of a unit", Size: len(u.records) + 1, Limit: maxNotes}
		}
		value, err := json.Marshal(n)
		if err != nil {
			return err
		}
		u.records = append(u.records, store.RecordWrite{Key: notePrefix + n.ID, Value: value})
		l := u.live
		u.onGood = append(u.onGood, func() {
			l.host.background(func() {
				if l.Flush(l.host.ctx) == nil {
					l.host.deliver(n)
				}
			})
		})
		return nil
	})
}

// deliver hands a note over and forgets it. What fails is tried again by the next start.
func (h *Host) deliver(n Note) {
	if err := h.tryDeliver(n); err != nil {
		if h.ctx.Err() == nil {
			h.log.Error("object: deliver a note; it is kept for the next start", "kind", n.Kind, "topic", n.Topic, "err", err)
		}
		return
	}
	r, err := h.engine.Get(h.ctx, notePrefix+n.ID)
	if err == nil {
		err = h.engine.Delete(h.ctx, r.Key, r.Revision)
	}
	if err != nil && h.ctx.Err() == nil {
		h.log.Warn("object: forget a delivered note; it will be delivered again", "kind", n.Kind, "err", err)
	}
}

func (h *Host) tryDeliver(n Note) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	const tries = 3
	for i := range tries {
		if err = h.opts.Deliver(h.ctx, n); err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond << i):
		case <-h.ctx.Done():
			return h.ctx.Err()
		}
	}
	return err
}

// redeliver hands over what an earlier process could not.
func (h *Host) redeliver(ctx context.Context) error {
	if h.opts.Deliver == nil {
		return nil
	}
	var left []Note
	for r, err := range h.engine.List(ctx, notePrefix) {
		if err != nil {
			return err
		}
		var n Note
		if err := json.Unmarshal(r.Value, &n); err != nil {
			return fmt.Errorf("%w: note %s", ErrDamaged, r.Key)
		}
		left = append(left, n)
	}
	h.background(func() {
		for _, n := range left {
			h.deliver(n)
		}
	})
	return nil
}
