package paramheader

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// Check holds the headers of a tools/call against its raw arguments, checked
// JSON or nil. Every bound argument that is present and not null must have its
// header, once and with the same value; one that is absent or null must have
// none. Other Mcp-Param headers do not matter. An error names the header and the
// argument, never a value.
func Check(bindings []Binding, header http.Header, arguments []byte) error {
	if len(bindings) == 0 {
		return nil
	}
	l := lookup{bindings: bindings, values: make([][]byte, len(bindings))}
	if jsonrpc.IsObject(arguments) {
		all := make([]int, len(bindings))
		for i := range all {
			all[i] = i
		}
		if err := l.gather(arguments, 0, all); err != nil {
			return fmt.Errorf("arguments: %w", err)
		}
	}
	for i, b := range bindings {
		if err := b.check(header[b.Header], l.values[i]); err != nil {
			return err
		}
	}
	return nil
}

type lookup struct {
	bindings []Binding
	values   [][]byte
}

// gather finds the values of those bindings (by index) whose path leads through
// raw, at the given depth of the path. Two members of one name could be read
// either way, so they are refused.
func (l *lookup) gather(raw []byte, depth int, among []int) error {
	return jsonrpc.ScanObject(raw, func(name, value []byte) error {
		var below []int
		for _, i := range among {
			path := l.bindings[i].Path
			switch {
			case path[depth] != string(name):
			case depth == len(path)-1:
				l.values[i] = value
			default:
				below = append(below, i)
			}
		}
		if below == nil || !jsonrpc.IsObject(value) {
			return nil
		}
		return l.gather(value, depth+1, below)
	})
}

func (b Binding) check(lines []string, value []byte) error {
	if jsonrpc.IsNull(value) {
		if len(lines) > 0 {
			return fmt.Errorf("header mismatch: %s without the argument %q that it mirrors", b.Header, b.argument())
		}
		return nil
	}
	switch len(lines) {
	case 0:
		return fmt.Errorf("header mismatch: %s is missing; it mirrors the argument %q", b.Header, b.argument())
	case 1:
	default:
		return fmt.Errorf("header mismatch: %s occurs twice; it mirrors the argument %q", b.Header, b.argument())
	}
	text, err := Decode(lines[0])
	if err != nil {
		return fmt.Errorf("header mismatch: %s, which mirrors the argument %q: %w", b.Header, b.argument(), err)
	}
	if !equal(text, value) {
		return fmt.Errorf("header mismatch: %s differs from the argument %q", b.Header, b.argument())
	}
	return nil
}

// equal compares a decoded header with a raw argument.
func equal(text string, value []byte) bool {
	switch value[0] {
	case '"':
		return jsonrpc.StringEquals(value, text)
	case 't', 'f':
		return text == string(value)
	case '{', '[':
		return false
	}
	argument, ok := safeInteger(string(value))
	if !ok {
		return false
	}
	mirrored, ok := safeInteger(text)
	return ok && argument == mirrored
}

// safeInteger reads a number in the syntax of JSON exactly, and reports false if
// it is not an integer within ±(2^53-1): readers that hold it as a float64 would
// not agree on others.
func safeInteger(s string) (int64, bool) {
	const (
		limit   = 1<<53 - 1
		longest = 64
	)
	if len(s) > longest || s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || jsonrpc.Valid([]byte(s), 1) != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		if n, err = exactInteger(s); err != nil {
			return 0, false
		}
	}
	return n, -limit <= n && n <= limit
}

var errNotInteger = errors.New("not an integer")

// exactInteger reads a number that is written with a fraction or an exponent.
func exactInteger(s string) (int64, error) {
	if at := strings.IndexAny(s, "eE"); at >= 0 {
		// A large exponent would make a number of that many digits.
		exponent, err := strconv.Atoi(s[at+1:])
		if err != nil || exponent > 100 || exponent < -100 {
			return 0, errNotInteger
		}
	}
	exact, ok := new(big.Rat).SetString(s)
	if !ok || !exact.IsInt() || !exact.Num().IsInt64() {
		return 0, errNotInteger
	}
	return exact.Num().Int64(), nil
}

// Decode returns the text that a header value stands for: itself, or what is
// Base64 between =?base64? and ?=, as clients write text that is not plain ASCII.
// With only one of these marks it is plain text.
func Decode(value string) (string, error) {
	encoded, ok := strings.CutPrefix(value, "=?base64?")
	if ok {
		encoded, ok = strings.CutSuffix(encoded, "?=")
	}
	if !ok {
		return value, plain(value)
	}
	if strings.ContainsAny(encoded, "\r\n") {
		return "", errors.New("not Base64")
	}
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", errors.New("not Base64")
	}
	if !utf8.Valid(text) {
		return "", errors.New("not UTF-8")
	}
	return string(text), nil
}

// plain refuses text that has to be sent in Base64: what stands between may have
// changed it.
func plain(s string) error {
	for i := range len(s) {
		if c := s[i]; c != '\t' && (c < ' ' || c > '~') {
			return errors.New("text outside of printable ASCII must be in Base64")
		}
	}
	return nil
}
