package client

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of signing in; look for them with errors.Is.
var (
	// ErrSignInNeeded: a person would have to sign in, and Options.NonInteractive forbids it.
	ErrSignInNeeded = errors.New("sign-in is needed")
	// ErrForbiddenAddress: a server named an address that the Policy does not allow.
	ErrForbiddenAddress = errors.New("address is not allowed")
	// ErrMismatch: an issuer, a resource or an answer is not the one that was asked.
	ErrMismatch = errors.New("does not match")
	// ErrBadAnswer: an authorization server or metadata document answered with something
	// that is too large, malformed or not what the RFCs allow.
	ErrBadAnswer = errors.New("bad answer")
	// ErrTimeout: nobody signed in within Options.SignInTimeout.
	ErrTimeout = errors.New("nobody signed in in time")
	// ErrRegistration: the authorization server knows no way in for this client.
	ErrRegistration = errors.New("no client is registered")
	// ErrRefused: the server refuses a token that it was just given.
	ErrRefused = errors.New("the server refuses its own token")
	// ErrAskedTooOften: the server wants a person to sign in again and again.
	ErrAskedTooOften = errors.New("the server asks for too many sign-ins")
	// ErrNoSignIn: Login was called for a server that asks for no token.
	ErrNoSignIn = errors.New("the server asks for no sign-in, and says nothing about one")
	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("the client is closed")
)

// A PrivateHostError is an ErrForbiddenAddress: a server on a public address named a host on a
// private network that Policy.PrivateHosts could allow, and does not.
type PrivateHostError struct {
	Host string
}

func (e *PrivateHostError) Error() string {
	return fmt.Sprintf("%s: %s is on a private network, and the server is public", ErrForbiddenAddress, clean(e.Host, 255))
}

func (e *PrivateHostError) Unwrap() error { return ErrForbiddenAddress }

// An AuthError is an error answer of an authorization server (RFC 6749 §4.1.2.1, §5.2).
type AuthError struct {
	// Where is the endpoint: "authorization", "token", "registration", "device" …
	Where string
	// Code is the error code, "invalid_grant" for example; cleaned.
	Code string
	// Description is the server's text, cleaned and cut to 300 bytes. It is untrusted.
	Description string
	// Status is the HTTP status, 0 if there is none.
	Status int
}

func (e *AuthError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the %s endpoint answered %q", e.Where, e.Code)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (status %d)", e.Status)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", e.Description)
	}
	return b.String()
}

// isCode reports whether err is an answer with that error code.
func isCode(err error, code string) bool {
	var answer *AuthError
	return errors.As(err, &answer) && answer.Code == code
}

// clean makes text of a server fit for a terminal, a log or a page: printable characters
// of one line, at most n bytes.
func clean(text string, n int) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len() >= n {
			b.WriteString("…")
			break
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
