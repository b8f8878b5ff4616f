package bridge

import (
	"context"
	"errors"
	"net/http"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A way to connect to a server.
type way string

const (
	byInitialize way = "initialize" // Streamable HTTP with the handshake
	byDiscover   way = "discover"   // 2026-07-28
	bySSE        way = "sse"        // HTTP+SSE
)

// ways lists what to try, in order. The era of the host comes first: where a server speaks
// it, nothing has to be translated.
func (r *remote) ways(in *intro) []way {
	var list []way
	post := []way{byInitialize, byDiscover}
	if in.modern {
		post = []way{byDiscover, byInitialize}
	}
	switch r.b.opts.Protocol {
	case ProtocolLegacy:
		post = []way{byInitialize}
	case ProtocolModern:
		post = []way{byDiscover}
	}
	switch r.b.opts.TransportOrder {
	case HTTPOnly:
		list = post
	case SSEOnly:
		list = []way{bySSE}
	case SSEFirst:
		list = append([]way{bySSE}, post...)
	default:
		list = append(post, bySSE)
	}
	if r.b.opts.Protocol == ProtocolModern {
		list = post
	}
	return list
}

// dial tries the ways until one leads to the server.
func (r *remote) dial(ctx context.Context, in *intro) (link, error) {
	ways := r.ways(in)
	ways = preferred(ways, r.b.cache.way(r.server.URL))
	var first error
	for _, by := range ways {
		l, err := r.connectBy(ctx, by, in)
		if err == nil {
			r.b.cache.learned(r.server.URL, by, l.about())
			return l, nil
		}
		r.log.Debug("a way to the server did not work", "server", r.w.url.Host, "way", string(by), "error", err)
		if first == nil || moreTelling(err, first) {
			first = err
		}
		if ctx.Err() != nil || isFinal(err) {
			break
		}
	}
	return nil, first
}

// preferred moves the way that worked last to the front.
func preferred(ways []way, last way) []way {
	for i, w := range ways {
		if w == last {
			return append(append([]way{w}, ways[:i]...), ways[i+1:]...)
		}
	}
	return ways
}

// isFinal reports whether a failure has nothing to do with the era.
func isFinal(err error) bool {
	var f *failure
	if !errors.As(err, &f) {
		return false
	}
	switch {
	case errors.Is(err, ErrSignIn):
		return true
	case f.status == 0:
		return f.answer == nil && f.unsent
	case f.status == http.StatusUnauthorized, f.status == http.StatusForbidden, f.status == http.StatusTooManyRequests:
		return true
	}
	return f.status >= 500 && f.status != http.StatusNotImplemented
}

// moreTelling prefers an error that the server put into words.
func moreTelling(err, than error) bool {
	var a, b *failure
	return errors.As(err, &a) && errors.As(than, &b) && a.answer != nil && b.answer == nil
}

func (r *remote) connectBy(ctx context.Context, by way, in *intro) (link, error) {
	if by == byDiscover {
		params := with(nil, pair{"_meta", r.metaOf(in, nil)})
		l, err := openStateless(ctx, r.w, r, r.b.nextID(), params)
		if err != nil {
			return nil, err
		}
		l.mirrored = r.mirrored(l)
		return l, nil
	}
	id, line := in.id, in.line
	if in.modern {
		id = r.b.nextID()
		line = jsonrpc.AppendRequest(nil, id, "initialize", with(nil,
			pair{"protocolVersion", quoted(v20251125)}, pair{"capabilities", orEmpty(in.caps)}, pair{"clientInfo", orClient(in.info)}))
	}
	if by == byInitialize {
		if l := r.takeUp(ctx, in); l != nil {
			return l, nil
		}
	}
	if by == bySSE {
		return noNil(openPair(ctx, r.w, r, r.log, id, line))
	}
	return noNil(openSession(ctx, r.w, r, r.log, id, line))
}

// noNil keeps a nil pointer from becoming a link that is not nil.
func noNil[L interface {
	*session | *ssePair
	link
}](l L, err error) (link, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

func orEmpty(raw []byte) []byte {
	if jsonrpc.IsObject(raw) {
		return raw
	}
	return []byte(`{}`)
}

func orClient(raw []byte) []byte {
	if jsonrpc.IsObject(raw) {
		return raw
	}
	return []byte(`{"name":"causeway-connect","version":"1"}`)
}
