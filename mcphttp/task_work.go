package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/store"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A task is the part of a task that lives in one process: the handler at work.
// What others may know of it is in its record, and nothing is true of a task that
// its record does not say.
type task struct {
	h    *Handler
	kind *taskKind
	id   string
	// first is the record as it was made. User, tool and times to live stay so.
	first taskRecord
	// call is how the handler sees the request: it is the handler's context, and
	// where its questions and notifications go.
	call    *call
	raw     mcp.ToolHandler
	req     *mcp.CallToolRequest
	started bool // only touched by the goroutine of the creating call

	// asking is held while a question is put into the record, so that questions get
	// there in the order of their numbers.
	asking sync.Mutex

	parted sync.Once

	mu      sync.Mutex
	heard   []taskHeard // answers of earlier runs that this one has not asked for yet
	asked   int
	waiting map[string]chan json.RawMessage // questions whose asker is still here
}

// Why the context of a task's handler ended; see context.Cause.
var (
	errTaskCancelled = errors.New("the task was cancelled by its client")
	errTaskTimeout   = errors.New("the task took longer than the server allows")
	errTaskShutdown  = fmt.Errorf("%w while it works on this task", errShutdown)
	errTaskLost      = errors.New("the task was ended elsewhere")
)

// newTask describes the task that the call is to become. ctx is what Before made
// of the call's context: the task keeps its values, not its end.
func (c *call) newTask(ctx context.Context, kind *taskKind, raw mcp.ToolHandler, req *mcp.CallToolRequest) *task {
	now := wireNow()
	t := &task{h: c.h, kind: kind, id: c.h.newSessionID(c.user), raw: raw, req: req}
	t.first = taskRecord{User: c.user, Tool: c.target, Server: c.host.name, Owner: c.h.tasks.owner, Status: taskWorking,
		Created: now, Updated: now, TTL: kind.opts.TTL.Milliseconds(), Poll: kind.opts.Poll.Milliseconds()}
	tc := &call{h: c.h, host: c.host, ss: c.ss, asking: c.asking, modern: true, user: c.user, method: c.method, target: c.target,
		id: bytes.Clone(c.id), arguments: req.Params.Arguments, extra: c.extra, reply: taskReply{}, task: t}
	base, effects := effect.NewCall(context.WithoutCancel(ctx))
	if c.effects.Wrote() {
		// A write before the task was made is one of the same handler: when it runs
		// without a task, no question may follow, so none may here.
		effect.MarkWrite(base)
	}
	effects.Gate() // ask and carryOut flush before anything leaves
	tc.effects = effects
	tc.Context, tc.cancel = context.WithCancelCause(base)
	tc.questions.name = t.id
	t.call = tc
	return t
}

// taskReply is where the notifications of a task's handler go: nowhere, since the
// extension has none.
type taskReply struct{}

func (taskReply) emit([]byte) error          { return nil }
func (taskReply) respond(*call, []byte, int) {}
func (taskReply) pause(time.Duration)        {}

func (t *task) start() {
	t.started = true
	go t.work()
}

func (t *task) work() {
	defer t.h.tasks.leave(t)
	if t.call.Err() != nil { // before it had begun
		t.finish(nil, context.Cause(t.call))
		return
	}
	limit := time.AfterFunc(min(t.kind.opts.Timeout, time.Until(t.first.expires())), func() { t.stop(errTaskTimeout) })
	defer limit.Stop()
	result, err := t.carryOut()
	t.finish(result, err)
	t.call.cancel(nil)
}

// carryOut runs the handler and returns its result as it goes into the record. A
// panic is an error of the task and a line in the log.
func (t *task) carryOut() (result []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			t.h.log.Error("the handler of a task panicked", slog.String("target", t.first.Tool),
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			result, err = nil, wireError(sdkrpc.CodeInternalError, "internal error: the handler of the task failed")
		}
	}()
	res, err := t.receive()
	// Even an error tells of what the handler has seen.
	if flushErr := t.call.effects.Flush(context.WithoutCancel(t.call)); flushErr != nil {
		return nil, wireError(sdkrpc.CodeInternalError, "what the task wrote could not be made durable: %v", flushErr)
	}
	if err != nil {
		return nil, err
	}
	return t.call.encode(res)
}

// receive runs the handler until it has a result: one that returns questions of
// its own (InputRequests) runs again with the answers.
func (t *task) receive() (*mcp.CallToolResult, error) {
	req := t.req
	for round := 0; ; round++ {
		res, err := t.raw(t.call, req)
		if err != nil {
			return nil, err
		}
		asks, state := needed(res)
		if asks == nil && state == "" {
			return res, nil
		}
		if round >= maxRounds {
			return nil, wireError(sdkrpc.CodeInternalError, "%s wanted input in more than %d rounds", t.first.Tool, maxRounds)
		}
		answers, err := t.fulfil(asks)
		if err != nil {
			return nil, err
		}
		next, err := again(req, answers, state)
		if err != nil {
			return nil, err
		}
		req = next.(*mcp.CallToolRequest)
	}
}

// fulfil puts a handler's own questions to the client, all at once. They get keys
// of the task's, since the handler may use its keys again.
func (t *task) fulfil(asks mcp.InputRequestMap) (mcp.InputResponseMap, error) {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		answers = make(mcp.InputResponseMap, len(asks))
		failure error
	)
	for key, ask := range asks {
		wg.Go(func() {
			one, err := t.call.fulfilOne(ask)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = fmt.Errorf("asking the client for %q: %w", key, err)
				return
			}
			answers[key] = one
		})
	}
	wg.Wait()
	return answers, failure
}

// ask puts a question into the task's record and waits for its answer. Any number
// of goroutines may ask at a time.
func (t *task) ask(ctx context.Context, method string, question mcp.Params) (json.RawMessage, error) {
	ir, ok := question.(mcp.InputRequest)
	if !ok {
		return nil, fmt.Errorf("mcphttp: %s cannot be asked in a task", method)
	}
	request, err := inputRequest(ir)
	if err != nil {
		return nil, fmt.Errorf("encoding the question: %w", err)
	}
	if err := t.call.effects.Flush(ctx); err != nil {
		return nil, err
	}
	if known, ok := t.recall(request); ok {
		return known, nil
	}
	key, answer, err := t.putAsk(ctx, taskAsk{Method: method, Request: request})
	if err == nil {
		select {
		case raw := <-answer:
			return raw, nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-t.h.draining: // no answer comes here any more
			t.call.cancel(errTaskShutdown)
		case <-t.call.Done():
		}
	}
	if t.call.Err() != nil {
		return nil, context.Cause(t.call) // the record is over, or about to be
	}
	t.withdraw(key)
	return nil, err
}

// inputRequest is a question as it stands in inputRequests.
func inputRequest(ir mcp.InputRequest) (json.RawMessage, error) {
	raw, err := marshal(mcp.InputRequestMap{"q": ir})
	if err != nil {
		return nil, err
	}
	var one map[string]json.RawMessage
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, err
	}
	return one["q"], nil
}

func (t *task) putAsk(ctx context.Context, a taskAsk) (key string, answer <-chan json.RawMessage, err error) {
	t.asking.Lock()
	defer t.asking.Unlock()
	// The place for the answer is there before the question: the answer may be
	// faster than the return of the write. A number is spent even if the write
	// fails, since it may have taken effect.
	ch := make(chan json.RawMessage, 1)
	t.mu.Lock()
	t.asked++
	n := t.asked
	key = askKey(n)
	if t.waiting == nil {
		t.waiting = make(map[string]chan json.RawMessage)
	}
	t.waiting[key] = ch
	t.mu.Unlock()
	rec, err := t.h.changeTask(ctx, t.id, t.first.User, func(r *taskRecord) bool {
		if !t.owns(r) || !r.ask(n, a) {
			return false
		}
		t.prune(r)
		return true
	})
	if errors.Is(err, errTaskTooLarge) {
		return key, nil, wireError(sdkrpc.CodeInternalError, "the question is too large to be kept")
	}
	if err != nil {
		return key, nil, fmt.Errorf("asking: %w", err)
	}
	t.see(rec)
	return key, ch, nil
}

// withdraw takes a question back whose asker no longer waits.
func (t *task) withdraw(key string) {
	t.mu.Lock()
	delete(t.waiting, key)
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.call), storeTimeout)
	defer cancel()
	_, err := t.h.changeTask(ctx, t.id, t.first.User, func(r *taskRecord) bool { return !r.over() && r.close(key) })
	if err != nil {
		t.h.log.Warn("a question of a task could not be taken back", slog.String("target", t.first.Tool), slog.Any("error", err))
	}
}

// storeTimeout bounds what is tried at the store on nobody's request.
const storeTimeout = 30 * time.Second

// prune takes answers out of the record that have reached the handler.
func (t *task) prune(r *taskRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range r.Answers {
		if t.waiting[key] == nil {
			delete(r.Answers, key)
		}
	}
}

// see takes note of what the record says: answers go to their askers, and a task
// that is over is not worked on any longer. Records may be seen late, twice and
// in any order.
func (t *task) see(r *taskRecord) {
	t.mu.Lock()
	for key, raw := range r.Answers {
		if ch := t.waiting[key]; ch != nil {
			delete(t.waiting, key)
			ch <- raw // has room
		}
	}
	t.mu.Unlock()
	switch {
	case r.Status == taskCancelled:
		t.call.cancel(errTaskCancelled)
	case r.over(), !t.owns(r):
		t.call.cancel(errTaskLost)
	}
}

// owns tells whether the task is still worked on here. Whoever was taken for dead
// has nothing to say any more.
func (t *task) owns(r *taskRecord) bool { return r.Owner == t.first.Owner }

// stop ends the task for a reason of the server's. The record says so at once,
// whenever the handler returns.
func (t *task) stop(cause error) {
	t.call.cancel(cause)
	t.finish(nil, cause)
}

// stopped is why the server ended the task, nil if it did not. It goes before
// whatever the handler makes of its cancelled context.
func (t *task) stopped() *sdkrpc.Error {
	if t.call.Err() == nil {
		return nil
	}
	if errors.Is(context.Cause(t.call), errTaskTimeout) {
		return wireError(sdkrpc.CodeInternalError, "%v (%v)", errTaskTimeout, t.kind.opts.Timeout)
	}
	return nil
}

// partTimeout bounds the hand-over of a task at the end of a drain. What is not written
// by then is found as after a kill.
const partTimeout = 5 * time.Second

// part ends the task's run here, because the process ends: in the record it goes on, and
// nobody works on it. Where no process will, it fails.
func (t *task) part() {
	t.parted.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.call), partTimeout)
		defer cancel()
		rec, err := t.h.changeTask(ctx, t.id, t.first.User, func(r *taskRecord) bool {
			if r.over() || !t.owns(r) {
				return false
			}
			if why := t.staysBehind(r); why != "" {
				r.fail(wireError(sdkrpc.CodeInternalError, "the server was shut down while it worked on this task, and it does not run again: %s", why))
			} else {
				r.release()
			}
			return true
		})
		switch {
		case err != nil && !errors.Is(err, errNoTask):
			t.h.log.Warn("a task could not be handed to the next process: it will be found as after a crash", slog.String("target", t.first.Tool), slog.Any("error", err))
		case err == nil && !rec.over():
			t.h.log.Info("a task is left to the next process", slog.String("target", t.first.Tool))
		}
	})
}

// staysBehind is why the next process cannot run the task, "" if it can.
func (t *task) staysBehind(r *taskRecord) string {
	switch {
	case isVolatile(t.h.opts.Records):
		return "it was only kept in memory"
	case t.kind.opts.OneRun:
		return "its tool allows one run (OneRun)"
	case r.Call == nil:
		return "its call could not be kept to be repeated"
	}
	return ""
}

// isVolatile tells whether nothing in records is there for the next process. What does
// not say so is taken to be durable.
func isVolatile(records store.Records) bool {
	v, ok := records.(interface{ Volatile() bool })
	return ok && v.Volatile()
}

// finish writes the outcome, unless the task is over already. It tries for as long
// as the task would be kept: an outcome that is not written is lost.
func (t *task) finish(result []byte, err error) {
	if t.call.Err() != nil && errors.Is(context.Cause(t.call), errTaskShutdown) {
		t.part()
		return
	}
	var werr *sdkrpc.Error
	if err != nil {
		werr = t.call.wireErrorOf(err)
	}
	if s := t.stopped(); s != nil {
		werr = s
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := t.write(result, werr)
		switch {
		case err == nil, errors.Is(err, errNoTask):
			return
		case errors.Is(err, errTaskTooLarge):
			// Nothing else of the outcome is left in this message, so it fits.
			werr = wireError(sdkrpc.CodeInternalError, "the outcome of the task is too large to be kept (over %d bytes)", store.MaxValue)
			continue
		case errors.Is(err, store.ErrClosed), time.Now().After(t.first.expires()):
			t.h.log.Error("the outcome of a task is lost", slog.String("target", t.first.Tool), slog.Any("error", err))
			return
		}
		t.h.log.Warn("the outcome of a task could not be written yet", slog.String("target", t.first.Tool), slog.Any("error", err))
		time.Sleep(wait)
	}
}

func (t *task) write(result []byte, werr *sdkrpc.Error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.call), storeTimeout)
	defer cancel()
	_, err := t.h.changeTask(ctx, t.id, t.first.User, func(r *taskRecord) bool {
		switch {
		case r.over(), !t.owns(r):
			return false
		case werr != nil:
			r.fail(werr)
		default:
			r.end(taskCompleted, "")
			r.Result = result
		}
		return true
	})
	return err
}
