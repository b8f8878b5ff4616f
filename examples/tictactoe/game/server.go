// Package game is tic-tac-toe against the server: prompts to begin it, tools to play it, and
// the board as a resource whose subscribers hear of each move.
package game

import (
	"context"
	"fmt"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const boardURI = "tictactoe://board"

var games = &causeway.Agent[Game]{
	Kind: "tictactoe", Initial: newGame(), Resources: []string{boardURI}, // one game for each session
}

func move(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Cell int `json:"cell" jsonschema:"1 to 9, row by row from the top left"`
}) (*mcp.CallToolResult, any, error) {
	// An Update that fails changes nothing: no half move is ever kept.
	g, err := games.Self(ctx).Update(ctx, func(g *Game) error { return g.play(in.Cell) })
	return causeway.Text(g), nil, err
}

func restart(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Server bool `json:"server,omitempty" jsonschema:"let the server begin"`
}) (*mcp.CallToolResult, any, error) {
	g := newGame()
	if in.Server {
		g.answer()
	}
	return causeway.Text(g), nil, games.Self(ctx).SetState(ctx, g)
}

func board(ctx context.Context, _ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	g, err := games.Self(ctx).State(ctx)
	return causeway.TextResource(g), err
}

func prompt(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	who := "ask me for each of my moves"
	if r.Params.Arguments["player"] == "model" {
		who = "choose each move yourself, and say in a few words why"
	}
	return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{
		Text: fmt.Sprintf("Play tic-tac-toe against the server with the tools new_game and move: %s. Show the board after each move, until the game is over. The board can also be read at %s.", who, boardURI),
	}}}}, nil
}

func newServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "Tic-tac-toe", Version: "1.0.0"}, causeway.Subscribable(nil))
	causeway.AddTool(s, &mcp.Tool{Name: "new_game", Description: "Begins a new game. You are X, the server is O."}, restart)
	causeway.AddTool(s, &mcp.Tool{Name: "move", Description: "Sets your X into a cell; the server answers with its O."}, move)
	s.AddResource(&mcp.Resource{URI: boardURI, Name: "board", MIMEType: "text/plain"}, board)
	s.AddPrompt(&mcp.Prompt{Name: "play", Description: "Plays a game", Arguments: []*mcp.PromptArgument{
		{Name: "player", Description: `who chooses the moves: "me" or "model"`},
	}}, prompt)
	return s
}

// Handler is the server, for App.Mount.
func Handler() causeway.MountHandler { return games.Handler(newServer()) }
