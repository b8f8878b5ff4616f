package main

import (
	"testing"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMain(m *testing.M) { program.TestMain(m, main) }

func TestEverybodyCalculates(t *testing.T) {
	p := program.Start(t)
	for _, era := range program.Eras {
		c := p.Connect(era, nil).ClientSession
		for op, want := range map[string]string{"add": "8", "subtract": "4", "multiply": "12", "divide": "3"} {
			if got := person.Text(t, c, "calculate", map[string]any{"operation": op, "a": 6, "b": 2}); got != want {
				t.Errorf("%s: got %s, want %s", op, got, want)
			}
		}
		for _, args := range []map[string]any{{"operation": "divide", "a": 1, "b": 0}, {"operation": "root", "a": 1, "b": 0}} {
			res, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: "calculate", Arguments: args})
			if err == nil && !res.IsError {
				t.Errorf("%v: %+v", args, res.Content)
			}
		}
	}
}
