package object

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/adhocore/gronx"

	"github.com/causeway-mcp/causeway/internal/effect"
)

// lane separates alarms from jobs: neither waits for the other.
type lane int

const (
	alarmLane lane = iota
	jobLane
)

// task is an alarm or a job as it is stored. Stored tasks are never changed, only replaced.
type task struct {
	ID      string          `json:"id"`
	Name    string          `json:"n"`
	Payload json.RawMessage `json:"p,omitempty"`
	At      time.Time       `json:"at"`
	Order   int64           `json:"o"` // among tasks due at the same time
	Every   time.Duration   `json:"ev,omitempty"`
	Cron    string          `json:"cr,omitempty"`
	Due     time.Time       `json:"due,omitzero"` // when this round was due first, before retries
	Attempt int             `json:"try,omitempty"`
	Retries int             `json:"max,omitempty"`
	Job     bool            `json:"job,omitempty"`
	Dead    bool            `json:"dead,omitempty"`
	Err     string          `json:"err,omitempty"`
}

func (t *task) lane() lane {
	if t.Job {
		return jobLane
	}
	return alarmLane
}

// Alarm is something an object has to do at a time.
type Alarm struct {
	ID      string
	Name    string
	Payload json.RawMessage
	At      time.Time     // when it is due (again)
	Every   time.Duration // zero unless it repeats at an interval
	Cron    string        // empty unless it repeats by a cron expression
	Attempt int           // 0 for the first, counting the failures of this round
}

// Decode reads the payload into v.
func (a Alarm) Decode(v any) error { return json.Unmarshal(a.Payload, v) }

// Job is one element of an object's queue.
type Job struct {
	ID      string
	Name    string
	Payload json.RawMessage
	At      time.Time // when it may run (again)
	Attempt int       // 0 for the first
	Dead    bool      // it has failed too often and waits for a person
	Err     string    // the last failure; at most 512 bytes
}

// Decode reads the payload into v.
func (j Job) Decode(v any) error { return json.Unmarshal(j.Payload, v) }

func (t *task) alarm() Alarm {
	return Alarm{ID: t.ID, Name: t.Name, Payload: slices.Clone(t.Payload), At: t.due(), Every: t.Every, Cron: t.Cron, Attempt: t.Attempt}
}

func (t *task) due() time.Time {
	if t.Due.IsZero() {
		return t.At
	}
	return t.Due
}

func (t *task) job() Job {
	return Job{ID: t.ID, Name: t.Name, Payload: slices.Clone(t.Payload), At: t.At, Attempt: t.Attempt, Dead: t.Dead, Err: t.Err}
}

// When says when an alarm is due. Make it with At, In, Every or Cron.
type When struct {
	at    time.Time
	every time.Duration
	cron  string
}

// At is once, at t. A time in the past is due now.
func At(t time.Time) When { return When{at: t} }

// In is once, after d.
func In(d time.Duration) When { return When{at: time.Now().Add(d)} }

// Every is first after d and then again d after it was due; at least one second. Rounds that were missed
// (the process was down, a run took longer) are skipped but for one.
func Every(d time.Duration) When { return When{every: d} }

// Cron is by the five fields minute, hour, day of month, month and day of week, in UTC, or one of @hourly,
// @daily, @weekly, @monthly, @yearly. Missed rounds are skipped but for one.
func Cron(expr string) When { return When{cron: expr} }

// Limits of alarms and jobs.
const (
	maxTasks   = 10_000   // alarms and jobs of one object together, dead letters included
	maxDead    = 1000     // dead letters of one object; the oldest is dropped first
	maxPayload = 64 << 10 // bytes of JSON
	maxName    = 128      // bytes
	maxCron    = 256      // bytes
)

// AlarmOptions are the options of Schedule. Nil is the zero value.
type AlarmOptions struct {
	// ID names the alarm: scheduling one of the same ID again replaces it. Empty makes a new ID.
	ID string
	// Retries is how often a failing run is repeated: 2 s after the first failure, then doubling up to 5 min.
	// Zero is 6; negative is never. After the last a one-shot alarm is dropped with a log line, and a
	// repeating one goes on with its next round.
	Retries int
}

// Schedule sets an alarm, which Spec.OnAlarm runs: at least once, also across restarts. payload is stored
// as JSON of at most 64 KiB. It returns the alarm's ID. Inside a unit it is part of the unit.
func (o *Object[S]) Schedule(ctx context.Context, when When, name string, payload any, opts *AlarmOptions) (id string, err error) {
	if opts == nil {
		opts = &AlarmOptions{}
	}
	t, err := newTask(opts.ID, name, payload)
	if err != nil {
		return "", err
	}
	t.Retries = defaulted(opts.Retries, 6)
	if err := t.setWhen(when, time.Now()); err != nil {
		return "", err
	}
	return t.ID, o.putTask(ctx, t)
}

// JobOptions are the options of Enqueue. Nil is the zero value.
type JobOptions struct {
	// ID names the job: a job of that ID which still waits (or is dead) is replaced. Empty makes a new ID.
	ID string
	// Delay is how long the job waits before its first run.
	Delay time.Duration
	// Retries is how often a failing run is repeated: 100 ms after the first failure, then doubling up to
	// 30 s. Zero is 3; negative is never. After the last the job becomes a dead letter.
	Retries int
}

// Enqueue puts a job into the object's queue, which Spec.OnJob works off one at a time in order of their
// time, at least once each, also across restarts. A job that waits for its retry lets others pass. payload
// is stored as JSON of at most 64 KiB. Inside a unit it is part of the unit.
func (o *Object[S]) Enqueue(ctx context.Context, name string, payload any, opts *JobOptions) (id string, err error) {
	if opts == nil {
		opts = &JobOptions{}
	}
	t, err := newTask(opts.ID, name, payload)
	if err != nil {
		return "", err
	}
	t.Job, t.At, t.Retries = true, time.Now().Add(opts.Delay).UTC(), defaulted(opts.Retries, 3)
	return t.ID, o.putTask(ctx, t)
}

// Cancel removes an alarm or a job, a dead letter too. ErrNotFound if there is none of that id. A run in
// progress is not stopped, but not repeated either.
func (o *Object[S]) Cancel(ctx context.Context, id string) error {
	return o.change(ctx, func(u *unit) error { return u.dropTask(id) })
}

// Requeue makes a dead letter a job again, due now and with all its retries.
func (o *Object[S]) Requeue(ctx context.Context, id string) error {
	return o.change(ctx, func(u *unit) error {
		u.mu.Lock()
		old := u.live.memory.tasks[id]
		u.mu.Unlock()
		if old == nil || !old.Dead {
			return fmt.Errorf("%w: no dead letter %q", ErrNotFound, id)
		}
		t := *old
		t.Dead, t.Attempt, t.At = false, 0, time.Now().UTC()
		return u.putTask(&t)
	})
}

// Alarms lists the object's alarms by their time. Inside a unit it includes what the unit has set.
func (o *Object[S]) Alarms(ctx context.Context) ([]Alarm, error) {
	var out []Alarm
	err := o.look(ctx, func(tasks []*task) {
		for _, t := range tasks {
			if !t.Job {
				out = append(out, t.alarm())
			}
		}
	})
	return out, err
}

// Jobs lists the object's queue by time, dead letters (Job.Dead) included.
func (o *Object[S]) Jobs(ctx context.Context) ([]Job, error) {
	var out []Job
	err := o.look(ctx, func(tasks []*task) {
		for _, t := range tasks {
			if t.Job {
				out = append(out, t.job())
			}
		}
	})
	return out, err
}

func (o *Object[S]) look(ctx context.Context, fn func([]*task)) error {
	u, err := o.joined(ctx)
	if err != nil {
		return err
	}
	if u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		fn(u.live.memory.sorted())
		return nil
	}
	l, err := o.enter(ctx)
	if err != nil {
		return err
	}
	fn(l.memory.sorted())
	l.leave()
	return l.tell(ctx)
}

func (o *Object[S]) putTask(ctx context.Context, t *task) error {
	return o.change(ctx, func(u *unit) error { return u.putTask(t) })
}

// change runs fn in the unit of ctx, or in one of its own.
func (o *Object[S]) change(ctx context.Context, fn func(*unit) error) error {
	u, err := o.joined(ctx)
	if err != nil {
		return err
	}
	if u != nil {
		return fn(u)
	}
	l, err := o.enter(ctx)
	if err != nil {
		return err
	}
	effect.MarkWrite(ctx)
	return l.changeAlone(ctx, fn)
}

// changeAlone runs fn as a unit that leaves state and SQL alone, and ends the turn.
func (l *live) changeAlone(ctx context.Context, fn func(*unit) error) error {
	u := l.begin()
	p, err := func() (_ pendingWrite, err error) {
		defer l.leave()
		defer u.abort()
		if err := fn(u); err != nil {
			return nil, err
		}
		return u.commit(ctx, nil)
	}()
	if err != nil {
		return l.failed(ctx, err)
	}
	if p == nil {
		return nil
	}
	return l.outcome(ctx, p)
}

func newTask(id, name string, payload any) (*task, error) {
	if name == "" || len(name) > maxName || len(id) > maxName || !utf8.ValidString(name) || !utf8.ValidString(id) {
		return nil, fmt.Errorf("%w: name and id of an alarm or job are UTF-8 of at most %d bytes, and the name of at least one", ErrInvalid, maxName)
	}
	if id == "" {
		id = rand.Text()
	}
	b, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: the payload cannot be stored as JSON: %w", ErrInvalid, err)
	}
	if len(b) > maxPayload {
		return nil, &TooLargeError{What: "payload", Size: len(b), Limit: maxPayload}
	}
	return &task{ID: id, Name: name, Payload: b}, nil
}

func defaulted(n, zero int) int {
	switch {
	case n == 0:
		return zero
	case n < 0:
		return 0
	}
	return n
}

func (t *task) setWhen(w When, now time.Time) error {
	switch {
	case w.cron != "":
		if len(w.cron) > maxCron || !strings.HasPrefix(w.cron, "@") && len(strings.Fields(w.cron)) != 5 {
			return fmt.Errorf("%w: cron expression %q: five fields, or @hourly and the like, in at most %d bytes", ErrInvalid, cut(w.cron, maxCron), maxCron)
		}
		t.Cron = w.cron
	case w.every != 0:
		if w.every < time.Second {
			return fmt.Errorf("%w: an interval of %v is under one second", ErrInvalid, w.every)
		}
		t.Every = w.every
	case w.at.IsZero():
		return fmt.Errorf("%w: an alarm needs a time", ErrInvalid)
	default:
		t.At = w.at.UTC().Round(0)
		return checkTime(t.At)
	}
	at, err := t.nextRound(now)
	t.At = at
	return err
}

// checkTime refuses times that the journal has no words for (RFC 3339).
func checkTime(at time.Time) error {
	if y := at.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("%w: the year %d of an alarm", ErrInvalid, y)
	}
	return nil
}

// nextRound is when a repeating task is due after now.
func (t *task) nextRound(now time.Time) (time.Time, error) {
	now = now.UTC().Round(0)
	if t.Cron != "" {
		at, err := gronx.NextTickAfter(t.Cron, now, false)
		if err != nil {
			return at, fmt.Errorf("%w: cron expression %q: %w", ErrInvalid, t.Cron, err)
		}
		return at.UTC(), nil
	}
	due := t.due()
	if due.IsZero() {
		due = now
	}
	late := now.Sub(due)
	if late >= 0 { // the next multiple of the interval; what is longer overdue than a Duration counts begins anew
		due = now.Add(-(late % t.Every))
	}
	return due.Add(t.Every), nil
}

func (t *task) repeats() bool { return t.Every != 0 || t.Cron != "" }

// sorted lists the tasks by time.
func (m *memory) sorted() []*task {
	out := make([]*task, 0, len(m.tasks))
	for _, t := range m.tasks {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *task) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return int(a.Order - b.Order)
	})
	return out
}

// putTask adds or replaces a task as part of the unit.
func (u *unit) putTask(t *task) error {
	return u.change(func() error {
		m := &u.live.memory
		before := m.tasks[t.ID]
		if before == nil {
			if len(m.tasks) >= maxTasks {
				return &TooLargeError{What: "number of alarms and jobs", Size: len(m.tasks) + 1, Limit: maxTasks}
			}
			u.live.order++
			t.Order = time.Now().UnixNano() + u.live.order
		} else if t.Order == 0 {
			t.Order = before.Order
		}
		if err := u.body.addJSON(fieldTask, t); err != nil { // an author may go on with the unit
			return err
		}
		m.put(t)
		u.undo = append(u.undo, func() {
			delete(m.tasks, t.ID)
			if before != nil {
				m.put(before)
			}
		})
		u.onGood = append(u.onGood, func() { u.live.kick() })
		return nil
	})
}

func (u *unit) dropTask(id string) error {
	return u.change(func() error {
		m := &u.live.memory
		before := m.tasks[id]
		if before == nil {
			return fmt.Errorf("%w: no alarm or job %q", ErrNotFound, id)
		}
		delete(m.tasks, id)
		u.undo = append(u.undo, func() { m.put(before) })
		u.body.add(fieldTaskGone, []byte(id))
		return nil
	})
}
