package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxReplay is how much of a body without GetBody is kept to be sent again, in bytes.
const maxReplay = 4 << 20

// maxTries is how often one request is sent: as it is, with a renewed token, after a
// sign-in, and twice more for scopes.
const maxTries = 5

// transport is the http.RoundTripper of a session.
type transport struct {
	session *session
	base    http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	s := t.session
	if !sameOrigin(r.URL, s.server) {
		return t.base.RoundTrip(r)
	}
	body, again, err := replayable(r)
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Authorization") != "" {
		return t.base.RoundTrip(s.dressed(r, body))
	}
	ctx := r.Context()
	token, err := s.token(ctx)
	if err != nil {
		closeBody(body)
		return nil, signInError(s, err)
	}
	var steps progress
	for try := 1; ; try++ {
		attempt := s.dressed(r, body)
		if err := s.authorize(attempt, token); err != nil {
			closeBody(body)
			return nil, err
		}
		sent := s.c.now()
		answer, err := t.base.RoundTrip(attempt)
		if err != nil {
			return nil, err
		}
		s.keepNonce(attempt.URL, answer.Header)
		wanted, asks := s.wants(answer, token, &steps)
		if !asks || again == nil || try == maxTries {
			return answer, nil
		}
		wanted.since = sent
		drain(answer)
		if !wanted.nonceOnly {
			if token, err = s.acquire(ctx, wanted); err != nil {
				return nil, signInError(s, err)
			}
			steps.last = token
		}
		if body, err = again(); err != nil {
			return nil, fmt.Errorf("reading the request again: %w", err)
		}
	}
}

// dressed is a copy of the request with the configured headers and the given body.
func (s *session) dressed(r *http.Request, body io.ReadCloser) *http.Request {
	copied := r.Clone(r.Context())
	copied.Body = body
	s.addHeaders(copied)
	return copied
}

// addHeaders sets the configured headers that the request does not have. Only requests to
// the server's own origin get them.
func (s *session) addHeaders(r *http.Request) {
	for name, values := range s.c.options.Headers {
		if len(r.Header.Values(name)) == 0 {
			r.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
}

// replayable returns the body of a request and, if it can be sent again, how.
func replayable(r *http.Request) (io.ReadCloser, func() (io.ReadCloser, error), error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body, func() (io.ReadCloser, error) { return r.Body, nil }, nil
	}
	if r.GetBody != nil {
		return r.Body, r.GetBody, nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxReplay+1))
	if err != nil {
		r.Body.Close()
		return nil, nil, fmt.Errorf("reading the request: %w", err)
	}
	if len(head) > maxReplay {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}, nil, nil
	}
	r.Body.Close()
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	body, _ := again()
	return body, again, nil
}

func closeBody(body io.ReadCloser) {
	if body != nil {
		body.Close()
	}
}

// drain reads a little of an answer that nobody wants, so that its connection can be used again.
func drain(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	answer.Body.Close()
}

func signInError(s *session, err error) error {
	return fmt.Errorf("signing in to %s: %w", withoutQuery(s.server), err)
}

// sameOrigin compares scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if strings.EqualFold(u.Scheme, "http") {
		return "80"
	}
	return "443"
}

// probe asks the server without a token, to see its challenge. Servers refuse a request without
// credentials before they look at it.
func (s *session) probe(ctx context.Context) ([]challenge, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	s.addHeaders(r)
	answer, err := s.fetch.do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		return nil, nil
	}
	return parseChallenges(answer.Header), nil
}
