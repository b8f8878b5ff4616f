package object_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

func TestAnAlarmWakesASleepingObjectAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	fired := make(chan object.Alarm, 10)
	spec := object.Spec[counter]{Name: "test", OnAlarm: func(ctx context.Context, o *object.Object[counter], a object.Alarm) error {
		_, err := o.Update(ctx, add(1))
		fired <- a
		return err
	}}
	s := openLocal(t, dir+"/log")
	h, err := object.NewHost(s, &object.Options{Dir: dir + "/o", Logger: quiet, IdleAfter: 20 * time.Millisecond})
	must(t, err)
	o := register(t, h, spec).Get("x")
	must(t, h.Start(t.Context()))
	must(t, second(o.Schedule(t.Context(), object.In(150*time.Millisecond), "first", map[string]int{"n": 7}, nil)))
	must(t, second(o.Schedule(t.Context(), object.In(1500*time.Millisecond), "second", nil, nil)))
	eventually(t, "asleep before the alarm", func() bool { n, _ := h.Live(); return n == 0 })
	a := <-fired
	var payload struct{ N int }
	if err := a.Decode(&payload); err != nil || a.Name != "first" || payload.N != 7 {
		t.Errorf("alarm %+v, %v", a, err)
	}
	shut(t, h)
	must(t, s.Close())

	s = openLocal(t, dir+"/log")
	t.Cleanup(func() { must(t, s.Close()) })
	h = open(t, s, object.Options{Dir: dir + "/o"})
	o = register(t, h, spec).Get("x")
	must(t, h.Start(t.Context()))
	if a := <-fired; a.Name != "second" {
		t.Errorf("after the restart: %+v", a)
	}
	eventually(t, "both done", func() bool { left, err := o.Alarms(t.Context()); return err == nil && len(left) == 0 })
	if n := state(t, o).N; n != 2 {
		t.Errorf("ran %d times", n)
	}
	for r := range s.List(t.Context(), "object/wake/") {
		t.Errorf("wake record left: %s", r.Key)
	}
}

func TestAnAlarmThatWasRunningWhenTheProcessDiedRunsAgain(t *testing.T) {
	shared := store.NewMemory()
	e := &engine{Engine: shared}
	started := make(chan struct{})
	h := open(t, e, object.Options{})
	k := register(t, h, object.Spec[counter]{OnAlarm: func(ctx context.Context, o *object.Object[counter], a object.Alarm) error {
		close(started)
		<-ctx.Done() // the process ends under it
		return ctx.Err()
	}})
	must(t, h.Start(t.Context()))
	must(t, second(k.Get("x").Schedule(t.Context(), object.In(0), "a", nil, nil)))
	<-started
	shut(t, h)
	ran := make(chan object.Alarm, 1)
	h = open(t, shared, object.Options{})
	register(t, h, object.Spec[counter]{OnAlarm: func(_ context.Context, _ *object.Object[counter], a object.Alarm) error { ran <- a; return nil }})
	must(t, h.Start(t.Context()))
	if a := <-ran; a.Attempt != 0 {
		t.Errorf("being stopped counted as a failure: %+v", a)
	}
}

func TestAFailingAlarmIsTriedAgainThenGivenUp(t *testing.T) {
	var runs atomic.Int32
	h := open(t, store.NewMemory(), object.Options{})
	k := register(t, h, object.Spec[counter]{OnAlarm: func(_ context.Context, _ *object.Object[counter], a object.Alarm) error {
		if runs.Add(1) == 1 {
			panic("the first time")
		}
		return errors.New("and the second")
	}})
	must(t, h.Start(t.Context()))
	o := k.Get("x")
	must(t, second(o.Schedule(t.Context(), object.In(0), "a", nil, &object.AlarmOptions{Retries: 1})))
	eventually(t, "first failure", func() bool {
		list, err := o.Alarms(t.Context())
		return err == nil && len(list) == 1 && list[0].Attempt == 1
	})
	eventually(t, "given up", func() bool { list, err := o.Alarms(t.Context()); return err == nil && len(list) == 0 })
	if n := runs.Load(); n != 2 {
		t.Errorf("%d runs", n)
	}
}

func TestARepeatingAlarmRepeatsUntilItIsCancelled(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	ran := make(chan struct{}, 100)
	k := register(t, h, object.Spec[counter]{OnAlarm: func(context.Context, *object.Object[counter], object.Alarm) error { ran <- struct{}{}; return nil }})
	must(t, h.Start(t.Context()))
	o := k.Get("x")
	for range 3 { // the same ID: still one alarm
		must(t, second(o.Schedule(t.Context(), object.Every(time.Second), "tick", nil, &object.AlarmOptions{ID: "tick"})))
	}
	<-ran
	<-ran
	list, err := o.Alarms(t.Context())
	if err != nil || len(list) != 1 || list[0].Every != time.Second {
		t.Errorf("%+v, %v", list, err)
	}
	must(t, o.Cancel(t.Context(), "tick"))
	if err := o.Cancel(t.Context(), "tick"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("cancelled twice: %v", err)
	}
	id, err := o.Schedule(t.Context(), object.Cron("30 4 * * 1"), "weekly", nil, nil)
	must(t, err)
	list, err = o.Alarms(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != id {
		t.Fatalf("%+v, %v", list, err)
	}
	if at := list[0].At; at.Weekday() != time.Monday || at.Hour() != 4 || at.Minute() != 30 || at.Location() != time.UTC || time.Until(at) > 7*24*time.Hour {
		t.Errorf("cron is due %v", at)
	}
}

func TestSchedulesThatCannotBeAreRefused(t *testing.T) {
	o := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[counter]{}).Get("x")
	for name, when := range map[string]object.When{
		"nothing": {}, "zero time": object.At(time.Time{}), "a millisecond": object.Every(time.Millisecond),
		"negative": object.Every(-time.Hour), "words": object.Cron("every day"), "six fields": object.Cron("* * * * * *"),
		"out of range": object.Cron("99 * * * *"), "never": object.Cron("0 0 31 2 *"), "long": object.Cron(strings.Repeat("1,", 9999) + "1 * * * *"),
	} {
		if _, err := o.Schedule(t.Context(), when, "a", nil, nil); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := o.Schedule(t.Context(), object.In(0), "", nil, nil); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
	if _, err := o.Enqueue(t.Context(), "a", func() {}, nil); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("a payload that is no JSON: %v", err)
	}
	var large *object.TooLargeError
	if _, err := o.Enqueue(t.Context(), "a", strings.Repeat("x", 70_000), nil); !errors.As(err, &large) {
		t.Errorf("a large payload: %v", err)
	}
	if list, err := o.Alarms(t.Context()); len(list) != 0 || err != nil {
		t.Errorf("something was set: %v %v", list, err)
	}
}

func TestTheQueueRunsInOrderRetriesAndKeepsDeadLetters(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	var mu sync.Mutex
	var order []string
	var busy, most int
	poison := true
	k := register(t, h, object.Spec[counter]{OnJob: func(ctx context.Context, o *object.Object[counter], j object.Job) error {
		mu.Lock()
		busy++
		most = max(most, busy)
		order = append(order, j.Name)
		bad := j.Name == "bad" && poison
		mu.Unlock()
		_, err := o.Update(ctx, add(1)) // a job may use its object
		mu.Lock()
		busy--
		mu.Unlock()
		if bad {
			return errors.New("poison")
		}
		return err
	}})
	o := k.Get("x")
	must(t, second(o.Enqueue(t.Context(), "bad", nil, &object.JobOptions{Retries: 1, ID: "bad"})))
	for i := range 5 {
		must(t, second(o.Enqueue(t.Context(), fmt.Sprint(i), i, nil)))
	}
	if n := state(t, o).N; n != 0 {
		t.Errorf("%d jobs ran before Start", n)
	}
	must(t, h.Start(t.Context()))
	dead := func(n int) func() bool {
		return func() bool {
			jobs, err := o.Jobs(t.Context())
			if err != nil || len(jobs) != n {
				return false
			}
			return n == 0 || jobs[0].Dead && jobs[0].Err == "poison" && jobs[0].ID == "bad"
		}
	}
	eventually(t, "one dead letter, nothing else left", dead(1))
	mu.Lock()
	if got := strings.Join(order, " "); got != "bad 0 1 2 3 4 bad" || most != 1 {
		t.Errorf("order %q, %d at once", got, most)
	}
	poison = false
	mu.Unlock()
	must(t, o.Requeue(t.Context(), "bad"))
	eventually(t, "worked off", dead(0))
	if err := o.Requeue(t.Context(), "bad"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("requeue of nothing: %v", err)
	}
}

func TestNotesAreDeliveredAfterTheUnitAndAgainAfterARestart(t *testing.T) {
	s := store.NewMemory()
	broken := errors.New("nobody there")
	h := open(t, s, object.Options{Deliver: func(context.Context, object.Note) error { return broken }})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	must(t, o.Tx(t.Context(), func(ctx context.Context, _ object.Tx, st *counter) error {
		st.N = 1
		return o.Notify(ctx, "changed", map[string]int{"n": 1})
	}))
	boom := errors.New("boom")
	_ = o.Tx(t.Context(), func(ctx context.Context, _ object.Tx, st *counter) error {
		must(t, o.Notify(ctx, "never", nil))
		return boom
	})
	shut(t, h)
	got := make(chan object.Note, 10)
	h = open(t, s, object.Options{Deliver: func(_ context.Context, n object.Note) error { got <- n; return nil }})
	register(t, h, object.Spec[counter]{})
	must(t, h.Start(t.Context()))
	if n := <-got; n.Topic != "changed" || n.Obj != "x" || string(n.Data) != `{"n":1}` {
		t.Errorf("note %+v", n)
	}
	eventually(t, "the note is forgotten", func() bool {
		for range s.List(t.Context(), "object/note/") {
			return false
		}
		return true
	})
	if len(got) != 0 {
		t.Errorf("a note of a failed unit: %+v", <-got)
	}
}

func TestMoreAlarmsThanTheClockHoldsAllRing(t *testing.T) {
	s := store.NewMemory()
	k := register(t, open(t, s, object.Options{}), object.Spec[counter]{})
	const n = 60
	soon := time.Now().Add(300 * time.Millisecond)
	for i := range n {
		must(t, second(k.Get(fmt.Sprint(i)).Schedule(t.Context(), object.At(soon.Add(time.Duration(i)*5*time.Millisecond)), "a", i, nil)))
	}
	h := open(t, &engine{Engine: s, shared: true}, object.Options{IdleAfter: 20 * time.Millisecond})
	h.KnowFewWakes()
	rang := make(chan string, n)
	register(t, h, object.Spec[counter]{OnAlarm: func(_ context.Context, o *object.Object[counter], a object.Alarm) error { rang <- o.ID(); return nil }})
	must(t, h.Start(t.Context()))
	seen := map[string]bool{}
	for range n {
		seen[<-rang] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d rang", len(seen), n)
	}
}

func TestManyObjectsWithAlarmsAllRing(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{IdleAfter: 20 * time.Millisecond})
	var rang atomic.Int32
	k := register(t, h, object.Spec[counter]{OnAlarm: func(context.Context, *object.Object[counter], object.Alarm) error { rang.Add(1); return nil }})
	must(t, h.Start(t.Context()))
	const n = 300
	for i := range n {
		must(t, second(k.Get(fmt.Sprint(i)).Schedule(t.Context(), object.In(time.Duration(i%7)*20*time.Millisecond), "a", nil, nil)))
	}
	eventually(t, "all rang and sleep again", func() bool { live, _ := h.Live(); return rang.Load() == n && live == 0 })
}
