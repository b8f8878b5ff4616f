package object

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestWhatIsReplayedIsWhatWasWritten(t *testing.T) {
	var m memory
	f := newFields()
	f.add(fieldState, []byte(`{"a":1}`))
	_ = f.addJSON(fieldTask, &task{ID: "t", Name: "n", At: time.Unix(5, 0).UTC()})
	_ = f.addJSON(fieldTask, &task{ID: "u", Name: "n", At: time.Unix(3, 0).UTC(), Job: true})
	_ = f.addJSON(fieldOnce, &remembered{Key: "k", Result: []byte("1")})
	f.add(fieldTaskGone, []byte("u"))
	if _, err := m.apply(f); err != nil {
		t.Fatal(err)
	}
	if string(m.state) != `{"a":1}` || len(m.tasks) != 1 || len(m.once) != 1 || !m.next().Equal(time.Unix(5, 0)) {
		t.Errorf("%+v", m)
	}
	again, err := m.whole()
	if err != nil {
		t.Fatal(err)
	}
	var n memory
	if _, err := n.apply(again); err != nil || !bytes.Equal(n.state, m.state) || len(n.tasks) != 1 || len(n.once) != 1 {
		t.Errorf("%+v %v", n, err)
	}
}

func TestAnEntryOfANewerVersionIsRefused(t *testing.T) {
	for _, b := range [][]byte{nil, {2}, {entryFormat, 99, 0}, {entryFormat, fieldState, 5, 'x'}, {entryFormat, fieldTask, 1, '{'}} {
		if _, err := new(memory).apply(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

func FuzzEntriesNeverPanic(f *testing.F) {
	f.Add([]byte{entryFormat, fieldState, 2, '{', '}', fieldTaskGone, 1, 'x'})
	f.Add([]byte{entryFormat, fieldTask, 10, '{', '"', 'i', 'd', '"', ':', '"', 'a', '"', '}'})
	f.Add([]byte{entryFormat, fieldMigrated, 2, 0x80, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m memory
		if _, err := m.apply(b); err != nil {
			return
		}
		again, err := m.whole()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(memory).apply(again); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

func TestARoundThatWasMissedIsSkipped(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		task      task
		now, want time.Time
	}{
		"in time":              {task{At: start, Every: time.Minute}, start.Add(time.Second), start.Add(time.Minute)},
		"hours late":           {task{At: start, Every: time.Minute}, start.Add(3*time.Hour + time.Second), start.Add(3*time.Hour + time.Minute)},
		"after retries":        {task{At: start.Add(8 * time.Second), Due: start, Every: time.Minute}, start.Add(9 * time.Second), start.Add(time.Minute)},
		"the clock went back":  {task{At: start, Every: time.Minute}, start.Add(-time.Hour), start.Add(time.Minute)},
		"cron, hours late":     {task{At: start, Cron: "*/5 * * * *"}, start.Add(3*time.Hour + time.Second), start.Add(3*time.Hour + 5*time.Minute)},
		"cron, on the instant": {task{At: start, Cron: "0 0 * * *"}, start, start.Add(24 * time.Hour)},
	} {
		if got, err := c.task.nextRound(c.now); err != nil || !got.Equal(c.want) {
			t.Errorf("%s: %v %v, want %v", name, got, err, c.want)
		}
	}
}

func TestTheClockKeepsTheEarliestAndLosesNone(t *testing.T) {
	c := wakeClock{running: true, max: 100, wake: make(chan struct{}, 1)}
	id := func(s string) (o struct{ Kind, ID string }) { o.Kind, o.ID = "k", s; return }
	base := time.Now()
	for _, s := range []int{5, 3, 9, 4} {
		c.add(id("a"), base.Add(time.Duration(s)*time.Second))
	}
	c.add(id("b"), base.Add(4*time.Second))
	if ids, _ := c.due(base.Add(2 * time.Second)); len(ids) != 0 || !c.next().Equal(base.Add(3*time.Second)) {
		t.Errorf("%v, next %v", ids, c.next())
	}
	if ids, _ := c.due(base.Add(3 * time.Second)); len(ids) != 1 || ids[0].ID != "a" {
		t.Errorf("%v", ids)
	}
	if ids, _ := c.due(base.Add(20 * time.Second)); len(ids) != 1 || ids[0].ID != "b" {
		t.Errorf("%v: stale times of a must not ring", ids)
	}
	c.horizon = base.Add(time.Minute)
	c.add(id("c"), base.Add(time.Hour)) // it is in its record
	if !c.next().Equal(c.horizon) {
		t.Errorf("next %v", c.next())
	}
	if _, reload := c.due(base.Add(time.Minute)); !reload {
		t.Error("no look at the records at the horizon")
	}
}
