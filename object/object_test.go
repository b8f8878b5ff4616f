package object_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

func TestStateBeginsAsInitialAndOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		s := openLocal(t, dir+"/log")
		h, err := object.NewHost(s, &object.Options{Dir: dir + "/objects", Logger: quiet})
		must(t, err)
		k := register(t, h, object.Spec[counter]{Initial: counter{N: 1}})
		o := k.Get("alice")
		if got := state(t, o).N; got != 1+10*round {
			t.Errorf("round %d: state %d", round, got)
		}
		for range 10 {
			if _, err := o.Update(t.Context(), add(1)); err != nil {
				t.Fatal(err)
			}
		}
		if round == 0 {
			exec(t, o, "CREATE TABLE t(v)")
		}
		exec(t, o, "INSERT INTO t VALUES(?)", round)
		if got := query[int](t, o, "SELECT count(*) FROM t"); got != round+1 {
			t.Errorf("round %d: %d rows", round, got)
		}
		shut(t, h)
		must(t, s.Close())
	}
}

func TestStateHandsOutACopy(t *testing.T) {
	k := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[bag]{Initial: bag{Things: map[string]int{"a": 1}}})
	o, p := k.Get("x"), k.Get("y")
	st := state(t, o)
	st.Things["a"] = 99
	got, err := o.Update(t.Context(), func(b *bag) error { b.List = append(b.List, "one"); return nil })
	must(t, err)
	got.List[0], got.Things["a"] = "changed", 98
	if st := state(t, o); st.Things["a"] != 1 || st.List[0] != "one" {
		t.Errorf("a copy reached the state: %+v", st)
	}
	if st := state(t, p); st.Things["a"] != 1 {
		t.Errorf("a copy reached the initial state: %+v", st)
	}
}

func TestAFailingUpdateLeavesNothing(t *testing.T) {
	k := register(t, open(t, store.NewMemory(), object.Options{MaxState: 100}), object.Spec[bag]{})
	o := k.Get("x")
	must(t, o.SetState(t.Context(), bag{Things: map[string]int{"a": 1}}))
	boom := errors.New("boom")
	if _, err := o.Update(t.Context(), func(b *bag) error { b.Things["a"] = 2; return boom }); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	var large *object.TooLargeError
	if _, err := o.Update(t.Context(), func(b *bag) error { b.List = []string{strings.Repeat("x", 100)}; return nil }); !errors.As(err, &large) {
		t.Errorf("error %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = o.Update(t.Context(), func(b *bag) error { b.Things["a"] = 3; panic("boom") })
	}()
	if st := state(t, o); st.Things["a"] != 1 || st.List != nil {
		t.Errorf("something was left: %+v", st)
	}
	if _, err := o.Update(t.Context(), func(b *bag) error { b.Things["a"]++; return nil }); err != nil {
		t.Errorf("the object is stuck: %v", err)
	}
}

func TestATransactionIsOneEntryOrNothing(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	k := register(t, open(t, e, object.Options{Deliver: func(context.Context, object.Note) error { return nil }}), object.Spec[counter]{})
	o := k.Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	all := func(ctx context.Context, tx object.Tx, st *counter) error {
		st.N++
		if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES(?)", st.N); err != nil {
			return err
		}
		db, err := o.SQL(ctx) // the ordinary handle joins by the context
		if err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, "INSERT INTO t VALUES(?)", -st.N); err != nil {
			return err
		}
		if _, err := o.Schedule(ctx, object.In(time.Hour), "later", nil, &object.AlarmOptions{ID: fmt.Sprint("a", st.N)}); err != nil {
			return err
		}
		if _, err := o.Enqueue(ctx, "job", st.N, &object.JobOptions{ID: fmt.Sprint("j", st.N)}); err != nil {
			return err
		}
		if err := o.Notify(ctx, "topic", st.N); err != nil {
			return err
		}
		_, err = object.Once(ctx, o, fmt.Sprint("k", st.N), func(ctx context.Context, tx object.Tx, st *counter) (int, error) { return st.N, nil })
		return err
	}
	count := func() string {
		alarms, err := o.Alarms(t.Context())
		must(t, err)
		jobs, err := o.Jobs(t.Context())
		must(t, err)
		return fmt.Sprint(state(t, o).N, query[int](t, o, "SELECT count(*) FROM t"), len(alarms), len(jobs))
	}
	before := len(e.appends)
	must(t, o.Tx(t.Context(), all))
	if n := len(e.appends) - before; n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
	if got := count(); got != "1 2 1 1" {
		t.Errorf("after the unit: %s", got)
	}
	before = len(e.appends)
	boom := errors.New("boom")
	failing := map[string]func(context.Context) error{
		"it fails":  func(context.Context) error { return boom },
		"it panics": func(context.Context) error { panic(boom) },
		"SQLite rolls it back": func(ctx context.Context) error {
			db, _ := o.SQL(ctx)
			_, err := db.ExecContext(ctx, "CREATE TABLE u(v UNIQUE); INSERT INTO u VALUES(1); INSERT OR ROLLBACK INTO u VALUES(1)")
			if err == nil {
				t.Error("the conflict passed")
			}
			return nil // the author overlooks it
		},
	}
	for name, fail := range failing {
		t.Run("nothing when "+name, func(t *testing.T) {
			defer func() { _ = recover() }()
			err := o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *counter) error {
				if err := all(ctx, tx, st); err != nil {
					return err
				}
				return fail(ctx)
			})
			if err == nil {
				t.Error("it passed")
			}
		})
		if got := count(); got != "1 2 1 1" || len(e.appends) != before {
			t.Errorf("%s: %s, %d entries", name, got, len(e.appends)-before)
		}
	}
	t.Run("nothing when the caller has gone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *counter) error { defer cancel(); return all(ctx, tx, st) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	if got := count(); got != "1 2 1 1" {
		t.Errorf("after a cancel: %s", got)
	}
	if _, err := object.Once(t.Context(), o, "k2", func(ctx context.Context, tx object.Tx, st *counter) (int, error) { return 7, nil }); err != nil {
		t.Errorf("a Once of an aborted unit was remembered: %v", err)
	}
}

func TestInsideAUnitNothingElseMayBeWaitedFor(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	k := register(t, h, object.Spec[counter]{})
	o, other := k.Get("x"), k.Get("y")
	var leaked context.Context
	var tx object.Tx
	must(t, o.Tx(t.Context(), func(ctx context.Context, inner object.Tx, st *counter) error {
		leaked, tx = ctx, inner
		if !effect.InUnit(ctx) {
			t.Error("the context does not say that it is in a unit")
		}
		for name, err := range map[string]error{
			"update": second(other.Update(ctx, add(1))),
			"state":  second(other.State(ctx)),
			"sql":    second(other.SQL(ctx)),
			"tx":     other.Tx(ctx, nil),
			"delete": o.Delete(ctx),
			"vacuum": o.Vacuum(ctx),
			"flush":  o.Flush(ctx),
			"alarm":  second(other.Schedule(ctx, object.In(time.Hour), "a", nil, nil)),
		} {
			if !errors.Is(err, object.ErrInUnit) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := o.Update(ctx, add(5)); err != nil { // the same object joins
			t.Error(err)
		}
		if st.N != 5 {
			t.Errorf("a joined update did not reach the unit: %d", st.N)
		}
		if now, err := o.State(ctx); err != nil || now.N != 5 {
			t.Errorf("the unit does not see itself: %v %v", now, err)
		}
		return nil
	}))
	if got := state(t, o).N; got != 5 {
		t.Errorf("state %d", got)
	}
	if _, err := o.Update(leaked, add(1)); !errors.Is(err, object.ErrUnitOver) {
		t.Errorf("the unit's context works after its end: %v", err)
	}
	if _, err := tx.ExecContext(t.Context(), "CREATE TABLE t(v)"); !errors.Is(err, object.ErrUnitOver) {
		t.Errorf("the Tx works after its end: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOnceDoesItOnce(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 { // the second in a new process, as it were
		s := openLocal(t, dir+"/log")
		h, err := object.NewHost(s, &object.Options{Dir: dir + "/o", Logger: quiet})
		must(t, err)
		o := register(t, h, object.Spec[counter]{}).Get("cart")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				got, err := object.Once(t.Context(), o, "order-1", func(ctx context.Context, tx object.Tx, st *counter) (string, error) {
					st.N++
					return fmt.Sprint("order ", st.N), nil
				})
				if err != nil || got != "order 1" {
					t.Errorf("round %d: %q, %v", round, got, err)
				}
			})
		}
		wg.Wait()
		if n := state(t, o).N; n != 1 {
			t.Errorf("%d orders", n)
		}
		if _, err := object.Once(t.Context(), o, "fails", func(context.Context, object.Tx, *counter) (int, error) { return 0, errDisk }); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		shut(t, h)
		must(t, s.Close())
	}
}

func TestDeleteErasesEverything(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir+"/log")
	h := open(t, s, object.Options{Dir: dir + "/o"})
	t.Cleanup(func() { must(t, s.Close()) })
	k := register(t, h, object.Spec[counter]{Initial: counter{1}, OnAlarm: func(context.Context, *object.Object[counter], object.Alarm) error { return nil }})
	must(t, h.Start(t.Context()))
	o := k.Get("x")
	must(t, o.Delete(t.Context())) // what is not there
	for range 2 {
		if _, err := o.Update(t.Context(), add(5)); err != nil {
			t.Fatal(err)
		}
		exec(t, o, "CREATE TABLE t(v)")
		must(t, second(o.Schedule(t.Context(), object.In(time.Hour), "a", nil, nil)))
		must(t, o.Delete(t.Context()))
		if got := state(t, o).N; got != 1 {
			t.Errorf("state %d", got)
		}
		if alarms, _ := o.Alarms(t.Context()); len(alarms) != 0 {
			t.Errorf("alarms %v", alarms)
		}
		if n := query[int](t, o, "SELECT count(*) FROM sqlite_schema"); n != 0 {
			t.Errorf("%d tables", n)
		}
		for r, err := range s.List(t.Context(), "object/") {
			t.Errorf("record left: %s %v", r.Key, err)
		}
		if _, err := s.Stat(t.Context(), store.ObjectID{Kind: "test", ID: "x"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("journal left: %v", err)
		}
		must(t, second(o.Update(t.Context(), add(1)))) // sleeping objects are erased too
		exec(t, o, "CREATE TABLE t(v)")
		must(t, o.Delete(t.Context()))
		if left := files(t, dir+"/o"); len(left) != 0 {
			t.Errorf("%d database files left", len(left))
		}
	}
}

func TestADatabaseThatIsClosedForRoomWaitsForItsJournal(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	dir := t.TempDir()
	h := open(t, e, object.Options{Dir: dir, MaxOpen: 1, IdleAfter: time.Hour})
	k := register(t, h, object.Spec[counter]{})
	a := k.Get("a")
	exec(t, a, "CREATE TABLE t(v)")
	base := files(t, dir)
	hold := make(chan struct{})
	e.set(func() {
		e.hold = hold
	})
	done := make(chan error)
	go func() {
		db, err := a.SQL(t.Context())
		if err == nil {
			_, err = db.Exec("INSERT INTO t VALUES('unacknowledged')")
		}
		done <- err
	}()
	eventually(t, "appended", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.appends) >= 2 })
	go func() { _, _ = k.Get("b").Update(t.Context(), add(1)) }()
	db, err := k.Get("c").SQL(t.Context())
	must(t, err)
	go func() { _, _ = db.Exec("CREATE TABLE t(v)") }() // one database too many
	time.Sleep(100 * time.Millisecond)
	for path, was := range base {
		if string(files(t, dir)[path]) != string(was) {
			t.Error("the file holds what the journal has not acknowledged")
		}
	}
	close(hold)
	must(t, <-done)
	eventually(t, "closed after that", func() bool { _, n := h.Live(); return n <= 1 })
}

func TestAnIdleObjectLeavesMemoryAndComesBack(t *testing.T) {
	s := openLocal(t, t.TempDir())
	t.Cleanup(func() { must(t, s.Close()) })
	h := open(t, s, object.Options{IdleAfter: 20 * time.Millisecond})
	k := register(t, h, object.Spec[counter]{})
	const n = 20
	for i := range n {
		o := k.Get(fmt.Sprint(i))
		must(t, o.SetState(t.Context(), counter{i + 1}))
		if i%2 == 0 {
			exec(t, o, "CREATE TABLE t(v); INSERT INTO t VALUES(?)", i)
		}
	}
	kept, err := k.Get("kept").KeepAlive(t.Context())
	must(t, err)
	asleep := func(want int) func() bool {
		return func() bool { live, dbs := h.Live(); return live == want && dbs == 0 }
	}
	eventually(t, "all but one asleep", asleep(1))
	kept()
	kept()
	eventually(t, "all asleep", asleep(0))
	for i := range n {
		o := k.Get(fmt.Sprint(i))
		if got := state(t, o).N; got != i+1 {
			t.Errorf("object %d woke with %d", i, got)
		}
		if i%2 == 0 {
			if v := query[int](t, o, "SELECT v FROM t"); v != i {
				t.Errorf("object %d woke with row %d", i, v)
			}
		}
	}
}

func TestADatabaseHandleWorksAsLongAsItsCall(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{IdleAfter: 10 * time.Millisecond})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	ctx, end := context.WithCancel(t.Context())
	var db *sql.DB
	for range 100 {
		var err error
		db, err = o.SQL(ctx)
		must(t, err)
	}
	must(t, second(db.Exec("CREATE TABLE t(v)")))
	time.Sleep(60 * time.Millisecond) // a call of something slow
	if _, err := db.Exec("INSERT INTO t VALUES(1)"); err != nil {
		t.Errorf("the object fell asleep under its call: %v", err)
	}
	end()
	eventually(t, "asleep after the call", func() bool { n, _ := h.Live(); return n == 0 })
}

func TestDatabasesBeyondTheLimitAreClosedLeastRecentlyUsedFirst(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{MaxOpen: 4, IdleAfter: time.Hour})
	k := register(t, h, object.Spec[counter]{})
	for i := range 20 {
		exec(t, k.Get(fmt.Sprint(i)), "CREATE TABLE t(v); INSERT INTO t VALUES(1)")
	}
	eventually(t, "closed down to the limit", func() bool { _, n := h.Live(); return n <= 4 })
	for i := range 20 {
		exec(t, k.Get(fmt.Sprint(i)), "INSERT INTO t VALUES(2)")
		if n := query[int](t, k.Get(fmt.Sprint(i)), "SELECT sum(v) FROM t"); n != 3 {
			t.Errorf("object %d: %d", i, n)
		}
	}
}

func TestAFailedAppendFailsItsCallerAndTheObjectIsReadAnew(t *testing.T) {
	for _, cause := range []error{errDisk, store.ErrUnknown, store.ErrFenced, store.ErrFull} {
		t.Run(cause.Error(), func(t *testing.T) {
			e := &engine{Engine: store.NewMemory()}
			k := register(t, open(t, e, object.Options{}), object.Spec[counter]{})
			o := k.Get("x")
			must(t, o.SetState(t.Context(), counter{1}))
			exec(t, o, "CREATE TABLE t(v); INSERT INTO t VALUES('kept')")
			e.set(func() { e.fail = func(store.Write) error { return cause } })
			if _, err := o.Update(t.Context(), add(1)); !errors.Is(err, cause) {
				t.Errorf("update: %v", err)
			}
			db, err := o.SQL(t.Context())
			must(t, err)
			if _, err := db.Exec("INSERT INTO t VALUES('lost')"); !errors.Is(err, cause) {
				t.Errorf("sql: %v", err)
			}
			err = o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *counter) error {
				st.N = 7
				_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES('lost')")
				return err
			})
			if !errors.Is(err, cause) {
				t.Errorf("tx: %v", err)
			}
			e.set(func() { e.fail = nil })
			if got := state(t, o).N; got != 1 {
				t.Errorf("state %d", got)
			}
			if got := query[string](t, o, "SELECT group_concat(v) FROM t"); got != "kept" {
				t.Errorf("rows %q", got)
			}
			exec(t, o, "INSERT INTO t VALUES('later')")
			if got := query[string](t, o, "SELECT group_concat(v) FROM t"); got != "kept,later" {
				t.Errorf("rows %q", got)
			}
		})
	}
}

// With ErrUnknown the write may be there after all: the object must then say so.
func TestAnUnknownOutcomeIsDecidedByTheJournal(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	k := register(t, open(t, e, object.Options{}), object.Spec[counter]{})
	o := k.Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	e.set(func() {
		e.fail = func(w store.Write) error { // it arrives, but the answer is lost
			_, err := e.Engine.Append(context.Background(), w).Wait(context.Background())
			return errors.Join(store.ErrUnknown, err)
		}
	})
	err := o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *counter) error {
		st.N = 3
		_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES(3)")
		return err
	})
	if !errors.Is(err, store.ErrUnknown) {
		t.Errorf("error %v", err)
	}
	e.set(func() { e.fail = nil })
	if st, v := state(t, o), query[int](t, o, "SELECT v FROM t"); st.N != 3 || v != 3 {
		t.Errorf("state %d, row %d", st.N, v)
	}
}

func TestNothingIsToldBeforeItIsDurable(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	told := make(chan counter, 10)
	k := register(t, open(t, e, object.Options{}), object.Spec[counter]{
		OnUpdate: func(_ context.Context, _ *object.Object[counter], st counter) { told <- st }})
	o := k.Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	hold := make(chan struct{})
	e.set(func() { e.hold = hold })
	// A call whose answer a transport holds back runs ahead …
	gated, call := effect.NewCall(t.Context())
	call.Gate()
	for range 3 {
		if _, err := o.Update(gated, add(1)); err != nil {
			t.Fatal(err)
		}
	}
	if !call.Wrote() {
		t.Error("the call does not know that it wrote")
	}
	if st, err := o.State(gated); err != nil || st.N != 3 {
		t.Errorf("it does not see its own writes: %v %v", st, err)
	}
	// … and nobody else gets to know, by any way.
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	reader, readerCall := effect.NewCall(t.Context())
	readerCall.Gate()
	if _, err := o.State(reader); err != nil {
		t.Fatal(err)
	}
	db, err := o.SQL(t.Context())
	must(t, err)
	for name, err := range map[string]error{
		"the writer's gate": call.Flush(short()),
		"a reader's gate":   readerCall.Flush(short()),
		"Flush":             o.Flush(short()),
		"State":             second(o.State(short())),
		"Update":            second(o.Update(short(), add(1))),
		"a query":           db.QueryRowContext(short(), "SELECT 1").Scan(new(int)),
		"a statement":       second(db.ExecContext(short(), "INSERT INTO t VALUES(1)")),
		"Alarms":            second(o.Alarms(short())),
	} {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnknown) {
			t.Errorf("%s answered before durability: %v", name, err)
		}
	}
	if len(told) != 0 {
		t.Error("an observer was told before durability")
	}
	close(hold)
	must(t, call.Flush(t.Context()))
	must(t, readerCall.Flush(t.Context()))
	for want := 1; want <= 4; want++ {
		if st := <-told; st.N != want {
			t.Errorf("observed %d, want %d", st.N, want)
		}
	}
}

func TestARunAheadWriteThatIsLostFailsTheGateOfAllWhoSawIt(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	k := register(t, open(t, e, object.Options{}), object.Spec[counter]{})
	o := k.Get("x")
	must(t, o.SetState(t.Context(), counter{1}))
	writer, w := effect.NewCall(t.Context())
	w.Gate()
	reader, r := effect.NewCall(t.Context())
	r.Gate()
	e.set(func() { e.fail = func(store.Write) error { return errDisk } })
	must(t, second(o.Update(writer, add(1))))
	if _, err := o.State(reader); err != nil {
		t.Fatal(err)
	}
	e.set(func() { e.fail = nil })
	for name, call := range map[string]*effect.Call{"writer": w, "reader": r} {
		if err := call.Flush(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("%s's gate opened: %v", name, err)
		}
	}
	if got := state(t, o).N; got != 1 {
		t.Errorf("state %d", got)
	}
}

func TestAnOwnerThatWasReplacedIsFenced(t *testing.T) {
	shared := store.NewMemory()
	a := register(t, open(t, &engine{Engine: shared, shared: true}, object.Options{}), object.Spec[counter]{}).Get("x")
	b := register(t, open(t, &engine{Engine: shared, shared: true}, object.Options{}), object.Spec[counter]{}).Get("x")
	must(t, second(a.Update(t.Context(), add(1))))
	exec(t, a, "CREATE TABLE t(v); INSERT INTO t VALUES('a')")
	must(t, second(b.Update(t.Context(), add(10)))) // wakes there, and claims
	exec(t, b, "INSERT INTO t VALUES('b')")
	if _, err := a.Update(t.Context(), add(100)); !errors.Is(err, store.ErrFenced) {
		t.Fatalf("the old owner wrote: %v", err)
	}
	if got := state(t, a).N; got != 11 { // it reads anew, and takes over
		t.Errorf("old owner: %d", got)
	}
	if got := query[string](t, a, "SELECT group_concat(v) FROM t"); got != "a,b" {
		t.Errorf("old owner: %q", got)
	}
	db, err := b.SQL(t.Context())
	must(t, err)
	if _, err := db.Exec("INSERT INTO t VALUES('zombie')"); !errors.Is(err, store.ErrFenced) {
		t.Errorf("the new zombie wrote SQL: %v", err)
	}
}

func TestLookingAtWhatDoesNotExistWritesNothing(t *testing.T) {
	for _, shared := range []bool{false, true} {
		s := store.NewMemory()
		h := open(t, &engine{Engine: s, shared: shared}, object.Options{})
		o := register(t, h, object.Spec[counter]{Initial: counter{3}}).Get("x")
		if got := state(t, o).N; got != 3 {
			t.Errorf("state %d", got)
		}
		if n := query[int](t, o, "SELECT count(*) FROM sqlite_schema"); n != 0 {
			t.Errorf("%d tables", n)
		}
		must(t, second(o.Update(t.Context(), func(*counter) error { return nil })))
		must(t, o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, _ *counter) error {
			return tx.QueryRowContext(ctx, "SELECT 1").Scan(new(int))
		}))
		must(t, o.Delete(t.Context()))
		shut(t, h)
		for info, err := range s.Objects(t.Context(), "") {
			t.Errorf("shared %v: %v was written, %v", shared, info, err)
		}
	}
}

func TestTwoHostsThatCreateTheSameObjectDoNotBothWin(t *testing.T) {
	s := store.NewMemory()
	var won int
	for _, h := range []*object.Host{open(t, &engine{Engine: s, shared: true}, object.Options{}), open(t, &engine{Engine: s, shared: true}, object.Options{})} {
		o := register(t, h, object.Spec[counter]{}).Get("x")
		must(t, second(o.State(t.Context()))) // both believe that there is nothing
		defer func() {
			if _, err := o.Update(t.Context(), add(1)); err == nil {
				won++
			} else if !errors.Is(err, store.ErrFenced) {
				t.Error(err)
			}
			if won != 1 {
				t.Errorf("%d of them made the object", won)
			}
		}()
	}
}

func TestSnapshotsCarryTheDatabaseToOtherNodes(t *testing.T) {
	shared := store.NewMemory()
	e := &engine{Engine: shared, shared: true}
	h := open(t, e, object.Options{IdleAfter: 20 * time.Millisecond})
	a := register(t, h, object.Spec[counter]{}).Get("x")
	exec(t, a, "CREATE TABLE t(v)")
	for i := range 20 {
		exec(t, a, "INSERT INTO t VALUES(?)", i)
	}
	eventually(t, "asleep", func() bool { live, _ := h.Live(); return live == 0 })
	info, err := shared.Stat(t.Context(), store.ObjectID{Kind: "test", ID: "x"})
	must(t, err)
	if info.Entries > 2 {
		t.Errorf("%d entries after sleep: no snapshot was made", info.Entries)
	}
	b := register(t, open(t, &engine{Engine: shared, shared: true}, object.Options{}), object.Spec[counter]{}).Get("x")
	if got := query[int](t, b, "SELECT sum(v) FROM t"); got != 190 {
		t.Errorf("sum %d on the other node", got)
	}
}

func TestAMissingDatabaseFileIsAClearError(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir+"/log")
	t.Cleanup(func() { must(t, s.Close()) })
	h := open(t, s, object.Options{IdleAfter: 20 * time.Millisecond})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	for i := range 20 {
		exec(t, o, "INSERT INTO t VALUES(?)", i)
	}
	eventually(t, "asleep", func() bool { live, _ := h.Live(); return live == 0 })
	elsewhere := register(t, open(t, s, object.Options{}), object.Spec[counter]{}).Get("x")
	db, err := elsewhere.SQL(t.Context())
	must(t, err)
	if err := db.QueryRow("SELECT count(*) FROM t").Scan(new(int)); err == nil || !strings.Contains(err.Error(), "Options.Dir") {
		t.Errorf("error: %v", err)
	}
}

func TestABusyObjectSaysSoInTheEnd(t *testing.T) {
	k := register(t, open(t, store.NewMemory(), object.Options{BusyTimeout: 30 * time.Millisecond}), object.Spec[counter]{})
	o := k.Get("x")
	db, err := o.SQL(t.Context())
	must(t, err)
	tx, err := db.Begin()
	must(t, err)
	if _, err := o.Update(t.Context(), add(1)); !errors.Is(err, object.ErrBusy) {
		t.Errorf("update beside an open transaction: %v", err)
	}
	must(t, tx.Rollback())
	must(t, second(o.Update(t.Context(), add(1))))
}

func TestATransactionOfDatabaseSQLIsOneEntry(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	o := register(t, open(t, e, object.Options{}), object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	db, err := o.SQL(t.Context())
	must(t, err)
	before := len(e.appends)
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable})
	must(t, err)
	for i := range 10 {
		must(t, second(tx.Exec("INSERT INTO t VALUES(?)", i)))
	}
	must(t, tx.Commit())
	if n := len(e.appends) - before; n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestADatabaseHasALimit(t *testing.T) {
	o := register(t, open(t, store.NewMemory(), object.Options{MaxDatabase: 200 << 10}), object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	exec(t, o, "INSERT INTO t VALUES(zeroblob(120000))")
	db, _ := o.SQL(t.Context())
	if _, err := db.Exec("INSERT INTO t VALUES(zeroblob(120000))"); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("error %v", err)
	}
	exec(t, o, "DELETE FROM t")
	must(t, o.Vacuum(t.Context()))
	exec(t, o, "INSERT INTO t VALUES(zeroblob(120000))")
}

func TestEntriesOfEverySizeAreReadBack(t *testing.T) {
	s := store.NewMemory()
	h := open(t, &engine{Engine: s, shared: true}, object.Options{}) // its snapshots carry the database
	o := register(t, h, object.Spec[counter]{}).Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	for size := 1000; size < 2_000_000; size *= 3 {
		exec(t, o, "INSERT INTO t VALUES(randomblob(?))", size)
		must(t, o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *counter) error {
			st.N += size
			_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES(randomblob(?))", size)
			return err
		}))
	}
	want := query[int](t, o, "SELECT sum(length(v)) FROM t")
	n := state(t, o).N
	shut(t, h)
	other := register(t, open(t, &engine{Engine: s}, object.Options{}), object.Spec[counter]{}).Get("x") // from the journal alone
	if got := query[int](t, other, "SELECT sum(length(v)) FROM t"); got != want || state(t, other).N != n || 2*n != want {
		t.Errorf("%d bytes and state %d, want %d", got, state(t, other).N, want)
	}
}

func TestLargeEntriesGoThroughBlobs(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		s := openLocal(t, dir+"/log")
		h, err := object.NewHost(s, &object.Options{Dir: dir + "/o", Logger: quiet, MaxState: 8 << 20})
		must(t, err)
		o := register(t, h, object.Spec[bag]{}).Get("x")
		if round == 0 {
			exec(t, o, "CREATE TABLE t(v)")
			must(t, o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *bag) error {
				st.List = []string{strings.Repeat("ab", 2<<20)}
				_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES(randomblob(3000000))")
				return err
			}))
		}
		if n := len(state(t, o).List[0]); n != 4<<20 {
			t.Errorf("round %d: state of %d", round, n)
		}
		if n := query[int](t, o, "SELECT length(v) FROM t"); n != 3000000 {
			t.Errorf("round %d: row of %d", round, n)
		}
		shut(t, h)
		must(t, s.Close())
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	for _, name := range []string{"", "A", "a/b", strings.Repeat("a", 65), "ü"} {
		if _, err := object.Register(h, object.Spec[counter]{Name: name}); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("kind %q: %v", name, err)
		}
	}
	k := register(t, h, object.Spec[counter]{})
	if _, err := object.Register(h, object.Spec[counter]{Name: "test"}); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("twice: %v", err)
	}
	if _, err := object.Register(h, object.Spec[func()]{Name: "f"}); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("a state that is no JSON: %v", err)
	}
	for _, id := range []string{"", strings.Repeat("x", 257)} {
		if _, err := k.Get(id).State(t.Context()); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("id of %d bytes: %v", len(id), err)
		}
	}
	weird := k.Get("../../etc/passwd\x00?&#%\n")
	exec(t, weird, "CREATE TABLE t(v)")
	must(t, second(weird.Update(t.Context(), add(1))))
}

func TestAStoredStateThatNoLongerFitsIsAnErrorNotALoss(t *testing.T) {
	s := store.NewMemory()
	a := register(t, open(t, s, object.Options{}), object.Spec[bag]{}).Get("x")
	must(t, a.SetState(t.Context(), bag{List: []string{"a"}}))
	type changed struct{ List int }
	b := register(t, open(t, s, object.Options{}), object.Spec[changed]{}).Get("x")
	if _, err := b.Update(t.Context(), func(c *changed) error { c.List = 1; return nil }); !errors.Is(err, object.ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

func TestAClosedHostRefuses(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	must(t, second(o.Update(t.Context(), add(1))))
	shut(t, h)
	if _, err := o.Update(t.Context(), add(1)); !errors.Is(err, object.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := h.Start(t.Context()); !errors.Is(err, object.ErrClosed) {
		t.Errorf("start: %v", err)
	}
}
