package jsonrpc

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// String returns the text of a raw JSON string. It reports false if raw, which
// has been checked by [Parse] or [Valid], is not a string. Escaped lone
// surrogates become U+FFFD.
func String(raw []byte) (string, bool) {
	if !isString(raw) {
		return "", false
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	return string(appendUnquoted(nil, raw)), true
}

// StringEquals reports whether raw, checked JSON, is a string of the given
// text. It does not allocate.
func StringEquals(raw []byte, text string) bool {
	if !isString(raw) {
		return false
	}
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == text
	}
	var buf [128]byte
	return string(appendUnquoted(buf[:0], raw)) == text
}

func isString(raw []byte) bool {
	return len(raw) >= 2 && raw[0] == '"' && raw[len(raw)-1] == '"'
}

// Unquoted returns the text of a checked string: a part of raw when nothing in
// it is escaped. raw is a string with both its quotes.
func Unquoted(raw []byte) []byte {
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return appendUnquoted(nil, raw)
}

// appendUnquoted appends the text of a checked JSON string.
func appendUnquoted(dst, raw []byte) []byte {
	s := raw[1 : len(raw)-1]
	for {
		n := bytes.IndexByte(s, '\\')
		if n < 0 || n+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:n]...)
		s = s[n:]
		switch c := s[1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			var r rune
			r, s = cutUnicode(s)
			dst = utf8.AppendRune(dst, r)
			continue
		default:
			dst = append(dst, c)
		}
		s = s[2:]
	}
}

// cutUnicode reads the \u escape that s begins with, and a second one if both
// make a surrogate pair.
func cutUnicode(s []byte) (rune, []byte) {
	r, ok := hex4(s[2:])
	if !ok {
		return utf8.RuneError, s[2:]
	}
	s = s[6:]
	if !utf16.IsSurrogate(r) {
		return r, s
	}
	if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
		low, _ := hex4(s[2:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, s[6:]
		}
	}
	return utf8.RuneError, s
}

// AppendString appends text as a JSON string. Only what JSON demands is escaped
// (no HTML escaping), and bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if isPlain(c) {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, text[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, text[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + n
		}
		i += n
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}
