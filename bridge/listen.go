package bridge

import (
	"context"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A listener is a subscriptions/listen of the host that the bridge itself serves, because
// the server is an old one or there are several.
type listener struct {
	id                        []byte
	tools, prompts, resources bool
	uris                      map[string]bool
}

type listeners struct {
	mu   sync.Mutex
	list []*listener
}

// tell gives a notification to every listener that asked for it.
func (s *listeners) tell(d delivery, write func([]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uri := ""
	if d.msg.Method == "notifications/resources/updated" {
		uri, _ = jsonrpc.String(member(d.msg.Params, "uri"))
	}
	for _, l := range s.list {
		if l.wants(d.msg.Method, uri) {
			write(l.tagged(d.msg.Method, d.msg.Params))
		}
	}
}

func (l *listener) wants(method, uri string) bool {
	switch method {
	case "notifications/tools/list_changed":
		return l.tools
	case "notifications/prompts/list_changed":
		return l.prompts
	case "notifications/resources/list_changed":
		return l.resources
	case "notifications/resources/updated":
		return l.uris[uri]
	}
	return false
}

func (l *listener) tagged(method string, params []byte) []byte {
	meta := with(member(params, "_meta"), pair{jsonrpc.MetaSubscriptionID, l.id})
	return jsonrpc.AppendNotification(nil, method, with(params, pair{"_meta", meta}))
}

func (s *listeners) add(l *listener) {
	s.mu.Lock()
	s.list = append(s.list, l)
	s.mu.Unlock()
}

func (s *listeners) remove(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.list {
		if other == l {
			s.list = append(s.list[:i:i], s.list[i+1:]...)
			return
		}
	}
}

// parseListen reads what a host wants to hear of.
func parseListen(c *call) (*listener, error) {
	if !jsonrpc.IsObject(c.p.Notifications) {
		return nil, refusal(jsonrpc.CodeInvalidParams, "notifications must be an object")
	}
	n := c.p.Notifications
	l := &listener{id: c.id, uris: map[string]bool{},
		tools:     isTrue(member(n, "toolsListChanged")),
		prompts:   isTrue(member(n, "promptsListChanged")),
		resources: isTrue(member(n, "resourcesListChanged")),
	}
	if list := member(n, "resourceSubscriptions"); list != nil {
		err := eachString(list, func(uri string) { l.uris[uri] = true })
		if err != nil || len(l.uris) > mostSubscriptions {
			return nil, refusal(jsonrpc.CodeInvalidParams, "resourceSubscriptions must be a list of at most 1000 URIs")
		}
	}
	return l, nil
}

// acknowledgement says what of the listener's wishes is honoured.
func (l *listener) acknowledgement() []byte {
	var pairs []pair
	for _, flag := range []struct {
		name string
		on   bool
	}{{"toolsListChanged", l.tools}, {"promptsListChanged", l.prompts}, {"resourcesListChanged", l.resources}} {
		if flag.on {
			pairs = append(pairs, pair{flag.name, []byte("true")})
		}
	}
	if len(l.uris) > 0 {
		var list [][]byte
		for uri := range l.uris {
			list = append(list, quoted(uri))
		}
		pairs = append(pairs, pair{"resourceSubscriptions", array(list)})
	}
	return l.tagged("notifications/subscriptions/acknowledged", with(nil, pair{"notifications", with(nil, pairs...)}))
}

// listenFor serves a subscription of a 2026-07-28 host from an old server, until the host
// cancels it.
func (r *remote) listenFor(ctx context.Context, l link, c *call) error {
	want, err := parseListen(c)
	if err != nil {
		return err
	}
	caps := l.about().capabilities
	want.tools = want.tools && isTrue(at(caps, "tools", "listChanged"))
	want.prompts = want.prompts && isTrue(at(caps, "prompts", "listChanged"))
	want.resources = want.resources && isTrue(at(caps, "resources", "listChanged"))
	for uri := range want.uris {
		if !r.refer(ctx, l, uri) {
			delete(want.uris, uri)
		}
	}
	r.b.listeners.add(want)
	c.write(want.acknowledgement())
	r.b.opened(c)
	<-ctx.Done()
	r.b.listeners.remove(want)
	for uri := range want.uris {
		r.release(l, uri)
	}
	return context.Cause(ctx)
}

// refer subscribes to a resource for one more listener.
func (r *remote) refer(ctx context.Context, l link, uri string) bool {
	r.mu.Lock()
	if r.subs == nil {
		r.subs = map[string]int{}
	}
	r.subs[uri]++
	first := r.subs[uri] == 1
	r.mu.Unlock()
	if !first {
		return true
	}
	d, err := l.call(ctx, newOutgoing(r.b.nextID(), "resources/subscribe", with(nil, pair{"uri", quoted(uri)}), nil))
	if err == nil && d.msg.Error == nil {
		return true
	}
	r.mu.Lock()
	if r.subs[uri]--; r.subs[uri] <= 0 {
		delete(r.subs, uri)
	}
	r.mu.Unlock()
	return false
}

func (r *remote) release(l link, uri string) {
	r.mu.Lock()
	r.subs[uri]--
	last := r.subs[uri] <= 0
	if last {
		delete(r.subs, uri)
	}
	r.mu.Unlock()
	if !last || r.b.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.b.life, ackTime)
	defer cancel()
	l.call(ctx, newOutgoing(r.b.nextID(), "resources/unsubscribe", with(nil, pair{"uri", quoted(uri)}), nil))
}
