package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestTheBoardKeepsTheLastNotes(t *testing.T) {
	b := new(board)
	post := b.post(mcp.NewServer(&mcp.Implementation{Name: "x", Version: "1"}, nil))
	for i := range maxNotes + 5 {
		if _, _, err := post(t.Context(), nil, noteInput{Note: strings.Repeat("n", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.notes) != maxNotes || len(b.notes[0]) != 6 {
		t.Errorf("%d notes, the first of %d bytes", len(b.notes), len(b.notes[0]))
	}
	for _, note := range []string{"", strings.Repeat("x", maxNoteLength+1)} {
		if _, _, err := post(t.Context(), nil, noteInput{Note: note}); err == nil {
			t.Errorf("a note of %d bytes was taken", len(note))
		}
	}
}

func TestPicturesArePNGsThatDependOnTheirSeed(t *testing.T) {
	one, err := draw(1, 32)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := draw(1, 32)
	two, _ := draw(2, 32)
	if !bytes.Equal(one, again) || bytes.Equal(one, two) {
		t.Error("want the same picture for the same seed, and another for another")
	}
	img, err := png.Decode(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size.X != 32 || size.Y != 32 {
		t.Errorf("%v, want 32 by 32", size)
	}
}

// What a client would see, over a transport of the SDK's own: the demo is an
// ordinary server.
func TestToolsRefuseWhatIsOutOfBounds(t *testing.T) {
	server, client := mcp.NewInMemoryTransports()
	if _, err := newServer("test").Connect(t.Context(), server, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, tc := range []struct{ tool, args string }{
		{"report", `{"kib": 1025}`},
		{"report", `{"kib": 0}`},
		{"report", `{"seconds": 31}`},
		{"report", `{"seconds": -1}`},
		{"picture", `{"size": 4096}`},
		{"picture", `{"size": 1}`},
		{"bake", `{"steps": 101}`},
		{"bake", `{"milliseconds": -1}`},
		{"weather", `{"region": "moon", "city": "x"}`},
		{"weather", `{"city": "x"}`},
	} {
		t.Run(tc.tool+" "+tc.args, func(t *testing.T) {
			res, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: tc.tool, Arguments: json.RawMessage(tc.args)})
			if err == nil && !res.IsError {
				t.Errorf("accepted: %v", res.Content)
			}
		})
	}
}
