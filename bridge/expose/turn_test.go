package expose

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// A talk is a conn with a child that the test plays.
type talk struct {
	*conn
	asked *json.Decoder // what the child is sent
	says  *os.File      // what the child writes
	notes chan string   // the params of notifications, in the order that they were heard
	over  chan error    // how conn.read ended
}

func (k *talk) request(*process, []byte, string, []byte) {}
func (k *talk) notification(_ *process, _ string, params []byte) {
	k.notes <- string(params)
}
func (k *talk) junk(*process, []byte) {}

func newTalk(t *testing.T) *talk {
	t.Helper()
	out, says, err := openPipe()
	if err != nil {
		t.Fatal(err)
	}
	return newTalkOver(t, out, says)
}

func newTalkOver(t *testing.T, out, says *os.File) *talk {
	t.Helper()
	childIn, in, err := openPipe()
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{asked: json.NewDecoder(childIn), says: says, notes: make(chan string, 10000), over: make(chan error, 1)}
	k.conn = newConn(new(process), in, 1<<20, k)
	go func() {
		err := k.read(out)
		k.fail(err)
		k.over <- err
	}()
	t.Cleanup(func() {
		says.Close()
		for _, f := range []*os.File{childIn, in, out} {
			f.Close()
		}
	})
	return k
}

type asked struct {
	ID     int64          `json:"id"`
	Method string         `json:"method"`
	Params map[string]any `json:"params"`
}

func (k *talk) next(t *testing.T) (a asked) {
	t.Helper()
	if err := k.asked.Decode(&a); err != nil {
		t.Error(err)
	}
	return a
}

func (k *talk) say(t *testing.T, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(k.says, format, args...); err != nil {
		t.Error(err)
	}
}

// ask has a call made, and returns what came of it.
func (k *talk) ask(ctx context.Context) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		raw, err := k.call(ctx, "test", []byte("{}"))
		out <- answer{raw, err}
	}()
	return out
}

// warm has a call answered, so that conn.read has given its turn away.
func (k *talk) warm(t *testing.T) {
	t.Helper()
	got := k.ask(t.Context())
	k.say(t, `{"jsonrpc":"2.0","id":%d,"result":{}}`+"\n", k.next(t).ID)
	if a := <-got; a.err != nil {
		t.Fatal(a.err)
	}
}

// paused is longer than one who waits for an answer reads.
const paused = 4 * briefly

func TestAnswersReachThoseWhoWaitWhoeverReadsThem(t *testing.T) {
	k := newTalk(t)
	const callers, each = 8, 150
	asks := make(chan asked, callers)
	go func() {
		defer close(asks)
		for range callers * each {
			asks <- k.next(t)
		}
	}()
	go func() {
		// Answers come in any order, now and then late, and with something else in between.
		lines := bufio.NewWriter(k.says)
		said := 0
		for a := range asks {
			open := []asked{a}
			for range rand.IntN(len(asks) + 1) {
				open = append(open, <-asks)
			}
			rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
			for _, a := range open {
				fmt.Fprintf(lines, `{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d}}`+"\n", said)
				fmt.Fprintf(lines, `{"jsonrpc":"2.0","id":%d,"result":{"of":%q}}`+"\n", a.ID, a.Params["by"])
				said++
				if rand.IntN(100) == 0 {
					time.Sleep(paused)
				}
				if rand.IntN(3) > 0 {
					lines.Flush()
				}
			}
			lines.Flush()
		}
	}()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				by := fmt.Sprintf("%d/%d", i, j)
				raw, err := k.call(t.Context(), "test", fmt.Appendf(nil, `{"by":%q}`, by))
				if want := fmt.Sprintf(`{"of":%q}`, by); err != nil || string(raw) != want {
					t.Errorf("call %s: %s, %v", by, raw, err)
				}
			}
		})
	}
	wg.Wait()
	for n := range callers * each {
		if got, want := <-k.notes, fmt.Sprintf(`{"n":%d}`, n); got != want {
			t.Fatalf("heard %s where %s was said", got, want)
		}
	}
}

func TestALineThatComesInPiecesIsOneMessage(t *testing.T) {
	k := newTalk(t)
	k.warm(t)
	got := k.ask(t.Context())
	id := k.next(t).ID
	k.say(t, `{"jsonrpc":"2.0",`)
	time.Sleep(paused) // who asked no longer reads
	k.say(t, `"id":%d,"result":`, id)
	time.Sleep(paused)
	k.say(t, "{\"whole\":true}}\n")
	if a := <-got; a.err != nil || string(a.result) != `{"whole":true}` {
		t.Fatalf("%s, %v", a.result, a.err)
	}
}

func TestWhatAChildSaysBetweenCallsIsHeard(t *testing.T) {
	k := newTalk(t)
	for n := range 5 {
		k.warm(t)
		k.say(t, `{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d}}`+"\n", n)
		if got, want := <-k.notes, fmt.Sprintf(`{"n":%d}`, n); got != want {
			t.Fatalf("heard %s, want %s", got, want)
		}
	}
}

func TestTheEndOfAChildIsNoticed(t *testing.T) {
	t.Run("while somebody waits for an answer", func(t *testing.T) {
		k := newTalk(t)
		k.warm(t)
		got := k.ask(t.Context())
		k.next(t)
		k.says.Close()
		if a := <-got; !errors.Is(a.err, errEnded) {
			t.Errorf("who waited got %v", a.err)
		}
		if err := <-k.over; err != errEnded {
			t.Errorf("reading ended with %v", err)
		}
	})
	t.Run("while nobody does", func(t *testing.T) {
		k := newTalk(t)
		k.warm(t)
		k.says.Close()
		if err := <-k.over; err != errEnded {
			t.Errorf("reading ended with %v", err)
		}
	})
	t.Run("by the first rule that it breaks", func(t *testing.T) {
		k := newTalk(t)
		k.warm(t)
		got := k.ask(t.Context())
		id := k.next(t).ID
		long := make([]byte, 1<<20+1)
		for i := range long {
			long[i] = 'x'
		}
		go func() { k.say(t, "%s\n"+`{"jsonrpc":"2.0","id":%d,"result":{}}`+"\n", long, id) }()
		if a := <-got; a.err == nil {
			t.Errorf("an answer behind a line that is too long was taken: %s", a.result)
		}
		if err := <-k.over; err == nil || err == errEnded {
			t.Errorf("reading ended with %v", err)
		}
	})
}

// A child may leave its output to something that outlives it.
func TestOutputThatSomebodyElseHoldsIsLeft(t *testing.T) {
	soon := func() time.Time { return time.Now().Add(paused) }
	t.Run("while somebody waits for an answer", func(t *testing.T) {
		k := newTalk(t)
		k.warm(t)
		got := k.ask(t.Context())
		k.next(t)
		k.turn.lastCall(soon())
		if err := <-k.over; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading ended with %v", err)
		}
		if a := <-got; a.err == nil {
			t.Errorf("an answer came from nowhere: %s", a.result)
		}
	})
	t.Run("while nobody does", func(t *testing.T) {
		k := newTalk(t)
		k.warm(t)
		k.turn.lastCall(soon())
		if err := <-k.over; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading ended with %v", err)
		}
	})
	t.Run("before the first word", func(t *testing.T) {
		k := newTalk(t)
		k.turn.lastCall(soon())
		if err := <-k.over; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading ended with %v", err)
		}
	})
}

func TestACancelledCallLeavesTheTurnToOthers(t *testing.T) {
	k := newTalk(t)
	k.warm(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	got := k.ask(ctx)
	id := k.next(t).ID
	gone := errors.New("the client is gone")
	cancel(gone)
	if a := <-got; a.err != gone {
		t.Fatalf("%s, %v", a.result, a.err)
	}
	if a := k.next(t); a.Method != "notifications/cancelled" || a.Params["requestId"] != float64(id) {
		t.Fatalf("the child was told %+v", a)
	}
	k.warm(t)
}
