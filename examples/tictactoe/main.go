// Tictactoe is a game against the server; see package game.
package main

import (
	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/tictactoe/game"
)

func main() {
	app := &causeway.App{}
	app.Mount("/mcp", game.Handler())
	app.Main()
}
