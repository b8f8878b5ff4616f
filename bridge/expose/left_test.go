//go:build linux

package expose

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/sys/unix"
)

// A desk is a slot without a program, for what programs say about calls that are over.
type desk struct {
	*slot
	ss *mcp.ServerSession
}

func newDesk(t *testing.T, user string) *desk {
	t.Helper()
	s := &Server{log: slog.New(slog.DiscardHandler), opts: Options{MaxCalls: 10, MaxChildrenPerUser: 10, AnswerTimeout: time.Hour}}
	tn := newTenant(s, user)
	ss, err := tn.server.Connect(t.Context(), &mcp.IOTransport{Reader: io.NopCloser(bytes.NewReader(nil)), Writer: sink{io.Discard}}, &mcp.ServerSessionOptions{
		State: &mcp.ServerSessionState{InitializeParams: &mcp.InitializeParams{ProtocolVersion: modern, Capabilities: &mcp.ClientCapabilities{
			Elicitation: &mcp.ElicitationCapabilities{}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return &desk{slot: newSlot(tn, ""), ss: ss}
}

func (d *desk) program(mark string) *process {
	p := &process{mark: mark, hello: &greeting{version: newestLegacy, capabilities: &mcp.ServerCapabilities{}}, errands: make(chan func(), maxErrands)}
	p.conn = newConn(p, sink{io.Discard}, 1<<20, d.slot)
	return p
}

func (d *desk) call(t *testing.T, p *process) *call {
	t.Helper()
	c := &call{sl: d.slot, p: p, method: "tools/call", ctx: t.Context(), ss: d.ss, modern: true, token: "t", stirred: make(chan struct{}, 1)}
	if err := d.open(c); err != nil {
		t.Fatal(err)
	}
	d.busy++
	return c
}

const (
	question1 = `{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"x","requestedSchema":{"type":"object","properties":{}}}}` + "\n"
	answer1   = `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}` + "\n"
)

// A question that is left when its call is over would count for as long as the program
// runs, and after maxQuestions of them nothing could be asked any more.
func TestAQuestionEndsWithItsCall(t *testing.T) {
	for range 20 { // which of two things that are there is taken first is chance
		t.Run("that is answered", func(t *testing.T) {
			d := newDesk(t, "ann")
			p := d.program("m")
			c := d.call(t, p)
			_ = p.read(strings.NewReader(question1 + answer1))
			if _, err := d.await(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if len(d.parked) == 0 {
				d.isClear(t, p)
			}
		})
		t.Run("that is cancelled", func(t *testing.T) {
			d := newDesk(t, "ann")
			p := d.program("m")
			c := d.call(t, p)
			_ = p.read(strings.NewReader(question1))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := d.await(ctx, c); err != nil {
				d.isClear(t, p)
			}
		})
	}
	t.Run("that nobody came back for", func(t *testing.T) {
		d := newDesk(t, "ann")
		p := d.program("m")
		c := d.call(t, p)
		if _, err := d.parkAs("id", &parked{c: c}); err != nil {
			t.Fatal(err)
		}
		_ = p.read(strings.NewReader(question1))
		d.expire("id")
		d.isClear(t, p)
	})
}

func (d *desk) isClear(t *testing.T, p *process) {
	t.Helper()
	if len(d.asks)+len(d.calls)+d.busy != 0 {
		t.Errorf("%d questions, %d calls and %d uses are left", len(d.asks), len(d.calls), d.busy)
	}
	if len(p.errands) == 0 {
		t.Error("the program is not told that nobody will answer")
	}
}

// Requests are numbered by each program from the start: what the one before still says
// would be taken for what the next one's call is about, which may be another person's.
func TestAProgramIsHeardAboutItsOwnCallsOnly(t *testing.T) {
	for _, user := range []string{"", "ann"} {
		d := newDesk(t, user)
		old, p := d.program("old"), d.program("new")
		old.fail(errors.New("it does not read"))
		c := d.call(t, p)
		_ = old.read(strings.NewReader(question1 +
			`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}` + "\n" +
			`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"of another"}}` + "\n"))
		if notes, asks := c.heard(); len(notes)+len(asks) != 0 {
			t.Errorf("user %q: the call was told %d things and asked %d of a program that does not work on it", user, len(notes), len(asks))
		}
	}
}

// Where a pipe knows no deadlines, as on Windows, whoever reads it cannot be called
// away: it must not be somebody who has a client.
func TestWhatCannotBeInterruptedIsNotReadByThoseWhoWait(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	// They block, so that Go does not wait for them by itself.
	k := newTalkOver(t, os.NewFile(uintptr(ends[0]), "out"), os.NewFile(uintptr(ends[1]), "says"))
	k.warm(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	got := k.ask(ctx)
	k.next(t)
	time.Sleep(paused) // it would read by now
	gone := errors.New("the client is gone")
	cancel(gone)
	if a := next(t, "the end of the call", got); a.err != gone {
		t.Errorf("%s, %v", a.result, a.err)
	}
}
