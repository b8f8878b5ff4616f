package jsonrpc

import (
	"encoding/binary"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of arrays and objects that is ever accepted,
// the message itself included. It is the limit of the SDK.
const MaxDepth = 1000

// Valid reports, as a *[SyntaxError], why data is not exactly one JSON value in
// UTF-8 nested no deeper than maxDepth (0 or more than [MaxDepth]: MaxDepth).
// Names may occur twice.
func Valid(data []byte, maxDepth int) error {
	i, err := scanValue(data, SkipSpace(data, 0), clampDepth(maxDepth))
	if err != nil {
		return err
	}
	if i = SkipSpace(data, i); i < len(data) {
		return &SyntaxError{i, "text after the value"}
	}
	return nil
}

func clampDepth(depth int) int {
	if depth <= 0 || depth > MaxDepth {
		return MaxDepth
	}
	return depth
}

// SkipSpace returns the index of the first byte from b[i] on that is not space
// between tokens.
func SkipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// nesting remembers which of the open values are objects, a bit for each level,
// so that deep input costs no stack and no heap.
type nesting struct {
	level   int
	objects [(MaxDepth + 63) / 64]uint64
}

func (n *nesting) push(object bool) {
	bit := uint64(1) << (n.level % 64)
	if object {
		n.objects[n.level/64] |= bit
	} else {
		n.objects[n.level/64] &^= bit
	}
	n.level++
}

func (n *nesting) inObject() bool {
	top := n.level - 1
	return n.objects[top/64]&(1<<(top%64)) != 0
}

// scanValue returns the end of the value that begins at b[i], having checked
// its syntax. i is not at a space. maxDepth bounds the nesting of this value.
func scanValue(b []byte, i, maxDepth int) (int, error) {
	if i >= len(b) {
		return i, &SyntaxError{i, "a value is missing"}
	}
	if c := b[i]; c != '{' && c != '[' {
		return scanScalar(b, i)
	}
	return scanNested(b, i, maxDepth)
}

func scanNested(b []byte, i, maxDepth int) (int, error) {
	var open nesting
	var err error
	for {
		// A value begins at i.
		if i >= len(b) {
			return i, &SyntaxError{i, "a value is missing"}
		}
		if c := b[i]; c == '{' || c == '[' {
			if open.level >= maxDepth {
				return i, &SyntaxError{i, "nested too deeply"}
			}
			open.push(c == '{')
			i = SkipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // '{'+2 is '}', '['+2 is ']'
				open.level--
				i++
			} else if c == '{' {
				if i, err = scanName(b, i); err != nil {
					return i, err
				}
				continue
			} else {
				continue
			}
		} else if i, err = scanScalar(b, i); err != nil {
			return i, err
		}
		// A value has ended before i: close what ends here, go on to the next.
		if i, err = scanEnds(b, i, &open); err != nil || open.level == 0 {
			return i, err
		}
	}
}

// scanEnds consumes closing brackets until a comma announces the next value (and
// consumes its name, in an object) or nothing is open any more.
func scanEnds(b []byte, i int, open *nesting) (int, error) {
	for open.level > 0 {
		i = SkipSpace(b, i)
		if i >= len(b) {
			return i, &SyntaxError{i, "an object or array does not end"}
		}
		object := open.inObject()
		switch c := b[i]; {
		case c == ',' && object:
			return scanName(b, SkipSpace(b, i+1))
		case c == ',':
			return SkipSpace(b, i+1), nil
		case c == '}' && object, c == ']' && !object:
			open.level--
			i++
		case object:
			return i, &SyntaxError{i, "expected ',' or '}'"}
		default:
			return i, &SyntaxError{i, "expected ',' or ']'"}
		}
	}
	return i, nil
}

// scanName consumes an object member's name and colon and returns where its
// value begins.
func scanName(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return i, &SyntaxError{i, "expected a name in double quotes"}
	}
	i, err := scanString(b, i)
	if err != nil {
		return i, err
	}
	return scanColon(b, i)
}

func scanColon(b []byte, i int) (int, error) {
	i = SkipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return i, &SyntaxError{i, "expected ':' after a name"}
	}
	return SkipSpace(b, i+1), nil
}

func scanScalar(b []byte, i int) (int, error) {
	switch c := b[i]; {
	case c == '"':
		return scanString(b, i)
	case c == '-' || '0' <= c && c <= '9':
		return scanNumber(b, i)
	case c == 't':
		return scanLiteral(b, i, "true")
	case c == 'f':
		return scanLiteral(b, i, "false")
	case c == 'n':
		return scanLiteral(b, i, "null")
	}
	return i, &SyntaxError{i, "expected a value"}
}

func scanLiteral(b []byte, i int, word string) (int, error) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, &SyntaxError{i, "expected a value"}
	}
	return i + len(word), nil
}

func scanNumber(b []byte, i int) (int, error) {
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++ // no digit may follow; the caller sees it as a missing comma
	case i < len(b) && isDigit(b[i]):
		i = skipDigits(b, i)
	default:
		return i, &SyntaxError{i, "expected a digit"}
	}
	if i < len(b) && b[i] == '.' {
		if i++; i >= len(b) || !isDigit(b[i]) {
			return i, &SyntaxError{i, "expected a digit after '.'"}
		}
		i = skipDigits(b, i)
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i >= len(b) || !isDigit(b[i]) {
			return i, &SyntaxError{i, "expected a digit in an exponent"}
		}
		i = skipDigits(b, i)
	}
	return i, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func skipDigits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// plain reports whether none of eight bytes ends a string, starts an escape, is
// a control character or is outside ASCII. It may say no wrongly, never yes.
func plain(w uint64) bool {
	quote := w ^ lowBits*'"'
	slash := w ^ lowBits*'\\'
	found := (w - lowBits*' ') | (quote - lowBits) | (slash - lowBits) | w
	return found&highBits == 0
}

// scanString returns the end of the string whose opening quote is b[i].
func scanString(b []byte, i int) (int, error) {
	i++
	for {
		for len(b)-i >= 8 && plain(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
		}
		for i < len(b) && isPlain(b[i]) {
			i++
		}
		if i >= len(b) {
			return i, &SyntaxError{i, "a string does not end"}
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return i, &SyntaxError{i, "unknown escape in a string"}
			}
			i += n
		case c < ' ':
			return i, &SyntaxError{i, "control character in a string"}
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return i, &SyntaxError{i, "not UTF-8"}
			}
			i += n
		}
	}
}

func isPlain(c byte) bool { return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' }

// escapeLen returns the length of the escape at the beginning of b, or 0.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads the four hexadecimal digits that b begins with.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
