package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A failure is why a server did not answer a request, told so that it can be shown to a
// person: it names the server's host, never a path, a query or a header, which may be secret.
type failure struct {
	status int // of the HTTP answer; 0 if there was none
	// answer is the JSON-RPC error that came with the status, if one did.
	answer *jsonrpc.ErrorObject
	text   string
	cause  error
	// unsent says that the server has certainly not seen the request.
	unsent bool
	// retryAfter is what a 429 or 503 asked for; -1 if nothing.
	retryAfter time.Duration
}

func (f *failure) Error() string {
	text := f.text
	if f.answer != nil && f.answer.Message != "" {
		text += ": " + clip(f.answer.Message, 500)
	}
	if f.cause != nil {
		text += ": " + plain(f.cause)
	}
	return text
}

func (f *failure) Unwrap() error { return f.cause }

// plain is the text of an error without the URL that net/http puts before it.
func plain(err error) string {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	return clip(err.Error(), 500)
}

// clip shortens text that a stranger wrote, and takes control characters out.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && text[cut]&0xc0 == 0x80 {
		cut--
	}
	return text[:cut] + "…"
}

func (w *wire) failed(what string, cause error) *failure {
	return &failure{text: fmt.Sprintf("%s %s", w.url.Host, what), cause: cause, retryAfter: -1}
}

// ErrSignIn is for the errors of a [Options.Transport]: a person has to sign in first, and
// is not asked now. Such a request is not sent in another way, the host gets the transport's
// words, and the log gets them once. When the host asks again, so is the transport.
var ErrSignIn = errors.New("sign-in is needed")

// unreachable is a request that got no answer.
func (w *wire) unreachable(cause error) *failure {
	if errors.Is(cause, ErrSignIn) {
		return w.failed("wants a sign-in", cause)
	}
	var op *net.OpError
	var dns *net.DNSError
	f := w.failed("could not be asked", cause)
	f.unsent = errors.As(cause, &dns) || errors.As(cause, &op) && op.Op == "dial"
	return f
}

// refused is an answer with a status that is no success. It reads the body as far as an
// error needs it.
func (w *wire) refused(resp *http.Response) *failure {
	f := w.failed(fmt.Sprintf("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)), nil)
	f.status = resp.StatusCode
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		f.text += " (it wants a sign-in)"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.unsent = resp.StatusCode == http.StatusTooManyRequests || resp.Header.Get("Retry-After") != ""
		f.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	const enough = 64 << 10
	body, _ := io.ReadAll(io.LimitReader(resp.Body, enough))
	f.answer = errorIn(body)
	return f
}

// errorIn finds the JSON-RPC error in the body of a refusal, whose id may be null or
// missing: such an answer is no valid message, and yet it says what was wrong.
func errorIn(body []byte) *jsonrpc.ErrorObject {
	if jsonrpc.Valid(body, 0) != nil || !jsonrpc.IsObject(body) {
		return nil
	}
	var found *jsonrpc.ErrorObject
	err := jsonrpc.ScanObject(body, func(name, value []byte) error {
		if string(name) != "error" || !jsonrpc.IsObject(value) {
			return nil
		}
		object, err := jsonrpc.ParseErrorObject(value)
		if err == nil && (object.Code != 0 || object.Message != "") {
			found = &object
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return found
}

func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return -1
	}
	if d, ok := retryOf([]byte(value)); ok {
		return min(d*1000, longestRetry)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), longestRetry)
	}
	return -1
}

// errorAnswer is err as the answer to a request of the host.
func errorAnswer(id []byte, err error) []byte {
	var f *failure
	if errors.As(err, &f) && f.answer != nil {
		return jsonrpc.AppendError(nil, id, f.answer.Code, f.answer.Message, f.answer.Data)
	}
	if known, ok := err.(*jsonrpc.Error); ok { // the bridge's own; one that is wrapped is of what the server sent
		return jsonrpc.AppendError(nil, id, int64(known.Code), known.Message, nil)
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("the bridge is stopping")
	}
	return jsonrpc.AppendError(nil, id, jsonrpc.CodeInternalError, "causeway connect: "+clip(err.Error(), 1000), nil)
}
