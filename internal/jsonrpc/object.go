package jsonrpc

import (
	"bytes"
	"fmt"
	"unsafe"
)

// ScanObject calls visit for each member of a JSON object that [Parse] or
// [Valid] has checked, in order. name is unquoted, value is a part of raw;
// neither may be changed, and name may be kept only as a copy. An error of visit
// ends the scan and is returned. A name that occurs twice, or raw that is not an
// object, is an [Error] with CodeInvalidParams.
func ScanObject(raw []byte, visit func(name, value []byte) error) error {
	var seen Names
	return scanMembers(raw, func(name, value []byte) error {
		if !seen.Add(name) {
			return invalidParams("%q occurs twice", Clip(name))
		}
		return visit(name, value)
	})
}

// Without copies a JSON object that has been checked, leaving members out.
func Without(object []byte, names ...string) []byte {
	out := append(make([]byte, 0, len(object)), '{')
	_ = ScanObject(object, func(name, value []byte) error {
		for _, n := range names {
			if string(name) == n {
				return nil
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = AppendString(out, string(name))
		out = append(append(out, ':'), value...)
		return nil
	})
	return append(out, '}')
}

// IsObject reports whether checked JSON is an object.
func IsObject(raw []byte) bool {
	i := SkipSpace(raw, 0)
	return i < len(raw) && raw[i] == '{'
}

// IsNull reports whether checked JSON is null or absent.
func IsNull(raw []byte) bool {
	return len(raw) == 0 || raw[0] == 'n'
}

func scanMembers(raw []byte, visit func(name, value []byte) error) error {
	i := SkipSpace(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return invalidParams("not an object")
	}
	i = SkipSpace(raw, i+1)
	for i < len(raw) && raw[i] != '}' {
		end := SkipString(raw, i)
		name := raw[i:end]
		i = skipColon(raw, end)
		end = skipValue(raw, i)
		if !isString(name) || end <= i {
			return invalidParams("not an object")
		}
		if err := visit(Unquoted(name), raw[i:end:end]); err != nil {
			return err
		}
		i = skipComma(raw, end)
	}
	return nil
}

func skipColon(b []byte, i int) int {
	if i = SkipSpace(b, i); i < len(b) && b[i] == ':' {
		i++
	}
	return SkipSpace(b, i)
}

func skipComma(b []byte, i int) int {
	if i = SkipSpace(b, i); i < len(b) && b[i] == ',' {
		i++
	}
	return SkipSpace(b, i)
}

// skipValue returns the end of the checked value that begins at b[i]. On text
// that was not checked the end is wrong but never out of range.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return SkipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
		i++
	}
	return i
}

func skipNested(b []byte, i int) int {
	for level := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = SkipString(b, i)
			continue
		case '{', '[':
			level++
		case '}', ']':
			level--
			if level == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(b)
}

// SkipString returns the end of the checked string whose opening quote is b[i].
// On text that was not checked the end is wrong but never out of range.
func SkipString(b []byte, i int) int {
	for i++; i < len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			break
		}
		if !escaped(b[i : i+n]) {
			return i + n + 1
		}
		i += n + 1
	}
	return len(b)
}

// escaped reports whether what follows the text s, the part of a string since
// its beginning or since an escaped quote, is escaped.
func escaped(s []byte) bool {
	n := len(s)
	for n > 0 && s[n-1] == '\\' {
		n--
	}
	return (len(s)-n)%2 == 1
}

// Names is a set of member names, to find those that occur twice: an array while
// it is small, so that usual objects need no map. The zero value is empty.
type Names struct {
	n     int
	small [12][]byte
	large map[string]struct{}
}

// Add reports whether name was not yet in the set. It keeps name, which must
// not change afterwards.
func (s *Names) Add(name []byte) bool {
	for _, old := range s.small[:min(s.n, len(s.small))] {
		if string(old) == string(name) {
			return false
		}
	}
	if s.n < len(s.small) {
		s.small[s.n] = name
		s.n++
		return true
	}
	if s.large == nil {
		s.large = make(map[string]struct{})
	}
	s.n++
	before := len(s.large)
	// The message outlives this set and is not changed, so its bytes can serve as
	// keys: a body full of names costs no second copy of itself.
	s.large[unsafe.String(unsafe.SliceData(name), len(name))] = struct{}{}
	return len(s.large) > before
}

// Clip shortens a name that a client made up before it is put into a message.
func Clip(name []byte) string {
	const most = 64
	if len(name) <= most {
		return string(name)
	}
	return fmt.Sprintf("%s… (%d bytes)", bytes.ToValidUTF8(name[:most], nil), len(name))
}
