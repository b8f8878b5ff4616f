package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/auth"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A task whose process died is carried out again as the request it was: through the
// server's whole chain, so that middleware prepares the handler's context as it did
// the first time. Where the request would become a task it becomes this one. The
// record changes its owner by compare-and-set, so that one process does it.

// MaxTaskRuns is how often a task is begun at most. One that ends its process every
// time must not go on for ever.
const MaxTaskRuns = 4

const (
	// maxKeptCall bounds the params of a call that are kept with its task, in bytes.
	maxKeptCall = 256 << 10
	// maxHeard bounds the answers that are kept for another run, in bytes.
	maxHeard = 256 << 10
)

// A taskCall is the request of a task as it is kept to be carried out again.
type taskCall struct {
	// Params are those of tools/call, `_meta` included, as the client sent them.
	Params json.RawMessage `json:"p"`
	// Scopes, Claims and Expires are what is kept of the token that the request came with.
	Scopes  []string          `json:"s,omitempty"`
	Claims  map[string]string `json:"c,omitempty"`
	Expires time.Time         `json:"e,omitzero"`
}

// A taskHeard is a question that was answered.
type taskHeard struct {
	Request json.RawMessage `json:"r"`
	Answer  json.RawMessage `json:"a"`
}

// claimsOfIdentity are what a token says of who it was given to and for what, and
// nothing that opens anything.
var claimsOfIdentity = []string{"iss", "client_id", "resource"}

// keptCall is what is kept of the call for its task, nil if that cannot run again.
func (c *call) keptCall(kind *taskKind) *taskCall {
	c.questions.mu.Lock()
	answered := c.questions.state != nil || len(c.questions.given) > 0
	c.questions.mu.Unlock()
	// Answers of a round are used up: with them the call cannot be repeated.
	if kind.opts.OneRun || answered || len(c.params) == 0 || len(c.params) > maxKeptCall {
		return nil
	}
	kept := &taskCall{Params: bytes.Clone(c.params)}
	if c.extra == nil || c.extra.TokenInfo == nil {
		return kept
	}
	token := c.extra.TokenInfo
	kept.Scopes, kept.Expires = token.Scopes, token.Expiration
	for _, name := range claimsOfIdentity {
		if v, ok := token.Extra[name].(string); ok {
			if kept.Claims == nil {
				kept.Claims = make(map[string]string)
			}
			kept.Claims[name] = v
		}
	}
	return kept
}

// token is who the task is for, as its handler sees it; nil for nobody.
func (r *taskRecord) token() *auth.TokenInfo {
	if r.User == "" {
		return nil
	}
	info := &auth.TokenInfo{UserID: r.User, Scopes: r.Call.Scopes, Expiration: r.Call.Expires, Extra: map[string]any{}}
	for name, v := range r.Call.Claims {
		info.Extra[name] = v
	}
	return info
}

// hear keeps an answer for another run. If that becomes too much there is none.
func (r *taskRecord) hear(ask taskAsk, answer json.RawMessage) {
	if r.Call == nil {
		return
	}
	r.Heard = append(r.Heard, taskHeard{ask.Request, bytes.Clone(answer)})
	size := 0
	for _, h := range r.Heard {
		size += len(h.Request) + len(h.Answer)
	}
	if size > maxHeard {
		r.Call, r.Heard = nil, nil
	}
}

// recall finds the answer that an earlier run was given to the question.
func (t *task) recall(request json.RawMessage) (json.RawMessage, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, h := range t.heard {
		if bytes.Equal(h.Request, request) {
			t.heard = append(t.heard[:i:i], t.heard[i+1:]...)
			return h.Answer, true
		}
	}
	return nil, false
}

// A taskRerun is a task that is to run again.
type taskRerun struct {
	id  string
	rec *taskRecord
	rev store.Revision
	// failure is why this process did not get the task.
	failure error
}

// into makes t, described anew by its call, the task that it was.
func (r *taskRerun) into(t *task) store.Revision {
	owner := t.first.Owner
	t.id, t.first = r.id, *r.rec
	t.first.Owner, t.first.Status = owner, taskWorking
	t.first.Open, t.first.Answers = nil, nil
	t.first.Runs++
	t.first.touch()
	t.asked, t.heard = r.rec.Asked, r.rec.Heard
	t.call.questions.name = r.id
	return r.rev
}

// takeOver sees to it that a task which nobody works on runs again, if it can. It does
// not wait for that.
func (h *Handler) takeOver(id string, rec *taskRecord) bool {
	if rec.Call == nil || rec.Runs >= MaxTaskRuns-1 || !time.Now().Before(rec.expires()) {
		return false
	}
	host := h.hostNamed(rec.Server)
	if host == nil {
		return false
	}
	b := &h.tasks
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.taking[id] {
		return true // the next process, or this one at once
	}
	if b.taking == nil {
		b.taking = make(map[string]bool)
	}
	b.taking[id] = true
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		h.runAgain(host, id, rec.User)
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.taking, id)
	}()
	return true
}

// hostNamed finds a server that this handler has served.
func (h *Handler) hostNamed(name string) (found *host) {
	h.mounted.Range(func(k, _ any) bool {
		if hs := k.(*host); hs.name == name && hs.server.Value() != nil {
			found = hs
		}
		return found == nil
	})
	return found
}

// runAgain begins the task again, or writes why that is not possible.
func (h *Handler) runAgain(host *host, id, user string) {
	for try := 0; try < 10; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		rec, rev, err := h.storedTask(ctx, id)
		cancel()
		switch {
		case err != nil:
			if !errors.Is(err, errNoTask) {
				h.log.Warn("a task of another process could not be read", slog.Any("error", err))
			}
			return
		case rec.User != user, rec.over(), rec.Call == nil, h.tasks.attended(context.Background(), id, rec.Owner):
			return
		}
		if err = h.carryOutAgain(host, &taskRerun{id: id, rec: rec, rev: rev}); err == nil {
			h.log.Info("a task goes on whose process is gone", slog.String("target", rec.Tool), slog.Int("run", rec.Runs+2))
			return
		}
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknown) {
			continue // it was changed meanwhile: look again
		}
		var werr *sdkrpc.Error
		if !errors.As(err, &werr) {
			h.log.Warn("a task of another process could not be taken over yet", slog.String("target", rec.Tool), slog.Any("error", err))
			return
		}
		rec.fail(wireError(sdkrpc.CodeInternalError, "%s; and it could not run again: %s", errTaskAbandoned.Message, werr.Message))
		rec.touch()
		err = h.putTask(context.Background(), taskKey(id), rec, rev)
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return
		}
	}
}

// storedTask reads a task's record and nothing into it.
func (h *Handler) storedTask(ctx context.Context, id string) (*taskRecord, store.Revision, error) {
	r, err := h.opts.Records.Get(ctx, taskKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, errNoTask
	}
	if err != nil {
		return nil, 0, err
	}
	rec := new(taskRecord)
	return rec, r.Revision, json.Unmarshal(r.Value, rec)
}

// carryOutAgain runs the request up to where its handler would make a task of it,
// and then starts that.
func (h *Handler) carryOutAgain(host *host, again *taskRerun) error {
	rec := again.rec
	in := read(&jsonrpc.Message{Kind: jsonrpc.Request, Method: methodCallTool, ID: []byte(`"causeway"`), Params: rec.Call.Params})
	if in.err != nil {
		return asWireError(in.err)
	}
	token := rec.token()
	c := &call{h: h, host: host, modern: true, user: rec.User, method: methodCallTool, id: in.msg.ID,
		extra: &mcp.RequestExtra{TokenInfo: token, Header: http.Header{}}, reply: noReply{}, rerun: again}
	version, werr := modernVersion(&in.meta, nil, false)
	if werr == nil {
		werr = host.checkVersion(version)
	}
	if werr == nil {
		werr = c.setTarget(&in.params)
	}
	if werr == nil {
		werr = c.prepareModern(version, &in.meta)
	}
	if werr != nil {
		return werr
	}
	c.begin(withToken(h.baseContext(), token))
	defer c.end()
	_, err := c.receive(func() (mcp.Request, error) { return c.build(methods[methodCallTool], rec.Call.Params, &in.params) })
	if err == nil {
		err = c.settle()
	}
	if again.failure != nil {
		// Its text says what stands in the way of every task, so it is no word on this one.
		return fmt.Errorf("taking it over: %w", notOfTheTask{again.failure})
	}
	switch {
	case err == nil && c.created != nil && !c.questions.asked():
		c.startTask()
		return nil
	case c.created != nil:
		// The record names this process, and it is not going to work on it.
		c.created.call.cancel(errTaskLost)
		c.created.finish(nil, wireError(sdkrpc.CodeInternalError, "%s; and it could not run again", errTaskAbandoned.Message))
		h.tasks.leave(c.created)
		return nil
	case c.questions.asked():
		return wireError(sdkrpc.CodeInternalError, "its tool asks before it makes a task")
	case err == nil:
		return wireError(sdkrpc.CodeInternalError, "its tool makes no task of it any more")
	}
	return c.wireErrorOf(err)
}

// notOfTheTask hides that an error could be sent to a client.
type notOfTheTask struct{ err error }

func (e notOfTheTask) Error() string        { return e.err.Error() }
func (e notOfTheTask) Is(target error) bool { return errors.Is(e.err, target) }

// withToken is ctx as sign-in leaves it. Only the SDK can put a TokenInfo into a
// context, and only as that of a request with a token.
func withToken(ctx context.Context, token *auth.TokenInfo) context.Context {
	if token == nil {
		return ctx
	}
	// Its own end was checked when the task was made: what runs until later goes on.
	lasting := *token
	lasting.Expiration = time.Now().Add(time.Hour)
	known := func(context.Context, string, *http.Request) (*auth.TokenInfo, error) { return &lasting, nil }
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", http.NoBody)
	if err != nil {
		return ctx
	}
	r.Header.Set("Authorization", "Bearer kept")
	auth.RequireBearerToken(known, nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).ServeHTTP(nil, r)
	return ctx
}
