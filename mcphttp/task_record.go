package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/store"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A taskStatus is the status of a task on the wire.
type taskStatus string

const (
	taskWorking       taskStatus = "working"
	taskInputRequired taskStatus = "input_required"
	taskCompleted     taskStatus = "completed"
	taskFailed        taskStatus = "failed"
	taskCancelled     taskStatus = "cancelled"
)

// A taskRecord is a task as it is kept: all that any process needs to answer for
// it. Every change of it is a compare-and-set, and none comes after it is over.
type taskRecord struct {
	// User is the user that made it, by auth.TokenInfo's UserID; "" is nobody.
	User string `json:"u,omitempty"`
	// Tool is the name of the tool, Server that of its server.
	Tool   string `json:"n"`
	Server string `json:"f,omitempty"`
	// Owner names the handler whose process works on it, "" for one that was shut down;
	// see taskBoard.
	Owner string `json:"o"`

	Status  taskStatus `json:"s"`
	Message string     `json:"m,omitempty"`
	Created time.Time  `json:"c"`
	Updated time.Time  `json:"t"`
	TTL     int64      `json:"x"` // milliseconds from Created on
	Poll    int64      `json:"p"` // milliseconds

	// Asked counts the questions so far: the n-th has the key askKeyPrefix+n, and no
	// key is used twice.
	Asked int `json:"k,omitempty"`
	// Open are the questions that wait for an answer.
	Open map[string]taskAsk `json:"a,omitempty"`
	// Answers wait for the handler, which may be in another process.
	Answers map[string]json.RawMessage `json:"w,omitempty"`

	// Call is the request, nil if it cannot run again; Runs is how often it was taken
	// over, and Heard what it was answered, for its questions not to be asked again.
	Call  *taskCall   `json:"q,omitempty"`
	Runs  int         `json:"z,omitempty"`
	Heard []taskHeard `json:"h,omitempty"`

	// Result, of a completed task, is complete as tools/call would have answered it;
	// Error, of a failed one, is the JSON-RPC error.
	Result json.RawMessage `json:"r,omitempty"`
	Error  json.RawMessage `json:"e,omitempty"`
}

// A taskAsk is one question: an entry of inputRequests.
type taskAsk struct {
	Method string `json:"m"`
	// Request is the whole entry, method included.
	Request json.RawMessage `json:"r"`
}

const taskPrefix = "mcp/task/"

// taskKey is the record key of a task id from outside, "" if it cannot be one.
// Task ids are made as session ids are.
func taskKey(id string) string {
	key := sessionKey(id)
	if key == "" {
		return ""
	}
	return taskPrefix + key[len(sessionPrefix):]
}

func (r *taskRecord) over() bool {
	return r.Status == taskCompleted || r.Status == taskFailed || r.Status == taskCancelled
}

// touch sets the time of a change. It never goes back, whatever clocks say.
func (r *taskRecord) touch() {
	if now := wireNow(); now.After(r.Updated) {
		r.Updated = now
	}
}

// wireNow is the present as precisely as the wire tells it.
func wireNow() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func (r *taskRecord) expires() time.Time {
	return r.Created.Add(time.Duration(r.TTL) * time.Millisecond)
}

// keptFor is how long the record is kept from now on: some time longer than the
// task's own, so that a client still learns that it ran out.
func (r *taskRecord) keptFor() time.Duration {
	grace := min(time.Duration(r.TTL)*time.Millisecond, 30*time.Second)
	return max(time.Until(r.expires())+grace, time.Millisecond)
}

// end makes the task over.
func (r *taskRecord) end(status taskStatus, message string) {
	r.Status, r.Message = status, message
	r.Open, r.Answers, r.Call, r.Heard = nil, nil, nil, nil
}

// release leaves the task to whoever comes by. The run that ends so is none of those that
// [MaxTaskRuns] counts: the next one makes up for it.
func (r *taskRecord) release() {
	r.Owner = ""
	r.Runs--
}

func (r *taskRecord) fail(werr *sdkrpc.Error) {
	r.end(taskFailed, werr.Message)
	r.Error = appendErrorObject(nil, werr)
}

func appendErrorObject(b []byte, werr *sdkrpc.Error) []byte {
	b = strconv.AppendInt(append(b, `{"code":`...), werr.Code, 10)
	b = jsonrpc.AppendString(append(b, `,"message":`...), werr.Message)
	if json.Valid(werr.Data) {
		b = append(append(b, `,"data":`...), werr.Data...)
	}
	return append(b, '}')
}

// ask adds question number n. It reports false if there is nothing to do.
func (r *taskRecord) ask(n int, a taskAsk) bool {
	if r.over() || n <= r.Asked { // written before, by an attempt whose outcome was not known
		return false
	}
	if r.Open == nil {
		r.Open = make(map[string]taskAsk)
	}
	r.Asked = n
	r.Open[askKey(n)] = a
	r.Status = taskInputRequired
	return true
}

func askKey(n int) string { return askKeyPrefix + strconv.Itoa(n) }

// close takes a question back, or marks it as answered.
func (r *taskRecord) close(key string) bool {
	if _, open := r.Open[key]; !open {
		return false
	}
	delete(r.Open, key)
	if len(r.Open) == 0 {
		r.Status = taskWorking
	}
	return true
}

// answer takes in the answers that belong to open questions. What is unknown,
// answered already or of the wrong shape is passed over.
func (r *taskRecord) answer(responses map[string]json.RawMessage) (changed bool) {
	for key, raw := range responses {
		ask, open := r.Open[key]
		if !open || !answers(ask.Method, raw) {
			continue
		}
		r.close(key)
		if r.Answers == nil {
			r.Answers = make(map[string]json.RawMessage)
		}
		r.Answers[key] = bytes.Clone(raw)
		r.hear(ask, raw)
		changed = true
	}
	return changed
}

// answers tells whether raw is an answer to a question of the method.
func answers(method string, raw json.RawMessage) bool {
	res, err := decodeAnswer(method, raw)
	if err != nil {
		return false
	}
	if e, ok := res.(*mcp.ElicitResult); ok {
		return e.Action == "accept" || e.Action == "decline" || e.Action == "cancel"
	}
	return true
}

// object writes the task as the wire shows it: Task, or DetailedTask with
// inputRequests, result or error. first is a member to begin with, or "".
func (r *taskRecord) object(id, first string, detailed bool) []byte {
	b := append(make([]byte, 0, 256+len(r.Result)+len(r.Error)), '{')
	if first != "" {
		b = append(append(b, first...), ',')
	}
	b = jsonrpc.AppendString(append(b, `"taskId":`...), id)
	b = jsonrpc.AppendString(append(b, `,"status":`...), string(r.Status))
	if r.Message != "" {
		b = jsonrpc.AppendString(append(b, `,"statusMessage":`...), r.Message)
	}
	const layout = "2006-01-02T15:04:05.000Z"
	b = append(r.Created.UTC().AppendFormat(append(b, `,"createdAt":"`...), layout), '"')
	b = append(r.Updated.UTC().AppendFormat(append(b, `,"lastUpdatedAt":"`...), layout), '"')
	b = strconv.AppendInt(append(b, `,"ttlMs":`...), r.TTL, 10)
	b = strconv.AppendInt(append(b, `,"pollIntervalMs":`...), r.Poll, 10)
	if detailed {
		b = r.appendDetails(b)
	}
	return append(b, '}')
}

func (r *taskRecord) appendDetails(b []byte) []byte {
	switch r.Status {
	case taskInputRequired:
		b = append(b, `,"inputRequests":{`...)
		comma := false
		for n := 1; n <= r.Asked; n++ { // in the order they were asked
			ask, open := r.Open[askKey(n)]
			if !open {
				continue
			}
			if comma {
				b = append(b, ',')
			}
			comma = true
			b = append(jsonrpc.AppendString(b, askKey(n)), ':')
			b = append(b, ask.Request...)
		}
		b = append(b, '}')
	case taskCompleted:
		b = append(append(b, `,"result":`...), r.Result...)
	case taskFailed:
		b = append(append(b, `,"error":`...), r.Error...)
	}
	return b
}

var (
	errNoTask = invalidParams("task not found: there is no such task, it has expired, or it is not yours")
	// errTaskTooLarge is no fault of the store: the task as it should become is over
	// the limit of a record.
	errTaskTooLarge = errors.New("larger than can be kept")
)

// putTask writes a task's record.
func (h *Handler) putTask(ctx context.Context, key string, rec *taskRecord, prev store.Revision) error {
	v, err := marshal(rec)
	if err != nil {
		return fmt.Errorf("encoding the task: %w", err)
	}
	if len(v) > store.MaxValue {
		return errTaskTooLarge
	}
	_, err = h.opts.Records.Put(ctx, key, v, prev, &store.PutOptions{TTL: rec.keptFor()})
	if errors.Is(err, store.ErrTooLarge) {
		return errTaskTooLarge
	}
	return err
}

// readTask reads a task for a user. A task of someone else does not exist for
// them. A task that nobody works on any more is failed by whoever comes by.
func (h *Handler) readTask(ctx context.Context, id, user string) (*taskRecord, store.Revision, error) {
	key := taskKey(id)
	if key == "" {
		return nil, 0, errNoTask
	}
	for {
		r, err := h.opts.Records.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil, 0, errNoTask
		}
		if err != nil {
			return nil, 0, fmt.Errorf("reading the task: %w", err)
		}
		rec := new(taskRecord)
		if err := json.Unmarshal(r.Value, rec); err != nil {
			return nil, 0, fmt.Errorf("reading the task: %w", err)
		}
		if rec.User != user {
			return nil, 0, errNoTask
		}
		if rec.over() || h.tasks.attended(ctx, id, rec.Owner) {
			return rec, r.Revision, nil
		}
		if h.takeOver(id, rec) {
			return rec, r.Revision, nil
		}
		// If it only just ended, or someone else comes by too, this conflicts, and the
		// next round reads how it ended.
		rec.fail(errTaskAbandoned)
		rec.touch()
		switch err := h.putTask(ctx, key, rec, r.Revision); {
		case err == nil, errors.Is(err, store.ErrConflict):
		case errors.Is(err, store.ErrUnknown):
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return nil, 0, err
			}
		default:
			return nil, 0, fmt.Errorf("writing the task: %w", err)
		}
	}
}

var errTaskAbandoned = wireError(sdkrpc.CodeInternalError, "the server that worked on this task is gone; what the task has done until then is not known")

// changeTask changes a task by compare-and-set, as often as it takes. change
// reports false if there is nothing to change; it may be called again with a
// record that has its change already, when the outcome of a write was not known.
func (h *Handler) changeTask(ctx context.Context, id, user string, change func(*taskRecord) bool) (*taskRecord, error) {
	turn := h.tasks.turn(id)
	turn.Lock()
	defer turn.Unlock()
	for {
		rec, rev, err := h.readTask(ctx, id, user)
		if err != nil || !change(rec) {
			return rec, err
		}
		rec.touch()
		err = h.putTask(ctx, taskKey(id), rec, rev)
		switch {
		case err == nil:
			return rec, nil
		case errors.Is(err, store.ErrConflict):
		case errors.Is(err, store.ErrUnknown):
			// The store is having difficulties: do not add to them.
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return nil, err
			}
		case errors.Is(err, errTaskTooLarge):
			return nil, err
		default:
			return nil, fmt.Errorf("writing the task: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
