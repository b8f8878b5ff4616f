package install

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// jsonFormat is JSON as programs take it for settings: with comments and with commas
// after the last member. Files without either stay without.
type jsonFormat struct{}

// A jsonNode is a value and where it stands.
type jsonNode struct {
	start, end int
	value      any
	members    []jsonMember // of an object
	isObject   bool
}

type jsonMember struct {
	start int // of the name
	name  string
	value jsonNode
	comma int // where the comma after it is, -1 for none
}

type jsonParser struct {
	src   []byte
	at    int
	depth int
}

const maxNesting = 500

func parseJSON(src []byte) (*jsonNode, error) {
	if len(src) > maxFile {
		return nil, errTooLarge
	}
	if !utf8.Valid(src) {
		return nil, syntaxErrorAt(src, 0, "the file is not UTF-8")
	}
	p := &jsonParser{src: src}
	p.at = len(src) - len(bytes.TrimPrefix(src, []byte("\ufeff")))
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.at == len(src) {
		return nil, nil // empty, or nothing but comments
	}
	n, err := p.parse()
	if err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.at < len(src) {
		return nil, syntaxErrorAt(src, p.at, "there is something after the end of the settings")
	}
	return &n, nil
}

func (p *jsonParser) fail(problem string) error { return syntaxErrorAt(p.src, p.at, problem) }

func (p *jsonParser) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

// space skips white space and comments.
func (p *jsonParser) space() error {
	for p.at < len(p.src) {
		switch c := p.src[p.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			p.at++
		case c == '/' && bytes.HasPrefix(p.src[p.at:], []byte("//")):
			p.at = lineEnd(p.src, p.at)
		case c == '/' && bytes.HasPrefix(p.src[p.at:], []byte("/*")):
			i := bytes.Index(p.src[p.at+2:], []byte("*/"))
			if i < 0 {
				return p.fail("a comment has no end")
			}
			p.at += i + 4
		default:
			return nil
		}
	}
	return nil
}

func (p *jsonParser) parse() (n jsonNode, err error) {
	if p.depth++; p.depth > maxNesting {
		return n, p.fail("the settings are nested too deep")
	}
	defer func() { p.depth-- }()
	n.start = p.at
	switch c := p.peek(); {
	case c == '{':
		n.isObject = true
		err = p.object(&n)
	case c == '[':
		n.value, err = p.array()
	case c == '"':
		n.value, err = p.str()
	case p.at == len(p.src):
		err = p.fail("the settings end too early")
	default:
		n.value, err = p.literal()
	}
	n.end = p.at
	return n, err
}

func (p *jsonParser) object(n *jsonNode) error {
	values := make(map[string]any)
	n.value = values
	p.at++
	for {
		if err := p.space(); err != nil {
			return err
		}
		if p.peek() == '}' {
			p.at++
			return nil
		}
		if len(n.members) > 0 && n.members[len(n.members)-1].comma < 0 {
			return p.fail("want a comma or }")
		}
		m := jsonMember{start: p.at, comma: -1}
		if p.peek() != '"' {
			return p.fail("want a name in double quotes, or }")
		}
		var err error
		if m.name, err = p.str(); err != nil {
			return err
		}
		if err := p.space(); err != nil {
			return err
		}
		if p.peek() != ':' {
			return p.fail("want a colon after the name")
		}
		p.at++
		if err := p.space(); err != nil {
			return err
		}
		if m.value, err = p.parse(); err != nil {
			return err
		}
		if err := p.space(); err != nil {
			return err
		}
		if p.peek() == ',' {
			m.comma = p.at
			p.at++
		}
		values[m.name] = m.value.value
		n.members = append(n.members, m)
	}
}

func (p *jsonParser) array() (any, error) {
	items := []any{}
	p.at++
	for comma := true; ; {
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.peek() == ']' {
			p.at++
			return items, nil
		}
		if !comma {
			return nil, p.fail("want a comma or ]")
		}
		n, err := p.parse()
		if err != nil {
			return nil, err
		}
		items = append(items, n.value)
		if err := p.space(); err != nil {
			return nil, err
		}
		if comma = p.peek() == ','; comma {
			p.at++
		}
	}
}

func (p *jsonParser) str() (string, error) {
	for i := p.at + 1; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '\\':
			i++
		case c < ' ':
			p.at = i
			return "", p.fail("a string has a control character in it, or no end")
		case c == '"':
			var s string
			if json.Unmarshal(p.src[p.at:i+1], &s) != nil {
				return "", p.fail("a string has an escape that does not exist")
			}
			p.at = i + 1
			return s, nil
		}
	}
	return "", p.fail("a string has no end")
}

func (p *jsonParser) literal() (any, error) {
	i := p.at
	for i < len(p.src) && !bytes.ContainsRune([]byte(" \t\r\n,]}/:\"{["), rune(p.src[i])) {
		i++
	}
	word := p.src[p.at:i]
	dec := json.NewDecoder(bytes.NewReader(word))
	dec.UseNumber()
	var v any
	if len(word) == 0 || dec.Decode(&v) != nil || dec.InputOffset() != int64(len(word)) {
		return nil, p.fail("want a value")
	}
	p.at = i
	return v, nil
}

func (jsonFormat) decode(src []byte) (map[string]any, error) {
	n, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return map[string]any{}, nil
	}
	m, ok := n.value.(map[string]any)
	if !ok {
		return nil, syntaxErrorAt(src, n.start, "want an object, { … }")
	}
	return m, nil
}

// find walks down to the table at path, as far as it is there. rest are the names that
// are not.
func (n *jsonNode) find(src []byte, path []string) (table *jsonNode, rest []string, err error) {
	for i, name := range path {
		if !n.isObject {
			return nil, nil, syntaxErrorAt(src, n.start, "want an object here")
		}
		m, err := n.member(src, name)
		if err != nil {
			return nil, nil, err
		}
		if m < 0 {
			return n, path[i:], nil
		}
		n = &n.members[m].value
	}
	if !n.isObject {
		return nil, nil, syntaxErrorAt(src, n.start, "want an object of servers here")
	}
	return n, nil, nil
}

func (n *jsonNode) member(src []byte, name string) (int, error) {
	found := -1
	for i, m := range n.members {
		if m.name != name {
			continue
		}
		if found >= 0 {
			return -1, syntaxErrorAt(src, m.start, fmt.Sprintf("%q is there twice", clip(name)))
		}
		found = i
	}
	return found, nil
}

func (jsonFormat) set(src []byte, path []string, name string, o object) ([]byte, error) {
	root, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	nl := newlineOf(src)
	if root == nil {
		doc := renderJSON(nest(path, name, o), "", "  ", nl)
		if len(src) > 0 && !isBlank(src) { // comments
			return slices.Concat(bytes.TrimRight(src, "\r\n"), []byte(nl+doc+nl)), nil
		}
		return []byte(doc + nl), nil
	}
	table, rest, err := root.find(src, path)
	if err != nil {
		return nil, err
	}
	unit := indentUnit(src, root)
	if len(rest) > 0 {
		return insertMember(src, table, rest[0], nest(rest[1:], name, o), unit, nl), nil
	}
	i, err := table.member(src, name)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return insertMember(src, table, name, o, unit, nl), nil
	}
	m := table.members[i]
	return splice(src, m.value.start, m.value.end, renderJSON(o, indentAt(src, m.start), unit, nl)), nil
}

// nest wraps an entry into the tables that are not there yet.
func nest(path []string, name string, o object) object {
	out := object{{name, o}}
	for i := len(path) - 1; i >= 0; i-- {
		out = object{{path[i], out}}
	}
	return out
}

// indentUnit is what the file indents by.
func indentUnit(src []byte, root *jsonNode) string {
	if len(root.members) > 0 {
		if in := indentAt(src, root.members[0].start); in != "" {
			return in
		}
	}
	return "  "
}

// indentAt is the white space before at, if there is nothing else on its line.
func indentAt(src []byte, at int) string {
	before := src[lineStart(src, at):at]
	if in := bytes.TrimLeft(before, " \t"); len(in) > 0 {
		before = before[:len(before)-len(in)]
	}
	return string(before)
}

// insertMember adds a member at the end of an object.
func insertMember(src []byte, table *jsonNode, name string, o object, unit, nl string) []byte {
	quoted, _ := json.Marshal(name)
	closing := table.end - 1
	outer := indentAt(src, table.start)
	if len(table.members) == 0 {
		inner := outer + unit
		text := nl + inner + string(quoted) + ": " + renderJSON(o, inner, unit, nl)
		if isBlank(src[table.start+1 : closing]) {
			return splice(src, table.start+1, closing, text+nl+outer)
		}
		return splice(src, table.start+1, table.start+1, text) // comments stay behind it
	}
	last := table.members[len(table.members)-1]
	inner := outer + unit
	if in := indentAt(src, last.start); lineStart(src, last.start)+len(in) == last.start {
		inner = in
	}
	at, comma := last.value.end, ","
	if last.comma >= 0 {
		at, comma = last.comma+1, ""
	}
	text := nl + inner + string(quoted) + ": " + renderJSON(o, inner, unit, nl)
	if last.comma >= 0 {
		text += ","
	}
	// A comment at the end of the line is about what stands before it.
	end := afterComments(src, at, closing)
	tail := ""
	if !bytes.ContainsAny(src[end:closing], "\n") {
		tail = nl + outer
	}
	return splice(src, at, end, comma+string(src[at:end])+text+tail)
}

// afterComments is the end of the comments that follow on the same line.
func afterComments(src []byte, at, closing int) int {
	end := at
	for i := at; i < closing; {
		switch {
		case src[i] == ' ' || src[i] == '\t':
			i++
		case bytes.HasPrefix(src[i:closing], []byte("//")):
			return bytes.IndexByte(append(src[i:closing:closing], '\n'), '\n') + i - cr(src, i, closing)
		case bytes.HasPrefix(src[i:closing], []byte("/*")):
			n := bytes.Index(src[i:closing], []byte("*/"))
			if n < 0 || bytes.ContainsAny(src[i:i+n], "\n") {
				return end
			}
			i += n + 2
			end = i
		default:
			return end
		}
	}
	return end
}

// cr is 1 if the line of at ends with a carriage return.
func cr(src []byte, at, closing int) int {
	if i := bytes.IndexByte(src[at:closing], '\n'); i > 0 && src[at+i-1] == '\r' {
		return 1
	}
	return 0
}

func (jsonFormat) remove(src []byte, path []string, name string) ([]byte, error) {
	root, err := parseJSON(src)
	if err != nil || root == nil {
		return src, err
	}
	table, rest, err := root.find(src, path)
	if err != nil || len(rest) > 0 {
		return src, err
	}
	i, err := table.member(src, name)
	if err != nil || i < 0 {
		return src, err
	}
	m := table.members[i]
	from, to := m.start, m.value.end
	if m.comma >= 0 {
		to = m.comma + 1
	}
	// Whole lines go, if nothing else is on them.
	if start := lineStart(src, from); isBlank(src[start:from]) {
		if end := lineEnd(src, to); isBlank(src[to:end]) {
			from, to = start, end
		}
	} else if m.comma >= 0 {
		for to < len(src) && (src[to] == ' ' || src[to] == '\t') {
			to++
		}
	}
	if len(table.members) == 1 && isBlank(src[table.start+1:m.start]) && isBlank(src[to:max(to, table.end-1)]) {
		return splice(src, table.start+1, table.end-1, ""), nil
	}
	out := splice(src, from, to, "")
	if i > 0 && i == len(table.members)-1 && m.comma < 0 {
		// The one before is the last now.
		comma := table.members[i-1].comma
		out = splice(out, comma, comma+1, "")
	}
	return out, nil
}

// renderJSON writes an object with its members on lines of their own, and lists on one.
func renderJSON(o object, indent, unit, nl string) string {
	if len(o) == 0 {
		return "{}"
	}
	var b strings.Builder
	b.WriteString("{")
	for i, m := range o {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(nl + indent + unit + quoteJSON(m.name) + ": ")
		switch v := m.value.(type) {
		case object:
			b.WriteString(renderJSON(v, indent+unit, unit, nl))
		case []string:
			b.WriteString("[")
			for i, s := range v {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(quoteJSON(s))
			}
			b.WriteString("]")
		case emptyList:
			b.WriteString("[]")
		case string:
			b.WriteString(quoteJSON(v))
		default:
			fmt.Fprint(&b, v)
		}
	}
	b.WriteString(nl + indent + "}")
	return b.String()
}

func quoteJSON(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimRight(b.String(), "\n")
}
