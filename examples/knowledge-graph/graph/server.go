// Package graph is a memory for models: entities, what was observed of them and
// how they relate, in a SQL database of each user's own. It has the tools of the
// reference memory server, with the same arguments and results.
package graph

import (
	"context"
	"encoding/json"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const graphURI = "memory://knowledge-graph"

// State is what is kept beside the database, and written in one step with it.
type State struct {
	Schema  int // of the database; 0 is none
	Changes int // counts writes, so that each makes a new state to tell subscribers of
}

var graphs = &causeway.Agent[State]{
	Kind: "knowledge-graph", Scope: causeway.PerUser, Resources: []string{graphURI},
}

// A step is the work of one tool on the caller's graph.
type step[In, Out any] func(ctx context.Context, tx object.Tx, in In) (Out, error)

// writes adds a tool whose work is one transaction: it happens wholly or not at all.
func writes[In, Out any](s *mcp.Server, name, does string, destroys bool, work step[In, Out]) {
	tool := &mcp.Tool{Name: name, Description: does, Annotations: &mcp.ToolAnnotations{
		DestructiveHint: &destroys, IdempotentHint: destroys, OpenWorldHint: new(bool),
	}}
	causeway.AddTool(s, tool, func(ctx context.Context, _ *mcp.CallToolRequest, in In) (_ *mcp.CallToolResult, out Out, err error) {
		err = graphs.Self(ctx).Tx(ctx, func(ctx context.Context, tx object.Tx, st *State) error {
			if err := migrate(ctx, tx, &st.Schema); err != nil {
				return err
			}
			st.Changes++
			out, err = work(ctx, tx, in)
			return err
		})
		return show(out), out, err
	})
}

// reads adds a tool that shows a part of the graph.
func reads[In any](s *mcp.Server, name, does string, work step[In, Graph]) {
	tool := &mcp.Tool{Name: name, Description: does, Annotations: &mcp.ToolAnnotations{
		ReadOnlyHint: true, DestructiveHint: new(bool), IdempotentHint: true, OpenWorldHint: new(bool),
	}}
	causeway.AddTool(s, tool, func(ctx context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, Graph, error) {
		g, err := readGraph(ctx, in, work)
		return show(g), g, err
	})
}

// readGraph reads in one transaction, so that all of it is of the same moment.
func readGraph[In any](ctx context.Context, in In, work step[In, Graph]) (Graph, error) {
	g := Graph{Entities: []Entity{}, Relations: []Relation{}}
	err := graphs.Self(ctx).Tx(ctx, func(ctx context.Context, tx object.Tx, st *State) (err error) {
		if st.Schema > 0 { // else nothing was ever written
			g, err = work(ctx, tx, in)
		}
		return err
	})
	return g, err
}

// show is a result as people see it; programs get the structured one.
func show(v any) *mcp.CallToolResult {
	switch v := v.(type) {
	case Done:
		return causeway.Text(v.Message)
	case interface{ list() any }:
		return show(v.list())
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil // it will not be sent either
	}
	return causeway.Text(string(b))
}

func newServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "Knowledge graph", Version: "1.0.0"}, causeway.Subscribable(nil))
	writes(s, "create_entities", "Create multiple new entities in the knowledge graph", false, createEntities)
	writes(s, "create_relations", "Create multiple new relations between entities in the knowledge graph. Relations should be in active voice", false, createRelations)
	writes(s, "add_observations", "Add new observations to existing entities in the knowledge graph", false, addObservations)
	writes(s, "delete_entities", "Delete multiple entities and their associated relations from the knowledge graph", true, deleteEntities)
	writes(s, "delete_observations", "Delete specific observations from entities in the knowledge graph", true, deleteObservations)
	writes(s, "delete_relations", "Delete multiple relations from the knowledge graph", true, deleteRelations)
	reads(s, "read_graph", "Read the entire knowledge graph", wholeGraph)
	reads(s, "search_nodes", "Search for nodes in the knowledge graph based on a query", searchNodes)
	reads(s, "open_nodes", "Open specific nodes in the knowledge graph by their names", openNodes)
	s.AddResource(&mcp.Resource{URI: graphURI, Name: "knowledge-graph", MIMEType: "application/json"}, func(ctx context.Context, _ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		g, err := readGraph(ctx, struct{}{}, wholeGraph)
		if err != nil {
			return nil, err
		}
		b, err := json.MarshalIndent(g, "", "  ")
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{MIMEType: "application/json", Text: string(b)}}}, err
	})
	return s
}

// Handler is the server, for App.Mount.
func Handler() causeway.MountHandler { return graphs.Handler(newServer()) }
