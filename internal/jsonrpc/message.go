package jsonrpc

import (
	"bytes"
	"strconv"
)

// A Kind tells what a message is.
type Kind uint8

// The kinds of message. The zero Kind belongs to no message.
const (
	Request      Kind = iota + 1 // has a method and an id
	Notification                 // has a method and no id
	Response                     // has an id and either a result or an error
)

// A Message is one envelope. Its slices are parts of the parsed text: they stay
// valid as long as that is not changed.
type Message struct {
	Kind Kind
	// ID is the id as it was written: a string in quotes or an integer in the range
	// of int64. It is nil in a notification.
	ID []byte
	// Method may be empty: a request for a method that does not exist.
	Method string
	// Params is an object, or nil when the message has none (null counts as none).
	Params []byte
	// Result is any value, of a response; nil if there is an Error.
	Result []byte
	// Error is an object, of a response; see [ParseErrorObject].
	Error []byte
}

// Limits bound what a message may ask of its reader. The zero value means the
// defaults.
type Limits struct {
	// Depth is the deepest nesting of arrays and objects, the envelope included.
	// 0 or more than MaxDepth: MaxDepth.
	Depth int
	// Batch is the largest number of messages in a batch. 0: 100.
	Batch int
}

const defaultBatch = 100

// IDKey returns a key that is equal for two raw ids if and only if they mean the
// same id, however they are written: "a" and "\u0061" are one, 1 and "1" are not.
func IDKey(id []byte) string {
	if isString(id) {
		return `"` + string(Unquoted(id))
	}
	if string(id) == "-0" {
		return "0"
	}
	return string(id)
}

// IDValue returns the id in the form that the SDK's jsonrpc.MakeID and Int64ID
// hold it: a string or an int64, or nil if raw is not an id.
func IDValue(raw []byte) any {
	if text, ok := String(raw); ok {
		return text
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && isInteger(raw) {
		return n
	}
	return nil
}

// ValidID reports whether raw may be an id (or a progress token): a string or an
// integer in the range of int64. raw need not be checked JSON: ids also come back
// in event ids, which a client can make up.
func ValidID(raw []byte) bool {
	if !isString(raw) {
		return isInteger(raw)
	}
	end, err := scanString(raw, 0)
	return err == nil && end == len(raw)
}

func isInteger(raw []byte) bool {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	if len(digits) == 0 || len(digits) > len("9223372036854775807") || skipDigits(digits, 0) != len(digits) {
		return false
	}
	if digits[0] == '0' && len(digits) > 1 {
		return false
	}
	if len(digits) < len("9223372036854775807") {
		return true
	}
	_, err := strconv.ParseInt(string(raw), 10, 64)
	return err == nil
}

// An ErrorObject is the error of a response, JSON-RPC 2.0 §5.1.
type ErrorObject struct {
	Code    int64
	Message string
	Data    []byte // any value, nil if absent
}

// ParseErrorObject reads the Error of a message.
func ParseErrorObject(raw []byte) (ErrorObject, error) {
	var out ErrorObject
	err := ScanObject(raw, func(name, value []byte) error {
		return out.set(name, value)
	})
	return out, err
}

func (e *ErrorObject) set(name, value []byte) error {
	switch string(name) {
	case "data":
		e.Data = value
	case "code":
		if IsNull(value) {
			return nil
		}
		if !isInteger(value) {
			return invalidRequest(`"error.code" must be an integer`)
		}
		e.Code, _ = strconv.ParseInt(string(value), 10, 64)
	case "message":
		if IsNull(value) {
			return nil
		}
		text, ok := String(value)
		if !ok {
			return invalidRequest(`"error.message" must be a string`)
		}
		e.Message = text
	}
	return nil
}
