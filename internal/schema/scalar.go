package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// shownText bounds what a message quotes of a client's value, in bytes.
const shownText = 100

func (w *walk) text(n *node, raw []byte) error {
	if len(raw) < 2 || raw[len(raw)-1] != '"' {
		return errSyntax
	}
	if w.fillOnly {
		return nil
	}
	show := func() string { return shorten(raw) }
	if err := n.allow(text, show); err != nil {
		return err
	}
	if !n.hasEnum && n.only == nil && n.textual == nil {
		return nil
	}
	inner := jsonrpc.Unquoted(raw)
	equal := func(c *constant) bool { return c.kind == text && c.text == string(inner) }
	if err := n.oneOf(show, equal); err != nil || n.textual == nil {
		return err
	}
	return n.textual.check(raw, inner)
}

func (r *textRules) check(raw, inner []byte) error {
	if r.min != nil || r.max != nil {
		length := utf8.RuneCount(inner)
		if r.min != nil && length < *r.min {
			return fmt.Errorf("minLength: %q contains %d Unicode code points, fewer than %d", shorten(raw), length, *r.min)
		}
		if r.max != nil && length > *r.max {
			return fmt.Errorf("maxLength: %q contains %d Unicode code points, more than %d", shorten(raw), length, *r.max)
		}
	}
	if r.pattern != nil && !r.pattern.Match(inner) {
		return fmt.Errorf("pattern: %q does not match regular expression %q", shorten(raw), r.pattern)
	}
	return nil
}

func shorten(raw []byte) string {
	s, _ := jsonrpc.String(raw)
	if len(s) <= shownText {
		return s
	}
	return strings.ToValidUTF8(s[:shownText], "") + "…"
}

func (w *walk) number(n *node, i int) (int, error) {
	end := numberEnd(w.b, i)
	literal := w.b[i:end]
	plain := plainInteger(literal)
	if !plain && !validNumber(literal) {
		return i, errSyntax
	}
	var f float64
	if n.numeric != nil || n.hasEnum || n.only != nil || !plain || len(literal) > 300 {
		var err error
		if f, err = strconv.ParseFloat(string(literal), 64); err != nil {
			return i, fmt.Errorf("number %s is out of range", clipNumber(literal))
		}
	}
	whole := plain || f == math.Trunc(f)
	if whole && !plain {
		w.rewrite(i, end, f)
	}
	if w.fillOnly {
		return end, nil
	}
	k := fraction
	if whole {
		k = integer
	}
	show := func() string { return clipNumber(literal) }
	if err := n.allow(k, show); err != nil {
		return i, err
	}
	equal := func(c *constant) bool { return c.kind == number && c.number == f }
	if err := n.oneOf(show, equal); err != nil {
		return i, err
	}
	if n.numeric == nil {
		return end, nil
	}
	return end, n.numeric.check(f, literal)
}

// rewrite writes an integer in digits, as a decoder into a Go integer needs it
// and as encoding/json does it: only below 1e21.
func (w *walk) rewrite(i, end int, f float64) {
	if math.Abs(f) < 1e21 {
		var digits [32]byte
		w.replace(i, end, strconv.AppendFloat(digits[:0], f, 'f', -1, 64))
	}
}

func numberEnd(b []byte, i int) int {
	for i < len(b) {
		switch c := b[i]; {
		case '0' <= c && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			i++
		default:
			return i
		}
	}
	return i
}

func plainInteger(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) == 1 || len(b) > 1 && b[0] != '0'
}

// validNumber keeps what strconv takes and JSON does not, such as ".5", away
// from it.
func validNumber(b []byte) bool { return jsonrpc.Valid(b, 1) == nil }

func clipNumber(literal []byte) string {
	const most = 32
	if len(literal) <= most {
		return string(literal)
	}
	return string(literal[:most]) + "…"
}

func (r *numericRules) check(f float64, literal []byte) error {
	switch {
	case r.multiple != nil && !isMultiple(f, *r.multiple):
		return fmt.Errorf("multipleOf: %s is not a multiple of %v", clipNumber(literal), *r.multiple)
	case r.min != nil && f < *r.min:
		return fmt.Errorf("minimum: %s is less than %v", clipNumber(literal), *r.min)
	case r.max != nil && f > *r.max:
		return fmt.Errorf("maximum: %s is greater than %v", clipNumber(literal), *r.max)
	case r.above != nil && f <= *r.above:
		return fmt.Errorf("exclusiveMinimum: %s is less than or equal to %v", clipNumber(literal), *r.above)
	case r.below != nil && f >= *r.below:
		return fmt.Errorf("exclusiveMaximum: %s is greater than or equal to %v", clipNumber(literal), *r.below)
	}
	return nil
}

// isMultiple rounds as jsonschema-go does.
func isMultiple(f, of float64) bool {
	_, rest := math.Modf(f / of)
	return rest == 0
}

func (c *constant) String() string {
	switch c.kind {
	case null:
		return "null"
	case boolean:
		return strconv.FormatBool(c.truth)
	case number:
		return strconv.FormatFloat(c.number, 'g', -1, 64)
	}
	return c.text
}

func (n *node) listed() string {
	if n.only != nil && !n.hasEnum {
		return "[" + n.only.String() + "]"
	}
	words := make([]string, len(n.choices))
	for i := range n.choices {
		words[i] = n.choices[i].String()
	}
	return "[" + strings.Join(words, " ") + "]"
}
