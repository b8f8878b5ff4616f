// Package jsonrpc reads and writes JSON-RPC 2.0 envelopes as MCP uses them.
//
// It looks at each byte of a message once, checks all of it (syntax, UTF-8,
// nesting, names that occur twice) and hands out sub-slices of the input
// instead of copies, so that a well-formed request costs no allocation.
//
// # What is accepted
//
// The reference is the decoder of the official Go SDK
// (github.com/modelcontextprotocol/go-sdk, jsonrpc.DecodeMessage); fuzz tests
// compare the two. All that is accepted here is accepted there, with the same
// fields. These messages are refused here although the SDK takes them; each is
// either invalid in JSON-RPC 2.0 or MCP, or would mean different things to two
// readers of one message:
//
//   - bytes after the message (the SDK ignores them);
//   - text that is not UTF-8 (the SDK replaces it). A lone surrogate written as
//     an escape, such as "\ud800", is accepted and read as U+FFFD, as the SDK does,
//     because JavaScript's JSON.stringify emits it;
//   - a name that occurs twice in the envelope, its error object, the parameters
//     or their _meta (the SDK takes the last);
//   - a name that differs only by letter case from one the envelope or the
//     parameters define (the SDK ignores it, other readers do not);
//   - an id that is null (the SDK reads a notification), a number with a fraction
//     or an exponent, or outside the range of int64 (the SDK rounds it);
//   - a method that is null (the SDK reads the empty method);
//   - params that are neither an object nor null;
//   - a message with a method and also a result or an error other than null;
//   - a response with both a result and an error, or with neither;
//   - more than 32 envelope members that JSON-RPC does not define.
//
// A nesting of more than 1000 arrays and objects is refused by both.
package jsonrpc
