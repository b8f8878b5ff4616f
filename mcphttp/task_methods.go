package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

func isTaskMethod(method string) bool {
	return method == methodGetTask || method == methodUpdateTask || method == methodCancelTask
}

// runTaskMethod carries out tasks/get, tasks/update or tasks/cancel and answers
// it. These are the dispatcher's own: the server's chain knows nothing of them.
func (c *call) runTaskMethod(p *jsonrpc.Params) {
	defer c.end()
	body, err := c.taskMethod(p)
	if err != nil {
		werr := c.wireErrorOf(err)
		c.reply.respond(c, encodeError(c.id, werr), statusOf(werr, true))
		return
	}
	c.reply.respond(c, jsonrpc.AppendResult(nil, c.id, body), http.StatusOK)
}

func (c *call) taskMethod(p *jsonrpc.Params) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.h.log.Error("a task method panicked", slog.String("method", c.method), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			body, err = nil, wireError(sdkrpc.CodeInternalError, "internal error")
		}
	}()
	if !c.host.tasks.some.Load() {
		return nil, wireError(sdkrpc.CodeMethodNotFound, "method not found: %q (this server has no tasks)", c.method)
	}
	// What the client must declare comes before what it asks for, so that nothing
	// about ids is told to those who may not ask.
	if err := c.requireTasks(); err != nil {
		return nil, err
	}
	object, err := c.taskAnswer(p)
	if err != nil {
		return nil, c.taskError(err)
	}
	return c.encodeModern(&taskResult{body: object})
}

// emptyTaskAnswer acknowledges an update or a cancellation.
var emptyTaskAnswer = []byte(`{"resultType":"complete"}`)

func (c *call) taskAnswer(p *jsonrpc.Params) ([]byte, error) {
	switch c.method {
	case methodUpdateTask:
		return emptyTaskAnswer, c.updateTask(p.InputResponses)
	case methodCancelTask:
		return emptyTaskAnswer, c.cancelTask()
	default:
		rec, _, err := c.h.readTask(c, c.target, c.user)
		if err != nil {
			return nil, err
		}
		return rec.object(c.target, `"resultType":"complete"`, true), nil
	}
}

// taskError is an error of the store as the client gets to see it.
func (c *call) taskError(err error) error {
	var werr *sdkrpc.Error
	if errors.As(err, &werr) || c.Err() != nil {
		return err
	}
	c.h.log.Error("the task store failed", slog.String("method", c.method), slog.Any("error", err))
	return wireError(sdkrpc.CodeInternalError, "the task store is not available")
}

// updateTask hands in answers. They are in the task's record before this is
// acknowledged, whichever process works on the task.
func (c *call) updateTask(raw []byte) error {
	responses := make(map[string]json.RawMessage)
	if !jsonrpc.IsObject(raw) {
		return invalidParams("tasks/update: params.inputResponses is missing or not an object")
	}
	err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
		responses[string(name)] = value
		return nil
	})
	if err != nil {
		return invalidParams("tasks/update: params.inputResponses: %v", err)
	}
	err = c.changeAndTell(func(r *taskRecord) bool { return r.answer(responses) })
	if errors.Is(err, errTaskTooLarge) {
		return invalidParams("tasks/update: params.inputResponses: too large to be kept")
	}
	return err
}

// cancelTask makes the task cancelled there and then. The handler learns of it
// through its context, and nothing it returns afterwards counts.
func (c *call) cancelTask() error {
	return c.changeAndTell(func(r *taskRecord) bool {
		if r.over() {
			return false
		}
		r.end(taskCancelled, "cancelled by the client")
		return true
	})
}

// changeAndTell changes the task and lets its worker know, even if there was
// nothing to change: a process that died between the two may be why the client
// repeats itself.
func (c *call) changeAndTell(change func(*taskRecord) bool) error {
	// Once begun it is not left half done because the client hangs up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c), storeTimeout)
	defer cancel()
	rec, err := c.h.changeTask(ctx, c.target, c.user, change)
	if err != nil {
		return err
	}
	c.h.tasks.tell(ctx, c.target, rec)
	return nil
}
