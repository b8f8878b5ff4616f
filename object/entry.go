package object

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-mcp/causeway/internal/sqlwal"
)

// The body of a journal entry is a format byte and then fields: a tag byte, a varint length, the content.
// A reader refuses a tag it does not know, for it would otherwise drop what a newer version wrote.
const entryFormat = 1

const (
	fieldState     = 1 + iota // the state as JSON
	fieldChange               // a sqlwal change
	fieldLarge                // one byte: the blob of that index holds an encoded sqlwal change
	fieldTask                 // an alarm or job as JSON, new or changed
	fieldTaskGone             // the id of an alarm or job that is no more
	fieldOnce                 // a remembered result as JSON
	fieldOnceGone             // the key of a forgotten result
	fieldBase                 // snapshots only: the database file beside the journal holds everything up to here
	fieldImage                // snapshots only, one byte: the blob of that index is the database, s2-compressed
	fieldWholeBody            // one byte: the blob of that index holds the fields; there are no others
	fieldMigrated             // a varint: how many migrations the object has had
)

// ErrDamaged: an entry of the journal, or an export, cannot be read.
var ErrDamaged = errors.New("object: damaged or unknown data")

type fields []byte

func newFields() fields { return fields{entryFormat} }

func (f *fields) add(tag byte, content []byte) {
	*f = append(*f, tag)
	*f = binary.AppendUvarint(*f, uint64(len(content)))
	*f = append(*f, content...)
}

func (f *fields) addJSON(tag byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f.add(tag, b)
	return nil
}

// each calls fn for every field of body in order.
func each(body []byte, fn func(tag byte, content []byte) error) error {
	if len(body) == 0 || body[0] != entryFormat {
		return fmt.Errorf("%w: entry format %x, this version reads %d", ErrDamaged, body[:min(1, len(body))], entryFormat)
	}
	for body = body[1:]; len(body) > 0; {
		tag := body[0]
		size, n := binary.Uvarint(body[1:])
		if n <= 0 || size > uint64(len(body)-1-n) {
			return fmt.Errorf("%w: field %d is cut off", ErrDamaged, tag)
		}
		body = body[1+n:]
		if err := fn(tag, body[:size]); err != nil {
			return err
		}
		body = body[size:]
	}
	return nil
}

// memory is what of an object is in memory while it is live.
type memory struct {
	state []byte // JSON; nil before the first write
	tasks map[string]*task
	once  map[string]*remembered

	migrated int // how many of its kind's migrations it has had
}

// apply replays the fields of one entry. SQL is not part of memory: database tells whether there was any.
func (m *memory) apply(body []byte) (database bool, err error) {
	err = each(body, func(tag byte, content []byte) error {
		switch tag {
		case fieldState:
			m.state = append([]byte(nil), content...)
		case fieldChange, fieldLarge, fieldBase, fieldImage:
			database = true
		case fieldTask:
			t := new(task)
			if err := json.Unmarshal(content, t); err != nil || t.ID == "" {
				return fmt.Errorf("%w: task: %w", ErrDamaged, err)
			}
			m.put(t)
		case fieldTaskGone:
			delete(m.tasks, string(content))
		case fieldOnce:
			r := new(remembered)
			if err := json.Unmarshal(content, r); err != nil {
				return fmt.Errorf("%w: once: %w", ErrDamaged, err)
			}
			m.remember(r)
		case fieldOnceGone:
			delete(m.once, string(content))
		case fieldMigrated:
			m.migrated, err = readMigrated(content)
			return err
		default:
			return fmt.Errorf("%w: unknown field %d; was it written by a newer version?", ErrDamaged, tag)
		}
		return nil
	})
	return database, err
}

func (m *memory) put(t *task) {
	if m.tasks == nil {
		m.tasks = make(map[string]*task)
	}
	m.tasks[t.ID] = t
}

func (m *memory) remember(r *remembered) {
	if m.once == nil {
		m.once = make(map[string]*remembered)
	}
	m.once[r.Key] = r
}

// whole encodes everything in memory, for a snapshot.
func (m *memory) whole() (fields, error) {
	f := newFields()
	if m.migrated > 0 {
		f.add(fieldMigrated, binary.AppendUvarint(nil, uint64(m.migrated)))
	}
	if m.state != nil {
		f.add(fieldState, m.state)
	}
	for _, t := range m.tasks {
		if err := f.addJSON(fieldTask, t); err != nil {
			return nil, err
		}
	}
	for _, r := range m.once {
		if err := f.addJSON(fieldOnce, r); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// next is when the object must be awake at the latest; zero for never.
func (m *memory) next() time.Time {
	var at time.Time
	for _, t := range m.tasks {
		if !t.Dead && (at.IsZero() || t.At.Before(at)) {
			at = t.At
		}
	}
	return at
}

// changeIn decodes the SQL change of an entry, if it has one inline.
func changeIn(content []byte) (*sqlwal.Change, error) {
	c, err := sqlwal.ParseChange(content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return c, nil
}
