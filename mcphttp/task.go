package mcphttp

import (
	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// taskKinds are the tools of a server that can become tasks.
type taskKinds struct{}

func isTaskMethod(method string) bool {
	return method == methodGetTask || method == methodUpdateTask || method == methodCancelTask
}

func (c *call) runTaskMethod(p *jsonrpc.Params) {}

func (c *call) withTasks(raw []byte, d *mcp.DiscoverResult) ([]byte, error) { return raw, nil }
