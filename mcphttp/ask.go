package mcphttp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Errors of [Elicit], [Sample] and [ListRoots]. Test with [errors.Is].
var (
	// ErrAsked: the question is on its way to the client and the handler will run
	// again, from its start, when the answer is here. Return it at once; whatever
	// else the handler returns is discarded.
	ErrAsked = errors.New("mcphttp: the client has been asked; return this error and the handler runs again with the answer")

	// ErrAskAfterWrite: the handler has already written state in this call. In
	// 2026-07-28 it would run again after the answer, and write twice; so that the
	// same tool behaves the same everywhere, this is refused in every era. Ask
	// first, write afterwards.
	ErrAskAfterWrite = errors.New("mcphttp: a question after a write: ask first, write afterwards")

	// ErrNoCall: the context does not belong to a request that this package serves,
	// or the request has been answered already. Pass on the context the handler was
	// given.
	ErrNoCall = errors.New("mcphttp: the context belongs to no request that could be asked")
)

// Elicit asks the user something, by a form or by a URL to open, and returns what
// they answered. It works in every protocol era:
//
//   - in the session eras the question is a request to the client on the stream
//     of the call, and Elicit waits for the answer;
//   - in 2026-07-28 it ends this round: Elicit returns [ErrAsked], which the
//     handler must return at once. The client answers and calls again, the handler
//     runs again from its start, and this time Elicit returns the answer.
//
// A handler therefore asks the same questions in the same order each time, and
// asks before it writes ([ErrAskAfterWrite]). Questions are recognized by their
// order and content. One request may ask in at most ten rounds.
//
// If the client cannot be asked the error says what it lacks; returned by the
// handler, a 2026-07-28 client gets it as -32021 (missing required client
// capability). An accepted form is checked against the requested schema. A form
// without one asks for a yes or no: it is sent with a schema of no properties, since
// the specification requires one and clients refuse the question otherwise.
func Elicit(ctx context.Context, p *mcp.ElicitParams) (*mcp.ElicitResult, error) {
	c, err := askable(ctx)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("mcphttp: Elicit needs params")
	}
	need := `{"elicitation":{}}`
	if p.Mode == "url" || (p.Mode == "" && p.URL != "") {
		need = `{"elicitation":{"url":{}}}`
	}
	if err := c.require(need, func(caps *mcp.ClientCapabilities) bool {
		e := caps.Elicitation
		if e == nil {
			return false
		}
		if strings.Contains(need, "url") {
			return e.URL != nil
		}
		return e.Form != nil || e.URL == nil
	}); err != nil {
		return nil, err
	}
	if p.RequestedSchema == nil && (p.Mode == "form" || p.Mode == "" && p.URL == "" && p.ElicitationID == "") {
		form := *p
		form.RequestedSchema = json.RawMessage(`{"type":"object","properties":{}}`)
		p = &form
	}
	return c.asker().Elicit(ctx, p)
}

// Sample asks the client's model to continue a conversation. The rules of
// [Elicit] hold.
func Sample(ctx context.Context, p *mcp.CreateMessageParams) (*mcp.CreateMessageResult, error) {
	c, err := askable(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.require(`{"sampling":{}}`, func(caps *mcp.ClientCapabilities) bool { return caps.Sampling != nil }); err != nil {
		return nil, err
	}
	return c.asker().CreateMessage(ctx, p)
}

// ListRoots asks the client for its roots. The rules of [Elicit] hold.
func ListRoots(ctx context.Context) (*mcp.ListRootsResult, error) {
	c, err := askable(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.require(`{"roots":{}}`, func(caps *mcp.ClientCapabilities) bool { return caps.RootsV2 != nil }); err != nil {
		return nil, err
	}
	return c.asker().ListRoots(ctx, &mcp.ListRootsParams{})
}

func askable(ctx context.Context) (*call, error) {
	c := callOf(ctx)
	if c == nil {
		return nil, ErrNoCall
	}
	return c, c.mayAsk(ctx)
}

// mayAsk refuses questions that could not be followed by a clean second run.
func (c *call) mayAsk(ctx context.Context) error {
	if effect.InUnit(ctx) {
		return fmt.Errorf("%w: inside a unit of an object, which stands still meanwhile", ErrAskAfterWrite)
	}
	if c.effects.Wrote() {
		return ErrAskAfterWrite
	}
	return nil
}

// require refuses a question that the client has not declared it can answer.
func (c *call) require(need string, has func(*mcp.ClientCapabilities) bool) error {
	p := c.ss.InitializeParams()
	if p != nil && p.Capabilities != nil && has(p.Capabilities) {
		return nil
	}
	if !c.modern {
		return fmt.Errorf("mcphttp: the client has not declared the capability %s", need)
	}
	e := wireError(mcp.CodeMissingRequiredClientCapabilities, "the client has not declared the capability %s, which this request needs", need)
	e.Data = json.RawMessage(`{"requiredCapabilities":` + need + `}`)
	return e
}

// asker is the session through which the SDK lets questions pass. Its checks of
// modes, schemas and defaults then hold in every era alike.
func (c *call) asker() *mcp.ServerSession {
	if c.modern && c.asking != nil {
		return c.asking
	}
	return c.ss
}

// A questionnaire is what one 2026-07-28 request asks in the course of its rounds.
type questionnaire struct {
	mu    sync.Mutex
	state *roundState // as it came in, nil in the first round
	// given are this round's answers as they came in.
	given map[string]json.RawMessage
	count int
	name  string // the call's, while there is no state
	spent bool   // an answer that came with this request was used
	asks  mcp.InputRequestMap
	keys  map[string]string // of asks: key → digest
	used  map[string]answer // answers that were used in this round
}

// maxAnswers bounds the answers of one round.
const maxAnswers = 200

const askKeyPrefix = "causeway-ask-"

// askModern is a question of a 2026-07-28 request: answered by an earlier round,
// or put to the client in this one.
func (c *call) askModern(method string, params mcp.Params) (json.RawMessage, error) {
	q := &c.questions
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encoding the question: %w", err)
	}
	sum := sha256.Sum256(append([]byte(method+"\x00"), canonical(raw)...))
	digest := base64.RawURLEncoding.EncodeToString(sum[:16])
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count++
	key := askKeyPrefix + strconv.Itoa(q.count)
	if q.state != nil {
		if a, ok := q.state.Answers[key]; ok && a.Digest == digest {
			q.use(key, a)
			return a.Result, nil
		}
		if r, ok := q.given[key]; ok && q.state.Asked[key] == digest {
			if _, err := decodeAnswer(method, r); err == nil {
				q.use(key, answer{digest, r})
				q.spent = true
				return r, nil
			} // what does not fit is asked for again
		}
	}
	ir, ok := params.(mcp.InputRequest)
	if !ok {
		return nil, fmt.Errorf("mcphttp: %s cannot be asked in 2026-07-28", method)
	}
	q.put(key, digest, ir)
	return nil, ErrAsked
}

func (q *questionnaire) use(key string, a answer) {
	if q.used == nil {
		q.used = make(map[string]answer)
	}
	q.used[key] = a
}

func (q *questionnaire) put(key, digest string, ir mcp.InputRequest) {
	if q.asks == nil {
		q.asks, q.keys = make(mcp.InputRequestMap), make(map[string]string)
	}
	q.asks[key], q.keys[key] = ir, digest
}

func (q *questionnaire) asked() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.asks) > 0
}

// pending is what this round asked, and the answers it used.
func (q *questionnaire) pending() (asks mcp.InputRequestMap, keys map[string]string, used map[string]answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asks, q.keys, q.used
}

// inputRequired is the end of a round: the questions, and the state that carries
// the answers so far. nil if nothing was asked.
func (c *call) inputRequired(native mcp.InputRequestMap, nativeState string) (*inputRequiredResult, error) {
	asks, keys, used := c.questions.pending()
	if len(asks) == 0 && native == nil && nativeState == "" {
		return nil, nil
	}
	st := &roundState{Call: c.name(), Asked: keys, Answers: used, Native: nativeState}
	if old := c.questions.state; old != nil {
		st.Round = old.Round
	}
	if st.Round++; st.Round > maxRounds {
		return nil, wireError(jsonrpc.CodeInternalError, "the tool asked its client in more than %d rounds: do its questions differ from run to run?", maxRounds)
	}
	all := native
	if len(asks) > 0 {
		all = asks
	}
	sealed, err := c.sealRound(st)
	if err != nil {
		return nil, err
	}
	return &inputRequiredResult{requests: all, state: sealed}, nil
}

type inputRequiredResult struct {
	requests mcp.InputRequestMap
	state    string
}

// answersOf takes in what came with a request: its state and this round's
// answers.
func (c *call) answersOf(state string, responses []byte) (native string, err error) {
	if state != "" {
		if c.questions.state, err = c.openRound(state); err != nil {
			return "", err
		}
		native = c.questions.state.Native
	}
	if len(responses) > 0 && !jsonrpc.IsNull(responses) {
		if !jsonrpc.IsObject(responses) {
			return "", invalidParams("inputResponses: must be an object")
		}
		c.questions.given = make(map[string]json.RawMessage)
		err := jsonrpc.ScanObject(responses, func(name, value []byte) error {
			if len(c.questions.given) == maxAnswers {
				return fmt.Errorf("more than %d answers", maxAnswers)
			}
			c.questions.given[string(name)] = json.RawMessage(value)
			return nil
		})
		if err != nil {
			return "", invalidParams("inputResponses: %v", err)
		}
	}
	return native, nil
}

// nativeResponses are the answers that belong to the handler's own questions.
// What cannot be an answer to anything is left out: its question counts as
// unanswered.
func (c *call) nativeResponses() (mcp.InputResponseMap, error) {
	var own mcp.InputResponseMap
	for key, raw := range c.questions.given {
		if strings.HasPrefix(key, askKeyPrefix) || !jsonrpc.IsObject(raw) {
			continue
		}
		var one mcp.InputResponseMap
		b, err := json.Marshal(map[string]json.RawMessage{key: raw})
		if err != nil {
			return nil, invalidParams("inputResponses[%q]: malformed", clip(key))
		}
		if one.UnmarshalJSON(b) != nil {
			continue
		}
		if own == nil {
			own = make(mcp.InputResponseMap)
		}
		own[key] = one[key]
		c.questions.spent = true
	}
	return own, nil
}

// decodeAnswer turns a raw answer into the SDK's result for the method.
func decodeAnswer(method string, raw json.RawMessage) (mcp.Result, error) {
	var res mcp.Result
	switch method {
	case methodElicit:
		res = new(mcp.ElicitResult)
	case methodCreateMessage:
		res = new(mcp.CreateMessageWithToolsResult)
	case methodListRoots:
		res = new(mcp.ListRootsResult)
	default:
		return nil, fmt.Errorf("mcphttp: no such question: %s", method)
	}
	if !jsonrpc.IsObject(raw) {
		return nil, errors.New("the answer is not an object")
	}
	if err := jsonv2.Unmarshal(raw, res, lenientText); err != nil {
		return nil, fmt.Errorf("the answer does not fit: %s", plainDecodeError(err))
	}
	return res, nil
}

// pendingAsks are the requests a session's client has been sent and not yet
// answered.
type pendingAsks struct {
	mu      sync.Mutex
	waiting map[string]chan askOutcome
}

type askOutcome struct {
	result json.RawMessage
	err    error
}

// open makes a place for one answer and names it. The name cannot be guessed, so
// that an answer answers what its sender was asked.
func (p *pendingAsks) open() (id string, ch chan askOutcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ch = "ask-"+rand.Text(), make(chan askOutcome, 1)
	if p.waiting == nil {
		p.waiting = make(map[string]chan askOutcome)
	}
	p.waiting[id] = ch
	return id, ch
}

func (p *pendingAsks) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// deliver hands an answer to whoever waits for it.
func (p *pendingAsks) deliver(id string, o askOutcome) bool {
	p.mu.Lock()
	ch, ok := p.waiting[id]
	delete(p.waiting, id)
	p.mu.Unlock()
	if ok {
		ch <- o
	}
	return ok
}

func (p *pendingAsks) fail(err error) {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, ch := range waiting {
		ch <- askOutcome{err: err}
	}
}

// askClient sends a request to a session's client and waits for its answer.
func (s *session) askClient(ctx context.Context, emit func(msg []byte) error, method string, params mcp.Params) (json.RawMessage, error) {
	raw, err := marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", method, err)
	}
	id, ch := s.asks.open()
	defer s.asks.drop(id)
	if err := emit(jsonrpc.AppendRequest(nil, jsonrpc.AppendString(nil, id), method, raw)); err != nil {
		return nil, fmt.Errorf("sending %s: %w", method, err)
	}
	select {
	case o := <-ch:
		return o.result, o.err
	case <-ctx.Done():
		note := jsonrpc.AppendNotification(nil, noteCancelled, []byte(`{"requestId":`+string(jsonrpc.AppendString(nil, id))+`}`))
		_ = emit(note)
		return nil, context.Cause(ctx)
	}
}
