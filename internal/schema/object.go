package schema

import (
	"fmt"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// found tells which members an object has.
type found struct {
	declared   bits          // by index into node.props
	undeclared uint64        // by index into node.undeclared
	others     jsonrpc.Names // names that are not declared
	unexpected []string      // names that a closed object must not have
	count      int
}

// bits is a set of small numbers.
type bits struct {
	low  uint64
	high []uint64
}

// add reports whether i was not yet in the set, which has room for n numbers.
func (s *bits) add(i, n int) bool {
	word := &s.low
	if i >= 64 {
		if s.high == nil {
			s.high = make([]uint64, (n-1)/64)
		}
		word = &s.high[i/64-1]
	}
	was := *word
	*word |= 1 << (i % 64)
	return *word != was
}

func (s *bits) has(i int) bool {
	if i < 64 {
		return s.low&(1<<i) != 0
	}
	return s.high != nil && s.high[i/64-1]&(1<<(i%64)) != 0
}

func (w *walk) object(n *node, i, depth int, fill bool) (int, error) {
	if depth > jsonrpc.MaxDepth {
		return i, errDepth
	}
	var f found
	i = jsonrpc.SkipSpace(w.b, i+1)
	for i < len(w.b) && w.b[i] != '}' {
		end, err := w.member(n, &f, i, depth, fill)
		if err != nil {
			return i, err
		}
		if i, err = w.comma(end, '}'); err != nil {
			return i, err
		}
	}
	if i >= len(w.b) {
		return i, errSyntax
	}
	if fill {
		if err := w.fill(n, &f, i); err != nil {
			return i, err
		}
	}
	if err := w.complete(n, &f); err != nil {
		return i, err
	}
	return i + 1, nil
}

// member checks the member that begins at b[i] and returns where it ends.
func (w *walk) member(n *node, f *found, i, depth int, fill bool) (int, error) {
	if w.b[i] != '"' {
		return i, errSyntax
	}
	end := jsonrpc.SkipString(w.b, i)
	if end-i < 2 || w.b[end-1] != '"' {
		return i, errSyntax
	}
	name := jsonrpc.Unquoted(w.b[i:end])
	if i = jsonrpc.SkipSpace(w.b, end); i >= len(w.b) || w.b[i] != ':' {
		return i, errSyntax
	}
	i = jsonrpc.SkipSpace(w.b, i+1)
	f.count++
	if at := n.find(name); at >= 0 {
		if !f.declared.add(at, len(n.props)) {
			return i, twice(name)
		}
		p := &n.props[at]
		return w.value(p.node, i, depth, fill && !p.required)
	}
	if !f.others.Add(name) {
		return i, twice(name)
	}
	f.note(n, name)
	return w.value(n.additional, i, depth, false)
}

func twice(name []byte) error {
	return fmt.Errorf("property %q occurs twice", jsonrpc.Clip(name))
}

// note takes in a name that is not declared.
func (f *found) note(n *node, name []byte) {
	for i, required := range n.undeclared {
		if required == string(name) {
			f.undeclared |= 1 << i
		}
	}
	const shown = 8
	if n.closed && len(f.unexpected) < shown {
		f.unexpected = append(f.unexpected, jsonrpc.Clip(name))
	}
}

// fill adds the defaults of what is absent before the closing bracket at b[i].
func (w *walk) fill(n *node, f *found, i int) error {
	for at := range n.props {
		p := &n.props[at]
		if p.missing == nil || f.declared.has(at) {
			continue
		}
		if p.missingErr != nil && !w.fillOnly {
			return p.missingErr
		}
		w.insert(i, p.name, p.missing, f.count == 0)
		f.count++
	}
	return nil
}

// complete checks the names of an object.
func (w *walk) complete(n *node, f *found) error {
	if w.fillOnly {
		return nil
	}
	if len(f.unexpected) > 0 {
		return fmt.Errorf("unexpected additional properties %q", f.unexpected)
	}
	var missing []string
	for _, at := range n.required {
		if !f.declared.has(at) {
			missing = append(missing, n.props[at].name)
		}
	}
	for i, name := range n.undeclared {
		if f.undeclared&(1<<i) == 0 {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("required: missing properties: %q", missing)
	}
	return nil
}
