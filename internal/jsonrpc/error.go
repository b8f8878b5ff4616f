package jsonrpc

import (
	"errors"
	"fmt"
)

// Error codes of JSON-RPC 2.0 §5.1.
const (
	CodeParseError     = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternalError  = -32603
)

// An Error says why a message was refused, in the terms of JSON-RPC.
type Error struct {
	// Code is one of the Code constants.
	Code int
	// Message names the field at fault. It never quotes values of the message,
	// so it may be logged.
	Message string
	// ID is the raw id of the refused request, to be echoed in the answer. It is
	// nil when no id could be read, and then the answer carries a null id.
	ID []byte
}

func (e *Error) Error() string { return e.Message }

// CodeOf returns the code that err carries, or CodeInternalError if err is not
// an [Error].
func CodeOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternalError
}

func invalidRequest(format string, args ...any) *Error {
	return &Error{Code: CodeInvalidRequest, Message: "invalid request: " + fmt.Sprintf(format, args...)}
}

func invalidParams(format string, args ...any) *Error {
	return &Error{Code: CodeInvalidParams, Message: "invalid params: " + fmt.Sprintf(format, args...)}
}

// A SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int // bytes before the offending one
	what   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.what)
}

func parseError(err error) *Error {
	return &Error{Code: CodeParseError, Message: "parse error: " + err.Error()}
}
