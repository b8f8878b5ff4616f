package main

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMain(m *testing.M) { program.TestMain(m, main) }

// The README promises it in at most 35 lines, not counting blank ones.
func TestTheCounterIsShort(t *testing.T) { program.Short(t, 35) }

func TestTheCounterGoesOnAfterAKill(t *testing.T) {
	for _, era := range program.Eras {
		p := program.Start(t)
		c, other := p.Connect(era, nil), p.Connect(era, nil)
		if got := c.Call("add", map[string]any{"a": 41}); got != "Added 41, total is now 42" {
			t.Errorf("%s: %s", era, got)
		}
		if got := other.Call("add", map[string]any{"a": 1}); got != "Added 1, total is now 2" {
			t.Errorf("%s, another session: %s", era, got)
		}
		p.Crash()
		if got := c.Call("add", map[string]any{"a": -2}); got != "Added -2, total is now 40" {
			t.Errorf("%s, after a crash: %s", era, got)
		}
		if got := c.Read("mcp://resource/counter"); got != "40" {
			t.Errorf("%s: the resource is %q", era, got)
		}
	}
}

func TestSubscribersHearOfTheCounter(t *testing.T) {
	for _, era := range program.Eras {
		updated := make(chan string, 100)
		c := program.Start(t).Connect(era, &mcp.ClientOptions{
			ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
		})
		if err := c.Subscribe(program.Soon(t), &mcp.SubscribeParams{URI: "mcp://resource/counter"}); err != nil {
			t.Fatalf("%s: %v", era, err)
		}
		c.Call("add", map[string]any{"a": 1})
		if got := program.Next(t, updated); got != "mcp://resource/counter" {
			t.Errorf("%s: updated %s", era, got)
		}
	}
}

// Clients that nothing tells apart, all at once: each has a total of its own, and so has
// who begins anew.
func TestAnonymousClientsNeverShareATotal(t *testing.T) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) {
			p := program.Start(t)
			var wg sync.WaitGroup
			for i := range 16 {
				c := p.Connect(era, nil)
				wg.Go(func() {
					for n := 1; n <= 20; n++ {
						want := fmt.Sprintf("Added %d, total is now %d", i, 1+n*i)
						if res, err := c.Try("add", map[string]any{"a": i}); err != nil || program.Text(res) != want {
							t.Errorf("client %d: %v %v, want %q", i, res, err, want)
							return
						}
					}
				})
			}
			for range 20 { // strangers, in between
				if got := p.Connect(era, nil).Call("add", map[string]any{"a": 1}); got != "Added 1, total is now 2" {
					t.Errorf("one who begins anew: %s", got)
				}
			}
			wg.Wait()
		})
	}
}
