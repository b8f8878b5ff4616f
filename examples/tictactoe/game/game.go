package game

import (
	"fmt"
	"strings"
)

// Game is the state: what stands in the cells ('X', 'O' or '.'), and how it ended.
type Game struct {
	Cells string
	Ended string // "" while it goes on
}

func newGame() Game { return Game{Cells: "........."} }

var lines = [][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}}

// String is the board as people draw it. Free cells have their number.
func (g Game) String() string {
	var b strings.Builder
	for i, c := range g.Cells {
		if c == '.' {
			c = rune('1' + i)
		}
		b.WriteRune(c)
		b.WriteString([]string{" | ", " | ", "\n"}[i%3])
	}
	if g.Ended != "" {
		return b.String() + g.Ended
	}
	return b.String() + "Your move: you are X."
}

// play sets X into a cell, counted from 1, and answers with O.
func (g *Game) play(cell int) error {
	switch {
	case g.Ended != "":
		return fmt.Errorf("the game is over: %s Begin another with new_game", g.Ended)
	case cell < 1 || cell > 9:
		return fmt.Errorf("there is no cell %d, only 1 to 9", cell)
	case g.Cells[cell-1] != '.':
		return fmt.Errorf("cell %d is taken by %c", cell, g.Cells[cell-1])
	}
	g.set(cell-1, 'X')
	if g.Ended == "" {
		g.answer()
	}
	return nil
}

// answer sets O where it wins, else where X would, else where it is best placed.
func (g *Game) answer() {
	for _, who := range []byte{'O', 'X'} {
		for i, c := range g.Cells {
			if c == '.' && wins(put(g.Cells, i, who), who) {
				g.set(i, 'O')
				return
			}
		}
	}
	for _, i := range []int{4, 0, 2, 6, 8, 1, 3, 5, 7} {
		if g.Cells[i] == '.' {
			g.set(i, 'O')
			return
		}
	}
}

func (g *Game) set(i int, who byte) {
	g.Cells = put(g.Cells, i, who)
	switch {
	case wins(g.Cells, who) && who == 'X':
		g.Ended = "You won."
	case wins(g.Cells, who):
		g.Ended = "The server won."
	case !strings.Contains(g.Cells, "."):
		g.Ended = "It is a draw."
	}
}

func put(cells string, i int, who byte) string { return cells[:i] + string(who) + cells[i+1:] }

func wins(cells string, who byte) bool {
	for _, l := range lines {
		if cells[l[0]] == who && cells[l[1]] == who && cells[l[2]] == who {
			return true
		}
	}
	return false
}
