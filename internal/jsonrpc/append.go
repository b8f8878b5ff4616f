package jsonrpc

import (
	"bytes"
	"strconv"
)

// The Append functions write one message each, after dst and on a single line:
// line breaks between the tokens of raw values become spaces, so that a message
// is one line of an SSE event or of stdio. Raw values must be valid JSON.

// AppendResult appends the answer to request id.
func AppendResult(dst, id, result []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendID(dst, id)
	dst = append(dst, `,"result":`...)
	dst = appendLine(dst, result)
	return append(dst, '}')
}

// AppendError appends a refusal of request id, which is null if id is nil. data
// is raw JSON, left out if nil.
func AppendError(dst, id []byte, code int64, message string, data []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendID(dst, id)
	dst = append(dst, `,"error":{"code":`...)
	dst = strconv.AppendInt(dst, code, 10)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, message)
	if data != nil {
		dst = append(dst, `,"data":`...)
		dst = appendLine(dst, data)
	}
	return append(dst, '}', '}')
}

// AppendRequest appends a request. params is a raw object, left out if nil.
func AppendRequest(dst, id []byte, method string, params []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendID(dst, id)
	return appendCall(append(dst, ','), method, params)
}

// AppendNotification appends a notification. params is a raw object, left out if
// nil.
func AppendNotification(dst []byte, method string, params []byte) []byte {
	return appendCall(append(dst, `{"jsonrpc":"2.0",`...), method, params)
}

func appendCall(dst []byte, method string, params []byte) []byte {
	dst = append(dst, `"method":`...)
	dst = AppendString(dst, method)
	if params != nil {
		dst = append(dst, `,"params":`...)
		dst = appendLine(dst, params)
	}
	return append(dst, '}')
}

func appendID(dst, id []byte) []byte {
	if id == nil {
		return append(dst, "null"...)
	}
	return append(dst, id...)
}

// appendLine appends raw JSON without line breaks. Inside a string they are
// always escaped, so those in the text are only space.
func appendLine(dst, raw []byte) []byte {
	start := len(dst)
	dst = append(dst, raw...)
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return dst
	}
	for i, c := range dst[start:] {
		if c == '\n' || c == '\r' {
			dst[start+i] = ' '
		}
	}
	return dst
}
