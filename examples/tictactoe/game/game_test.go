package game

import (
	"context"
	"github.com/causeway-mcp/causeway"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMain(m *testing.M) { program.TestMain(m, serve) }

func TestAGameIsPlayedToItsEnd(t *testing.T) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) {
			p := program.Start(t)
			c := p.Connect(era, nil)
			if got := c.Call("new_game", nil); got != "1 | 2 | 3\n4 | 5 | 6\n7 | 8 | 9\nYour move: you are X." {
				t.Errorf("a new game:\n%s", got)
			}
			c.Call("move", map[string]any{"cell": 1})
			if got := c.Refused("move", map[string]any{"cell": 5}); !strings.Contains(got, "taken by O") {
				t.Errorf("onto the server's cell: %s", got)
			}
			c.Refused("move", map[string]any{"cell": 0})
			c.Refused("move", map[string]any{"cell": 10})
			p.Crash() // the game goes on
			if got := c.Read(boardURI); !strings.HasPrefix(got, "X | 2 | 3\n4 | O | 6\n") {
				t.Errorf("after a crash:\n%s", got)
			}
			if got := c.Call("move", map[string]any{"cell": 2}); !strings.HasPrefix(got, "X | X | O\n") {
				t.Errorf("the server lets X win:\n%s", got)
			}
			if got := c.Call("move", map[string]any{"cell": 4}); !strings.HasSuffix(got, "The server won.") {
				t.Errorf("the server does not win:\n%s", got)
			}
			if got := c.Refused("move", map[string]any{"cell": 9}); !strings.Contains(got, "over") {
				t.Errorf("after the end: %s", got)
			}
			if got := c.Call("new_game", map[string]any{"server": true}); !strings.Contains(got, "4 | O | 6") {
				t.Errorf("the server begins:\n%s", got)
			}
		})
	}
}

func TestEachSessionHasAGameOfItsOwn(t *testing.T) {
	p := program.Start(t)
	for _, era := range program.Eras {
		a, b := p.Connect(era, nil), p.Connect(era, nil)
		a.Call("move", map[string]any{"cell": 3})
		b.Call("move", map[string]any{"cell": 7})
		if got := a.Read(boardURI); !strings.HasPrefix(got, "1 | 2 | X\n4 | O | 6\n7") {
			t.Errorf("%s, one:\n%s", era, got)
		}
		if got := b.Read(boardURI); !strings.HasPrefix(got, "1 | 2 | 3\n4 | O | 6\nX") {
			t.Errorf("%s, the other:\n%s", era, got)
		}
	}
}

func TestSubscribersHearOfAMove(t *testing.T) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) {
			p := program.Start(t)
			updated := make(chan string, 100)
			c := p.Connect(era, &mcp.ClientOptions{
				ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
			})
			if err := c.Subscribe(program.Soon(t), &mcp.SubscribeParams{URI: boardURI}); err != nil {
				t.Fatal(err)
			}
			c.Call("move", map[string]any{"cell": 1})
			if got := program.Next(t, updated); got != boardURI {
				t.Errorf("updated %s", got)
			}
		})
	}
}

// Without sessions the board has a URI of its own for each handle, and subscribers of
// that hear of this board alone.
func TestSubscribersByHandleHearOfTheirBoardAlone(t *testing.T) {
	p := program.Start(t)
	updated := make(chan string, 100)
	c := p.Connect("2026-07-28", &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
	})
	c.Call("new_game", nil)
	mine := c.URI(boardURI)
	if mine == boardURI {
		t.Fatal("no handle was given")
	}
	if err := c.Subscribe(program.Soon(t), &mcp.SubscribeParams{URI: mine}); err != nil {
		t.Fatal(err)
	}
	p.Connect("2026-07-28", nil).Call("move", map[string]any{"cell": 1})
	c.Call("move", map[string]any{"cell": 1})
	if got := program.Next(t, updated); got != mine || len(updated) > 0 {
		t.Errorf("updated %s, and %d more, want %s alone", got, len(updated), mine)
	}
}

func TestThePromptSaysWhoPlays(t *testing.T) {
	for _, era := range program.Eras {
		c := program.Start(t).Connect(era, nil)
		for player, want := range map[string]string{"": "ask me", "me": "ask me", "model": "yourself"} {
			res, err := c.GetPrompt(program.Soon(t), &mcp.GetPromptParams{Name: "play", Arguments: map[string]string{"player": player}})
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Messages[0].Content.(*mcp.TextContent).Text; !strings.Contains(got, want) {
				t.Errorf("%s, player %q: %s", era, player, got)
			}
		}
	}
}

// Every way a game against the server can go ends, and never with both winning.
func FuzzGame(f *testing.F) {
	f.Add([]byte{1, 2, 4}, false)
	f.Add([]byte{9, 3, 7, 0, 200}, true)
	f.Fuzz(func(t *testing.T, cells []byte, serverBegins bool) {
		g := newGame()
		if serverBegins {
			g.answer()
		}
		for _, cell := range cells {
			before := g
			if err := g.play(int(cell)); err != nil && g != before {
				t.Fatalf("a refused move changed %v into %v", before, g)
			}
		}
		x, o := strings.Count(g.Cells, "X"), strings.Count(g.Cells, "O")
		if len(g.Cells) != 9 || x-o > 1 || o-x > 1 || wins(g.Cells, 'X') && wins(g.Cells, 'O') || (g.Ended == "" && x+o == 9) {
			t.Errorf("%+v", g)
		}
	})
}

// serve is what the program of this example does.
func serve() {
	app := &causeway.App{}
	app.Mount("/mcp", Handler())
	app.Main()
}
