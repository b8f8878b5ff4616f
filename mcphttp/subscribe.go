package mcphttp

import (
	"context"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxSubscriptions bounds what one session may subscribe to.
const (
	maxSubscriptions = 400
	maxURI           = 2048 // bytes; all of them fit into a record
)

// remember writes into the session's record what a request has changed of it.
func (c *call) remember(ctx context.Context, req mcp.Request) error {
	s := c.session
	switch r := req.GetParams().(type) {
	case *mcp.SetLoggingLevelParams:
		return s.update(ctx, func(rec *sessionRecord) { rec.Level = r.Level })
	case *mcp.SubscribeParams:
		return s.update(ctx, func(rec *sessionRecord) {
			if i, found := slices.BinarySearch(rec.Subscriptions, r.URI); !found {
				rec.Subscriptions = slices.Insert(rec.Subscriptions, i, r.URI)
			}
		})
	case *mcp.UnsubscribeParams:
		return s.update(ctx, func(rec *sessionRecord) {
			if i, found := slices.BinarySearch(rec.Subscriptions, r.URI); found {
				rec.Subscriptions = slices.Delete(rec.Subscriptions, i, i+1)
			}
		})
	}
	return nil
}

// mayRemember refuses what would make a session's record too large.
func (c *call) mayRemember(req mcp.Request) error {
	p, ok := req.GetParams().(*mcp.SubscribeParams)
	if !ok {
		return nil
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	switch {
	case len(p.URI) > maxURI:
		return invalidParams("resources/subscribe: uri is longer than %d bytes", maxURI)
	case len(c.session.rec.Subscriptions) >= maxSubscriptions:
		return invalidParams("resources/subscribe: more than %d subscriptions in one session", maxSubscriptions)
	}
	return nil
}

// boundSubscriptions refuses a subscriptions/listen that wants too much.
func boundSubscriptions(n *mcp.NotificationSubscriptions) error {
	if n == nil {
		return nil // the SDK says what is missing
	}
	if len(n.ResourceSubscriptions) > maxSubscriptions {
		return invalidParams("subscriptions/listen: more than %d resources in one subscription", maxSubscriptions)
	}
	for _, uri := range n.ResourceSubscriptions {
		if len(uri) > maxURI {
			return invalidParams("subscriptions/listen: a uri is longer than %d bytes", maxURI)
		}
	}
	return nil
}

func (s *session) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// subscribeSDK subscribes the session at the server, whose SubscribeHandler sees
// the client's own session.
func (s *session) subscribeSDK(ctx context.Context, uri string, extra *mcp.RequestExtra) error {
	return s.askServer(ctx, methodSubscribe, &mcp.SubscribeRequest{Session: s.ss, Params: &mcp.SubscribeParams{URI: uri}, Extra: extra})
}

func (s *session) unsubscribeSDK(uri string) {
	err := s.askServer(context.Background(), methodUnsubscribe, &mcp.UnsubscribeRequest{Session: s.ss, Params: &mcp.UnsubscribeParams{URI: uri}})
	if err != nil {
		s.h.log.Debug("unsubscribing an ended session", "error", err)
	}
}

// askServer runs a request through the server's chain on behalf of the session
// itself.
func (s *session) askServer(ctx context.Context, method string, req mcp.Request) error {
	c := &call{h: s.h, host: s.host, session: s, ss: s.ss, method: method, id: []byte(`"causeway"`), reply: noReply{}}
	ctx, c.effects = effect.NewCall(ctx)
	c.Context, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	_, err := c.receive(func() (mcp.Request, error) { return req, nil })
	return err
}

// sessionOf finds the session behind a handle that a handler kept, waking it if
// it sleeps; nil if it is none of ours or has ended.
func (h *host) sessionOf(ctx context.Context, ss *mcp.ServerSession) *session {
	id := ss.ID()
	if sessionKey(id) == "" {
		return nil
	}
	if s := h.sessions.get(id); s != nil {
		return s
	}
	for _, m := range h.mountedBy() {
		r, err := m.opts.Records.Get(context.WithoutCancel(ctx), sessionKey(id))
		if err != nil {
			continue
		}
		if s, err := m.wake(h, id, r); err == nil {
			s.release()
			s.touch()
			return s
		}
	}
	return nil
}

func headerHas(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
