package bridge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A watch is the one subscriptions/listen stream that stands for all that an old host is
// told without asking: changes of the lists, and of the resources it subscribed to.
type watch struct {
	mu     sync.Mutex
	stop   context.CancelFunc // of the stream that is open
	honour map[string]bool    // the resources that the server watches
}

// mostSubscriptions bounds the resources that one host may subscribe to.
const mostSubscriptions = 1000

// subscribe adds or removes a resource. It returns when the server has acknowledged.
func (r *remote) subscribe(ctx context.Context, l link, uri string, on bool) error {
	r.mu.Lock()
	if r.subs == nil {
		r.subs = map[string]int{}
	}
	_, had := r.subs[uri]
	if on && !had && len(r.subs) >= mostSubscriptions {
		r.mu.Unlock()
		return refusal(jsonrpc.CodeInvalidParams, fmt.Sprintf("more than %d subscriptions", mostSubscriptions))
	}
	if on {
		r.subs[uri] = 1
	} else {
		delete(r.subs, uri)
	}
	r.mu.Unlock()
	if had == on {
		return nil
	}
	err := r.listen(ctx, l)
	if on && err == nil {
		r.watch.mu.Lock()
		honoured := r.watch.honour[uri]
		r.watch.mu.Unlock()
		if !honoured {
			err = refusal(jsonrpc.CodeInvalidParams, "the server does not watch this resource")
		}
	}
	if err != nil && on {
		r.mu.Lock()
		delete(r.subs, uri)
		r.mu.Unlock()
	}
	return err
}

// rewatch opens the stream for a new link, in the background.
func (r *remote) rewatch(l link, hearing func()) {
	r.mu.Lock()
	old := !r.intro.modern
	r.mu.Unlock()
	if !old && r.b.merged == nil {
		hearing()
		return // a modern host opens streams of its own
	}
	r.b.work.Go(func() {
		defer hearing()
		if err := r.listen(r.b.life, l); err != nil && r.b.life.Err() == nil {
			r.log.Warn("the server does not tell of changes", "server", r.w.url.Host, "error", err)
		}
	})
}

// wanted is the filter of the stream; nil if there is nothing to listen to.
func (r *remote) wanted(l link) []byte {
	caps := l.about().capabilities
	var pairs []pair
	for _, kind := range []struct{ capability, name string }{
		{"tools", "toolsListChanged"}, {"prompts", "promptsListChanged"}, {"resources", "resourcesListChanged"},
	} {
		if isTrue(at(caps, kind.capability, "listChanged")) {
			pairs = append(pairs, pair{kind.name, []byte("true")})
		}
	}
	r.mu.Lock()
	uris := slices.Sorted(maps.Keys(r.subs))
	r.mu.Unlock()
	if len(uris) > 0 {
		list := make([][]byte, len(uris))
		for i, uri := range uris {
			list[i] = quoted(uri)
		}
		pairs = append(pairs, pair{"resourceSubscriptions", array(list)})
	}
	if pairs == nil {
		return nil
	}
	return with(nil, pairs...)
}

// listen opens a stream with what is wanted now, and then closes the one before: what
// changes meanwhile is told twice rather than not at all. It returns when the server has
// acknowledged the stream.
func (r *remote) listen(ctx context.Context, l link) error {
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	before := r.watch.stop
	filter := r.wanted(l)
	if filter == nil {
		if before != nil {
			before()
		}
		r.watch.stop, r.watch.honour = nil, nil
		return nil
	}
	life, stop := context.WithCancel(r.b.life)
	ready := make(chan acknowledged, 1)
	r.b.work.Go(func() { r.stream(life, l, filter, ready) })
	var a acknowledged
	select {
	case a = <-ready:
	case <-time.After(ackTime):
		a.err = r.w.failed("did not acknowledge a subscription", nil)
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	}
	if a.err != nil {
		stop()
		return a.err
	}
	if before != nil {
		before()
	}
	r.watch.stop, r.watch.honour = stop, a.uris
	return nil
}

// ackTime is how long a server may take to acknowledge a stream.
const ackTime = 20 * time.Second

type acknowledged struct {
	uris map[string]bool
	err  error
}

// stream keeps one stream open until life ends, opening it again when it breaks.
func (r *remote) stream(life context.Context, l link, filter []byte, ready chan<- acknowledged) {
	b := backoff{}
	told := false
	for life.Err() == nil {
		opened := time.Now()
		w := &watching{r: r, tell: func(a acknowledged) {
			if !told {
				told = true
				ready <- a
			} else {
				r.changed(l) // what changed while nobody listened is not known
			}
		}}
		params := r.stamped(with(nil, pair{"notifications", filter}))
		id := r.b.nextID()
		c := &call{id: id, method: "subscriptions/listen", watching: w}
		c.ctx, c.cancel = life, func(error) {}
		d, err := l.call(life, newOutgoing(id, c.method, params, c))
		if life.Err() != nil {
			return
		}
		if err == nil && d.msg.Error != nil {
			err = rejected(d.msg.Error)
		}
		if !told {
			if err == nil {
				err = r.w.failed("ended a subscription before it began", nil)
			}
			told = true
			ready <- acknowledged{err: err}
			return
		}
		if time.Since(opened) > 10*time.Second {
			b = backoff{}
		}
		if sleep(life, b.next()) != nil {
			return
		}
	}
}

// watching is the part of a call that is a stream of the bridge's own.
type watching struct {
	r    *remote
	tell func(acknowledged)
}

// take handles a notification on the stream; it reports whether the host is to get it.
func (w *watching) take(d delivery) bool {
	if d.msg.Method != "notifications/subscriptions/acknowledged" {
		return true
	}
	a := acknowledged{uris: map[string]bool{}}
	list := at(d.msg.Params, "notifications", "resourceSubscriptions")
	if list != nil {
		eachString(list, func(uri string) { a.uris[uri] = true })
	}
	w.tell(a)
	return false
}

// changed tells the host that all lists may have changed.
func (r *remote) changed(l link) {
	r.tools.forget()
	caps := l.about().capabilities
	for _, kind := range []string{"tools", "prompts", "resources"} {
		if has(caps, kind) {
			r.b.toHost(r, delivery{msg: jsonrpc.Message{Kind: jsonrpc.Notification, Method: "notifications/" + kind + "/list_changed"},
				raw: jsonrpc.AppendNotification(nil, "notifications/"+kind+"/list_changed", nil)}, nil)
		}
	}
}
