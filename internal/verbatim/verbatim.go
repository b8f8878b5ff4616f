// Package verbatim lets JSON pass as it came between the wire (mcphttp) and a
// handler that only carries it on (bridge/expose). The SDK's types lie between the
// two: what is decoded into them and encoded again costs time, and loses what they
// do not know.
package verbatim

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ParamsKey is the key under which the context of a call on the wire answers the
// params of its request: a []byte with a JSON object that package jsonrpc has
// checked and in which no name occurs twice.
type ParamsKey struct{}

// Params are the params of the request that ctx belongs to, as the client sent
// them, nil if there are none or they are not known. What is between client and wire
// is among them, such as the sealed state of a round. They may not be changed, and
// not be kept beyond the handler.
func Params(ctx context.Context) []byte {
	raw, _ := ctx.Value(ParamsKey{}).([]byte)
	return raw
}

// A Result is a result that is JSON already. The wire sends it as it is, and adds
// what 2026-07-28 wants of every result where it is missing.
type Result struct {
	mcp.ResultBase
	// JSON is an object that package jsonrpc has checked.
	JSON []byte
	// Server is who made the result (an mcp.Implementation, checked JSON), for clients
	// of 2026-07-28 if JSON does not say so itself. Nil is the server that is served.
	Server []byte
}

// MarshalJSON implements json.Marshaler, for whoever does not know this type.
func (r *Result) MarshalJSON() ([]byte, error) { return r.JSON, nil }
