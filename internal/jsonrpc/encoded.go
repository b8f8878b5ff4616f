package jsonrpc

// ParamsKey is the key under which the context of a request has its params as they
// came, checked JSON ([]byte). They are only there while the request is: whoever
// keeps them copies them.
type ParamsKey struct{}

// An Encoded value is JSON already, checked, on one line and to be sent as it is.
type Encoded interface {
	Encoded() []byte
}
