package mcphttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/typedtool"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// tasksExtension is the identifier of the Tasks extension (SEP-2663).
const tasksExtension = "io.modelcontextprotocol/tasks"

// TaskOptions say how the calls of a tool become tasks. The zero value is useful.
type TaskOptions struct {
	// Required refuses 2026-07-28 clients that have not declared the extension, with
	// -32021 (missing required client capability). Without it the handler runs for
	// them as an ordinary tool's does, and they wait for it. Clients of the session
	// eras, which cannot declare it, and other transports always get the latter.
	Required bool

	// TTL is how long a task can be read, counted from its creation (ttlMs). Its
	// handler is cancelled, and the task fails, when it takes longer; soon after,
	// the task is gone. Default 1 hour, at least 1 millisecond.
	TTL time.Duration

	// Poll is how often a client should ask for the task's state
	// (pollIntervalMs). Default 1 second, at least 1 millisecond.
	Poll time.Duration

	// Timeout bounds the handler's time: its context is cancelled and the task fails.
	// Zero is as long as the TTL. Options.CallTimeout does not concern tasks.
	Timeout time.Duration

	// OneRun makes a task fail whose process dies or is shut down while it works on it,
	// instead of having its handler run again from the start. It is for handlers whose
	// effects must not happen twice and cannot be put under Once.
	OneRun bool

	// Before, if not nil, runs as a part of the tools/call, before there is a task:
	// the place to refuse a call, and to ask what must be known first. It may ask as
	// any tool does ([Elicit] and its like, with [ErrAsked] to be returned at once).
	// The handler's context has the values of the context that Before returns; its
	// end and deadline have no effect. An error is answered as that of a tool.
	Before func(ctx context.Context, req *mcp.CallToolRequest) (context.Context, error)
}

// AddTask adds a typed tool, as [AddTool] does, whose calls become tasks for
// clients that know the Tasks extension (io.modelcontextprotocol/tasks, SEP-2663):
// the client gets an id at once and reads state and result later, over whatever
// connection, and from whatever process shares Options.Records. For clients that
// do not know it, in the session eras and over the SDK's own transports the
// handler runs as an ordinary tool's.
//
// The arguments are checked before there is a task. In a task, the handler's
// context outlives the request and ends when the task is cancelled (tasks/cancel),
// when its time is up or at the end of [Handler.Shutdown]; context.Cause says which.
// The task is cancelled at once, whatever the handler does then, but counts as running
// until it returns.
//
// [Elicit], [Sample] and [ListRoots] wait for the answer in a task: they show the
// question in the task's state, and several goroutines of one handler may ask at
// once. That a question cannot follow a write ([ErrAskAfterWrite]) holds here too.
// Progress and log notifications of a task go nowhere: the extension has none.
//
// A plain error becomes a result with IsError set and the task is completed. An
// error that wraps a *jsonrpc.Error, or a panic, makes it failed. A result that
// is larger than [store.MaxValue] cannot be kept, and makes it failed too.
//
// If the process that works on it dies, or is shut down and the task outlasts that, the
// handler runs again from its start, in whichever process finds out first (with a store of its own at the next start or
// request, with a shared one within half a minute; see [Handler.Restore]). It is the
// same call then, with the same [Caller] and CallID, so what it did under Once stays
// done once; questions that were answered get the same answers without being asked
// again. Everything else happens again. Of the token there are the user, the scopes
// and what names client and resource, but nothing secret. A task fails, with the
// reason, that has been begun [MaxTaskRuns] times (runs that a shutdown ended do not
// count), whose server no longer has the tool, whose call came with answers or is too
// large to be kept, or with OneRun. Without Options.Records, or with an engine in memory, a
// task ends with its process.
//
// A task belongs to the user that made it (auth.TokenInfo's UserID); to anyone
// else it does not exist.
func AddTask[In, Out any](s *mcp.Server, t *mcp.Tool, h mcp.ToolHandlerFor[In, Out], opts TaskOptions) {
	kind := newTaskKind(opts)
	// The raw handler runs twice for a task. The first time checks the arguments and
	// ends where the task is made; the second time is the task's own.
	var raw mcp.ToolHandler
	tool, raw, err := typedtool.New(t, func(ctx context.Context, req *mcp.CallToolRequest, in In) (res *mcp.CallToolResult, out Out, err error) {
		c := callOf(ctx)
		if c != nil && c.task != nil && c.task.kind == kind {
			return h(ctx, req, in)
		}
		if ctx, err = kind.begin(ctx, req); err != nil {
			return nil, out, err
		}
		if c == nil || !c.modern || !c.knowsTasks() {
			return h(ctx, req, in)
		}
		if err = c.becomeTask(ctx, kind, req, raw); err == nil {
			err = errBecameTask
		}
		return nil, out, err
	}, passesTask)
	if err != nil {
		panic(fmt.Sprintf("AddTask: tool %q: %v", t.Name, err))
	}
	entryOf(s).tasks.some.Store(true)
	s.AddTool(tool, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		res, err := raw(ctx, req)
		if errors.Is(err, errBecameTask) {
			// What the application's middleware sees. The client gets the task.
			return &mcp.CallToolResult{Content: []mcp.Content{}}, nil
		}
		return res, err
	})
}

var errBecameTask = errors.New("mcphttp: the call became a task")

func passesTask(err error) bool { return isAsked(err) || errors.Is(err, errBecameTask) }

// taskKinds tells whether a server has tools that can become tasks. It is used
// before the server is captured and after.
type taskKinds struct{ some atomic.Bool }

// A taskKind is one tool of that sort.
type taskKind struct{ opts TaskOptions }

func newTaskKind(opts TaskOptions) *taskKind {
	if opts.TTL <= 0 {
		opts.TTL = time.Hour
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	opts.TTL, opts.Poll = max(opts.TTL, time.Millisecond), max(opts.Poll, time.Millisecond)
	if opts.Timeout <= 0 || opts.Timeout > opts.TTL {
		opts.Timeout = opts.TTL
	}
	return &taskKind{opts}
}

// begin is what comes before the handler, task or not.
func (k *taskKind) begin(ctx context.Context, req *mcp.CallToolRequest) (context.Context, error) {
	if c := callOf(ctx); k.opts.Required && c != nil && c.modern {
		if err := c.requireTasks(); err != nil {
			return nil, err
		}
	}
	if k.opts.Before == nil {
		return ctx, nil
	}
	inner, err := k.opts.Before(ctx, req)
	if inner == nil {
		inner = ctx
	}
	return inner, err
}

func (c *call) requireTasks() error {
	return c.require(`{"extensions":{"`+tasksExtension+`":{}}}`, hasTasks)
}

func (c *call) knowsTasks() bool {
	p := c.ss.InitializeParams()
	return p != nil && p.Capabilities != nil && hasTasks(p.Capabilities)
}

func hasTasks(caps *mcp.ClientCapabilities) bool {
	_, ok := caps.Extensions[tasksExtension].(map[string]any)
	return ok
}

// withTasks adds the extension to what server/discover tells, if the server has
// such tools.
func (c *call) withTasks(raw []byte, d *mcp.DiscoverResult) ([]byte, error) {
	if !c.host.tasks.some.Load() {
		return raw, nil
	}
	with := *d
	caps := mcp.ServerCapabilities{}
	if d.Capabilities != nil {
		caps = *d.Capabilities
	}
	caps.Extensions = maps.Clone(caps.Extensions)
	if caps.Extensions == nil {
		caps.Extensions = make(map[string]any)
	}
	if _, own := caps.Extensions[tasksExtension]; !own {
		caps.Extensions[tasksExtension] = struct{}{}
	}
	with.Capabilities = &caps
	return marshal(&with)
}

// becomeTask makes the call a task: there is a record of it when becomeTask
// returns, and work on it starts when the call is answered (startTask). A call
// makes one task at most, however often middleware runs the handler.
func (c *call) becomeTask(ctx context.Context, kind *taskKind, req *mcp.CallToolRequest, raw mcp.ToolHandler) error {
	if c.created != nil {
		return nil
	}
	// The request's own text may be gone when the task reads it.
	params := *req.Params
	params.Arguments = bytes.Clone(params.Arguments)
	kept := &mcp.CallToolRequest{Session: req.Session, Params: &params, Extra: req.Extra}
	t := c.newTask(ctx, kind, raw, kept)
	var prev store.Revision
	if c.rerun != nil {
		prev = c.rerun.into(t)
	} else {
		t.first.Call = c.keptCall(kind)
	}
	if err := c.h.tasks.create(c, t, prev); err != nil {
		if c.rerun != nil {
			// No error of the tool's: what follows from it is not the tool's business.
			c.rerun.failure = err
			return nil
		}
		return err
	}
	c.created = t
	return nil
}

// encodeTask is the answer of a call that became a task (CreateTaskResult), with
// the _meta that middleware may have put on its result.
func (c *call) encodeTask(res mcp.Result) ([]byte, error) {
	meta := mcp.Meta{}
	if r, ok := res.(*mcp.CallToolResult); ok && r != nil {
		meta = r.Meta
	}
	return c.encodeModern(&taskResult{mcp.ResultBase{Meta: meta}, c.created.first.object(c.created.id, `"resultType":"task"`, false)})
}

// startTask begins the work on the task that the call became, if it did. Its
// client is about to know of it.
func (c *call) startTask() {
	if c.created != nil && c.Err() == nil {
		c.created.start()
	}
}

// dropTask forgets a task that its client will never know of: middleware made an
// error of it, or the client is gone.
func (c *call) dropTask() {
	if c.created != nil && !c.created.started {
		c.h.tasks.drop(c.created)
		c.created = nil
	}
}

// A taskResult is a result whose members are JSON already.
type taskResult struct {
	mcp.ResultBase
	body []byte
}

func (r *taskResult) MarshalJSON() ([]byte, error) { return r.body, nil }
