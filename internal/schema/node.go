package schema

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/google/jsonschema-go/jsonschema"
)

// kinds is a set of JSON types. JSON Schema's "number" is integer and fraction.
type kinds uint8

const (
	null kinds = 1 << iota
	boolean
	integer
	fraction
	text
	array
	object

	number  = integer | fraction
	anyKind = null | boolean | number | text | array | object
)

var kindNames = map[string]kinds{"null": null, "boolean": boolean, "integer": integer, "number": number,
	"string": text, "array": array, "object": object}

// name is the JSON Schema name of a single kind.
func (k kinds) name() string {
	switch k {
	case null:
		return "null"
	case boolean:
		return "boolean"
	case integer:
		return "integer"
	case text:
		return "string"
	case array:
		return "array"
	case object:
		return "object"
	}
	return "number"
}

// A node is one schema of the flat subset.
type node struct {
	path  string // JSON pointer from the root; "root" for the root itself
	kinds kinds
	want  string // the types as a message names them

	choices  []constant // enum
	only     *constant  // const
	hasEnum  bool
	numeric  *numericRules
	textual  *textRules
	items    *node // nil: anything
	minItems int
	maxItems int

	props      []property
	index      map[string]int // only for many props
	required   []int          // into props
	undeclared []string       // required names that are not in props, at most 64
	additional *node          // of properties not in props; nil: anything
	closed     bool           // no properties but props
	fills      bool           // a default may have to be filled in at or below
}

type property struct {
	name     string
	node     *node
	required bool
	// missing is filled in when the property is absent; nil: nothing.
	missing []byte
	// missingErr says that what is filled in is itself not valid.
	missingErr error
}

type numericRules struct {
	min, max, above, below, multiple *float64
}

type textRules struct {
	min, max *int
	pattern  *regexp.Regexp
}

// A constant is a scalar of enum or const.
type constant struct {
	kind   kinds // null, boolean, number or text
	truth  bool
	number float64
	text   string
}

// compile reports false if s or a part of it is outside the flat subset.
func compile(s *jsonschema.Schema, pointer string) (*node, bool) {
	if s == nil || !flat(s) {
		return nil, false
	}
	n := &node{path: pointer, maxItems: math.MaxInt}
	if pointer == "" {
		n.path = "root"
	}
	ok := n.setKinds(s) && n.setConstants(s) && n.setText(s) &&
		n.setItems(s, pointer) && n.setProperties(s, pointer) && n.setAdditional(s, pointer)
	if !ok {
		return nil, false
	}
	if s.MultipleOf != nil || s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil {
		n.numeric = &numericRules{s.Minimum, s.Maximum, s.ExclusiveMinimum, s.ExclusiveMaximum, s.MultipleOf}
	}
	return n, true
}

// supportedVersions are the values of $schema that jsonschema-go validates.
var supportedVersions = []string{"", "http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft-07/schema#",
	"https://json-schema.org/draft/2020-12/schema"}

// flat reports whether s itself uses no keyword beyond the subset. A schema in
// the place of an identifier ($id) is left to jsonschema-go for its error texts.
func flat(s *jsonschema.Schema) bool {
	return slices.Contains(supportedVersions, s.Schema) && s.ID == "" &&
		s.Ref == "" && s.DynamicRef == "" && s.Vocabulary == nil &&
		s.PrefixItems == nil && s.ItemsArray == nil && s.AdditionalItems == nil && !s.UniqueItems &&
		s.Contains == nil && s.UnevaluatedItems == nil &&
		s.MinProperties == nil && s.MaxProperties == nil && s.DependentRequired == nil &&
		s.DependencySchemas == nil && s.DependencyStrings == nil && s.DependentSchemas == nil &&
		s.PatternProperties == nil && s.PropertyNames == nil && s.UnevaluatedProperties == nil &&
		s.AllOf == nil && s.AnyOf == nil && s.OneOf == nil && s.Not == nil &&
		s.If == nil && s.Then == nil && s.Else == nil
}

func (n *node) setKinds(s *jsonschema.Schema) bool {
	names := s.Types
	switch {
	case s.Type != "":
		names = []string{s.Type}
		n.want = `want "` + s.Type + `"`
	case s.Types != nil:
		n.want = `want one of "` + strings.Join(s.Types, ", ") + `"`
	default:
		n.kinds = anyKind
		return true
	}
	for _, name := range names {
		k, known := kindNames[name]
		if !known {
			return false
		}
		n.kinds |= k
	}
	return true
}

func (n *node) setConstants(s *jsonschema.Schema) bool {
	n.hasEnum = s.Enum != nil
	for _, v := range s.Enum {
		c, ok := constantOf(v)
		if !ok {
			return false
		}
		n.choices = append(n.choices, c)
	}
	if s.Const == nil {
		return true
	}
	c, ok := constantOf(*s.Const)
	n.only = &c
	return ok
}

// constantOf reports false for what is not a scalar, or is a number that a
// float64 does not hold exactly.
func constantOf(v any) (constant, bool) {
	if v == nil {
		return constant{kind: null}, true
	}
	const exact = 1 << 53
	rv := reflect.ValueOf(v)
	switch {
	case rv.Type().String() == "json.Number":
		return constant{}, false
	case rv.Kind() == reflect.String:
		return constant{kind: text, text: rv.String()}, true
	case rv.Kind() == reflect.Bool:
		return constant{kind: boolean, truth: rv.Bool()}, true
	case rv.CanInt():
		return constant{kind: number, number: float64(rv.Int())}, -exact <= rv.Int() && rv.Int() <= exact
	case rv.CanUint():
		return constant{kind: number, number: float64(rv.Uint())}, rv.Uint() <= exact
	case rv.CanFloat():
		f := rv.Float()
		return constant{kind: number, number: f}, !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return constant{}, false
}

func (n *node) setText(s *jsonschema.Schema) bool {
	if s.MinLength == nil && s.MaxLength == nil && s.Pattern == "" {
		return true
	}
	n.textual = &textRules{min: s.MinLength, max: s.MaxLength}
	if s.Pattern == "" {
		return true
	}
	pattern, err := regexp.Compile(s.Pattern)
	n.textual.pattern = pattern
	return err == nil
}

func (n *node) setItems(s *jsonschema.Schema, pointer string) bool {
	if s.MinItems != nil {
		n.minItems = *s.MinItems
	}
	if s.MaxItems != nil {
		n.maxItems = *s.MaxItems
	}
	if s.Items == nil {
		return true
	}
	items, ok := compile(s.Items, pointer+"/items")
	n.items = items
	return ok
}

func (n *node) setProperties(s *jsonschema.Schema, pointer string) bool {
	for name, sub := range s.Properties {
		child, ok := compile(sub, pointer+"/properties/"+escapePointer(name))
		if !ok {
			return false
		}
		p := property{name: name, node: child, required: slices.Contains(s.Required, name)}
		p.setMissing(sub)
		n.fills = n.fills || !p.required && (p.missing != nil || child.fills)
		n.props = append(n.props, p)
	}
	slices.SortFunc(n.props, func(a, b property) int { return strings.Compare(a.name, b.name) })
	if len(n.props) > 8 {
		n.index = make(map[string]int, len(n.props))
		for i, p := range n.props {
			n.index[p.name] = i
		}
	}
	return n.setRequired(s.Required)
}

func (n *node) setRequired(names []string) bool {
	for _, name := range names {
		if i := n.find([]byte(name)); i >= 0 {
			n.required = append(n.required, i)
		} else if !slices.Contains(n.undeclared, name) {
			n.undeclared = append(n.undeclared, name)
		}
	}
	return len(n.undeclared) <= 64
}

func (n *node) setAdditional(s *jsonschema.Schema, pointer string) bool {
	extra := s.AdditionalProperties
	if extra == nil {
		return true
	}
	if extra.Not != nil && reflect.ValueOf(*extra.Not).IsZero() {
		n.closed = true
		return true
	}
	child, ok := compile(extra, pointer+"/additionalProperties")
	n.additional = child
	return ok
}

// setMissing works out, as jsonschema-go's ApplyDefaults would each time, what
// stands in for an absent property: its default, or an object made of the
// defaults below it, which need not be valid.
func (p *property) setMissing(s *jsonschema.Schema) {
	if p.required || !hasDefaults(s) {
		return
	}
	start := []byte(s.Default)
	if s.Default == nil {
		start = []byte("{}")
	}
	w := walk{b: start, fillOnly: true}
	if _, err := w.value(p.node, jsonrpc.SkipSpace(start, 0), 0, true); err != nil {
		p.missing, p.missingErr = start, err
		return
	}
	p.missing = w.result()
	check := walk{b: p.missing}
	_, p.missingErr = check.value(p.node, jsonrpc.SkipSpace(p.missing, 0), 0, false)
}

// hasDefaults looks for defaults where ApplyDefaults would.
func hasDefaults(s *jsonschema.Schema) bool {
	if s.Default != nil {
		return true
	}
	for _, sub := range s.Properties {
		if hasDefaults(sub) {
			return true
		}
	}
	return false
}

// find returns the index of a declared property, or -1.
func (n *node) find(name []byte) int {
	if n.index != nil {
		if i, ok := n.index[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range n.props {
		if n.props[i].name == string(name) {
			return i
		}
	}
	return -1
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
