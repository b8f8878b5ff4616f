// Package schema checks raw JSON against JSON Schemas compiled beforehand.
//
// It accepts and refuses what the official Go SDK does for the arguments and
// results of its typed tools (jsonschema-go behind its applySchema: defaults of
// optional properties are filled in before the check), as a differential fuzz
// test shows. Most tools' schemas are flat: objects of scalars, enumerations and
// arrays. For those, [Compile] builds a checker that walks the raw text once,
// without maps, reflection or, usually, allocation. Other schemas go to jsonschema-go.
//
// It differs from the SDK in three ways:
//   - a name that occurs twice in one object, at any depth, is refused;
//   - arguments that are null count as absent, also when a schema has defaults;
//   - integers keep all their digits where the SDK rounds them to a float64.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/google/jsonschema-go/jsonschema"
)

// A Checker checks values against one schema. It may be used by several
// goroutines at once.
type Checker struct {
	resolved *jsonschema.Resolved
	root     *node // nil: the schema needs jsonschema-go
}

// Compile prepares s, which must not change afterwards. It fails if s is not a
// valid schema, if a reference in it leads outside of it, or if a default does
// not satisfy its own schema.
func Compile(s *jsonschema.Schema) (*Checker, error) {
	if s == nil {
		return nil, errors.New("no schema")
	}
	resolved, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		return nil, err
	}
	c := &Checker{resolved: resolved}
	if root, ok := compile(s, ""); ok {
		c.root = root
	}
	return c, nil
}

// Flat reports whether the schema is checked without jsonschema-go.
func (c *Checker) Flat() bool { return c.root != nil }

// Check checks the arguments of a tool: an object, or nothing or null, which
// count as {}. It returns the arguments with defaults filled in; that is raw
// itself if there were none to fill in. Numbers that are integers but not written
// so (1.0, 1e3) are rewritten, as the SDK does, so that they can be read as Go
// integers. An error names the property and the rule it breaks.
func (c *Checker) Check(raw []byte) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		raw = []byte("{}")
	}
	if raw[0] != '{' {
		return nil, fmt.Errorf("unmarshaling arguments: want an object, got %s", kindOf(raw).name())
	}
	return c.check(raw)
}

// CheckOutput checks a tool's output, any value. Where the schema wants an object,
// null counts as {}. It returns the output with defaults filled in.
func (c *Checker) CheckOutput(raw []byte) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		raw = []byte("null")
	}
	if string(raw) == "null" && c.resolved.Schema().Type == "object" {
		raw = []byte("{}")
	}
	return c.check(raw)
}

func (c *Checker) check(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		// Only other transports than ours let this pass. A decoder replaces each bad
		// byte; do the same before lengths are counted.
		raw = []byte(string([]rune(string(raw))))
	}
	if c.root == nil {
		return c.checkWhole(raw)
	}
	w := walk{b: raw}
	end, err := w.value(c.root, 0, 0, true)
	if err != nil {
		return nil, err
	}
	if end = jsonrpc.SkipSpace(raw, end); end != len(raw) {
		return nil, errors.New("not JSON")
	}
	return w.result(), nil
}
