package shop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMain(m *testing.M) { program.TestMain(m, serve) }

// A shopper is a client and its wire, on which things can go wrong.
type shopper struct {
	*program.Client
	shop *program.Program // nil if it runs in the process of the test
	via  http.RoundTripper
	t    *testing.T

	mu     sync.Mutex
	answer func() (*http.Response, error) // sends the person's answer once more

	says string // the person's answer
	asks int
	// If not nil they are called instead of sending the first call of checkout, when
	// the person has been asked, and instead of sending the answer.
	onCall, onAnswer func(send func() (*http.Response, error)) (*http.Response, error)
	onAsk            func()
	going            sync.RWMutex // read-locked by each of these
}

func newShopper(t *testing.T, era string) *shopper {
	t.Helper()
	shop := program.Start(t)
	s := newShopperAt(t, era, shop)
	s.shop = shop
	return s
}

// newShopperAt has filled a cart.
func newShopperAt(t *testing.T, era string, via http.RoundTripper) *shopper {
	t.Helper()
	s := &shopper{t: t, via: via, says: "accept"}
	s.Client = program.Connect(t, s, era, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			s.mu.Lock()
			s.asks++
			onAsk := s.onAsk
			s.onAsk = nil
			s.going.RLock()
			defer s.going.RUnlock()
			s.mu.Unlock()
			if !strings.Contains(req.Params.Message, "$4.20") {
				t.Errorf("asked %q", req.Params.Message)
			}
			if onAsk != nil {
				onAsk()
			}
			return &mcp.ElicitResult{Action: s.says}, nil
		},
	})
	s.Call("add_item", map[string]any{"item": "apple", "quantity": 3})
	s.Call("remove_item", map[string]any{"item": "apple", "quantity": 1})
	c := program.Ask[Cart](s.Client, "add_item", map[string]any{"item": "bread", "quantity": 1})
	if c.Items["apple"] != 2 || c.Total != 420 {
		t.Fatalf("the cart is %+v", c)
	}
	return s
}

// RoundTrip sees to the person's answer and to the first call of checkout, in which
// there is none.
func (s *shopper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return s.via.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	again := r.Clone(context.Background())
	send := func() (*http.Response, error) {
		again := again.Clone(context.Background())
		again.Body = io.NopCloser(bytes.NewReader(body))
		return s.via.RoundTrip(again)
	}
	var on func(func() (*http.Response, error)) (*http.Response, error)
	s.mu.Lock()
	switch {
	case bytes.Contains(body, []byte(`"action":"accept"`)):
		s.answer = send
		on, s.onAnswer = s.onAnswer, nil
	case bytes.Contains(body, []byte(`"checkout"`)):
		on, s.onCall = s.onCall, nil
	}
	s.going.RLock()
	defer s.going.RUnlock()
	s.mu.Unlock()
	if on != nil {
		return on(send)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return s.via.RoundTrip(r)
}

// checkout returns when what was to go wrong with it has.
func (s *shopper) checkout() (*mcp.CallToolResult, error) {
	res, err := s.Try("checkout", map[string]any{"total": 420})
	s.going.Lock()
	defer s.going.Unlock()
	return res, err
}

// insist calls checkout until there is an order, as a model does that got no answer.
func (s *shopper) insist() {
	s.t.Helper()
	for range 5 {
		if res, err := s.checkout(); err != nil {
			s.t.Logf("checkout: %v", err)
		} else {
			s.t.Logf("checkout: %s", program.Text(res))
		}
		if len(s.orders()) > 0 {
			return
		}
	}
	s.t.Error("there is no order")
}

func (s *shopper) orders() []Order {
	s.t.Helper()
	return program.Ask[Cart](s.Client, "view_cart", nil).Orders
}

func (s *shopper) wantOneOrder() {
	s.t.Helper()
	c := program.Ask[Cart](s.Client, "view_cart", nil)
	if len(c.Orders) != 1 || c.Orders[0].Total != 420 || c.Orders[0].Items["apple"] != 2 || len(c.Items) != 0 || c.Total != 0 {
		s.t.Errorf("want one order of $4.20 and an empty cart, got %+v", c)
	}
}

var errLost = errors.New("the answer was lost")

// inEachEra runs a test with sessions and without. In 2026-07-28 the person's answer
// is a call that is repeated with it, and has the order as its result; before, it is
// a message of its own.
func inEachEra(t *testing.T, test func(t *testing.T, s *shopper, modern bool)) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			test(t, newShopper(t, era), era >= "2026")
		})
	}
}

func TestCheckoutOrdersWhatWasConfirmed(t *testing.T) {
	inEachEra(t, func(t *testing.T, s *shopper, _ bool) {
		s.says = "decline"
		if got := s.Call("checkout", map[string]any{"total": 420}); got != "Nothing was ordered." {
			t.Errorf("declined: %s", got)
		}
		s.says = "accept"
		if got := program.Ask[Order](s.Client, "checkout", map[string]any{"total": 420}); got.Number != 1 || got.Total != 420 {
			t.Errorf("ordered %+v", got)
		}
		if s.asks != 2 {
			t.Errorf("asked %d times, want 2", s.asks)
		}
		if got := s.Refused("checkout", map[string]any{"total": 420}); !strings.Contains(got, "empty") {
			t.Errorf("a second order: %s", got)
		}
		s.wantOneOrder()
	})
}

func TestACartThatChangedIsNotOrdered(t *testing.T) {
	inEachEra(t, func(t *testing.T, s *shopper, _ bool) {
		s.onAsk = func() { s.Call("add_item", map[string]any{"item": "coffee", "quantity": 1}) }
		if got := s.Refused("checkout", map[string]any{"total": 420}); !strings.Contains(got, "$13.10") {
			t.Errorf("%s", got)
		}
		if n := len(s.orders()); n != 0 {
			t.Errorf("%d orders", n)
		}
	})
}

func TestOnlyWhatIsSoldGoesIntoACart(t *testing.T) {
	inEachEra(t, func(t *testing.T, s *shopper, _ bool) {
		for _, args := range []map[string]any{
			{"item": "unicorn", "quantity": 1},
			{"item": "apple", "quantity": 98},
			{"item": "apple", "quantity": -1},
			{"item": "apple", "quantity": 1e9},
		} {
			s.Refused("add_item", args)
		}
		s.Refused("remove_item", map[string]any{"item": "apple", "quantity": 3})
		if c := program.Ask[Cart](s.Client, "view_cart", nil); c.Total != 420 {
			t.Errorf("refusals left %+v", c)
		}
	})
}

func TestALostAnswerIsOneOrder(t *testing.T) {
	inEachEra(t, func(t *testing.T, s *shopper, modern bool) {
		s.onAnswer = func(send func() (*http.Response, error)) (*http.Response, error) {
			resp, err := send()
			if err != nil {
				return nil, err
			}
			program.Body(t, resp)
			return nil, errLost
		}
		s.insist()
		s.wantOneOrder()
		if modern {
			s.wantSameAnswer()
		}
		s.wantOneOrder()
	})
}

// wantSameAnswer repeats the call that made the order.
func (s *shopper) wantSameAnswer() {
	s.t.Helper()
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	resp, err := answer()
	if err != nil {
		s.t.Error(err)
		return
	}
	if got := program.Body(s.t, resp); !strings.Contains(got, `"number":1`) {
		s.t.Errorf("the call repeated: %s", got)
	}
}

func TestAHundredReplaysOfTheAnswerAreOneOrder(t *testing.T) {
	inEachEra(t, func(t *testing.T, s *shopper, modern bool) {
		s.onAnswer = func(send func() (*http.Response, error)) (*http.Response, error) {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					resp, err := send()
					if err != nil {
						t.Error(err)
						return
					}
					if got := program.Body(t, resp); modern && !strings.Contains(got, `"number":1`) {
						t.Errorf("a replay: %s", got)
					}
				})
			}
			wg.Wait()
			return send()
		}
		s.insist()
		s.wantOneOrder()
		for range 10 {
			if modern {
				s.wantSameAnswer()
			}
		}
		s.wantOneOrder()
	})
}

func TestARestartBetweenTheRoundsIsOneOrder(t *testing.T) {
	s := newShopper(t, "2026-07-28")
	s.onAsk = s.shop.Restart
	if got := program.Ask[Order](s.Client, "checkout", map[string]any{"total": 420}); got.Number != 1 {
		t.Errorf("ordered %+v", got)
	}
	s.shop.Restart()
	s.wantSameAnswer()
	s.wantOneOrder()
}

// The transport keeps the answers of rounds, but what it had no time to keep, or keeps
// no longer, is done again; then it is Once that makes it the same order.
func TestOnceRemembersWhereTheTransportForgets(t *testing.T) {
	engine := store.NewMemory()
	t.Cleanup(func() { engine.Close() })
	app := &causeway.App{Engine: engine}
	app.Mount("/mcp", Handler())
	s := newShopperAt(t, "2026-07-28", program.Via{Server: program.Serve(t, app)})
	if _, err := s.checkout(); err != nil {
		t.Fatal(err)
	}
	forgotten := 0
	for r, err := range engine.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.Key, "/round/") {
			continue
		}
		if err := engine.Delete(t.Context(), r.Key, store.AnyRevision); err != nil {
			t.Fatal(err)
		}
		forgotten++
	}
	if forgotten == 0 {
		t.Fatal("the transport keeps nothing of rounds")
	}
	s.wantSameAnswer()
	s.wantOneOrder()
}

// Kill -9 at each moment of a checkout.
func TestAKilledShopMakesOneOrder(t *testing.T) {
	moments := map[string]func(s *shopper){
		"while the person thinks": func(s *shopper) { s.onAsk = s.shop.Crash },
		"after the answer": func(s *shopper) {
			s.onAnswer = func(send func() (*http.Response, error)) (*http.Response, error) {
				resp, err := send()
				if err != nil {
					return nil, err
				}
				program.Body(s.t, resp)
				s.shop.Crash()
				return nil, errLost
			}
		},
	}
	for i := range 3 { // ever later in its work
		after := time.Duration(2*i) * time.Millisecond
		moments[fmt.Sprint("while it works on the call, ", after)] = func(s *shopper) { s.onCall = s.crashWhileSending(after) }
		moments[fmt.Sprint("while it works on the answer, ", after)] = func(s *shopper) { s.onAnswer = s.crashWhileSending(after) }
	}
	for name, arrange := range moments {
		t.Run(name, func(t *testing.T) {
			inEachEra(t, func(t *testing.T, s *shopper, modern bool) {
				arrange(s)
				if _, err := s.checkout(); err != nil {
					t.Logf("checkout: %v", err)
				}
				if modern && s.answer != nil {
					// The same call, repeated: it made the order before or makes it now.
					s.wantSameAnswer()
				}
				if len(s.orders()) == 0 {
					s.insist()
				}
				s.wantOneOrder()
				s.shop.Crash()
				if modern {
					s.wantSameAnswer()
				}
				s.wantOneOrder()
			})
		})
	}
}

// A hundred replays are on the way when the shop is killed, and a hundred more come when
// it is back.
func TestAHundredReplaysAcrossAKillAreOneOrder(t *testing.T) {
	for _, answered := range []int{0, 1, 30} { // replays before the kill
		t.Run(fmt.Sprint(answered, " answered before"), func(t *testing.T) {
			inEachEra(t, func(t *testing.T, s *shopper, modern bool) {
				replay := func(answered chan<- bool) {
					var wg sync.WaitGroup
					defer wg.Wait()
					for range 100 {
						wg.Go(func() {
							resp, err := s.answerAgain()
							if err != nil {
								return // cut by the kill
							}
							body, err := io.ReadAll(resp.Body)
							resp.Body.Close()
							if err != nil {
								return
							}
							if modern && resp.StatusCode == 200 && !strings.Contains(string(body), `"number":1`) {
								t.Errorf("a replay: %s", body)
							}
							if answered != nil {
								answered <- true
							}
						})
					}
				}
				s.onAnswer = func(func() (*http.Response, error)) (*http.Response, error) {
					told, done := make(chan bool, 100), make(chan bool)
					go func() { defer close(done); replay(told) }()
					for range answered {
						<-told
					}
					s.shop.Crash()
					<-done
					return nil, errLost
				}
				if _, err := s.checkout(); err != nil {
					t.Logf("checkout: %v", err)
				}
				if modern {
					replay(nil)
				}
				if len(s.orders()) == 0 {
					s.insist()
				}
				s.wantOneOrder()
			})
		})
	}
}

// answerAgain sends the person's answer once more.
func (s *shopper) answerAgain() (*http.Response, error) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	return answer()
}

func (s *shopper) crashWhileSending(after time.Duration) func(func() (*http.Response, error)) (*http.Response, error) {
	return func(send func() (*http.Response, error)) (*http.Response, error) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if resp, err := send(); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body) // it may end anywhere
				resp.Body.Close()
			}
		})
		time.Sleep(after)
		s.shop.Kill()
		wg.Wait()
		s.shop.Crash()
		return nil, errLost
	}
}

// serve is what the program of this example does.
func serve() {
	app := &causeway.App{}
	app.Mount("/mcp", Handler())
	app.Main()
}
