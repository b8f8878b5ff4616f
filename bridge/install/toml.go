package install

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// tomlFormat is TOML 1.0.
type tomlFormat struct{}

func (tomlFormat) decode(src []byte) (map[string]any, error) {
	m := map[string]any{}
	err := toml.Unmarshal(src, &m)
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, column := at.Position()
		return nil, &SyntaxError{line, column, strings.TrimPrefix(at.Error(), "toml: ")}
	}
	if err != nil {
		return nil, fmt.Errorf("not TOML: %w", err)
	}
	return m, nil
}

// A tomlPart is a header or a key with its value: text[start:end], lines and all.
type tomlPart struct {
	start, end int
	table      []string // whose header it is, or in which it stands
	key        []string // nil for a header
}

func (p *tomlPart) path() []string { return slices.Concat(p.table, p.key) }

// tomlParts splits text that decode has accepted. Comments and blank lines belong to
// no part.
func tomlParts(src []byte) []tomlPart {
	var parts []tomlPart
	var table []string
	for at := 0; at < len(src); {
		start := at
		for at < len(src) && (src[at] == ' ' || src[at] == '\t') {
			at++
		}
		switch {
		case at == len(src):
		case src[at] == '\n' || src[at] == '\r' || src[at] == '#':
			at = lineEnd(src, at)
		case src[at] == '[':
			at++
			if at < len(src) && src[at] == '[' {
				at++
			}
			table, at = tomlKey(src, at)
			at = lineEnd(src, min(at, len(src)))
			parts = append(parts, tomlPart{start: start, end: at, table: table})
		default:
			var key []string
			key, at = tomlKey(src, at)
			at = tomlValueEnd(src, at)
			parts = append(parts, tomlPart{start: start, end: at, table: table, key: key})
		}
	}
	return parts
}

// tomlKey reads a key of dotted parts.
func tomlKey(src []byte, at int) ([]string, int) {
	var key []string
	for at < len(src) {
		switch c := src[at]; {
		case c == ' ' || c == '\t' || c == '.':
			at++
		case c == '"' || c == '\'':
			end := tomlStringEnd(src, at)
			var one map[string]any
			name := string(src[at:end])
			if toml.Unmarshal([]byte("k = "+name), &one) == nil {
				name, _ = one["k"].(string)
			}
			key, at = append(key, name), end
		case isBareKey(c):
			start := at
			for at < len(src) && isBareKey(src[at]) {
				at++
			}
			key = append(key, string(src[start:at]))
		default:
			return key, at
		}
	}
	return key, at
}

func isBareKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c >= 0x80
}

// tomlStringEnd is the end of the string that begins at at.
func tomlStringEnd(src []byte, at int) int {
	quote := src[at : at+1]
	if long := bytes.Repeat(quote, 3); bytes.HasPrefix(src[at:], long) {
		for i := at + 3; i < len(src); i++ {
			if src[i] == '\\' && quote[0] == '"' {
				i++
				continue
			}
			if bytes.HasPrefix(src[i:], long) {
				i += 3
				for n := 0; n < 2 && i < len(src) && src[i] == quote[0]; n++ { // quotes may stand before the end
					i++
				}
				return i
			}
		}
		return len(src)
	}
	for i := at + 1; i < len(src) && src[i] != '\n'; i++ {
		if src[i] == '\\' && quote[0] == '"' {
			i++
		} else if src[i] == quote[0] {
			return i + 1
		}
	}
	return len(src)
}

// tomlValueEnd is the end of the line on which the value ends.
func tomlValueEnd(src []byte, at int) int {
	for depth := 0; at < len(src); {
		switch c := src[at]; {
		case c == '"' || c == '\'':
			at = tomlStringEnd(src, at)
		case c == '[' || c == '{':
			depth++
			at++
		case c == ']' || c == '}':
			depth--
			at++
		case c == '#':
			if depth <= 0 {
				return lineEnd(src, at)
			}
			at = lineEnd(src, at)
		case c == '\n':
			at++
			if depth <= 0 {
				return at
			}
		default:
			at++
		}
	}
	return len(src)
}

func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

func (f tomlFormat) set(src []byte, path []string, name string, o object) ([]byte, error) {
	nl := newlineOf(src)
	own := append(slices.Clone(path), name)
	at := -1
	for _, p := range tomlParts(src) { // where it was, or else after the last of its kind
		if hasPrefix(p.path(), own) {
			at = p.start
			break
		}
	}
	cleared, err := f.remove(src, path, name)
	if err != nil {
		return nil, err
	}
	parts := tomlParts(cleared)
	if at < 0 {
		for _, p := range parts {
			if hasPrefix(p.path(), path) {
				at = p.end
			}
		}
	}
	if at < 0 || !startsTable(parts, at, len(cleared)) {
		at = len(cleared)
	}
	entry := renderTOML(own, o, nl)
	before, after := cleared[:at], cleared[at:]
	lead := ""
	switch {
	case isBlank(before):
	case !bytes.HasSuffix(before, []byte("\n")):
		lead = nl + nl
	case !bytes.HasSuffix(before, []byte("\n\n")) && !bytes.HasSuffix(before, []byte("\n\r\n")):
		lead = nl
	}
	tail := ""
	if len(after) > 0 && !bytes.HasPrefix(bytes.TrimPrefix(after, []byte("\r")), []byte("\n")) {
		tail = nl
	}
	return splice(cleared, at, at, lead+entry+tail), nil
}

// startsTable reports whether a table may begin at at: what follows, if anything, must
// be a header, or it would become part of the new table.
func startsTable(parts []tomlPart, at, end int) bool {
	for _, p := range parts {
		if p.start >= at {
			return p.key == nil
		}
	}
	return at <= end
}

func (tomlFormat) remove(src []byte, path []string, name string) ([]byte, error) {
	own := append(slices.Clone(path), name)
	parts := tomlParts(src)
	out := src
	for i := len(parts) - 1; i >= 0; i-- {
		if !hasPrefix(parts[i].path(), own) {
			continue
		}
		end := parts[i].end
		for i > 0 && hasPrefix(parts[i-1].path(), own) {
			i-- // comments between them are about them
		}
		start := parts[i].start
		// A blank line behind them goes along, if there is one before as well.
		if next := lineEnd(src, end); end < len(src) && isBlank(src[end:next]) && (start == 0 || isBlank(src[lineStart(src, start-1):start])) {
			end = next
		}
		out = splice(out, start, end, "")
	}
	return out, nil
}

func renderTOML(path []string, o object, nl string) string {
	var b strings.Builder
	b.WriteString("[" + keyTOML(path) + "]" + nl)
	for _, m := range o {
		switch v := m.value.(type) {
		case object:
		case []string:
			items := make([]string, len(v))
			for i, s := range v {
				items[i] = quoteTOML(s)
			}
			b.WriteString(keyTOML([]string{m.name}) + " = [" + strings.Join(items, ", ") + "]" + nl)
		case string:
			b.WriteString(keyTOML([]string{m.name}) + " = " + quoteTOML(v) + nl)
		default:
			fmt.Fprintf(&b, "%s = %v%s", keyTOML([]string{m.name}), v, nl)
		}
	}
	for _, m := range o {
		if v, ok := m.value.(object); ok {
			b.WriteString(nl + renderTOML(append(slices.Clone(path), m.name), v, nl))
		}
	}
	return b.String()
}

func keyTOML(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		if parts[i] = p; p == "" || strings.ContainsFunc(p, func(r rune) bool { return r >= 0x80 || !isBareKey(byte(r)) }) {
			parts[i] = quoteTOML(p)
		}
	}
	return strings.Join(parts, ".")
}

func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
