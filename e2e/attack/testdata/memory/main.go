// Memory is examples/knowledge-graph with sign-in under any name, for attacks on what is kept for each person.
package main

import (
	"os"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/knowledge-graph/graph"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
)

func main() {
	app := &causeway.App{SignIn: &oauth.Provider{Login: login.Dev(), Name: "Memory"}}
	app.Ready = func(base string) { _, _ = os.Stdout.WriteString(base + "\n") }
	app.Mount("/mcp", graph.Handler())
	app.Main()
}
