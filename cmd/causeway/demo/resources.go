package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	guideURI      = "demo://guide"
	logoURI       = "demo://logo"
	boardURI      = "demo://board"
	kitchenURI    = "demo://kitchen"
	colorTemplate = "demo://colors/{name}"
)

const guide = `# The demo server

- add, report, weather: plain tools. weather mirrors an argument in a header (2026-07-28).
- count: state that is kept: for each session, signed-in client, or handle.
- whoami: who you signed in as, where the demo asks for that.
- bake: progress, and something to cancel; demo://kitchen shows what came of it.
- roast: a task, for clients that declare the Tasks extension.
- book_table, haiku, roots: tools that ask their client.
- picture: an image. say: a log message. surprise: changes the list of tools.
- post_note: changes demo://board, to which one can subscribe.
- prompts trip and review, and demo://colors/{name}, complete their arguments.
`

func (d *demo) addResources(s *mcp.Server) {
	s.AddResource(&mcp.Resource{
		URI: guideURI, Name: "guide", Title: "What to try", MIMEType: "text/markdown",
	}, func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return contents(req, "text/markdown", guide), nil
	})
	s.AddResource(&mcp.Resource{
		URI: logoURI, Name: "logo", Title: "A small picture", MIMEType: "image/png",
	}, readLogo)
	s.AddResource(&mcp.Resource{
		URI: boardURI, Name: "board", Title: "The notice board", Description: "Changes with post_note; subscribe to it.", MIMEType: "text/plain",
	}, d.board.read)
	s.AddResource(&mcp.Resource{
		URI: kitchenURI, Name: "kitchen", Title: "What became of the cakes", MIMEType: "application/json",
	}, d.kitchen.read)
	s.AddResourceTemplate(&mcp.ResourceTemplate{
		URITemplate: colorTemplate, Name: "color", Title: "A colour by name", MIMEType: "text/plain",
	}, readColor)
}

func contents(req *mcp.ReadResourceRequest, mimeType, text string) *mcp.ReadResourceResult {
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: mimeType, Text: text}}}
}

func readLogo(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	data, err := draw(8787, 64)
	if err != nil {
		return nil, fmt.Errorf("drawing the logo: %w", err)
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: "image/png", Blob: data}}}, nil
}

var colors = map[string]string{
	"amber": "#ffbf00", "azure": "#007fff", "crimson": "#dc143c", "emerald": "#50c878",
	"indigo": "#4b0082", "ivory": "#fffff0", "ochre": "#cc7722", "teal": "#008080",
}

func colorNames() []string { return slices.Sorted(maps.Keys(colors)) }

func readColor(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	name := strings.TrimPrefix(req.Params.URI, strings.TrimSuffix(colorTemplate, "{name}"))
	hex, ok := colors[name]
	if !ok {
		return nil, mcp.ResourceNotFoundError(req.Params.URI)
	}
	return contents(req, "text/plain", hex), nil
}

// board holds the notes posted last.
type board struct {
	mu    sync.Mutex
	notes []string
}

const (
	maxNotes      = 20
	maxNoteLength = 500 // bytes
)

type noteInput struct {
	Note string `json:"note" jsonschema:"at most 500 bytes"`
}

func (b *board) post(s *mcp.Server) mcp.ToolHandlerFor[noteInput, any] {
	return func(ctx context.Context, _ *mcp.CallToolRequest, in noteInput) (*mcp.CallToolResult, any, error) {
		if in.Note == "" || len(in.Note) > maxNoteLength {
			return nil, nil, invalidParams("a note has 1 to %d bytes, this one has %d", maxNoteLength, len(in.Note))
		}
		b.mu.Lock()
		b.notes = append(b.notes, in.Note)
		b.notes = b.notes[max(0, len(b.notes)-maxNotes):]
		n := len(b.notes)
		b.mu.Unlock()
		if err := s.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: boardURI}); err != nil {
			return nil, nil, fmt.Errorf("the note is up, but not everybody could be told: %w", err)
		}
		return text("The board has %d notes.", n), nil, nil
	}
}

func (b *board) read(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.notes) == 0 {
		return contents(req, "text/plain", "(no notes)"), nil
	}
	return contents(req, "text/plain", strings.Join(b.notes, "\n")), nil
}
