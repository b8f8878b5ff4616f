package object_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// forge writes an export whose checksum is right, whatever it holds. Fields are pairs of a tag and its content.
func forge(image []byte, parts ...any) *bytes.Buffer {
	body := []byte{1}
	for i := 0; i < len(parts); i += 2 {
		content := fmt.Append(nil, parts[i+1])
		body = append(binary.AppendUvarint(append(body, byte(parts[i].(int))), uint64(len(content))), content...)
	}
	b := bytes.NewBufferString("causeway-object-export 1\n")
	for _, part := range [][]byte{body, image} {
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		b.Write(part)
	}
	sum := sha256.Sum256(b.Bytes())
	b.Write(binary.BigEndian.AppendUint64(nil, sha256.Size))
	b.Write(sum[:])
	return b
}

const tagTask = 4

// An export may come from strangers. A count below nothing made the pause after a failure panic, in a goroutine
// of the host: the process ended, and did again after each start, for the alarm was still due.
func TestAForgedExportCannotEndTheProcess(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	var runs atomic.Int32
	k := register(t, h, object.Spec[counter]{
		OnAlarm: func(context.Context, *object.Object[counter], object.Alarm) error {
			runs.Add(1)
			return errors.New("what is that?")
		},
	})
	must(t, h.Start(t.Context()))
	now := time.Now().UTC().Format(time.RFC3339)
	for name, task := range map[string]string{
		"an attempt below zero":      `{"id":"a","n":"x","at":"` + now + `","max":9,"try":-3}`,
		"more attempts than allowed": `{"id":"a","n":"x","at":"` + now + `","max":1,"try":9223372036854775807}`,
		"retries below zero":         `{"id":"a","n":"x","at":"` + now + `","max":-1}`,
		"an alarm that is dead":      `{"id":"a","n":"x","at":"` + now + `","dead":true}`,
		"an interval of nothing":     `{"id":"a","n":"x","at":"` + now + `","ev":1}`,
		"an interval below nothing":  `{"id":"a","n":"x","at":"` + now + `","ev":-5000000000}`,
		"a cron of its own":          `{"id":"a","n":"x","at":"` + now + `","cr":"* * * * * *"}`,
		"a year below one":           `{"id":"a","n":"x","at":"0000-01-01T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := k.Get(name).Import(t.Context(), forge(nil, tagTask, task)); err == nil {
				t.Error("imported")
			}
			if _, err := h.Inspect(t.Context(), store.ObjectID{Kind: "test", ID: name}); !errors.Is(err, object.ErrNotFound) {
				t.Errorf("something is left: %v", err)
			}
		})
	}
	if runs.Load() > 0 {
		t.Errorf("%d runs of what was refused", runs.Load())
	}
}

// A round that is overdue since the year 1 is made up for once, and the next one is in the future.
func TestAnIntervalOverdueForAgesRingsOnce(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	rang := make(chan object.Alarm, 100)
	k := register(t, h, object.Spec[counter]{OnAlarm: func(_ context.Context, _ *object.Object[counter], a object.Alarm) error {
		rang <- a
		return nil
	}})
	must(t, h.Start(t.Context()))
	o := k.Get("x")
	must(t, o.Import(t.Context(), forge(nil, tagTask, `{"id":"a","n":"x","at":"0001-01-02T00:00:00Z","ev":3600000000000}`)))
	<-rang
	eventually(t, "the next round", func() bool {
		all, err := o.Alarms(t.Context())
		must(t, err)
		return len(all) == 1 && all[0].At.After(time.Now()) && all[0].At.Before(time.Now().Add(time.Hour+time.Minute))
	})
	if len(rang) != 0 {
		t.Errorf("it rang %d times more", len(rang))
	}
}

// What JSON cannot say exactly would be something else after a restart: a key that was done would be done
// again, an alarm that was cancelled would come back.
func TestKeysAndNamesThatJSONCannotSayAreRefused(t *testing.T) {
	k := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[counter]{})
	o := k.Get("x")
	sum := sha256.Sum256([]byte("a key"))
	binary := "\xff" + string(sum[:])
	for name, err := range map[string]error{
		"a key of Once":     second(object.Once(t.Context(), o, binary, func(context.Context, object.Tx, *counter) (int, error) { return 1, nil })),
		"an alarm's id":     second(o.Schedule(t.Context(), object.In(time.Hour), "n", nil, &object.AlarmOptions{ID: binary})),
		"an alarm's name":   second(o.Schedule(t.Context(), object.In(time.Hour), binary, nil, nil)),
		"a job's id":        second(o.Enqueue(t.Context(), "n", nil, &object.JobOptions{ID: binary})),
		"an object's id":    second(k.Get(binary).Update(t.Context(), add(1))),
		"a year after 9999": second(o.Schedule(t.Context(), object.At(time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)), "n", nil, nil)),
		"a year before 1":   second(o.Schedule(t.Context(), object.At(time.Unix(-1<<50, 0)), "n", nil, nil)),
		"a key of 1 MiB":    second(object.Once(t.Context(), o, strings.Repeat("k", 1<<20), func(context.Context, object.Tx, *counter) (int, error) { return 1, nil })),
	} {
		if !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An author may overlook the error of a Schedule and go on with the unit: memory must not know more than the
// journal then, and the object must go on being able to write itself down.
func TestAnAlarmThatWasRefusedIsNowhere(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	h := open(t, s, object.Options{Dir: filepath.Join(dir, "objects")})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	for range 100 { // also over a snapshot
		must(t, o.Tx(t.Context(), func(ctx context.Context, _ object.Tx, st *counter) error {
			st.N++
			_, _ = o.Schedule(ctx, object.At(time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC)), "never", nil, nil)
			return nil
		}))
	}
	all, err := o.Alarms(t.Context())
	must(t, err)
	if len(all) != 0 {
		t.Errorf("alarms: %v", all)
	}
	shut(t, h)
	must(t, s.Close())
}

// levelled says something else in JSON than what it is.
type levelled string

func (levelled) MarshalText() ([]byte, error) { return []byte("hidden"), nil }

// A state must not be one thing until the object sleeps and another afterwards.
func TestAStateIsWhatTheJournalSaysFromTheFirstRead(t *testing.T) {
	type text struct{ S string }
	k := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[text]{Name: "text"})
	o := k.Get("x")
	for _, s := range []string{"\xff", "\xfe", "a \\ufffd b", "\ufffd"} {
		must(t, o.SetState(t.Context(), text{s}))
		if got, want := state(t, o).S, strings.ToValidUTF8(s, "\ufffd"); got != want {
			t.Errorf("%q is read as %q, not %q", s, got, want)
		}
	}
	l := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[struct{ L levelled }]{Name: "levelled"}).Get("x")
	must(t, l.SetState(t.Context(), struct{ L levelled }{"secret"}))
	if got := state(t, l).L; got != "hidden" {
		t.Errorf("read as %q, stored as hidden", got)
	}
}

// What an error tells, and what a transaction that was rolled back has read, is told like anything else:
// when it is durable.
func TestErrorsAndRolledBackReadsAreToldWhenDurable(t *testing.T) {
	for name, look := range map[string]func(ctx context.Context, o *object.Object[counter]) error{
		"a unit that fails with what it saw": func(ctx context.Context, o *object.Object[counter]) error {
			_, err := o.Update(ctx, func(c *counter) error { return fmt.Errorf("there are %d already", c.N) })
			if err == nil {
				return errors.New("no error")
			}
			return nil
		},
		"an alarm that is not there": func(ctx context.Context, o *object.Object[counter]) error {
			if err := o.Cancel(ctx, "a"); err == nil {
				return errors.New("no error")
			}
			return nil
		},
		"a transaction that only reads": func(ctx context.Context, o *object.Object[counter]) error {
			db, err := o.SQL(ctx)
			if err != nil {
				return err
			}
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			n := 0
			err = tx.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n)
			if n != 1 {
				err = errors.Join(err, fmt.Errorf("%d rows", n))
			}
			go func() { _ = tx.Rollback() }()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{Engine: store.NewMemory()}
			o := register(t, open(t, e, object.Options{}), object.Spec[counter]{}).Get("x")
			exec(t, o, "CREATE TABLE t(v)")
			hold := make(chan struct{})
			e.set(func() { e.hold = hold })
			writer, w := effect.NewCall(t.Context())
			w.Gate()
			must(t, o.Tx(writer, func(ctx context.Context, tx object.Tx, st *counter) error {
				st.N++
				_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES(1)")
				return err
			}))
			reader, r := effect.NewCall(t.Context())
			r.Gate()
			must(t, look(reader, o))
			short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if err := r.Flush(short); err == nil {
				t.Error("the gate opened before what was seen is durable")
			}
			close(hold)
			must(t, r.Flush(t.Context()))
		})
	}
}

// Without a gate the caller itself waits.
func TestAReadOnlyTransactionEndsWhenWhatItSawIsDurable(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	o := register(t, open(t, e, object.Options{}), object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	hold := make(chan struct{})
	e.set(func() { e.hold = hold })
	writer, w := effect.NewCall(t.Context())
	w.Gate()
	must(t, second(o.Update(writer, add(1))))
	db, err := o.SQL(t.Context())
	must(t, err)
	tx, err := db.Begin()
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- tx.Rollback() }()
	select {
	case err := <-ended:
		close(hold)
		t.Fatalf("it ended before what it saw is durable: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	close(hold)
	must(t, <-ended)
}

// Clients come without end and only look: nothing on the disk may grow by that.
func TestLookingIntoDatabasesThatDoNotExistLeavesNoFiles(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *object.Host, o *object.Object[counter]){
		"when they sleep":       func(t *testing.T, h *object.Host, _ *object.Object[counter]) { shut(t, h) },
		"when they are deleted": func(t *testing.T, _ *object.Host, o *object.Object[counter]) { must(t, o.Delete(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, store.NewMemory(), object.Options{Dir: dir})
			o := register(t, h, object.Spec[counter]{}).Get("x")
			if n := query[int](t, o, "SELECT count(*) FROM sqlite_schema"); n != 0 {
				t.Fatal(n)
			}
			end(t, h, o)
			if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// The same key with another result type is an error that says so, and does nothing.
func TestAKeyOfOnceKeepsItsType(t *testing.T) {
	o := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[counter]{}).Get("x")
	do := func(context.Context, object.Tx, *counter) (string, error) { return "done", nil }
	must(t, second(object.Once(t.Context(), o, "k", do)))
	_, err := object.Once(t.Context(), o, "k", func(_ context.Context, _ object.Tx, c *counter) (int, error) {
		c.N++
		return 1, nil
	})
	if !errors.Is(err, object.ErrInvalid) || state(t, o).N != 0 {
		t.Errorf("%v, state %v", err, state(t, o))
	}
}

// touchy cannot read what an earlier version of it has written.
type touchy struct{ N int }

func (s *touchy) UnmarshalJSON(b []byte) error {
	if string(b) == `{"N":2}` {
		panic("an author's mistake")
	}
	type plain touchy
	return json.Unmarshal(b, (*plain)(s))
}

// An alarm wakes its object where nobody else would catch a panic: it must neither end the process nor be taken
// for an object that was read.
func TestAStateThatPanicsWhileItIsReadIsAnError(t *testing.T) {
	engine, dir := store.NewMemory(), t.TempDir()
	h := open(t, engine, object.Options{Dir: dir})
	type old struct{ N int }
	k := register(t, h, object.Spec[old]{OnAlarm: func(context.Context, *object.Object[old], object.Alarm) error { return nil }})
	must(t, k.Get("x").SetState(t.Context(), old{2}))
	must(t, second(k.Get("x").Schedule(t.Context(), object.In(0), "ring", nil, nil)))
	shut(t, h)
	h = open(t, engine, object.Options{Dir: dir})
	again := register(t, h, object.Spec[touchy]{OnAlarm: func(context.Context, *object.Object[touchy], object.Alarm) error { return nil }})
	must(t, h.Start(t.Context()))
	for range 3 {
		if _, err := again.Get("x").State(t.Context()); err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("read: %v", err)
		}
	}
	if n, _ := h.Live(); n != 0 {
		t.Errorf("%d objects are alive", n)
	}
}

// An author's goroutines go on with a Tx whose unit has ended. Each statement belongs to the unit wholly or is
// refused; none begins a transaction that belongs to nobody, and ends up in the next unit.
func TestStatementsOfGoroutinesThatOutliveTheirUnit(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(round INTEGER, v INTEGER); CREATE TABLE mine(v INTEGER)")
	for round := range 150 {
		var kept atomic.Int32
		var wg sync.WaitGroup
		started := make(chan struct{}, 2)
		fails := round%3 == 0
		err := o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *counter) error {
			st.N++
			for range 2 {
				wg.Go(func() {
					for {
						if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES(?, 1)", round); err != nil {
							if !errors.Is(err, object.ErrUnitOver) {
								t.Errorf("refused with %v", err)
							}
							return
						}
						kept.Add(1)
						select {
						case started <- struct{}{}:
						default:
						}
					}
				})
			}
			<-started
			if fails {
				return errDisk
			}
			return nil
		})
		if fails != (err != nil) {
			t.Fatal(err)
		}
		exec(t, o, "INSERT INTO mine VALUES(1)")
		wg.Wait()
		want := int(kept.Load())
		if fails {
			want = 0
		}
		if got := query[int](t, o, "SELECT count(*) FROM t WHERE round = ?", round); got != want {
			t.Fatalf("round %d: %d rows, %d were accepted", round, got, want)
		}
	}
	must(t, h.Check(t.Context(), store.ObjectID{Kind: "test", ID: "x"}))
	if got := query[int](t, o, "SELECT count(*) FROM mine"); got != 150 {
		t.Errorf("%d rows of 150 after a rebuild", got)
	}
}
