package typedtool

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/causeway-mcp/causeway/internal/schema"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// output renders what a handler returns besides its result.
type output[Out any] struct {
	checker *schema.Checker // nil: anything
	// zero stands in for a nil pointer, which would be null. It is nil if Out is not
	// a pointer type.
	zero any
}

func outputOf[Out any](tool *mcp.Tool) (*output[Out], error) {
	t := reflect.TypeFor[Out]()
	if tool.OutputSchema == nil && t == reflect.TypeFor[any]() {
		return &output[Out]{}, nil
	}
	checker, err := compile(&tool.OutputSchema, t)
	if err != nil {
		return nil, fmt.Errorf("output schema: %w", err)
	}
	o := &output[Out]{checker: checker}
	if t.Kind() == reflect.Pointer {
		o.zero = reflect.Zero(t.Elem()).Interface()
	}
	return o, nil
}

// result completes what the handler returned, in a copy: a handler may return
// the same result many times.
func (o *output[Out]) result(res *mcp.CallToolResult, out Out) (*mcp.CallToolResult, error) {
	var complete mcp.CallToolResult
	if res != nil {
		complete = *res
	}
	value := o.value(out)
	if value == nil || complete.InputRequests != nil {
		return &complete, nil
	}
	raw, err := jsonv2.Marshal(value, encoding)
	if err != nil {
		return nil, fmt.Errorf("marshaling output: %w", err)
	}
	if o.checker != nil {
		if raw, err = o.checker.CheckOutput(raw); err != nil {
			return nil, fmt.Errorf("validating tool output: %w", err)
		}
	}
	complete.StructuredContent = json.RawMessage(raw)
	complete.Content = withText(complete.Content, raw)
	return &complete, nil
}

// value is what to render, nil for nothing.
func (o *output[Out]) value(out Out) any {
	if o.zero != nil {
		var none Out
		if any(out) == any(none) {
			return o.zero
		}
	}
	return out
}

// withText adds the output as text for clients that know no structured content:
// where there is no other content, and always if it is not an object, which
// older clients cannot receive in any other way.
func withText(content []mcp.Content, raw []byte) []mcp.Content {
	if content != nil && raw[0] == '{' {
		return content
	}
	// Full slice expression: the handler's own slice is not to be written to.
	return append(content[:len(content):len(content)], &mcp.TextContent{Text: string(raw)})
}
