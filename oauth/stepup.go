package oauth

import (
	"context"
	"net/http"
	"strings"

	json "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// A ScopeError says that the token of a request lacks scopes. It is a JSON-RPC error for
// whoever gets it as that, and where it becomes the answer to an HTTP request of its own,
// mcphttp makes it a 403 with the challenge that clients act on (RFC 6750 §3.1).
type ScopeError struct {
	// Scopes are what to ask for: those needed, and those at hand, so that none is lost.
	Scopes []string

	status int
	header http.Header
	wire   *jsonrpc.Error
}

// Error implements error.
func (e *ScopeError) Error() string { return e.wire.Message }

// Unwrap is the JSON-RPC error.
func (e *ScopeError) Unwrap() error { return e.wire }

// Challenge is the HTTP answer: its status, 403, or 401 where nobody is signed in, and
// its header WWW-Authenticate.
func (e *ScopeError) Challenge() (status int, header http.Header) { return e.status, e.header.Clone() }

// NeedScopes returns nil if the token of the request has all the scopes, or others that
// include them; else a *[ScopeError] for the handler of a tool to return as it is, before
// it has done anything. It works in every transport: over a WebSocket, where there is no
// HTTP answer, the client gets the JSON-RPC error.
//
// Where nobody is signed in, no scope is had.
func NeedScopes(ctx context.Context, scopes ...string) error {
	id := identityOf(ctx)
	if id == nil {
		return newScopeError(http.StatusUnauthorized, http.Header{"Www-Authenticate": {"Bearer"}}, "sign in first", scopes)
	}
	for _, want := range scopes {
		if id.resource.covers(id.info.Scopes, want) {
			continue
		}
		all := union(id.info.Scopes, id.resource.Require, scopes)
		told := &unsent{header: http.Header{}}
		id.gate.challengeFor(told, &http.Request{}, id.resource, wire(http.StatusForbidden, "insufficient_scope", "more scopes are needed"), all)
		return newScopeError(told.status, http.Header{"Www-Authenticate": told.header["Www-Authenticate"]}, "more scopes are needed: "+strings.Join(scopes, " "), all)
	}
	return nil
}

func newScopeError(status int, h http.Header, message string, scopes []string) *ScopeError {
	data, err := json.Marshal(map[string]string{"error": "insufficient_scope", "scope": strings.Join(scopes, " ")})
	if err != nil {
		data = nil // names of scopes are ASCII: it never fails
	}
	return &ScopeError{
		Scopes: scopes, status: status, header: h,
		wire: &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: message, Data: data},
	}
}

// unsent is an answer that is looked at instead of sent.
type unsent struct {
	header http.Header
	status int
}

func (u *unsent) Header() http.Header         { return u.header }
func (u *unsent) Write(b []byte) (int, error) { return len(b), nil }
func (u *unsent) WriteHeader(status int)      { u.status = status }
