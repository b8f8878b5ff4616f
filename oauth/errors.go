package oauth

import (
	"errors"
	"net/http"
)

// ErrUnavailable is reported when the store cannot answer. A client is told to try
// again; nothing is revoked for it.
var ErrUnavailable = errors.New("oauth: the store cannot answer now")

// A wireError is an error as RFCs 6749, 6750, 7009, 7591 and 8707 put it on the wire.
// Descriptions are constant texts: nothing internal and nothing the client sent.
type wireError struct {
	status      int
	code        string
	description string
}

func (e *wireError) Error() string { return e.code + ": " + e.description }

func wire(status int, code, description string) *wireError {
	return &wireError{status: status, code: code, description: description}
}

func errInvalidRequest(d string) *wireError {
	return wire(http.StatusBadRequest, "invalid_request", d)
}
func errInvalidGrant(d string) *wireError { return wire(http.StatusBadRequest, "invalid_grant", d) }
func errInvalidScope(d string) *wireError { return wire(http.StatusBadRequest, "invalid_scope", d) }
func errBadProof(d string) *wireError {
	return wire(http.StatusBadRequest, "invalid_dpop_proof", d)
}
func errUnauthorizedClient(d string) *wireError {
	return wire(http.StatusBadRequest, "unauthorized_client", d)
}
func errInvalidTarget(d string) *wireError {
	return wire(http.StatusBadRequest, "invalid_target", d)
}
func errInvalidClient(d string) *wireError {
	return wire(http.StatusUnauthorized, "invalid_client", d)
}
func errUnavailable() *wireError {
	return wire(http.StatusServiceUnavailable, "temporarily_unavailable", "try again in a moment")
}
func errTooMany(d string) *wireError {
	return wire(http.StatusTooManyRequests, "temporarily_unavailable", d)
}
