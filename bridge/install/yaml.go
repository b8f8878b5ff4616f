package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlFormat is YAML in block style, one document.
type yamlFormat struct{}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func parseYAML(src []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(err)
		}
		return nil, &SyntaxError{max(more.Line, 1), 1, "there is a second document"}
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &SyntaxError{max(line, 1), 1, text}
	}
	return fmt.Errorf("not YAML: %s", text)
}

func (yamlFormat) decode(src []byte) (map[string]any, error) {
	root, err := parseYAML(src)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	if root == nil || root.Tag == "!!null" {
		return m, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, &SyntaxError{root.Line, root.Column, "want a mapping"}
	}
	if err := root.Decode(&m); err != nil {
		return nil, yamlError(err)
	}
	return m, nil
}

func yamlMember(n *yaml.Node, name string) int {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return i
		}
	}
	return -1
}

// offsetOf is where a line, counted from 1, begins.
func offsetOf(src []byte, line int) int {
	at := 0
	for range line - 1 {
		at = lineEnd(src, at)
	}
	return at
}

func (yamlFormat) set(src []byte, path []string, name string, o object) ([]byte, error) {
	root, err := parseYAML(src)
	if err != nil {
		return nil, err
	}
	nl := newlineOf(src)
	if root == nil || root.Tag == "!!null" {
		lead := ""
		if len(src) > 0 && !bytes.HasSuffix(src, []byte("\n")) {
			lead = nl
		}
		return append(bytes.Clone(src), lead+renderYAML(nest(path, name, o), "", nl)...), nil
	}
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 || len(path) != 1 {
		return nil, errShape("the file")
	}
	i := yamlMember(root, path[0])
	if i < 0 {
		lead := ""
		if !bytes.HasSuffix(src, []byte("\n")) {
			lead = nl
		}
		if bytes.Contains(src, []byte("\n...")) {
			return nil, errShape("the file")
		}
		return append(bytes.Clone(src), lead+renderYAML(nest(path, name, o), strings.Repeat(" ", root.Content[0].Column-1), nl)...), nil
	}
	key, table := root.Content[i], root.Content[i+1]
	indent := strings.Repeat(" ", key.Column+1)
	switch {
	case table.Kind == yaml.ScalarNode && table.Tag == "!!null" && table.Value == "" && table.Anchor == "":
		at := lineEnd(src, offsetOf(src, key.Line))
		return insertYAML(src, at, renderYAML(object{{name, o}}, indent, nl), nl), nil
	case table.Kind == yaml.MappingNode && len(table.Content) == 0 && table.Style&yaml.FlowStyle != 0 && table.Line == key.Line:
		// {} becomes a block.
		start := offsetOf(src, key.Line)
		line := src[start:lineEnd(src, start)]
		j := bytes.LastIndex(line, []byte("{}"))
		if j < 0 {
			return nil, errShape(path[0])
		}
		out := splice(src, start+j, start+j+2, "")
		out = append(bytes.TrimRight(out[:start+j:start+j], " "), out[start+j:]...)
		return insertYAML(out, lineEnd(out, start), renderYAML(object{{name, o}}, indent, nl), nl), nil
	case table.Kind != yaml.MappingNode || table.Style&yaml.FlowStyle != 0 || len(table.Content) == 0:
		return nil, errShape(path[0])
	}
	indent = strings.Repeat(" ", table.Content[0].Column-1)
	entry := renderYAML(object{{name, o}}, indent, nl)
	if j := yamlMember(table, name); j >= 0 {
		from, to := yamlRange(src, root, i, table, j)
		return splice(src, from, to, entry), nil
	}
	_, to := yamlRange(src, root, i, table, len(table.Content)-2)
	return insertYAML(src, to, entry, nl), nil
}

func insertYAML(src []byte, at int, entry, nl string) []byte {
	if at > 0 && src[at-1] != '\n' {
		entry = nl + entry
	}
	return splice(src, at, at, entry)
}

// yamlRange is the lines of entry j of the table that is member i of the root, without
// the comments and blank lines after it, which belong to what follows.
func yamlRange(src []byte, root *yaml.Node, i int, table *yaml.Node, j int) (from, to int) {
	from = offsetOf(src, table.Content[j].Line)
	switch {
	case j+2 < len(table.Content):
		to = offsetOf(src, table.Content[j+2].Line)
	case i+2 < len(root.Content):
		to = offsetOf(src, root.Content[i+2].Line)
	default:
		to = len(src)
	}
	for to > from {
		start := lineStart(src, max(to-1, 0))
		line := bytes.TrimSpace(src[start:to])
		if start <= from || len(line) > 0 && line[0] != '#' {
			break
		}
		to = start
	}
	return from, to
}

func (yamlFormat) remove(src []byte, path []string, name string) ([]byte, error) {
	root, err := parseYAML(src)
	if err != nil || root == nil || root.Kind != yaml.MappingNode {
		return src, err
	}
	if len(path) != 1 {
		return nil, errShape("the file")
	}
	i := yamlMember(root, path[0])
	if i < 0 || root.Content[i+1].Kind != yaml.MappingNode {
		return src, nil
	}
	table := root.Content[i+1]
	j := yamlMember(table, name)
	if j < 0 {
		return src, nil
	}
	if table.Style&yaml.FlowStyle != 0 || root.Style&yaml.FlowStyle != 0 {
		return nil, errShape(path[0])
	}
	from, to := yamlRange(src, root, i, table, j)
	return splice(src, from, to, ""), nil
}

var plainYAML = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// reservedYAML are words that mean something else in one version of YAML or another.
var reservedYAML = map[string]bool{"true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "null": true, "y": true, "n": true}

func keyYAML(name string) string {
	if plainYAML.MatchString(name) && !reservedYAML[strings.ToLower(name)] {
		return name
	}
	return quoteJSON(name)
}

func renderYAML(o object, indent, nl string) string {
	var b strings.Builder
	for _, m := range o {
		b.WriteString(indent + keyYAML(m.name) + ":")
		switch v := m.value.(type) {
		case object:
			if len(v) == 0 {
				b.WriteString(" {}" + nl)
				continue
			}
			b.WriteString(nl + renderYAML(v, indent+"  ", nl))
		case []string:
			b.WriteString(nl)
			for _, s := range v {
				b.WriteString(indent + "  - " + quoteJSON(s) + nl)
			}
		case emptyList:
			b.WriteString(" []" + nl)
		case string:
			if plainYAML.MatchString(v) && !reservedYAML[strings.ToLower(v)] {
				b.WriteString(" " + v + nl)
			} else {
				b.WriteString(" " + quoteJSON(v) + nl)
			}
		default:
			fmt.Fprintf(&b, " %v%s", v, nl)
		}
	}
	return b.String()
}
