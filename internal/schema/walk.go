package schema

import (
	"errors"
	"fmt"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

var (
	errSyntax = errors.New("not JSON")
	errDepth  = fmt.Errorf("nested deeper than %d", jsonrpc.MaxDepth)
)

// A walk goes over one value once, and writes down what changes of its text. The
// text is JSON that somebody has parsed before; on other text a walk finds an
// error or ends early, and the decoder behind it finds the rest.
type walk struct {
	b        []byte
	fillOnly bool   // fill in defaults, check nothing
	out      []byte // the changed text of b[:done]; nil while nothing has changed
	done     int
}

// replace puts text in the place of b[from:to], which lies behind all that was
// replaced before.
func (w *walk) replace(from, to int, text []byte) {
	if w.out == nil {
		w.out = make([]byte, 0, len(w.b)+len(text)+64)
	}
	w.out = append(w.out, w.b[w.done:from]...)
	w.out = append(w.out, text...)
	w.done = to
}

// insert adds a member to an object, before b[at]. first says that the object
// has no other yet.
func (w *walk) insert(at int, name string, value []byte, first bool) {
	w.replace(at, at, nil)
	if !first {
		w.out = append(w.out, ',')
	}
	w.out = jsonrpc.AppendString(w.out, name)
	w.out = append(append(w.out, ':'), value...)
}

// result is the text with all its changes.
func (w *walk) result() []byte {
	if w.out == nil {
		return w.b
	}
	return append(w.out, w.b[w.done:]...)
}

// value checks the value that begins at b[i] against n, nil for anything, and
// returns where it ends. fill says whether defaults are filled in below it.
func (w *walk) value(n *node, i, depth int, fill bool) (int, error) {
	if i >= len(w.b) {
		return i, errSyntax
	}
	if n == nil {
		n = anything
	}
	var end int
	var err error
	switch k := kindOf(w.b[i:]); k {
	case object:
		if err := w.shape(n, k, i); err != nil {
			return i, err
		}
		end, err = w.object(n, i, depth+1, fill)
	case array:
		if err := w.shape(n, k, i); err != nil {
			return i, err
		}
		end, err = w.array(n, i, depth+1)
	case text:
		end = jsonrpc.SkipString(w.b, i)
		err = w.text(n, w.b[i:end])
	case number:
		end, err = w.number(n, i)
	default:
		end, err = w.literal(n, i, k)
	}
	if err != nil && n != anything {
		err = fmt.Errorf("validating %s: %w", n.path, err)
	}
	return end, err
}

// anything is the schema of values that have none.
var anything = &node{kinds: anyKind, maxItems: int(^uint(0) >> 1)}

func kindOf(b []byte) kinds {
	switch b[0] {
	case '{':
		return object
	case '[':
		return array
	case '"':
		return text
	case 't', 'f':
		return boolean
	case 'n':
		return null
	}
	return number
}

// shape checks what concerns an object or array as a whole.
func (w *walk) shape(n *node, k kinds, i int) error {
	if w.fillOnly {
		return nil
	}
	err := n.allow(k, func() string { return "the value" })
	if err == nil && (n.hasEnum || n.only != nil) {
		err = fmt.Errorf("enum: the %s does not equal any of: %s", k.name(), n.listed())
	}
	if err != nil && n.path != "" {
		return fmt.Errorf("validating %s: %w", n.path, err)
	}
	return err
}

func (n *node) allow(k kinds, show func() string) error {
	if n.kinds&k != 0 {
		return nil
	}
	return fmt.Errorf("type: %s has type %q, %s", show(), k.name(), n.want)
}

func (w *walk) literal(n *node, i int, k kinds) (int, error) {
	word := "null"
	if k == boolean {
		word = "true"
		if w.b[i] == 'f' {
			word = "false"
		}
	}
	end := i + len(word)
	if end > len(w.b) || string(w.b[i:end]) != word {
		return i, errSyntax
	}
	if w.fillOnly {
		return end, nil
	}
	show := func() string { return word }
	if err := n.allow(k, show); err != nil {
		return i, err
	}
	return end, n.oneOf(show, func(c *constant) bool { return c.kind == k && (k == null || c.truth == (word == "true")) })
}

// oneOf checks enum and const.
func (n *node) oneOf(show func() string, equal func(*constant) bool) error {
	if n.hasEnum && !n.anyChoice(equal) {
		return fmt.Errorf("enum: %s does not equal any of: %s", show(), n.listed())
	}
	if n.only != nil && !equal(n.only) {
		return fmt.Errorf("const: %s does not equal %s", show(), n.only)
	}
	return nil
}

func (n *node) anyChoice(equal func(*constant) bool) bool {
	for i := range n.choices {
		if equal(&n.choices[i]) {
			return true
		}
	}
	return false
}

func (w *walk) array(n *node, i, depth int) (int, error) {
	if depth > jsonrpc.MaxDepth {
		return i, errDepth
	}
	i = jsonrpc.SkipSpace(w.b, i+1)
	count := 0
	for ; i < len(w.b) && w.b[i] != ']'; count++ {
		end, err := w.value(n.items, i, depth, false)
		if err != nil {
			return i, err
		}
		if i, err = w.comma(end, ']'); err != nil {
			return i, err
		}
	}
	if i >= len(w.b) {
		return i, errSyntax
	}
	if !w.fillOnly && count < n.minItems {
		return i, fmt.Errorf("minItems: array length %d is less than %d", count, n.minItems)
	}
	if !w.fillOnly && count > n.maxItems {
		return i, fmt.Errorf("maxItems: array length %d is greater than %d", count, n.maxItems)
	}
	return i + 1, nil
}

// comma consumes what follows an element: nothing before the closing bracket, or
// a comma and then not the closing bracket.
func (w *walk) comma(i int, closing byte) (int, error) {
	i = jsonrpc.SkipSpace(w.b, i)
	if i >= len(w.b) {
		return i, errSyntax
	}
	if w.b[i] == closing {
		return i, nil
	}
	if w.b[i] != ',' {
		return i, errSyntax
	}
	if i = jsonrpc.SkipSpace(w.b, i+1); i >= len(w.b) || w.b[i] == closing {
		return i, errSyntax
	}
	return i, nil
}
