// Knowledge-graph is a memory for models, one for each user; see package graph.
package main

import (
	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/knowledge-graph/graph"
)

func main() {
	app := &causeway.App{}
	app.Mount("/mcp", graph.Handler())
	app.Main()
}
