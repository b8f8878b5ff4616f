package mcphttp

import (
	"errors"
	"fmt"

	"github.com/causeway-mcp/causeway/internal/typedtool"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// AddTool adds a typed tool to s, as [mcp.AddTool] does, several times faster. The
// tool works on every transport, this package's or the SDK's.
//
// As there, a nil input or output schema is inferred from In and Out (an In of
// type any takes any object, an Out of type any has no schema), arguments are
// checked against the input schema and defaults filled in before the handler
// runs, and its output is checked and becomes structured content, with a text of
// it if the result has no content. A plain error becomes a result with IsError
// set. AddTool panics if a schema cannot be inferred or is not valid, or if an
// x-mcp-header annotation breaks the rules of 2026-07-28: a client would drop the
// tool.
//
// These are the differences from [mcp.AddTool]:
//
//   - arguments with a name that occurs twice are refused, at any depth;
//   - integers beyond 2^53 keep all their digits;
//   - an error that wraps a *jsonrpc.Error is a protocol error too;
//   - an error that wraps [ErrAsked] goes to the dispatcher: see [Elicit];
//   - the result that the handler returns is not written to;
//   - structured output keeps the order of the struct's fields, and <, > and & in
//     it are not escaped.
//
// Names are matched exactly, never ignoring case.
func AddTool[In, Out any](s *mcp.Server, t *mcp.Tool, h mcp.ToolHandlerFor[In, Out]) {
	tool, handler := mustTool(t, h)
	s.AddTool(tool, handler)
}

// mustTool makes a raw tool of a typed one, or panics as AddTool does.
func mustTool[In, Out any](t *mcp.Tool, h mcp.ToolHandlerFor[In, Out]) (*mcp.Tool, mcp.ToolHandler) {
	tool, handler, err := typedtool.New(t, h, isAsked)
	if err != nil {
		panic(fmt.Sprintf("AddTool: tool %q: %v", t.Name, err))
	}
	return tool, handler
}

func isAsked(err error) bool { return errors.Is(err, ErrAsked) }
