// Package paramheader holds a tool's arguments against the Mcp-Param-* headers
// that mirror them, as MCP 2026-07-28 demands (SEP-2243). Routers and gateways in
// front of a server decide by those headers, so a body that says something else
// must not pass.
package paramheader

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"
)

// Keyword is the annotation of a property schema that names its header.
const Keyword = "x-mcp-header"

// Prefix begins the names of the headers that mirror arguments.
const Prefix = "Mcp-Param-"

// A Binding says which header mirrors which argument.
type Binding struct {
	// Path leads to the argument, by property names from the outermost in.
	Path []string
	// Header is the header's full name in the form net/http keeps it.
	Header string
}

func (b Binding) argument() string { return strings.Join(b.Path, ".") }

// Bindings reads the annotations of an input schema: anything that marshals to a
// JSON Schema. They are in the order of their paths.
//
// It fails if an annotation is not a token (RFC 9110 §5.6.2), occurs twice
// regardless of case, stands on anything but a property of the one type string,
// integer or boolean, or can be reached by other ways than through properties:
// clients drop a tool whose annotations break these rules.
func Bindings(schema any) ([]Binding, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, fmt.Errorf("reading the input schema: %w", err)
	}
	var root any
	if err := json.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("reading the input schema: %w", err)
	}
	r := reader{seen: map[string]string{}}
	if err := r.schema(root, nil, true); err != nil {
		return nil, err
	}
	return r.found, nil
}

type reader struct {
	found []Binding
	seen  map[string]string // header in lower case to property
}

// schema reads one schema. direct says that it is reached through properties
// alone; path is empty for the root.
func (r *reader) schema(v any, path []string, direct bool) error {
	s, ok := v.(map[string]any)
	if !ok {
		return nil // true or false
	}
	if annotation, ok := s[Keyword]; ok {
		if err := r.annotation(s, annotation, path, direct); err != nil {
			return fmt.Errorf("property %q: %w", strings.Join(path, "."), err)
		}
	}
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		var err error
		switch {
		case keyword == "properties":
			err = r.members(s[keyword], path, direct)
		case slices.Contains(schemaMaps, keyword):
			err = r.members(s[keyword], path, false)
		case slices.Contains(schemaValues, keyword):
			err = r.schemas(s[keyword], append(slices.Clone(path), keyword))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// The keywords whose values are schemas: in an object, or alone or in a list.
var (
	schemaMaps   = []string{"$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies"}
	schemaValues = []string{"items", "prefixItems", "additionalItems", "contains", "unevaluatedItems", "additionalProperties",
		"propertyNames", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contentSchema"}
)

func (r *reader) members(v any, path []string, direct bool) error {
	members, _ := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := r.schema(members[name], append(slices.Clone(path), name), direct); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) schemas(v any, path []string) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, s := range list {
		if err := r.schema(s, path, false); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) annotation(s map[string]any, annotation any, path []string, direct bool) error {
	if !direct || len(path) == 0 {
		return errors.New(Keyword + " is allowed only on properties that are reached through properties alone")
	}
	name, _ := annotation.(string)
	if !isToken(name) {
		return errors.New(Keyword + " must be a non-empty HTTP token")
	}
	if t, _ := s["type"].(string); t != "string" && t != "integer" && t != "boolean" {
		return fmt.Errorf("%s %q: the type must be string, integer or boolean", Keyword, name)
	}
	lower := strings.ToLower(name)
	if other, ok := r.seen[lower]; ok {
		return fmt.Errorf("%s %q is also on property %q (case does not matter)", Keyword, name, other)
	}
	r.seen[lower] = strings.Join(path, ".")
	r.found = append(r.found, Binding{Path: path, Header: textproto.CanonicalMIMEHeaderKey(Prefix + name)})
	return nil
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
