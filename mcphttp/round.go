package mcphttp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/causeway-mcp/causeway/store"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A round that carries answers is carried out once. Its first arrival claims it by
// compare-and-set; whoever repeats it, because an answer was lost or to see what
// happens, gets the answer that the first one got. If the process that worked on
// it died, the next arrival takes over: then the handler runs again, and what it
// had done is done twice unless it was done under Once.

// consumedRound is the record of a round.
type consumedRound struct {
	Owner  string          `json:"o"`           // the process at work on it
	Result json.RawMessage `json:"r,omitempty"` // the result, once there is one
	Error  *sdkrpc.Error   `json:"e,omitempty"` // or the error
}

// processID tells this process from any other that had the same store.
var processID = rand.Text()

const (
	roundClaimTTL   = 20 * time.Second
	roundClaimRenew = 5 * time.Second
)

// storedResult is a result that is JSON already.
type storedResult struct {
	mcp.ResultBase
	raw json.RawMessage
}

// roundKey names the round that a request carries answers for, "" for none.
func (c *call) roundKey() string {
	q := &c.questions
	if q.state == nil || len(q.given) == 0 {
		return ""
	}
	return fmt.Sprintf("mcp/round/%s/%d", q.state.Call, q.state.Round)
}

// claimRound makes this call the one that carries its round out, or returns the
// answer that the round has had.
func (c *call) claimRound() (mcp.Result, error) {
	key := c.roundKey()
	if key == "" {
		return nil, nil
	}
	records := c.h.opts.Records
	claim, err := json.Marshal(consumedRound{Owner: processID})
	if err != nil {
		return nil, err
	}
	for {
		rev, err := records.Put(c, key, claim, 0, &store.PutOptions{TTL: roundClaimTTL})
		if err == nil {
			c.holdRound(key, claim, rev)
			return nil, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return nil, c.roundError(err)
		}
		r, err := records.Get(c, key)
		if errors.Is(err, store.ErrNotFound) {
			continue // the claim expired just now
		}
		if err != nil {
			return nil, c.roundError(err)
		}
		var had consumedRound
		if err := json.Unmarshal(r.Value, &had); err != nil {
			return nil, c.roundError(err)
		}
		switch {
		case had.Error != nil:
			return nil, had.Error
		case had.Result != nil:
			return &storedResult{raw: had.Result}, nil
		case had.Owner != processID && isExclusive(records):
			// Nobody else can have this store open: the owner is dead.
			if rev, err = records.Put(c, key, claim, r.Revision, &store.PutOptions{TTL: roundClaimTTL}); err == nil {
				c.holdRound(key, claim, rev)
				return nil, nil
			}
		default:
			if err := pause(c, 20*time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
}

func isExclusive(records store.Records) bool {
	e, ok := records.(interface{ Exclusive() bool })
	return ok && e.Exclusive()
}

func (c *call) roundError(err error) error {
	c.h.log.Error("a round of questions could not be claimed", slog.Any("error", err))
	return wireError(sdkrpc.CodeInternalError, "the store is not available; try again")
}

// A roundClaim is held while the handler runs.
type roundClaim struct {
	key  string
	stop context.CancelFunc
	done chan struct{} // closed when the claim is no longer renewed
	rev  store.Revision
}

func (c *call) holdRound(key string, claim []byte, rev store.Revision) {
	ctx, stop := context.WithCancel(context.WithoutCancel(c))
	rc := &roundClaim{key: key, stop: stop, done: make(chan struct{}), rev: rev}
	c.round = rc
	go func() {
		defer close(rc.done)
		for pause(ctx, roundClaimRenew) == nil {
			if r, err := c.h.opts.Records.Put(ctx, key, claim, rc.rev, &store.PutOptions{TTL: roundClaimTTL}); err == nil {
				rc.rev = r
			}
		}
	}()
}

// settleRound keeps the answer of the round that this call carried out. It must be
// kept before it is sent.
func (c *call) settleRound(result []byte, failure *sdkrpc.Error) {
	rc := c.round
	if rc == nil {
		return
	}
	c.round = nil
	rc.stop()
	<-rc.done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c), storeTimeout)
	defer cancel()
	if !c.questions.spent {
		// None of the answers fitted and the question stands: the round is still to be
		// answered.
		_ = c.h.opts.Records.Delete(ctx, rc.key, rc.rev)
		return
	}
	v, err := json.Marshal(consumedRound{Owner: processID, Result: result, Error: failure})
	if err == nil {
		_, err = c.h.opts.Records.Put(ctx, rc.key, v, rc.rev, &store.PutOptions{TTL: roundTTL})
	}
	if err != nil {
		// The claim expires, and a repetition runs the handler again.
		c.h.log.Warn("the answer of a round could not be kept", slog.Any("error", err))
	}
}
