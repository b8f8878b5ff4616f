package call

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A Printer writes results.
type Printer struct {
	// Out is where they go.
	Out io.Writer
	// JSON writes them as they came, and nothing else.
	JSON bool
	// Dir is where images, sounds and other bytes become files. Empty: they are named and
	// not kept.
	Dir string
	// Terminal takes control characters out of text, which could do things to a terminal.
	// A file or a pipe gets it as it is.
	Terminal bool
}

func (p *Printer) json(v any) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	text := b.String()
	if p.Terminal {
		text = escape(text)
	}
	_, err := io.WriteString(p.Out, text)
	return err
}

// escape writes what clean would take out of JSON as escapes, which mean the same.
// Those below the space are escapes already, or the encoder's own line ends.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r >= ' ' && isControl(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isControl reports whether a terminal could do something at r other than show it.
func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func (p *Printer) text(s string) error {
	if p.Terminal {
		s = clean(s)
	}
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	_, err := io.WriteString(p.Out, s)
	return err
}

// Tool writes the result of a tool.
func (p *Printer) Tool(name string, r *mcp.CallToolResult) error {
	if p.JSON {
		return p.json(r)
	}
	for i, c := range r.Content {
		if err := p.content(fmt.Sprintf("%s-%d", name, i+1), c); err != nil {
			return err
		}
	}
	if len(r.Content) == 0 && r.StructuredContent != nil {
		return p.json(r.StructuredContent)
	}
	return nil
}

func (p *Printer) content(name string, c mcp.Content) error {
	switch c := c.(type) {
	case *mcp.TextContent:
		return p.text(c.Text)
	case *mcp.ImageContent:
		return p.bytes(name, c.MIMEType, c.Data)
	case *mcp.AudioContent:
		return p.bytes(name, c.MIMEType, c.Data)
	case *mcp.ResourceLink:
		return p.text(strings.TrimSpace(c.URI + "  " + c.Name))
	case *mcp.EmbeddedResource:
		if c.Resource == nil {
			return nil
		}
		return p.resource(name, c.Resource)
	}
	return p.json(c)
}

// Resource writes what was read.
func (p *Printer) Resource(r *mcp.ReadResourceResult) error {
	if p.JSON {
		return p.json(r)
	}
	for i, c := range r.Contents {
		if err := p.resource(fmt.Sprintf("resource-%d", i+1), c); err != nil {
			return err
		}
	}
	return nil
}

func (p *Printer) resource(name string, r *mcp.ResourceContents) error {
	if len(r.Blob) > 0 {
		return p.bytes(name, r.MIMEType, r.Blob)
	}
	return p.text(r.Text)
}

// Prompt writes the messages of a prompt.
func (p *Printer) Prompt(name string, r *mcp.GetPromptResult) error {
	if p.JSON {
		return p.json(r)
	}
	for i, m := range r.Messages {
		if err := p.text(string(m.Role) + ":"); err != nil {
			return err
		}
		if err := p.content(fmt.Sprintf("%s-%d", name, i+1), m.Content); err != nil {
			return err
		}
	}
	return nil
}

// A Row is an item of a list: its name, and what it is about.
type Row struct{ Name, About string }

// List writes items, the first line of what each is about next to its name.
func (p *Printer) List(all any, rows []Row) error {
	if p.JSON {
		return p.json(all)
	}
	width := 0
	for _, r := range rows {
		width = min(max(width, len(r.Name)), 40)
	}
	for _, r := range rows {
		about, _, _ := strings.Cut(strings.TrimSpace(r.About), "\n")
		if len(about) > 120 {
			about = strings.ToValidUTF8(about[:119], "") + "…"
		}
		if err := p.text(strings.TrimRight(fmt.Sprintf("%-*s  %s", width, cleanLine(r.Name), cleanLine(about)), " ")); err != nil {
			return err
		}
	}
	return nil
}

// bytes keeps data in a file, whose name is ours and not the server's.
func (p *Printer) bytes(name, kind string, data []byte) error {
	if p.Dir == "" {
		return p.text(fmt.Sprintf("[%s, %d bytes; -out DIR keeps it]", cleanLine(kind), len(data)))
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return err
	}
	base := fileName(name)
	for n := range 10_000 {
		path := filepath.Join(p.Dir, base+extension(kind))
		if n > 0 {
			path = filepath.Join(p.Dir, fmt.Sprintf("%s.%d%s", base, n, extension(kind)))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if _, err = f.Write(data); err == nil {
			err = p.text(path)
		}
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("%s holds too many files of that name", p.Dir)
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// fileName makes a name for a file of what a server calls something.
func fileName(name string) string {
	name = strings.Trim(unfit.ReplaceAllString(name, "-"), "-")
	if len(name) > 80 {
		name = name[:80]
	}
	if name == "" {
		return "content"
	}
	return name
}

// extensions are the usual ones; the system's list may name others first.
var extensions = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg",
	"audio/wav": ".wav", "audio/mpeg": ".mp3", "audio/ogg": ".ogg", "application/pdf": ".pdf", "application/json": ".json",
	"text/plain": ".txt", "text/html": ".html", "application/zip": ".zip", "application/gzip": ".gz",
}

func extension(kind string) string {
	kind, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return ".bin"
	}
	if ext, ok := extensions[kind]; ok {
		return ext
	}
	all, _ := mime.ExtensionsByType(kind)
	slices.Sort(all)
	if len(all) > 0 && fileName(all[0][1:]) == all[0][1:] {
		return all[0]
	}
	return ".bin"
}

// clean makes a stranger's text fit for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case isControl(r):
			return '·'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// cleanLine makes it fit on one line, of bounded length.
func cleanLine(s string) string {
	if len(s) > 2000 {
		s = s[:2000] + "…"
	}
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(s))
}
