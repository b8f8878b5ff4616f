package mcphttp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// metaSource is where the source of a notification travels through the SDK, whose
// ResourceUpdated hands no context on. It is taken out before anything leaves.
const metaSource = "causeway/source"

// A delivery collects what went wrong with one source, since the SDK keeps to itself
// what sessions answer.
type delivery struct {
	mu  sync.Mutex
	err error
}

func (d *delivery) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = errors.Join(d.err, err)
}

// ResourceUpdated tells the subscribers of a resource, as Server.ResourceUpdated does,
// with a source: 1 to 127 bytes that name what happened. A session whose client may be
// away is told of one source once, however often this is called, in this process and in
// later ones, as long as its events are kept (Options.EventTTL and MaxEvents). So
// whoever remembers durably that something is to be told, and tells it again after a
// crash, tells it exactly once. An error means that a session could not be told: call
// again.
//
// Streams of 2026-07-28 and connections, which keep nothing, are told each time.
func ResourceUpdated(ctx context.Context, s *mcp.Server, uri, source string) error {
	if source == "" || len(source) > maxSource/2 {
		return fmt.Errorf("mcphttp: ResourceUpdated: a source has 1 to %d bytes", maxSource/2)
	}
	params := &mcp.ResourceUpdatedNotificationParams{URI: uri}
	h := entryOf(s).host.Value()
	if h == nil { // served by the SDK's transports alone
		return s.ResourceUpdated(ctx, params)
	}
	// One source may be told of several resources.
	sum := sha256.Sum256([]byte(uri))
	source += "/" + hex.EncodeToString(sum[:8])
	d := new(delivery)
	if _, busy := h.deliveries.LoadOrStore(source, d); busy {
		return errors.New("mcphttp: ResourceUpdated: the source is being told of already")
	}
	defer h.deliveries.Delete(source)
	params.Meta = mcp.Meta{metaSource: source}
	err := s.ResourceUpdated(ctx, params)
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(err, d.err)
}

// tellOnce puts what has a source on the session's stream.
func (s *session) tellOnce(msg []byte, source string) error {
	err := s.emitOnce(msg, source)
	if err != nil && !errors.Is(err, errSessionEnded) {
		if d, ok := s.host.deliveries.Load(source); ok {
			d.(*delivery).fail(err)
		}
	}
	return err
}

// KeepsSubscribers tells whether sessions that outlive the process are subscribed to
// something of s.
func KeepsSubscribers(s *mcp.Server) bool {
	h := entryOf(s).host.Value()
	return h != nil && h.keepers.Load() > 0
}

// countKeeper keeps the host's count of subscribed sessions. s.mu is held.
func (s *session) countKeeper() {
	if s.transient {
		return
	}
	keeps := !s.ended && len(s.rec.Subscriptions) > 0
	if keeps == s.keeper {
		return
	}
	s.keeper = keeps
	if keeps {
		s.host.keepers.Add(1)
	} else {
		s.host.keepers.Add(-1)
	}
}

// takeSource takes the source out of params, which others may share.
func takeSource(params mcp.Params) (mcp.Params, string) {
	switch p := params.(type) {
	case *mcp.ResourceUpdatedNotificationParams:
		source, ok := p.Meta[metaSource].(string)
		if !ok {
			return params, ""
		}
		without := *p
		without.Meta = maps.Clone(p.Meta)
		delete(without.Meta, metaSource)
		if len(without.Meta) == 0 {
			without.Meta = nil
		}
		return &without, source
	case *rawParams: // it has been through the application's middleware
		if !bytes.Contains(p.raw, []byte(metaSource)) {
			return params, ""
		}
		var is mcp.ResourceUpdatedNotificationParams
		if err := json.Unmarshal(p.raw, &is); err != nil {
			return params, ""
		}
		return takeSource(&is)
	}
	return params, ""
}
