package mcphttp

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// connSessions is the other way to host a server, for Options.ConnectionPerSession:
// the SDK's own transports, with a connection of the SDK's for every session of
// the older eras and for every 2026-07-28 request, behind the same doors as ours.
type connSessions struct {
	once      sync.Once
	stateful  http.Handler
	stateless http.Handler
	old       http.Handler
}

func (c *connSessions) init(h *Handler) {
	c.once.Do(func() {
		c.stateful = mcp.NewStreamableHTTPHandler(h.getServer, &mcp.StreamableHTTPOptions{
			Logger: h.log, EventStore: mcp.NewMemoryEventStore(nil), SessionTimeout: h.opts.SessionTTL, MaxRequestBodyBytes: h.opts.MaxBody,
			DisableLocalhostProtection: true, // accept has checked Host
		})
		c.stateless = mcp.NewStreamableHTTPHandler(h.getServer, &mcp.StreamableHTTPOptions{
			Logger: h.log, Stateless: true, PropagateRequestCancellation: true, MaxRequestBodyBytes: h.opts.MaxBody,
			DisableLocalhostProtection: true,
		})
		c.old = mcp.NewSSEHandler(h.getServer, &mcp.SSEOptions{DisableLocalhostProtection: true, MaxRequestBodyBytes: h.opts.MaxBody})
	})
}

func (c *connSessions) sse(h *Handler) http.Handler {
	c.init(h)
	return c.old
}

// serveConnected chooses the SDK's handler by the same signs by which we choose
// the era.
func (h *Handler) serveConnected(w http.ResponseWriter, r *http.Request) {
	h.conns.init(h)
	switch {
	case r.Method == http.MethodPost && r.URL.Query().Has("sessionid"):
		h.conns.old.ServeHTTP(w, r)
	case r.Method == http.MethodGet && len(r.Header["Mcp-Session-Id"]) == 0 && r.Header.Get("Mcp-Protocol-Version") == "" && r.Header.Get("Last-Event-Id") == "":
		h.conns.old.ServeHTTP(w, r)
	case r.Method == http.MethodPost:
		body, ok := h.readBody(w, r)
		if !ok {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		limits := jsonrpc.Limits{Depth: h.opts.MaxDepth, Batch: h.opts.MaxBatch}
		if jsonrpc.IsBatch(body) {
			if _, err := jsonrpc.ParseBatch(body, limits); err != nil {
				writeError(w, http.StatusBadRequest, nil, err)
				return
			}
			h.conns.stateful.ServeHTTP(w, r)
			return
		}
		msg, err := jsonrpc.Parse(body, limits)
		if err != nil {
			writeError(w, http.StatusBadRequest, nil, err)
			return
		}
		if read(&msg).looksModern(r) {
			h.conns.stateless.ServeHTTP(w, r)
			return
		}
		h.conns.stateful.ServeHTTP(w, r)
	default:
		h.conns.stateful.ServeHTTP(w, r)
	}
}
