// Package typedtool turns a typed handler into a raw tool of the official Go SDK.
//
// It does what the SDK's mcp.AddTool does (schemas inferred from the types,
// arguments checked and defaults filled in, output checked and rendered) but
// compiles schemas once, reads the arguments as raw text and decodes them once.
package typedtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/causeway-mcp/causeway/internal/paramheader"
	"github.com/causeway-mcp/causeway/internal/schema"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// New returns a copy of t with its schemas set, and a handler for it, ready for
// [mcp.Server.AddTool]. An error of h for which pass is true is returned by the
// handler unchanged; others become results of their own.
//
// It fails if a schema cannot be inferred or is not valid, or if an x-mcp-header
// annotation breaks the rules.
func New[In, Out any](t *mcp.Tool, h mcp.ToolHandlerFor[In, Out], pass func(error) bool) (*mcp.Tool, mcp.ToolHandler, error) {
	tool := *t
	input, err := inputOf[In](&tool)
	if err != nil {
		return nil, nil, err
	}
	output, err := outputOf[Out](&tool)
	if err != nil {
		return nil, nil, err
	}
	return &tool, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var in In
		if err := decode(input, req.Params.Arguments, &in); err != nil {
			return toolError(err), nil
		}
		res, out, err := h(ctx, req, in)
		if err != nil {
			return failure(err, pass)
		}
		return output.result(res, out)
	}, nil
}

func inputOf[In any](tool *mcp.Tool) (*schema.Checker, error) {
	t := reflect.TypeFor[In]()
	if t == reflect.TypeFor[any]() && tool.InputSchema == nil {
		tool.InputSchema = &jsonschema.Schema{Type: "object"}
	}
	checker, err := compile(&tool.InputSchema, t)
	if err != nil {
		return nil, fmt.Errorf("input schema: %w", err)
	}
	if _, err := paramheader.Bindings(tool.InputSchema); err != nil {
		return nil, fmt.Errorf("input schema: %w", err)
	}
	return checker, nil
}

// compile prepares the schema in field, after setting it to that of type t if
// there is none.
func compile(field *any, t reflect.Type) (*schema.Checker, error) {
	var s *jsonschema.Schema
	switch given := (*field).(type) {
	case nil:
		inferred, err := jsonschema.ForType(element(t), &jsonschema.ForOptions{})
		if err != nil {
			return nil, err
		}
		s, *field = inferred, inferred
	case *jsonschema.Schema:
		s = given
	default:
		raw, err := json.Marshal(given)
		if err != nil {
			return nil, fmt.Errorf("reading the schema: %w", err)
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("reading the schema: %w", err)
		}
	}
	return schema.Compile(s)
}

// element is the type that the schema of t describes: pointers count as what
// they point to, one level of them.
func element(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// failure makes a result of a handler's error. A protocol error stays one, also
// when it is wrapped.
func failure(err error, pass func(error) bool) (*mcp.CallToolResult, error) {
	var protocol *jsonrpc.Error
	if pass(err) || errors.As(err, &protocol) {
		return nil, err
	}
	return toolError(err), nil
}

func toolError(err error) *mcp.CallToolResult {
	var res mcp.CallToolResult
	res.SetError(err)
	return &res
}
