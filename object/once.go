package object

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// remembered is the result of a Once.
type remembered struct {
	Key    string          `json:"k"`
	Result json.RawMessage `json:"r"`
	At     int64           `json:"t"` // unix milliseconds
}

// Limits of Once.
const (
	maxOnceKey    = 256      // bytes
	maxOnceResult = 64 << 10 // bytes of JSON
	maxOnce       = 1024     // results kept for an object; the oldest is forgotten first
	onceFor       = 24 * time.Hour
)

// Once runs fn as one unit of o and remembers its result under key, in the same journal entry as everything
// fn did: a retry, even after a crash, gets the stored result and does nothing. Two calls at once with one
// key run fn once. If fn fails nothing is remembered and nothing has happened.
//
// Results are remembered for 24 hours, at most 1024 for an object (the oldest go first). The key has 1 to
// 256 bytes of UTF-8, R is stored as JSON of at most 64 KiB. Called with the context of a unit of the same object it
// joins that unit. The rules of [Object.Tx] hold for fn.
func Once[S, R any](ctx context.Context, o *Object[S], key string, fn func(ctx context.Context, tx Tx, st *S) (R, error)) (R, error) {
	var result R
	if key == "" || len(key) > maxOnceKey || !utf8.ValidString(key) { // another one in JSON, and so after a restart
		return result, fmt.Errorf("%w: a key of Once is UTF-8 of 1 to %d bytes", ErrInvalid, maxOnceKey)
	}
	_, err := o.run(ctx, func(ctx context.Context, tx Tx, st *S) (err error) {
		if known, ok := tx.unit.recall(key); ok {
			result, _, err = decodeResult[R](known, ok)
			return err
		}
		if result, err = fn(ctx, tx, st); err != nil {
			return err
		}
		b, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("%w: the result of Once cannot be stored as JSON: %w", ErrInvalid, err)
		}
		if len(b) > maxOnceResult {
			return &TooLargeError{What: "result of Once", Size: len(b), Limit: maxOnceResult}
		}
		return tx.unit.remember(&remembered{Key: key, Result: b, At: time.Now().UnixMilli()})
	})
	if err != nil {
		var none R
		return none, err
	}
	return result, nil
}

// Done returns the result that [Once] remembers under key for o, and whether there is one: whether something has
// been done already, without doing it. R is what the Once returned. Inside a unit of o it sees what the unit did.
func Done[R, S any](ctx context.Context, o *Object[S], key string) (result R, done bool, err error) {
	u, err := o.joined(ctx)
	if err != nil {
		return result, false, err
	}
	if u != nil {
		known, ok := u.recall(key)
		return decodeResult[R](known, ok)
	}
	l, err := o.enter(ctx)
	if err != nil {
		return result, false, err
	}
	known, ok := l.begin().recall(key)
	l.leave()
	if result, done, err = decodeResult[R](known, ok); err != nil {
		return result, false, err
	}
	return result, done, l.tell(ctx)
}

func decodeResult[R any](known json.RawMessage, ok bool) (result R, done bool, err error) {
	if !ok {
		return result, false, nil
	}
	if err := json.Unmarshal(known, &result); err != nil {
		return result, false, fmt.Errorf("%w: what Once remembers is of another type: %w", ErrInvalid, err)
	}
	return result, true, nil
}

func (u *unit) recall(key string) (json.RawMessage, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.live.memory.once[key]
	if r == nil || time.Since(time.UnixMilli(r.At)) > onceFor {
		return nil, false
	}
	return r.Result, true
}

func (u *unit) remember(r *remembered) error {
	return u.change(func() error {
		m := &u.live.memory
		for _, key := range m.stale(time.Now()) {
			old := m.once[key]
			delete(m.once, key)
			u.body.add(fieldOnceGone, []byte(key))
			u.undo = append(u.undo, func() { m.remember(old) })
		}
		before := m.once[r.Key]
		m.remember(r)
		u.undo = append(u.undo, func() {
			delete(m.once, r.Key)
			if before != nil {
				m.remember(before)
			}
		})
		return u.body.addJSON(fieldOnce, r)
	})
}

// stale lists what has to be forgotten to make room for one more result.
func (m *memory) stale(now time.Time) (keys []string) {
	if len(m.once) < maxOnce/2 { // not worth a look
		return nil
	}
	var oldest *remembered
	for key, r := range m.once {
		if now.Sub(time.UnixMilli(r.At)) > onceFor {
			keys = append(keys, key)
		} else if oldest == nil || r.At < oldest.At {
			oldest = r
		}
	}
	if len(m.once)-len(keys) >= maxOnce {
		keys = append(keys, oldest.Key)
	}
	return keys
}
