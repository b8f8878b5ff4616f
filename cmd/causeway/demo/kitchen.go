package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// kitchen counts its cakes and ducks, so that one can see what cancelling does: the
// resource demo://kitchen.
type kitchen struct {
	mu    sync.Mutex
	state kitchenState
}

type kitchenState struct {
	Baking  int `json:"baking"`
	Done    int `json:"done"`
	Stopped int `json:"stopped"`
	Steps   int `json:"steps"`
}

type bakeInput struct {
	Steps        int `json:"steps,omitempty" jsonschema:"1 to 100; 10 if left out"`
	Milliseconds int `json:"milliseconds,omitempty" jsonschema:"how long a step takes, 1 to 5000; 300 if left out"`
}

func (k *kitchen) bake(ctx context.Context, req *mcp.CallToolRequest, in bakeInput) (*mcp.CallToolResult, any, error) {
	if in.Steps == 0 {
		in.Steps = 10
	}
	if in.Milliseconds == 0 {
		in.Milliseconds = 300
	}
	if in.Steps < 1 || in.Steps > 100 || in.Milliseconds < 1 || in.Milliseconds > 5000 {
		return nil, nil, invalidParams("want 1 to 100 steps of 1 to 5000 milliseconds")
	}
	k.change(start)
	for step := range in.Steps {
		if err := pause(ctx, time.Duration(in.Milliseconds)*time.Millisecond); err != nil {
			k.change(stop)
			return nil, nil, fmt.Errorf("the cake was taken out after %d of %d steps: %w", step, in.Steps, err)
		}
		k.change(func(s *kitchenState) { s.Steps++ })
		k.tell(ctx, req, step+1, in.Steps)
	}
	k.change(finish)
	return text("The cake is done, after %d steps.", in.Steps), nil, nil
}

// tell reports progress to a caller that asked for it. One that has left is none of
// the baker's business: the next pause notices.
func (k *kitchen) tell(ctx context.Context, req *mcp.CallToolRequest, step, steps int) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return
	}
	stages := []string{"mixing", "pouring", "baking", "cooling"}
	_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
		ProgressToken: token,
		Progress:      float64(step),
		Total:         float64(steps),
		Message:       stages[(step-1)*len(stages)/steps],
	})
}

type roastInput struct {
	Seconds float64 `json:"seconds,omitempty" jsonschema:"how long it takes, up to 300 seconds; 10 if left out"`
}

func (k *kitchen) roast(ctx context.Context, _ *mcp.CallToolRequest, in roastInput) (*mcp.CallToolResult, any, error) {
	if in.Seconds == 0 {
		in.Seconds = 10
	}
	if in.Seconds < 0 || in.Seconds > 300 {
		return nil, nil, invalidParams("seconds is %g, want up to 300", in.Seconds)
	}
	k.change(start)
	if err := pause(ctx, time.Duration(in.Seconds*float64(time.Second))); err != nil {
		k.change(stop)
		return nil, nil, fmt.Errorf("the duck was taken out: %w", err)
	}
	k.change(finish)
	return text("The duck is done."), nil, nil
}

func start(s *kitchenState)  { s.Baking++ }
func stop(s *kitchenState)   { s.Baking--; s.Stopped++ }
func finish(s *kitchenState) { s.Baking--; s.Done++ }

func (k *kitchen) change(f func(*kitchenState)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.state)
}

func (k *kitchen) read(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	k.mu.Lock()
	data, err := json.Marshal(k.state)
	k.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("encoding the kitchen's state: %w", err)
	}
	return contents(req, "application/json", string(data)), nil
}
