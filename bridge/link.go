package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// The revisions of MCP. All but the last begin with initialize.
const (
	v20241105 = "2024-11-05"
	v20250326 = "2025-03-26"
	v20250618 = "2025-06-18"
	v20251125 = "2025-11-25"
	v20260728 = "2026-07-28"
)

// A link is a connection to one server in one era. Its methods may be called by several
// goroutines at once.
type link interface {
	// modern reports whether the server is spoken to in 2026-07-28.
	modern() bool
	about() about
	// call sends a request and returns the answer to it, a response. What the server sends
	// before that has gone to the link's receiver. When ctx ends, the server is told in the
	// way of its era.
	call(ctx context.Context, o outgoing) (delivery, error)
	// send delivers a notification, or the response to a request of the server.
	send(ctx context.Context, line []byte) error
	// close ends what the server keeps for this link.
	close(ctx context.Context)
}

// An outgoing request.
type outgoing struct {
	id     []byte
	method string
	params []byte
	line   []byte // the whole message
	from   *call  // of the host; nil for one of the bridge's own
}

func newOutgoing(id []byte, method string, params []byte, from *call) outgoing {
	return outgoing{id, method, params, jsonrpc.AppendRequest(nil, id, method, params), from}
}

// A receiver takes what a server sends on its own: notifications and requests. from is the
// request of the host that it belongs to, nil if that is not known.
type receiver interface {
	received(l link, d delivery, from *call)
	// lost is called when a session is over that was not closed.
	lost(l link)
}

// about is what a server says of itself, in the words of either era. The values are raw
// JSON, nil if absent.
type about struct {
	version      string
	info         []byte
	capabilities []byte
	instructions []byte
	// answer is the response it is from.
	answer delivery
}

// parseInitialized reads the answer to initialize.
func parseInitialized(d delivery) (about, error) {
	a := about{answer: d}
	if d.msg.Error != nil {
		return a, rejected(d.msg.Error)
	}
	err := jsonrpc.ScanObject(d.msg.Result, func(name, value []byte) error {
		switch string(name) {
		case "protocolVersion":
			a.version, _ = jsonrpc.String(value)
		case "serverInfo":
			a.info = value
		case "capabilities":
			a.capabilities = value
		case "instructions":
			a.instructions = value
		}
		return nil
	})
	switch {
	case err != nil:
		return a, fmt.Errorf("the answer to initialize: %w", err)
	case !isVersion(a.version):
		return a, errors.New("the answer to initialize names no protocol version")
	}
	return a, nil
}

// parseDiscovered reads the answer to server/discover.
func parseDiscovered(d delivery) (about, error) {
	a := about{answer: d}
	if d.msg.Error != nil {
		return a, rejected(d.msg.Error)
	}
	var versions, meta []byte
	err := jsonrpc.ScanObject(d.msg.Result, func(name, value []byte) error {
		switch string(name) {
		case "supportedVersions":
			versions = value
		case "capabilities":
			a.capabilities = value
		case "instructions":
			a.instructions = value
		case "_meta":
			meta = value
		}
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("the answer to server/discover: %w", err)
	}
	err = eachString(versions, func(v string) {
		if v == v20260728 {
			a.version = v
		}
	})
	if err != nil || a.version == "" {
		return a, errors.New("the answer to server/discover does not list " + v20260728)
	}
	if jsonrpc.IsObject(meta) {
		a.info = member(meta, jsonrpc.MetaServerInfo)
	}
	return a, nil
}

func rejected(object []byte) error {
	e, err := jsonrpc.ParseErrorObject(object)
	if err != nil {
		return err
	}
	return &failure{text: "the server refused", answer: &e, retryAfter: -1}
}

// isVersion reports whether text may stand in the header MCP-Protocol-Version.
func isVersion(text string) bool {
	return text != "" && len(text) <= 32 && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// isSessionID reports whether text may be a session id: visible ASCII (spec 2025-03-26).
func isSessionID(text string) bool {
	return text != "" && len(text) <= 2048 && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// sessionOver reports whether a server has forgotten a session: 404 by the specification,
// and 400 with words to that effect by servers written after the SDK's first examples.
func sessionOver(err error) bool {
	var f *failure
	if !errors.As(err, &f) {
		return false
	}
	return f.status == http.StatusNotFound ||
		f.status == http.StatusBadRequest && f.answer != nil && strings.Contains(strings.ToLower(f.answer.Message), "session")
}
