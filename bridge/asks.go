package bridge

import (
	"context"
	"strconv"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// asks are the requests that the bridge sends to a host of an old era, on behalf of
// servers. They carry ids of the bridge's own, so that two servers cannot be confused and
// no server can answer for the host.
type asks struct {
	write func(line []byte)

	mu      sync.Mutex
	last    int64
	waiting map[string]*ask
}

type ask struct {
	answer chan jsonrpc.Message
	token  []byte // the progress token that the server gave; nil if none
	of     *remote
}

// put sends a request to the host and waits for its response.
func (a *asks) put(ctx context.Context, of *remote, method string, params []byte) (jsonrpc.Message, error) {
	w := &ask{answer: make(chan jsonrpc.Message, 1), token: at(params, "_meta", "progressToken"), of: of}
	a.mu.Lock()
	a.last++
	id := strconv.AppendInt(nil, a.last, 10)
	if a.waiting == nil {
		a.waiting = map[string]*ask{}
	}
	a.waiting[string(id)] = w
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, string(id))
		a.mu.Unlock()
	}()
	a.write(jsonrpc.AppendRequest(nil, id, method, params))
	select {
	case msg := <-w.answer:
		return msg, nil
	case <-ctx.Done():
		a.write(jsonrpc.AppendNotification(nil, "notifications/cancelled", with(nil, pair{"requestId", id})))
		return jsonrpc.Message{}, context.Cause(ctx)
	}
}

// answered takes a response of the host; one that nothing waits for is dropped.
func (a *asks) answered(msg jsonrpc.Message) {
	a.mu.Lock()
	w := a.waiting[jsonrpc.IDKey(msg.ID)]
	delete(a.waiting, jsonrpc.IDKey(msg.ID))
	a.mu.Unlock()
	if w != nil {
		w.answer <- msg
	}
}

// ofToken finds who asked for progress under a token.
func (a *asks) ofToken(token []byte) *remote {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.waiting {
		if w.token != nil && jsonrpc.IDKey(w.token) == jsonrpc.IDKey(token) {
			return w.of
		}
	}
	return nil
}
