package expose

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxQuestions bounds the questions of one child that wait for an answer.
const maxQuestions = 32

// A question is a request of a child of the session eras to its client.
type question struct {
	p      *process
	id     []byte // the child's
	method string
	ask    mcp.InputRequest
	gone   chan struct{} // closed when the child no longer waits
}

func (q *question) answer(v any, err error) {
	if err == nil {
		var raw []byte
		if raw, err = marshal(v); err == nil {
			q.p.reply(q.id, raw)
			return
		}
	}
	q.p.refuse(q.id, err)
}

func (q *question) key() string { return q.p.mark + string(q.id) }

// request takes a request of the child.
func (sl *slot) request(p *process, id []byte, method string, params []byte) {
	switch method {
	case "ping":
		p.errand(func() { p.reply(id, []byte("{}")) })
	case "elicitation/create", "sampling/createMessage":
		sl.ask(p, id, method, params)
	case "roots/list":
		if sl.t.s.opts.Roots {
			sl.ask(p, id, method, params)
			return
		}
		fallthrough
	default:
		err := &sdkrpc.Error{Code: sdkrpc.CodeMethodNotFound, Message: "method not found: " + clip(method)}
		p.errand(func() { p.refuse(id, err) })
	}
}

func clip(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// ask brings a question to the client that it concerns.
func (sl *slot) ask(p *process, id []byte, method string, params []byte) {
	refuse := func(err error) { p.errand(func() { p.refuse(id, err) }) }
	ask, err := decodeAsk(method, params)
	if err != nil {
		refuse(&sdkrpc.Error{Code: sdkrpc.CodeInvalidParams, Message: err.Error()})
		return
	}
	q := &question{p: p, id: id, method: method, ask: ask, gone: make(chan struct{})}
	sl.mu.Lock()
	if len(sl.asks) >= maxQuestions || sl.asks[q.key()] != nil {
		sl.mu.Unlock()
		refuse(errors.New("too many questions wait for an answer"))
		return
	}
	c, ss := sl.addressee(q)
	if c == nil && ss == nil {
		sl.mu.Unlock()
		refuse(&sdkrpc.Error{Code: sdkrpc.CodeMethodNotFound, Message: "no client is there that " + method + " could be asked of"})
		return
	}
	sl.asks[q.key()] = func() { close(q.gone) }
	sl.mu.Unlock()
	if c == nil {
		go sl.put(context.Background(), ss, q)
		return
	}
	c.mu.Lock()
	ctx, ss, asModern := c.ctx, c.ss, c.modern
	c.mu.Unlock()
	if !asModern {
		go sl.put(ctx, ss, q)
		return
	}
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.asks = append(c.asks, q) // bounded by those of the child
	}
	c.mu.Unlock()
	if ended {
		sl.drop(q)
		return
	}
	c.stir()
}

// decodeAsk reads a question as the SDK knows it.
func decodeAsk(method string, params []byte) (mcp.InputRequest, error) {
	if len(params) == 0 {
		params = []byte("{}")
	}
	b := append([]byte(`{"q":{"method":`), jsonrpc.AppendString(nil, method)...)
	b = append(append(append(b, `,"params":`...), params...), "}}"...)
	var m mcp.InputRequestMap
	if err := json.Unmarshal(b, &m); err != nil || m["q"] == nil {
		return nil, fmt.Errorf("%s: params make no sense", method)
	}
	return m["q"], nil
}

// settle forgets a question, and reports whether the child still waited.
func (sl *slot) settle(q *question) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	_, waits := sl.asks[q.key()]
	delete(sl.asks, q.key())
	return waits
}

var errCallEnded = errors.New("the call that this was asked for has ended")

// drop refuses a question that came too late to be put to anybody.
func (sl *slot) drop(q *question) {
	if sl.settle(q) {
		q.p.errand(func() { q.answer(nil, errCallEnded) })
	}
}

// addressee finds out whom a question is for: the client whose call the child works
// on, or, between calls, the session that was here last. On stdio nothing says to
// which call a question belongs. Among the calls of one person the latest will do;
// where the calls may be of several people it must be the only one. sl.mu is held.
func (sl *slot) addressee(q *question) (*call, *mcp.ServerSession) {
	if c, sure := sl.current(q.p, func(c *call) bool { return canBeAsked(c.ss, q.ask) && (!c.modern || mayNeedInput[c.method]) }); c != nil || !sure {
		return c, nil
	}
	if sl.t.isShared() && len(sl.sessions) > 1 {
		return nil, nil
	}
	for i := len(sl.sessions) - 1; i >= 0; i-- {
		if canBeAsked(sl.sessions[i], q.ask) {
			return nil, sl.sessions[i]
		}
	}
	return nil, nil
}

// current is the call that something p says is about: the latest of p's that fits.
// It is not sure, and there is none, if others could be meant. sl.mu is held.
func (sl *slot) current(p *process, fits func(*call) bool) (_ *call, sure bool) {
	if sl.t.isShared() && len(sl.calls) > 1 {
		return nil, false
	}
	var found *call
	for _, c := range sl.calls {
		if c.p != p {
			continue // a program that has been given up may go on speaking for a while
		}
		c.mu.Lock()
		ok := fits(c) // what a parked call is asked waits for the round after
		c.mu.Unlock()
		if ok && (found == nil || c.x.id > found.x.id) {
			found = c
		}
	}
	return found, true
}

var mayNeedInput = map[string]bool{"tools/call": true, "prompts/get": true, "resources/read": true}

// canBeAsked reports whether a client has said that it can answer such a question.
func canBeAsked(ss *mcp.ServerSession, ask mcp.InputRequest) bool {
	p := ss.InitializeParams()
	if p == nil || p.Capabilities == nil {
		return false
	}
	caps := p.Capabilities
	switch q := ask.(type) {
	case *mcp.ElicitParams:
		if caps.Elicitation == nil {
			return false
		}
		if q.Mode == "url" || (q.Mode == "" && q.URL != "") {
			return caps.Elicitation.URL != nil
		}
		return caps.Elicitation.Form != nil || caps.Elicitation.URL == nil
	case *mcp.ListRootsParams:
		return caps.RootsV2 != nil
	default:
		return caps.Sampling != nil
	}
}

// put asks a client of the session eras and tells the child the answer.
func (sl *slot) put(ctx context.Context, ss *mcp.ServerSession, q *question) {
	ctx, cancel := context.WithTimeoutCause(ctx, sl.t.s.opts.AnswerTimeout, errors.New("nobody answered in time"))
	defer cancel()
	go func() {
		select {
		case <-q.gone:
		case <-q.p.dead:
		case <-ctx.Done():
		}
		cancel()
	}()
	var res mcp.Result
	var err error
	switch ask := q.ask.(type) {
	case *mcp.ElicitParams:
		res, err = ss.Elicit(ctx, ask)
	case *mcp.CreateMessageParams:
		res, err = ss.CreateMessage(ctx, ask)
	case *mcp.CreateMessageWithToolsParams:
		res, err = ss.CreateMessageWithTools(ctx, ask)
	case *mcp.ListRootsParams:
		res, err = ss.ListRoots(ctx, ask)
	default:
		err = fmt.Errorf("%s cannot be asked", q.method)
	}
	if sl.settle(q) {
		q.answer(res, err)
	}
}

// What the state of a round begins with says whose it is. The wire seals it and binds
// it to the person and the request, see mcphttp.
const (
	parkedState = "parked:" // a call that waits here, by its number
	childState  = "child:"  // the child's own
	againState  = "again:"  // nothing: the call is made anew
)

// A parked call waits, at the child, for the next round of its client.
type parked struct {
	c         *call
	questions map[string]*question
	expiry    *time.Timer
}

// park ends a round with questions.
func (sl *slot) park(c *call, asks []*question) (mcp.Result, error) {
	pk := &parked{c: c, questions: make(map[string]*question)}
	for i, q := range asks {
		pk.questions[strconv.Itoa(i+1)] = q
	}
	return sl.parkAs(rand.Text(), pk)
}

func (sl *slot) parkAs(id string, pk *parked) (mcp.Result, error) {
	asks := make(mcp.InputRequestMap, len(pk.questions))
	for key, q := range pk.questions {
		asks[key] = q.ask
	}
	sl.mu.Lock()
	sl.parked[id] = pk
	pk.expiry = time.AfterFunc(sl.t.s.opts.AnswerTimeout, func() { sl.expire(id) })
	sl.mu.Unlock()
	return roundEnd(pk.c.method, asks, parkedState+id)
}

// roundEnd is a result that asks.
func roundEnd(method string, asks mcp.InputRequestMap, state string) (mcp.Result, error) {
	switch method {
	case "tools/call":
		return &mcp.CallToolResult{InputRequests: asks, RequestState: state}, nil
	case "prompts/get":
		return &mcp.GetPromptResult{InputRequests: asks, RequestState: state}, nil
	case "resources/read":
		return &mcp.ReadResourceResult{InputRequests: asks, RequestState: state}, nil
	}
	return nil, fmt.Errorf("the program asks during %s, where nothing can be asked", method)
}

// unpark takes a call back, nil if it is not there any more.
func (sl *slot) unpark(id string) *parked {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	pk := sl.parked[id]
	if pk != nil {
		delete(sl.parked, id)
		pk.expiry.Stop()
	}
	return pk
}

// expire gives up a call whose client did not come back.
func (sl *slot) expire(id string) {
	pk := sl.unpark(id)
	if pk == nil {
		return
	}
	for _, q := range pk.questions {
		if sl.settle(q) {
			q.answer(nil, errors.New("nobody answered in time"))
		}
	}
	pk.c.p.cancel(pk.c.x)
	pk.c.end()
	sl.finish(pk.c)
}

// resume goes on with a parked call: the client is back with answers.
func (sl *slot) resume(ctx context.Context, ss *mcp.ServerSession, id, method string, params mcp.Params, answers mcp.InputResponseMap) (mcp.Result, error) {
	pk := sl.unpark(id)
	if pk == nil {
		return nil, &sdkrpc.Error{Code: sdkrpc.CodeInvalidParams, Message: "requestState: the program no longer waits for this answer: make the request anew"}
	}
	c := pk.c
	if method != c.method {
		_, _ = sl.parkAs(id, pk)
		return nil, &sdkrpc.Error{Code: sdkrpc.CodeInvalidParams, Message: "requestState belongs to another request"}
	}
	c.mu.Lock()
	c.ctx, c.ss = ctx, ss
	c.token = params.GetMeta()[jsonrpc.MetaProgressToken]
	c.mu.Unlock()
	for key, q := range pk.questions {
		res, ok := answers[key]
		if !ok {
			continue
		}
		delete(pk.questions, key)
		if sl.settle(q) {
			q.answer(res, nil)
		}
	}
	for key, q := range pk.questions {
		select {
		case <-q.gone: // the child asks no longer
			delete(pk.questions, key)
		default:
		}
	}
	if len(pk.questions) > 0 {
		return sl.parkAs(id, pk)
	}
	return sl.await(ctx, c)
}

// roundOf reads what a request says of the round it belongs to.
func roundOf(params mcp.Params) (state string, answers mcp.InputResponseMap) {
	switch p := params.(type) {
	case *mcp.CallToolParamsRaw:
		return p.RequestState, p.InputResponses
	case *mcp.GetPromptParams:
		return p.RequestState, p.InputResponses
	case *mcp.ReadResourceParams:
		return p.RequestState, p.InputResponses
	}
	return "", nil
}

// inputRequired passes on the end of a round of a 2026-07-28 child. The wire asks
// clients of the session eras by requests, and calls again.
func (c *call) inputRequired(raw []byte) (mcp.Result, error) {
	var round struct {
		InputRequests mcp.InputRequestMap `json:"inputRequests"`
		RequestState  string              `json:"requestState"`
	}
	if err := json.Unmarshal(raw, &round); err != nil {
		return nil, errors.New("the program asks what makes no sense")
	}
	for key, ask := range round.InputRequests {
		if _, roots := ask.(*mcp.ListRootsParams); roots && !c.sl.t.s.opts.Roots || !canBeAsked(c.ss, ask) {
			return nil, fmt.Errorf("the program asks for %q, which the client has not said it can answer", clip(key))
		}
	}
	return roundEnd(c.method, round.InputRequests, childState+round.RequestState)
}

// openURLs turns the error with which programs of 2025-11-25 ask for URLs to be
// opened into a round; when they have been, the call is made anew.
func (c *call) openURLs(werr *sdkrpc.Error) (mcp.Result, error) {
	var data struct {
		Elicitations []*mcp.ElicitParams `json:"elicitations"`
	}
	if json.Unmarshal(werr.Data, &data) != nil || len(data.Elicitations) == 0 || len(data.Elicitations) > maxQuestions || !mayNeedInput[c.method] {
		return nil, &sdkrpc.Error{Code: sdkrpc.CodeInternalError, Message: werr.Message}
	}
	asks := make(mcp.InputRequestMap)
	for i, e := range data.Elicitations {
		if e == nil || e.URL == "" {
			return nil, &sdkrpc.Error{Code: sdkrpc.CodeInternalError, Message: werr.Message}
		}
		ask := &mcp.ElicitParams{Mode: "url", Message: e.Message, URL: e.URL}
		if !canBeAsked(c.ss, ask) {
			return nil, &sdkrpc.Error{Code: mcp.CodeMissingRequiredClientCapabilities, Message: werr.Message,
				Data: json.RawMessage(`{"requiredCapabilities":{"elicitation":{"url":{}}}}`)}
		}
		asks["url-"+strconv.Itoa(i+1)] = ask
	}
	return roundEnd(c.method, asks, againState)
}
