package bridge

import (
	"context"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"strconv"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/paramheader"
)

// A stateless link speaks 2026-07-28: every request stands alone, and nothing is to be
// closed.
type stateless struct {
	w    *wire
	to   receiver
	is   about
	life context.Context
	end  context.CancelFunc
	// mirrored returns which arguments of a tool are repeated in headers.
	mirrored func(ctx context.Context, tool string) []paramheader.Binding
}

// openStateless asks a server what it is.
func openStateless(ctx context.Context, w *wire, to receiver, id, params []byte) (*stateless, error) {
	l := &stateless{w: w, to: to}
	l.life, l.end = context.WithCancel(context.WithoutCancel(ctx))
	d, err := l.call(ctx, newOutgoing(id, "server/discover", params, nil))
	if err != nil {
		return nil, err
	}
	if l.is, err = parseDiscovered(d); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *stateless) modern() bool { return true }
func (l *stateless) about() about { return l.is }

// call sends a request whose _meta is complete. A context that ends closes the stream,
// which is how this era cancels.
func (l *stateless) call(ctx context.Context, o outgoing) (delivery, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.life, func() { cancel(errStopping) })()
	header, err := l.header(ctx, o)
	if err != nil {
		return delivery{}, err
	}
	var answer *delivery
	key := jsonrpc.IDKey(o.id)
	_, err = l.w.post(ctx, o.line, header, nil, func(d delivery) bool {
		switch {
		case d.msg.Kind != jsonrpc.Response:
			l.to.received(l, d, o.from)
		case jsonrpc.IDKey(d.msg.ID) == key:
			answer = &d
		}
		return answer != nil
	})
	switch {
	case answer != nil:
		return *answer, nil
	case ctx.Err() != nil && err != nil:
		return delivery{}, context.Cause(ctx)
	case err == nil:
		return delivery{}, &lostAnswer{l.w.failed("ended its answer without a response", nil)}
	case brokenOff(err) && !unsent(err):
		return delivery{}, &lostAnswer{err}
	default:
		return delivery{}, err
	}
}

var errStopping = errors.New("the bridge is stopping")

func unsent(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.unsent
}

// send is for notifications; there is none that a server of this era waits for.
func (l *stateless) send(context.Context, []byte) error { return nil }

func (l *stateless) close(context.Context) { l.end() }

// header writes what the body says into headers, for those who route by them.
func (l *stateless) header(ctx context.Context, o outgoing) (http.Header, error) {
	h := http.Header{
		"Mcp-Protocol-Version": {v20260728},
		"Mcp-Method":           {headerValue(o.method)},
	}
	p, err := jsonrpc.ParseParams(o.params)
	if err != nil {
		return nil, err
	}
	var name []byte
	switch o.method {
	case "tools/call", "prompts/get":
		name = p.Name
	case "resources/read":
		name = p.URI
	case "tasks/get", "tasks/update", "tasks/cancel":
		name = p.TaskID
	}
	text, ok := jsonrpc.String(name)
	if !ok {
		return h, nil
	}
	h["Mcp-Name"] = []string{headerValue(text)}
	if o.method == "tools/call" && l.mirrored != nil {
		for _, b := range l.mirrored(ctx, text) {
			if value, ok := mirror(b, p.Arguments); ok {
				h[b.Header] = []string{value}
			}
		}
	}
	return h, nil
}

// mirror returns the argument that a header repeats; none if it is absent, null or not of
// a type that headers can hold.
func mirror(b paramheader.Binding, arguments []byte) (string, bool) {
	raw := at(arguments, b.Path...)
	if len(raw) == 0 {
		return "", false
	}
	switch raw[0] {
	case '"':
		text, ok := jsonrpc.String(raw)
		return headerValue(text), ok
	case 't', 'f':
		return string(raw), true
	case 'n', '{', '[':
		return "", false
	default:
		return integerText(string(raw)), true
	}
}

// integerText writes 1.0 and 1e2 as 1 and 100, which is how a header holds an integer;
// what is none stays as it is, for the server to refuse.
func integerText(number string) string {
	if _, err := strconv.ParseInt(number, 10, 64); err == nil {
		return number
	}
	if at := strings.IndexAny(number, "eE"); at >= 0 {
		if exponent, err := strconv.Atoi(number[at+1:]); err != nil || exponent > 30 || exponent < -30 {
			return number
		}
	}
	if r, ok := new(big.Rat).SetString(number); ok && r.IsInt() && len(number) <= 64 {
		return r.Num().String()
	}
	return number
}

// headerValue writes text so that it survives a header: as it is if it is plain ASCII, else
// in Base64 with the marks of the specification.
func headerValue(text string) string {
	if !needsBase64(text) {
		return text
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
}

func needsBase64(text string) bool {
	if text == "" || strings.TrimSpace(text) != text || strings.HasPrefix(text, "=?base64?") {
		return true
	}
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
