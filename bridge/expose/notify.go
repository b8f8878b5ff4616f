package expose

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// errandTimeout bounds what is done for a child outside a call.
const errandTimeout = 10 * time.Second

// junk notes what a child wrote that is no message. What it says stays out of the
// log: it may be anything.
func (sl *slot) junk(_ *process, line []byte) {
	sl.log.Debug("an exposed program wrote what is no message to its standard output", "bytes", len(line))
}

// notification takes a notification of the child. It runs on the goroutine that reads
// and waits for nobody.
func (sl *slot) notification(p *process, method string, params []byte) {
	switch method {
	case "notifications/progress":
		sl.progress(p, params)
	case "notifications/message":
		sl.message(p, params)
	case "notifications/cancelled":
		sl.withdraw(p, params)
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		if sl.isCurrent(p, params) {
			sl.t.announce(method)
		}
	case "notifications/resources/updated":
		var u mcp.ResourceUpdatedNotificationParams
		if json.Unmarshal(params, &u) != nil || !sl.isSubscribed(u.URI) || !sl.isCurrent(p, params) {
			return
		}
		delete(u.Meta, mcp.MetaKeySubscriptionID)
		p.errand(func() {
			ctx, cancel := context.WithTimeout(context.Background(), errandTimeout)
			defer cancel()
			_ = sl.t.server.ResourceUpdated(ctx, &u)
		})
	case "notifications/elicitation/complete":
		var e mcp.ElicitationCompleteParams
		if json.Unmarshal(params, &e) != nil || sl.t.isShared() {
			return
		}
		p.errand(func() {
			sl.toSessions(func(ctx context.Context, ss *mcp.ServerSession) { _ = ss.NotifyElicitationComplete(ctx, &e) })
		})
	}
}

// progress brings progress to the call whose number is its token, if it is p's: each
// program's calls are numbered from the start.
func (sl *slot) progress(p *process, params []byte) {
	var token []byte
	err := jsonrpc.ScanObject(params, func(name, value []byte) error {
		if string(name) == "progressToken" {
			token = value
		}
		return nil
	})
	if err != nil {
		return
	}
	id, ok := jsonrpc.IDValue(token).(int64)
	if !ok {
		return
	}
	sl.mu.Lock()
	c := sl.calls[id]
	sl.mu.Unlock()
	if c != nil && c.p == p {
		c.note(note{"notifications/progress", params})
	}
}

func (c *call) note(n note) {
	c.mu.Lock()
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, n)
	}
	c.mu.Unlock()
	c.stir()
}

// stir tells whoever awaits the call that the child said something.
func (c *call) stir() {
	select {
	case c.stirred <- struct{}{}:
	default:
	}
}

// heard takes what the child said since.
func (c *call) heard() ([]note, []*question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	notes, asks := c.notes, c.asks
	c.notes, c.asks = nil, nil
	return notes, asks
}

// end takes what the child said last, and refuses what it asks and has not been put to
// the client: it would wait, and its question count, for as long as it runs.
func (c *call) end() []note {
	c.mu.Lock()
	notes, asks := c.notes, c.asks
	c.notes, c.asks, c.ended = nil, nil, true
	c.mu.Unlock()
	for _, q := range asks {
		c.sl.drop(q)
	}
	return notes
}

// tell sends the client of a call what the child said.
func (c *call) tell(ctx context.Context, n note) {
	c.mu.Lock()
	ss, token := c.ss, c.token
	c.mu.Unlock()
	switch n.method {
	case "notifications/progress":
		var p mcp.ProgressNotificationParams
		if token == nil || json.Unmarshal(n.params, &p) != nil {
			return
		}
		p.ProgressToken = token
		_ = ss.NotifyProgress(ctx, &p)
	case "notifications/message":
		var m mcp.LoggingMessageParams
		if json.Unmarshal(n.params, &m) == nil {
			_ = ss.Log(ctx, &m)
		}
	}
}

// message brings a log message to the client whose call it is about, or, between
// calls, to the sessions of the person.
func (sl *slot) message(p *process, params []byte) {
	sl.mu.Lock()
	c, sure := sl.current(p, func(*call) bool { return true })
	sl.mu.Unlock()
	switch {
	case c != nil:
		c.note(note{"notifications/message", params})
	case !sure || sl.t.isShared():
		// It could be about anybody.
	default:
		var m mcp.LoggingMessageParams
		if json.Unmarshal(params, &m) != nil {
			return
		}
		p.errand(func() {
			sl.toSessions(func(ctx context.Context, ss *mcp.ServerSession) { _ = ss.Log(ctx, &m) })
		})
	}
}

func (sl *slot) toSessions(do func(context.Context, *mcp.ServerSession)) {
	sl.mu.Lock()
	sessions := slices.Clone(sl.sessions)
	sl.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), errandTimeout)
	defer cancel()
	for _, ss := range sessions {
		do(ctx, ss)
	}
}

// withdraw takes back a question of the child.
func (sl *slot) withdraw(p *process, params []byte) {
	pp, err := jsonrpc.ParseParams(params)
	if err != nil || len(pp.RequestID) == 0 {
		return
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	key := p.mark + string(pp.RequestID)
	if cancel := sl.asks[key]; cancel != nil {
		delete(sl.asks, key)
		cancel()
	}
}

// maxSessions bounds the sessions of a slot that are told things between calls.
const maxSessions = 64

// remember notes a session of the session eras as one that can be told and asked
// things between its calls.
func (sl *slot) remember(ss *mcp.ServerSession) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if n := len(sl.sessions); n > 0 && sl.sessions[n-1] == ss {
		return
	}
	sl.sessions = slices.DeleteFunc(sl.sessions, func(old *mcp.ServerSession) bool { return old.ID() == ss.ID() })
	if len(sl.sessions) >= maxSessions {
		sl.sessions = slices.Delete(sl.sessions, 0, 1)
	}
	sl.sessions = append(sl.sessions, ss)
}

func (sl *slot) forgetSession(id string) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.sessions = slices.DeleteFunc(sl.sessions, func(old *mcp.ServerSession) bool { return old.ID() == id })
	delete(sl.levels, id)
}

// levels of log messages, from the most talkative.
var levels = []mcp.LoggingLevel{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// wantLevel notes the log level that a session wants. The child gets the most
// talkative that anyone wants; the SDK leaves out what is too much for a session.
func (t *tenant) wantLevel(ctx context.Context, ss *mcp.ServerSession, level mcp.LoggingLevel) {
	sl, err := t.slotFor(ss)
	if err != nil {
		return
	}
	sl.remember(ss)
	sl.mu.Lock()
	if len(sl.levels) < 10*maxSessions {
		sl.levels[ss.ID()] = level
	}
	sl.mu.Unlock()
	p, err := sl.acquire(ctx, ss)
	if err != nil {
		return // it is told when it is started
	}
	defer sl.release()
	sl.setLevel(ctx, p)
}

func (sl *slot) levelOf(ss *mcp.ServerSession) any {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if level, ok := sl.levels[ss.ID()]; ok && ss.ID() != "" {
		return level
	}
	return nil
}

// raise sees to it that the child says what one 2026-07-28 request wants to hear.
func (sl *slot) raise(ctx context.Context, p *process, level mcp.LoggingLevel) {
	if !slices.Contains(levels, level) {
		return
	}
	sl.mu.Lock()
	wanted := talkative(sl.levels[""], level)
	sl.levels[""] = wanted
	sl.mu.Unlock()
	sl.setLevel(ctx, p)
}

func talkative(a, b mcp.LoggingLevel) mcp.LoggingLevel {
	if a == "" {
		return b
	}
	if b == "" || slices.Index(levels, a) <= slices.Index(levels, b) {
		return a
	}
	return b
}

func (sl *slot) setLevel(ctx context.Context, p *process) {
	if p.hello.modern || p.hello.capabilities.Logging == nil {
		return
	}
	sl.mu.Lock()
	var level mcp.LoggingLevel
	for _, l := range sl.levels {
		level = talkative(level, l)
	}
	if level == "" || level == p.level {
		sl.mu.Unlock()
		return
	}
	p.level = level
	sl.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, errandTimeout)
	defer cancel()
	if _, err := p.call(ctx, "logging/setLevel", []byte(`{"level":"`+string(level)+`"}`)); err != nil {
		sl.log.Debug("the log level could not be passed on", "error", err)
	}
}

func (t *tenant) rootsChanged(ss *mcp.ServerSession) {
	sl, err := t.slotFor(ss)
	if err != nil || !t.s.opts.Roots {
		return
	}
	sl.mu.Lock()
	p := sl.proc
	sl.mu.Unlock()
	if p != nil && p.hello != nil && !p.hello.modern {
		_ = p.notify("notifications/roots/list_changed", nil)
	}
}

// listen serves a subscription of 2026-07-28. What the child cannot tell of is left
// out of it.
func (t *tenant) listen(ctx context.Context, ss *mcp.ServerSession, next mcp.MethodHandler, method string, req mcp.Request) (mcp.Result, error) {
	r, ok := req.(*mcp.SubscriptionsListenRequest)
	if !ok || r.Params.Notifications == nil {
		return next(ctx, method, req)
	}
	hello, _, err := t.greeted(ctx, ss)
	if err != nil {
		return nil, err
	}
	caps, n := hello.capabilities, *r.Params.Notifications
	n.ToolsListChanged = n.ToolsListChanged && caps.Tools != nil && caps.Tools.ListChanged
	n.PromptsListChanged = n.PromptsListChanged && caps.Prompts != nil && caps.Prompts.ListChanged
	n.ResourcesListChanged = n.ResourcesListChanged && caps.Resources != nil && caps.Resources.ListChanged
	if caps.Resources == nil || !caps.Resources.Subscribe {
		n.ResourceSubscriptions = nil
	}
	params := *r.Params
	params.Notifications = &n
	t.streams.Add(1)
	defer t.streams.Add(-1)
	return next(ctx, method, &mcp.SubscriptionsListenRequest{Session: r.Session, Params: &params, Extra: r.Extra})
}

func uriParams(uri string) []byte {
	return append(jsonrpc.AppendString([]byte(`{"uri":`), uri), '}')
}

func (sl *slot) isSubscribed(uri string) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return len(sl.subs[uri]) > 0
}

// subscribe is called by the SDK for each session and each resource.
func (t *tenant) subscribe(ctx context.Context, req *mcp.SubscribeRequest) error {
	sl, err := t.slotFor(req.Session)
	if err != nil {
		return err
	}
	p, err := sl.acquire(ctx, req.Session)
	if err != nil {
		return err
	}
	defer sl.release()
	uri := req.Params.URI
	sl.mu.Lock()
	first := len(sl.subs[uri]) == 0
	if first {
		sl.subs[uri] = make(map[*mcp.ServerSession]struct{})
	}
	sl.subs[uri][req.Session] = struct{}{}
	sl.mu.Unlock()
	if !first {
		return nil
	}
	if p.hello.modern {
		sl.relisten(p)
		return nil
	}
	if _, err := p.call(ctx, "resources/subscribe", uriParams(uri)); err != nil {
		sl.unsubscribe(req.Session, uri)
		return err
	}
	return nil
}

// unsubscribe is called by the SDK when a session no longer listens, at its wish or
// because it ended.
func (t *tenant) unsubscribe(ctx context.Context, req *mcp.UnsubscribeRequest) error {
	sl, err := t.slotFor(req.Session)
	if err != nil {
		return err
	}
	p, last := sl.unsubscribe(req.Session, req.Params.URI)
	if !last || p == nil || p.hello == nil || p.hello.modern {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), errandTimeout)
	defer cancel()
	_, err = p.call(ctx, "resources/unsubscribe", uriParams(req.Params.URI))
	return err
}

// unsubscribe notes it, and reports whether nobody listens any more, and to which
// child that matters.
func (sl *slot) unsubscribe(ss *mcp.ServerSession, uri string) (p *process, last bool) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	delete(sl.subs[uri], ss)
	if last = len(sl.subs[uri]) == 0; last {
		delete(sl.subs, uri)
	}
	return sl.proc, last
}

// maxListens bounds the subscriptions at one child.
const maxListens = 1000

// relisten has a 2026-07-28 child tell what anyone wants to hear: changed lists and
// the resources that are subscribed to. A new subscription takes the place of the
// old, which is not cancelled: servers that know a client by its connection, as the Go
// SDK does, would forget the new one with it. What nobody wants any more is left out
// when it arrives.
func (sl *slot) relisten(p *process) {
	caps := p.hello.capabilities
	n := mcp.NotificationSubscriptions{
		ToolsListChanged:     caps.Tools != nil && caps.Tools.ListChanged,
		PromptsListChanged:   caps.Prompts != nil && caps.Prompts.ListChanged,
		ResourcesListChanged: caps.Resources != nil && caps.Resources.ListChanged,
	}
	sl.mu.Lock()
	if p.listened == nil {
		p.listened = make(map[string]bool)
	}
	fresh := p.listens == 0
	for uri := range sl.subs {
		fresh = fresh || !p.listened[uri]
		p.listened[uri] = true
	}
	n.ResourceSubscriptions = slices.Sorted(maps.Keys(p.listened))
	sl.mu.Unlock()
	nothing := !n.ToolsListChanged && !n.PromptsListChanged && !n.ResourcesListChanged && len(n.ResourceSubscriptions) == 0
	if !fresh || nothing || len(n.ResourceSubscriptions) > maxListens {
		return
	}
	body, err := marshal(n)
	if err != nil {
		return
	}
	x, err := p.reserve()
	if err != nil {
		return
	}
	params := append(append([]byte(`{"notifications":`), body...), `,"_meta":{`...)
	params = append(append(params, saysOf(nil, false).meta(p.hello.version)...), "}}"...)
	sl.mu.Lock()
	p.listens = x.id
	sl.mu.Unlock()
	_ = p.send(x, "subscriptions/listen", params)
}

// isCurrent reports whether a notification belongs to the newest subscription at a
// child, or to none.
func (sl *slot) isCurrent(p *process, params []byte) bool {
	pp, err := jsonrpc.ParseParams(params)
	if err != nil {
		return false
	}
	var id []byte
	if jsonrpc.IsObject(pp.Meta) {
		_ = jsonrpc.ScanObject(pp.Meta, func(name, value []byte) error {
			if string(name) == jsonrpc.MetaSubscriptionID {
				id = value
			}
			return nil
		})
	}
	n, ok := jsonrpc.IDValue(id).(int64)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return id == nil || ok && n == p.listens
}
