package mcphttp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func newBuyingServer(bought *atomic.Int32, slow time.Duration) *mcp.Server {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "buy"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := Elicit(ctx, &mcp.ElicitParams{Message: "Buy?"})
		if err != nil {
			return nil, nil, err
		}
		if r.Action != "accept" {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "not bought"}}}, nil, nil
		}
		time.Sleep(slow)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint("order ", bought.Add(1))}}}, nil, nil
	})
	return s
}

func TestAnAnsweredRoundIsCarriedOutOnce(t *testing.T) {
	var bought atomic.Int32
	_, url := serve(t, newBuyingServer(&bought, 30*time.Millisecond), nil)
	w := &wire{t: t, url: url}
	r := roundOf(t, w.modern("1", "tools/call", "buy", `"name":"buy"`))
	params := again2("buy", "", r, map[string]string{r.only(): `{"action":"accept"}`})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if a := w.modern("2", "tools/call", "buy", params); !strings.Contains(a.body, "order 1") {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	// Later, and even with another answer, it is what it was.
	for _, answer := range []string{`{"action":"accept"}`, `{"action":"decline"}`} {
		if a := w.modern("3", "tools/call", "buy", again2("buy", "", r, map[string]string{r.only(): answer})); !strings.Contains(a.body, "order 1") {
			t.Errorf("%s", a.body)
		}
	}
	if bought.Load() != 1 {
		t.Errorf("bought %d times", bought.Load())
	}
	// A new request is a new purchase.
	r = roundOf(t, w.modern("4", "tools/call", "buy", `"name":"buy"`))
	if a := w.modern("5", "tools/call", "buy", again2("buy", "", r, map[string]string{r.only(): `{"action":"accept"}`})); !strings.Contains(a.body, "order 2") {
		t.Errorf("%s", a.body)
	}
}

func TestARoundWhoseProcessDiedIsTakenOver(t *testing.T) {
	var bought atomic.Int32
	records := newRecords(t)
	h, url := serve(t, newBuyingServer(&bought, 0), &Options{Records: records})
	w := &wire{t: t, url: url}
	r := roundOf(t, w.modern("1", "tools/call", "buy", `"name":"buy"`))
	host, _ := hostOf(h.getServer(nil))
	c := &call{h: h, host: host, method: methodCallTool, target: "buy"}
	st, err := c.openRound(r.State)
	if err != nil {
		t.Fatal(err)
	}
	dead, _ := json.Marshal(consumedRound{Owner: "a process that died"})
	if _, err := records.Put(context.Background(), fmt.Sprintf("mcp/round/%s/%d", st.Call, st.Round), dead, 0, &store.PutOptions{TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if a := w.modern("2", "tools/call", "buy", again2("buy", "", r, map[string]string{r.only(): `{"action":"accept"}`})); !strings.Contains(a.body, "order 1") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestACallKeepsItsNameOverItsRounds(t *testing.T) {
	s := newServer(nil)
	seen := make(chan Caller, 10)
	mcp.AddTool(s, &mcp.Tool{Name: "who"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		c, _ := CallerOf(ctx)
		seen <- c
		_, err := Elicit(ctx, &mcp.ElicitParams{Message: "?"})
		return nil, nil, err
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	r := roundOf(t, w.modern("1", "tools/call", "who", `"name":"who"`))
	w.modern("2", "tools/call", "who", again2("who", "", r, map[string]string{r.only(): `{"action":"accept"}`}))
	one, two := <-seen, <-seen
	if one.CallID == "" || one != two || !one.Modern || one.SessionID != "" {
		t.Errorf("%+v %+v", one, two)
	}
	if _, ok := CallerOf(context.Background()); ok {
		t.Error("a caller outside a call")
	}
}

// lateDisk is something durable that fails, or takes its time.
type lateDisk struct {
	flushed chan struct{}
	err     error
}

func (d *lateDisk) Flush(context.Context) error {
	<-d.flushed
	return d.err
}

func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	for _, modern := range []bool{true, false} {
		t.Run(fmt.Sprint("modern ", modern), func(t *testing.T) {
			s := newServer(nil)
			disks := make(chan *lateDisk, 2)
			mcp.AddTool(s, &mcp.Tool{Name: "write"}, func(ctx context.Context, req *mcp.CallToolRequest, in struct {
				Progress bool `json:"progress,omitempty"`
			}) (*mcp.CallToolResult, any, error) {
				callOf(ctx).effects.Touch(<-disks)
				if in.Progress {
					_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "t", Progress: 1})
				}
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "written"}}}, nil, nil
			})
			_, url := serve(t, s, nil)
			w := &wire{t: t, url: url}
			ask := func(params string) *answered { return w.modern("1", "tools/call", "write", params) }
			if !modern {
				w = w.initialize(version20251125)
				ask = func(params string) *answered { return w.call("1", "tools/call", params) }
			}
			for _, params := range []string{`"name":"write"`, `"name":"write","arguments":{"progress":true}`} {
				disk := &lateDisk{flushed: make(chan struct{})}
				disks <- disk
				got := make(chan *answered, 1)
				go func() { got <- ask(params) }()
				select {
				case a := <-got:
					t.Fatalf("answered before the disk: %s", a.body)
				case <-time.After(50 * time.Millisecond):
				}
				close(disk.flushed)
				if a := <-got; !strings.Contains(a.body, "written") {
					t.Errorf("%s", a.body)
				}
				lost := &lateDisk{flushed: make(chan struct{}), err: fmt.Errorf("disk on fire")}
				close(lost.flushed)
				disks <- lost
				if a := ask(params); a.code() != -32603 || strings.Contains(a.body, `"text":"written"`) || strings.Contains(a.body, "fire") {
					t.Errorf("a lost write: %s", a.body)
				}
			}
		})
	}
}
