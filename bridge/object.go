package bridge

import (
	"errors"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// member returns a member of a checked object, or nil. An object in which a name occurs
// twice has none: another reader might see the other one.
func member(object []byte, name string) []byte {
	var found []byte
	if !jsonrpc.IsObject(object) {
		return nil
	}
	err := jsonrpc.ScanObject(object, func(n, value []byte) error {
		if string(n) == name {
			found = value
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return found
}

// at follows names from object to object.
func at(object []byte, path ...string) []byte {
	for _, name := range path {
		object = member(object, name)
	}
	return object
}

func isTrue(raw []byte) bool { return string(raw) == "true" }

// has reports whether object has a member of that name that is not null.
func has(object []byte, path ...string) bool {
	value := at(object, path...)
	return value != nil && !jsonrpc.IsNull(value)
}

// A pair is a member of an object; a nil value leaves it out.
type pair struct {
	name  string
	value []byte
}

// with returns a copy of object in which the pairs stand, in place of members of their
// names and after all others, which stay as they were. A nil object is an empty one.
func with(object []byte, pairs ...pair) []byte {
	out := make([]byte, 0, len(object)+64*len(pairs))
	out = append(out, '{')
	add := func(name, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, name...)
		out = append(out, ':')
		out = append(out, value...)
	}
	if jsonrpc.IsObject(object) {
		jsonrpc.ScanObject(object, func(name, value []byte) error {
			for _, p := range pairs {
				if p.name == string(name) {
					return nil
				}
			}
			add(jsonrpc.AppendString(nil, string(name)), value)
			return nil
		})
	}
	for _, p := range pairs {
		if p.value != nil {
			add(jsonrpc.AppendString(nil, p.name), p.value)
		}
	}
	return append(out, '}')
}

func quoted(text string) []byte { return jsonrpc.AppendString(nil, text) }

var errNotArray = errors.New("not an array")

// elements splits a checked array, at most 100,000 elements.
func elements(raw []byte) ([][]byte, error) {
	i := jsonrpc.SkipSpace(raw, 0)
	if i >= len(raw) || raw[i] != '[' {
		return nil, errNotArray
	}
	var list [][]byte
	i = jsonrpc.SkipSpace(raw, i+1)
	for i < len(raw) && raw[i] != ']' {
		end := endOf(raw, i)
		if end <= i || len(list) == 100_000 {
			return nil, errNotArray
		}
		list = append(list, raw[i:end:end])
		if i = jsonrpc.SkipSpace(raw, end); i < len(raw) && raw[i] == ',' {
			i = jsonrpc.SkipSpace(raw, i+1)
		}
	}
	return list, nil
}

// endOf returns the end of the checked value that begins at i.
func endOf(raw []byte, i int) int {
	depth := 0
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = jsonrpc.SkipString(raw, i) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
			continue
		case ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(raw)
}

func eachString(raw []byte, visit func(string)) error {
	list, err := elements(raw)
	if err != nil {
		return err
	}
	for _, value := range list {
		text, ok := jsonrpc.String(value)
		if !ok {
			return errors.New("not a string")
		}
		visit(text)
	}
	return nil
}

// array writes raw values as one array.
func array(list [][]byte) []byte {
	out := []byte{'['}
	for i, value := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, value...)
	}
	return append(out, ']')
}
