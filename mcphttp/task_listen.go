package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/store"
)

// maxFollowed bounds the tasks that one subscription follows.
const maxFollowed = 100

const noteTasks = "notifications/tasks"

// followable reads which tasks a subscription is to follow, and keeps those that
// its user has.
func (c *call) followable(params []byte) ([]string, error) {
	asked, err := askedTasks(params)
	if err != nil || asked == nil {
		return nil, err
	}
	if err := c.requireTasks(); err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range asked {
		if slices.Contains(ids, id) {
			continue
		}
		_, _, err := c.h.readTask(c, id, c.user)
		if errors.Is(err, errNoTask) {
			continue
		}
		if err != nil {
			return nil, c.taskError(err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// askedTasks is params.notifications.taskIds of a subscriptions/listen: outside
// bytes. It is nil if there is none.
func askedTasks(params []byte) (ids []string, err error) {
	p, err := jsonrpc.ParseParams(params)
	if err != nil {
		return nil, err
	}
	if !jsonrpc.IsObject(p.Notifications) {
		return nil, nil // the SDK's handler says what is wrong with it
	}
	err = jsonrpc.ScanObject(p.Notifications, func(name, value []byte) error {
		if string(name) != "taskIds" || jsonrpc.IsNull(value) {
			return nil
		}
		ids = []string{}
		if json.Unmarshal(value, &ids) != nil || slices.Contains(ids, "") {
			return invalidParams("subscriptions/listen: notifications.taskIds must be an array of task ids")
		}
		if len(ids) > maxFollowed {
			return invalidParams("subscriptions/listen: notifications.taskIds has more than %d ids", maxFollowed)
		}
		return nil
	})
	return ids, err
}

// withTasks adds the tasks that are followed to the acknowledgement, which the
// SDK made without knowing of them.
func (s *subscription) withTasks(ack []byte) ([]byte, error) {
	if len(s.tasks) == 0 {
		return ack, nil
	}
	var params, honoured map[string]json.RawMessage
	if err := json.Unmarshal(ack, &params); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(params["notifications"], &honoured); err != nil {
		return nil, err
	}
	if honoured == nil {
		honoured = make(map[string]json.RawMessage)
	}
	var err error
	if honoured["taskIds"], err = marshal(s.tasks); err != nil {
		return nil, err
	}
	if params["notifications"], err = marshal(honoured); err != nil {
		return nil, err
	}
	return marshal(params)
}

// followTasks sends the tasks of a subscription, as they are at first and then
// whenever they change, until the call ends. Nothing comes before the
// acknowledgement.
func (c *call) followTasks(sub *subscription) {
	if len(sub.tasks) == 0 {
		return
	}
	select {
	case <-sub.acked:
	case <-c.Done():
		return
	}
	for _, id := range sub.tasks {
		go c.followTask(sub, id)
	}
}

func (c *call) followTask(sub *subscription, id string) {
	f := &taskFollower{call: c, sub: sub, id: id, checked: time.Now()}
	for c.Err() == nil {
		for change, err := range c.h.opts.Records.Watch(c, taskKey(id), 0) {
			if err != nil {
				break
			}
			if f.see(change) {
				return
			}
		}
		_ = pause(c, time.Second) // a watch that broke off starts with what is there
	}
}

// A taskFollower sends the changes of one task to one subscription.
type taskFollower struct {
	call    *call
	sub     *subscription
	id      string
	sent    store.Revision
	checked time.Time
}

// see reports whether there is nothing more to come.
func (f *taskFollower) see(change store.Change) (done bool) {
	switch {
	case change.Heartbeat:
		f.check()
		return false
	case change.Record.Key != taskKey(f.id) || change.Record.Revision <= f.sent:
		return false
	case change.Deleted:
		return true
	default:
		return f.send(change.Record)
	}
}

// check finds out from time to time whether the task is still worked on. If it is
// not, that is a change, which comes through the watch.
func (f *taskFollower) check() {
	if time.Since(f.checked) < f.call.h.tasks.leaseTTL/2 {
		return
	}
	f.checked = time.Now()
	ctx, cancel := context.WithTimeout(f.call, storeTimeout)
	defer cancel()
	if _, _, err := f.call.h.readTask(ctx, f.id, f.call.user); err != nil && !errors.Is(err, errNoTask) && f.call.Err() == nil {
		f.call.h.log.Warn("a task that a client follows could not be read", slog.Any("error", err))
	}
}

func (f *taskFollower) send(r store.Record) (done bool) {
	rec := new(taskRecord)
	if err := json.Unmarshal(r.Value, rec); err != nil || rec.User != f.call.user {
		return true
	}
	f.sent = r.Revision
	note := jsonrpc.AppendNotification(nil, noteTasks, f.sub.mark(rec.object(f.id, "", true), nil))
	return !f.sub.out.put(event{data: note}) || rec.over()
}

// outlast keeps a subscription open that follows tasks and that the SDK's handler
// has done with, because nothing that it knows of was subscribed to.
func (s *subscription) outlast(c *call) {
	if len(s.tasks) == 0 {
		return
	}
	select {
	case <-s.acked:
		<-c.Done()
	default: // refused: there is nothing to wait for
	}
}
