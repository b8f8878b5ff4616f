package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// An old host and a server of 2026-07-28: the server ends a request with questions, and
// the bridge asks the host and comes back with the answers.

const (
	mostRounds    = 32 // of one request; each may put a dialog in front of a person
	mostQuestions = 16 // of one round
	mostAsks      = 64 // of one server that wait for the host, in either era
)

// stamped adds to params what every request of 2026-07-28 says of its client.
func (r *remote) stamped(params []byte) []byte {
	r.mu.Lock()
	in, level := r.intro, r.level
	r.mu.Unlock()
	return with(params, pair{"_meta", r.metaOf(in, level, member(params, "_meta"))})
}

func (r *remote) metaOf(in *intro, level []byte, old ...[]byte) []byte {
	var meta []byte
	if len(old) > 0 {
		meta = old[0]
	}
	pairs := []pair{
		{jsonrpc.MetaProtocolVersion, quoted(v20260728)},
		{jsonrpc.MetaClientInfo, orClient(in.info)},
		{jsonrpc.MetaClientCapabilities, orEmpty(in.caps)},
	}
	if level != nil {
		pairs = append(pairs, pair{jsonrpc.MetaLogLevel, level})
	}
	return with(meta, pairs...)
}

// rounds sends a request of an old host until the server answers it for good.
func (r *remote) rounds(ctx context.Context, l link, c *call) (delivery, error) {
	first := r.stamped(c.params)
	o := newOutgoing(c.id, c.method, first, c)
	for round := 0; ; round++ {
		d, err := l.call(ctx, o)
		if err != nil || !jsonrpc.StringEquals(member(d.msg.Result, "resultType"), "input_required") {
			return d, err
		}
		if round == mostRounds {
			return d, r.w.failed(fmt.Sprintf("asked again after %d rounds of questions", mostRounds), nil)
		}
		state := member(d.msg.Result, "requestState")
		answers, err := r.askAll(ctx, member(d.msg.Result, "inputRequests"))
		if err != nil {
			return d, err
		}
		if answers == nil {
			if err := sleep(ctx, min(100*time.Millisecond<<min(round, 10), 5*time.Second)); err != nil {
				return d, err
			}
		}
		o = newOutgoing(r.b.nextID(), c.method, with(first, pair{"inputResponses", answers}, pair{"requestState", state}), c)
	}
}

// askAll puts the questions of one round to the host, at once, and gathers the answers.
func (r *remote) askAll(ctx context.Context, requests []byte) ([]byte, error) {
	if !jsonrpc.IsObject(requests) {
		return nil, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var names [][]byte
	var questions []question
	err := jsonrpc.ScanObject(requests, func(name, value []byte) error {
		q, err := parseQuestion(value)
		names, questions = append(names, append([]byte(nil), name...)), append(questions, q)
		if err == nil && len(names) > mostQuestions {
			err = fmt.Errorf("more than %d questions at once", mostQuestions)
		}
		return err
	})
	if err != nil {
		return nil, r.w.failed("asked for input that cannot be read", err)
	}
	answers := make([]pair, len(names))
	var wg sync.WaitGroup
	for i, q := range questions {
		wg.Go(func() {
			answer, err := r.ask(ctx, q)
			if err != nil {
				cancel(err)
			}
			answers[i] = pair{string(names[i]), answer}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return with(nil, answers...), nil
}

type question struct {
	method string
	params []byte
}

func parseQuestion(raw []byte) (question, error) {
	var q question
	if !jsonrpc.IsObject(raw) {
		return q, errors.New("a question is not an object")
	}
	err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
		switch string(name) {
		case "method":
			q.method, _ = jsonrpc.String(value)
		case "params":
			if jsonrpc.IsObject(value) {
				q.params = value
			}
		}
		return nil
	})
	switch q.method {
	case "elicitation/create", "sampling/createMessage", "roots/list":
		return q, err
	}
	return q, fmt.Errorf("the method %.60q is no question that a client can be asked", q.method)
}

// ask puts a question of a 2026-07-28 server to an old host.
func (r *remote) ask(ctx context.Context, q question) ([]byte, error) {
	byURL := q.method == "elicitation/create" && jsonrpc.StringEquals(member(q.params, "mode"), "url")
	id := ""
	if byURL && !has(q.params, "elicitationId") {
		id = rand.Text() // the old era names each, to say later that it is done
		q.params = with(q.params, pair{"elicitationId", quoted(id)})
	}
	msg, err := r.b.asks.put(ctx, r, q.method, q.params)
	if err != nil {
		return nil, err
	}
	if msg.Error != nil {
		if q.method == "elicitation/create" {
			return []byte(`{"action":"cancel"}`), nil
		}
		e, _ := jsonrpc.ParseErrorObject(msg.Error)
		return nil, refusal(jsonrpc.CodeInternalError, fmt.Sprintf("the host refused %s: %s", q.method, clip(e.Message, 300)))
	}
	if !jsonrpc.IsObject(msg.Result) {
		return nil, refusal(jsonrpc.CodeInternalError, "the host answered "+q.method+" with something else than an object")
	}
	return msg.Result, nil
}

// standIn answers those requests of an old host that 2026-07-28 has no longer.
func (r *remote) standIn(ctx context.Context, l link, c *call) (line []byte, done bool, err error) {
	switch c.method {
	case "logging/setLevel":
		if !has(l.about().capabilities, "logging") {
			return nil, true, refusal(jsonrpc.CodeMethodNotFound, "the server has no logging")
		}
		r.mu.Lock()
		r.level = c.p.Level
		r.mu.Unlock()
	case "resources/subscribe", "resources/unsubscribe":
		uri, ok := jsonrpc.String(c.p.URI)
		if !ok {
			return nil, true, refusal(jsonrpc.CodeInvalidParams, "uri must be a string")
		}
		if err := r.subscribe(ctx, l, uri, c.method == "resources/subscribe"); err != nil {
			return nil, true, err
		}
	default:
		return nil, false, nil
	}
	return jsonrpc.AppendResult(nil, c.id, []byte(`{}`)), true, nil
}
