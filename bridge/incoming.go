package bridge

import (
	"context"
	"errors"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// received takes what a server sends on its own.
func (r *remote) received(l link, d delivery, from *call) {
	switch {
	case d.msg.Kind == jsonrpc.Notification:
		r.notified(l, d, from)
	case l.modern():
		r.log.Debug("the server sent a request, which 2026-07-28 does not know", "method", clip(d.msg.Method, 60))
	default:
		select {
		case r.asking <- struct{}{}:
			r.b.work.Go(func() {
				defer func() { <-r.asking }()
				r.questioned(l, d, from)
			})
		default:
			if !r.flooded.Swap(true) { // once: the log is not the server's to fill
				r.log.Warn("the server asks too much at once; questions are dropped", "server", r.w.url.Host)
			}
		}
	}
}

func (r *remote) notified(l link, d delivery, from *call) {
	if from != nil && from.watching != nil {
		if !from.watching.take(d) {
			return
		}
		d.raw = untagged(d)
	}
	switch d.msg.Method {
	case "notifications/cancelled":
		if id := member(d.msg.Params, "requestId"); id != nil && !l.modern() {
			if cancel, ok := r.asked.Load(jsonrpc.IDKey(id)); ok {
				cancel.(context.CancelCauseFunc)(errors.New("withdrawn by the server"))
			}
			return
		}
	case "notifications/tools/list_changed":
		r.tools.forget()
	case "notifications/progress":
		if from != nil {
			if d.raw = from.progress(d); d.raw == nil {
				return
			}
		}
	}
	r.b.toHost(r, d, from)
}

// untagged takes the id of the bridge's own subscription out of a notification.
func untagged(d delivery) []byte {
	meta := member(d.msg.Params, "_meta")
	if !has(meta, jsonrpc.MetaSubscriptionID) {
		return d.raw
	}
	meta = with(meta, pair{jsonrpc.MetaSubscriptionID, nil})
	if string(meta) == "{}" {
		meta = nil
	}
	params := with(d.msg.Params, pair{"_meta", meta})
	return jsonrpc.AppendNotification(nil, d.msg.Method, params)
}

// questioned answers a request of an old server.
func (r *remote) questioned(l link, d delivery, from *call) {
	if d.msg.Method == "ping" {
		r.respond(l, jsonrpc.AppendResult(nil, d.msg.ID, []byte(`{}`)))
		return
	}
	parent := r.b.life
	if from != nil {
		parent = from.ctx
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	key := jsonrpc.IDKey(d.msg.ID)
	r.asked.Store(key, cancel)
	defer r.asked.Delete(key)
	line := r.answerFor(ctx, d, from)
	if ctx.Err() == nil {
		r.respond(l, line)
	}
}

func (r *remote) respond(l link, line []byte) {
	if err := l.send(r.b.life, line); err != nil && r.b.life.Err() == nil {
		r.log.Warn("an answer did not reach the server", "server", r.w.url.Host, "error", err)
	}
}

// answerFor asks the host, in the way of its era.
func (r *remote) answerFor(ctx context.Context, d delivery, from *call) []byte {
	r.mu.Lock()
	modern := r.intro.modern
	r.mu.Unlock()
	if !modern {
		msg, err := r.b.ask(ctx, r, d.msg.Method, d.msg.Params)
		switch {
		case err != nil:
			return errorAnswer(d.msg.ID, err)
		case msg.Error != nil:
			return appendErrorRaw(nil, d.msg.ID, msg.Error)
		}
		return jsonrpc.AppendResult(nil, d.msg.ID, msg.Result)
	}
	p := r.parked.latest()
	if from != nil {
		p = from.parked
	}
	switch d.msg.Method {
	case "elicitation/create", "sampling/createMessage", "roots/list":
	default:
		return jsonrpc.AppendError(nil, d.msg.ID, jsonrpc.CodeMethodNotFound, "the client does not know "+clip(d.msg.Method, 60), nil)
	}
	if p == nil {
		return jsonrpc.AppendError(nil, d.msg.ID, jsonrpc.CodeInternalError,
			"a client of "+v20260728+" can be asked only while it waits for tools/call, prompts/get or resources/read", nil)
	}
	result, err := p.ask(ctx, question{d.msg.Method, modernQuestion(d.msg.Params)})
	if err != nil {
		return errorAnswer(d.msg.ID, err)
	}
	return jsonrpc.AppendResult(nil, d.msg.ID, result)
}

// modernQuestion takes out what the new era has no longer.
func modernQuestion(params []byte) []byte {
	if params == nil || !has(params, "elicitationId") {
		return params
	}
	return with(params, pair{"elicitationId", nil})
}

// isListed reports whether a notification is one that 2026-07-28 knows only in subscriptions.
func isListed(method string) bool {
	return strings.HasSuffix(method, "/list_changed") || method == "notifications/resources/updated"
}
