package object

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/store"
)

type pendingWrite = store.Pending

// kick makes sure that runners look at the object's tasks. False when this copy is on its way out.
func (l *live) kick() bool { return l.kickWith(l.host.background) }

func (l *live) kickWith(background func(func()) bool) bool {
	if l.def == nil || !l.host.started.Load() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || l.dying {
		return false
	}
	for _, n := range []lane{alarmLane, jobLane} {
		if !l.def.handles(n) {
			continue
		}
		if l.lanes[n] {
			l.again[n] = true
		} else {
			l.lanes[n] = background(func() { l.work(n) })
		}
	}
	return true
}

// retryAfter is the pause after a run that could not be begun or journalled.
const retryAfter = time.Second

// work runs the due tasks of one lane, one after the other, until none is due. The clock wakes the object
// for the next one.
func (l *live) work(n lane) {
	defer l.pin()()
	for {
		t, err := l.nextDue(n)
		if t != nil {
			err = l.runTask(t)
		}
		if t != nil && err == nil {
			continue
		}
		if err != nil && l.host.ctx.Err() == nil {
			if !errors.Is(err, ErrGone) {
				l.host.log.Error("object: run an alarm or job", "kind", l.id.Kind, "err", err)
			}
			l.host.clock.add(l.id, time.Now().Add(retryAfter)) // by another copy, perhaps
		}
		l.mu.Lock()
		again := l.again[n] && err == nil
		l.again[n] = false
		if !again {
			l.lanes[n] = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// nextDue returns the lane's first due task, and sets the clock when there is only a later one.
func (l *live) nextDue(n lane) (*task, error) {
	if err := l.enter(l.host.ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	now := time.Now()
	var first *task
	for _, t := range l.memory.tasks {
		if t.lane() != n || t.Dead {
			continue
		}
		if first == nil || t.At.Before(first.At) || t.At.Equal(first.At) && t.Order < first.Order {
			first = t
		}
	}
	if first == nil {
		return nil, nil
	}
	if first.At.After(now) {
		l.host.clock.add(l.id, first.At)
		return nil, nil
	}
	return first, nil
}

// runTask runs one task and journals how it ended. A task whose end cannot be journalled runs again.
func (l *live) runTask(t *task) error {
	select {
	case l.host.tasks <- struct{}{}:
		defer func() { <-l.host.tasks }()
	case <-l.host.ctx.Done():
		return l.host.ctx.Err()
	}
	if err := l.Flush(l.host.ctx); err != nil { // it may not exist for good yet
		return err
	}
	runErr := l.callTask(t)
	if runErr != nil && l.host.ctx.Err() != nil {
		return l.host.ctx.Err() // stopped, not failed: the next process runs it again
	}
	ctx := context.WithoutCancel(l.host.ctx)
	current := l
	err := l.enter(ctx)
	if errors.Is(err, ErrGone) { // the handler has let this copy die
		current, err = enter(ctx, func() (*live, error) { return l.host.live(ctx, l.id) })
	}
	if err != nil {
		return err
	}
	err = current.changeAlone(ctx, func(u *unit) error { return u.endTask(t, runErr) })
	if current != l && err == nil {
		return ErrGone // the other copy has runners of its own
	}
	return err
}

func (l *live) callTask(t *task) (err error) {
	ctx, cancel := context.WithTimeout(l.host.ctx, l.host.opts.TaskTimeout)
	defer cancel()
	ctx, _ = effect.NewCall(ctx)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return l.def.run(ctx, l.id.ID, t)
}

// endTask removes a task that is done, or sets its next run.
func (u *unit) endTask(ran *task, runErr error) error {
	u.mu.Lock()
	now := u.live.memory.tasks[ran.ID]
	u.mu.Unlock()
	if now != ran && (now == nil || now.Order != ran.Order || !now.At.Equal(ran.At) || now.Attempt != ran.Attempt) {
		return nil // cancelled or replaced meanwhile
	}
	t := *ran
	switch {
	case runErr != nil && t.Attempt < t.Retries:
		t.Due = ran.due()
		t.Err = cut(runErr.Error(), 512)
		t.At = time.Now().UTC().Add(t.backoff())
		t.Attempt++
		return u.putTask(&t)
	case runErr != nil && t.Job:
		t.Dead, t.Err = true, cut(runErr.Error(), 512)
		if err := u.dropOldestDead(); err != nil {
			return err
		}
		return u.putTask(&t)
	case runErr != nil:
		u.live.host.log.Error("object: alarm given up", "kind", u.live.id.Kind, "alarm", t.Name, "attempts", t.Attempt+1, "err", runErr)
	}
	if !t.repeats() {
		return u.dropTask(t.ID)
	}
	at, err := ran.nextRound(time.Now())
	if err != nil {
		return err
	}
	t.At, t.Due, t.Attempt, t.Err = at, time.Time{}, 0, ""
	return u.putTask(&t)
}

// backoff is the pause after the attempt that has just failed.
func (t *task) backoff() time.Duration {
	first, most := 2*time.Second, 5*time.Minute
	if t.Job {
		first, most = 100*time.Millisecond, 30*time.Second
	}
	return min(most, first<<min(t.Attempt, 16))
}

func (u *unit) dropOldestDead() error {
	u.mu.Lock()
	var oldest *task
	n := 0
	for _, t := range u.live.memory.tasks {
		if t.Dead {
			if n++; oldest == nil || t.At.Before(oldest.At) {
				oldest = t
			}
		}
	}
	u.mu.Unlock()
	if n < maxDead {
		return nil
	}
	u.live.host.log.Warn("object: dead letter dropped, there are too many", "kind", u.live.id.Kind, "job", oldest.Name)
	return u.dropTask(oldest.ID)
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
