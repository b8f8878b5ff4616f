package mcphttp

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A toolIndex knows which arguments of which tools are mirrored in headers. The
// bindings of a tool are worked out once for as long as it stands unchanged. The
// server's list is read through the SDK's own chain: what the application shows
// to whom is its middleware's business and not ours.
type toolIndex struct {
	host    *host
	current atomic.Pointer[toolBindings]
	making  sync.Mutex
}

type toolBindings struct {
	made   time.Time
	byName map[string]boundTool // tools that have bindings
	all    map[*mcp.Tool]boundTool
}

type boundTool struct {
	bindings []paramBinding
	err      error
}

// toolIndexAge is how long the list is believed without a word from the server.
// It usually announces changes; a server may be told not to.
const toolIndexAge = time.Second

func (t *toolIndex) invalidate() {
	if cur := t.current.Load(); cur != nil {
		stale := *cur
		stale.made = time.Time{}
		t.current.CompareAndSwap(cur, &stale)
	}
}

// check holds the Mcp-Param headers of a tools/call against its arguments.
func (t *toolIndex) check(tool string, hd http.Header, arguments []byte) *sdkrpc.Error {
	cur, err := t.bindings()
	if err != nil {
		return wireError(sdkrpc.CodeInternalError, "internal error")
	}
	bound, ok := cur.byName[tool]
	if !ok {
		return nil
	}
	if bound.err != nil {
		return wireError(sdkrpc.CodeInternalError, "tool %q cannot be called in 2026-07-28: %v", tool, bound.err)
	}
	if err := checkParamHeaders(bound.bindings, hd, arguments); err != nil {
		return wireError(mcp.CodeHeaderMismatch, "%v", err)
	}
	return nil
}

// bindings returns the index, made anew when it may be out of date. One request
// makes it; others meanwhile go by the old one, unless a change was announced.
func (t *toolIndex) bindings() (*toolBindings, error) {
	cur := t.current.Load()
	if cur != nil && time.Since(cur.made) <= toolIndexAge {
		return cur, nil
	}
	if cur == nil || cur.made.IsZero() {
		t.making.Lock()
	} else if !t.making.TryLock() {
		return cur, nil
	}
	defer t.making.Unlock()
	if now := t.current.Load(); now != cur {
		return now, nil
	}
	return t.rebuild(cur)
}

func (t *toolIndex) rebuild(old *toolBindings) (*toolBindings, error) {
	fresh := &toolBindings{made: time.Now(), byName: make(map[string]boundTool), all: make(map[*mcp.Tool]boundTool)}
	ss, err := t.host.connect("", &mcp.ServerSessionState{InitializeParams: &mcp.InitializeParams{ProtocolVersion: version20260728, Capabilities: &mcp.ClientCapabilities{}}})
	if err != nil {
		return nil, err
	}
	defer ss.Close()
	for cursor := ""; ; {
		res, err := t.host.sdk.bare(context.Background(), methodListTools, &mcp.ListToolsRequest{Session: ss, Params: &mcp.ListToolsParams{Cursor: cursor}})
		if err != nil {
			return nil, err
		}
		list, ok := res.(*mcp.ListToolsResult)
		if !ok {
			break
		}
		for _, tool := range list.Tools {
			var b boundTool
			known := false
			if old != nil {
				b, known = old.all[tool]
			}
			if !known {
				b.bindings, b.err = paramBindings(tool.InputSchema)
			}
			fresh.all[tool] = b
			if len(b.bindings) > 0 || b.err != nil {
				fresh.byName[tool.Name] = b
			}
		}
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	t.current.Store(fresh)
	return fresh, nil
}
