package object

import (
	"errors"
	"net/http"

	"github.com/causeway-mcp/causeway/internal/effect"
)

// Transport returns a RoundTripper that lets a request leave through base (nil is http.DefaultTransport) only
// when everything that the call of its context has written, or could have seen, is durable: [Object.Flush] for
// outgoing HTTP. A request from inside a unit is refused with [ErrInUnit], for its outcome could not be known
// before the unit is written.
func Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return flushing{base}
}

type flushing struct{ base http.RoundTripper }

func (t flushing) RoundTrip(r *http.Request) (*http.Response, error) {
	err := effect.CallOf(r.Context()).Flush(r.Context())
	if effect.InUnit(r.Context()) {
		err = ErrInUnit
	}
	if err != nil {
		if r.Body != nil { // a RoundTripper closes it whatever happens
			err = errors.Join(err, r.Body.Close())
		}
		return nil, err
	}
	return t.base.RoundTrip(r)
}
