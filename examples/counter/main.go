// Counter is state that outlives the process: one count for each session.
package main

import (
	"context"
	"log/slog"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type State struct{ Counter int }

var counter = &causeway.Agent[State]{
	Kind: "counter", Initial: State{Counter: 1}, Resources: []string{"mcp://resource/counter"},
	OnUpdate: func(_ context.Context, _ *causeway.Self[State], st State) { slog.Info("counter", "state", st) },
}

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Counter", Version: "1.0.0"}, causeway.Subscribable(nil))
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
	}) (*mcp.CallToolResult, any, error) {
		st, err := counter.Self(ctx).Update(ctx, func(st *State) error { st.Counter += in.A; return nil })
		return causeway.Textf("Added %d, total is now %d", in.A, st.Counter), nil, err
	})
	s.AddResource(&mcp.Resource{URI: "mcp://resource/counter", Name: "counter"}, func(ctx context.Context, _ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		st, err := counter.Self(ctx).State(ctx)
		return causeway.TextResource(st.Counter), err
	})
	app := &causeway.App{}
	app.Mount("/mcp", counter.Handler(s))
	app.Main()
}
