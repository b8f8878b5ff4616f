package demo

import (
	"context"
	"errors"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// count is the state of a counter.
type count struct {
	Value int64 `json:"value"`
}

// counters are durable objects, one for each session; where there is none, for each
// signed-in user and client, or for each handle. See examples/counter.
var counters = &causeway.Agent[count]{Kind: "demo-counter", Tools: []string{countTool}}

const countTool = "count"

type countInput struct {
	By *int64 `json:"by,omitempty" jsonschema:"how much to count on; 1 if left out; 0 just looks"`
}

// maxCount keeps sums within what JSON numbers carry everywhere.
const maxCount = 1 << 53

func addUp(ctx context.Context, _ *mcp.CallToolRequest, in countInput) (*mcp.CallToolResult, count, error) {
	by := int64(1)
	if in.By != nil {
		by = *in.By
	}
	c, err := counters.Self(ctx).Update(ctx, func(c *count) error {
		if by < -maxCount || by > maxCount || c.Value+by < -maxCount || c.Value+by > maxCount {
			return errors.New("the counter does not go that far")
		}
		c.Value += by
		return nil
	})
	return text("The counter is at %d.", c.Value), c, err
}
