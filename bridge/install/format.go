package install

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A format edits the text of a settings file. Its methods change as little as they
// can; edit checks what they did.
type format interface {
	// decode reads the whole text. An error says where the fault is.
	decode(src []byte) (map[string]any, error)
	// set puts o under name into the table at path, in the place of what is there.
	set(src []byte, path []string, name string, o object) ([]byte, error)
	// remove takes name out of the table at path.
	remove(src []byte, path []string, name string) ([]byte, error)
}

// maxFile bounds settings files, in bytes.
const maxFile = 8 << 20

var errTooLarge = errors.New("the file is larger than 8 MiB, which is no settings file")

// A SyntaxError says where a settings file is not what it should be.
type SyntaxError struct {
	Line, Column int // from 1
	Problem      string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

func syntaxErrorAt(src []byte, at int, problem string) error {
	at = min(at, len(src))
	line := 1 + bytes.Count(src[:at], []byte("\n"))
	column := at - bytes.LastIndexByte(src[:at], '\n')
	return &SyntaxError{line, column, problem}
}

// errShape is told when the text cannot be edited with certainty.
func errShape(what string) error {
	return fmt.Errorf("%s is written in a way that cannot be changed without touching something else: change it by hand", what)
}

// edit puts o under name, or takes name away if o is nil, and makes sure that this and
// nothing else has changed.
func edit(f format, src []byte, path []string, name string, o object) ([]byte, error) {
	if len(src) > maxFile {
		return nil, errTooLarge
	}
	before, err := f.decode(src)
	if err != nil {
		return nil, err
	}
	table, err := tableAt(before, path)
	if err != nil {
		return nil, err
	}
	old, there := table[name]
	if o == nil && !there || o != nil && there && canonical(old) == canonical(o) {
		return src, nil
	}
	var out []byte
	if o == nil {
		out, err = f.remove(src, path, name)
	} else {
		out, err = f.set(src, path, name, o)
	}
	if err != nil {
		return nil, err
	}
	after, err := f.decode(out)
	if err != nil {
		return nil, errShape(strings.Join(path, "."))
	}
	table, err = tableAt(after, path)
	if err != nil {
		return nil, errShape(strings.Join(path, "."))
	}
	now, there := table[name]
	if there != (o != nil) || there && canonical(now) != canonical(o) {
		return nil, errShape(strings.Join(append(slices.Clone(path), name), "."))
	}
	drop(before, path, name)
	drop(after, path, name)
	if canonical(before) != canonical(after) {
		return nil, errShape(strings.Join(path, "."))
	}
	return out, nil
}

// tableAt finds the table at path, nil if there is none.
func tableAt(root map[string]any, path []string) (map[string]any, error) {
	at := root
	for i, p := range path {
		v, ok := at[p]
		if !ok || v == nil {
			return nil, nil
		}
		next, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%q holds no table of servers but something else", strings.Join(path[:i+1], "."))
		}
		at = next
	}
	return at, nil
}

// drop takes name away, and tables that are empty then: whether an empty table is
// there makes no difference.
func drop(at map[string]any, path []string, name string) {
	if len(path) == 0 {
		delete(at, name)
		return
	}
	next, ok := at[path[0]].(map[string]any)
	if ok {
		drop(next, path[1:], name)
	}
	if len(next) == 0 && (ok || at[path[0]] == nil) {
		delete(at, path[0])
	}
}

// canonical is a text that is equal for equal values of any format.
func canonical(v any) string {
	var b strings.Builder
	writeCanonical(&b, v)
	return b.String()
}

func writeCanonical(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for _, k := range keys {
			b.WriteString(strconv.Quote(k))
			b.WriteByte(':')
			writeCanonical(b, v[k])
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case object:
		m := make(map[string]any, len(v))
		for _, x := range v {
			m[x.name] = x.value
		}
		writeCanonical(b, m)
	case map[any]any:
		var parts []string
		for k, x := range v {
			parts = append(parts, fmt.Sprintf("%T", k)+canonical(k)+"="+canonical(x))
		}
		slices.Sort(parts)
		b.WriteString(strings.Join(parts, ";"))
	case []any:
		b.WriteByte('[')
		for _, x := range v {
			writeCanonical(b, x)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = s
		}
		writeCanonical(b, items)
	case emptyList:
		b.WriteString("[]")
	case string:
		b.WriteString(strconv.Quote(v))
	default:
		fmt.Fprintf(b, "%v", v)
	}
}

// newlineOf is how lines end in src.
func newlineOf(src []byte) string {
	if i := bytes.IndexByte(src, '\n'); i > 0 && src[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// splice replaces src[from:to].
func splice(src []byte, from, to int, with string) []byte {
	out := make([]byte, 0, len(src)+len(with)-(to-from))
	out = append(out, src[:from]...)
	out = append(out, with...)
	return append(out, src[to:]...)
}

// lineStart is where the line of at begins.
func lineStart(src []byte, at int) int { return bytes.LastIndexByte(src[:at], '\n') + 1 }

// lineEnd is where the next line begins.
func lineEnd(src []byte, at int) int {
	if i := bytes.IndexByte(src[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(src)
}

func isBlank(b []byte) bool { return len(bytes.TrimSpace(b)) == 0 }
