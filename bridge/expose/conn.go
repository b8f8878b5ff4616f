package expose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// writeTimeout is how long a child may leave its standard input unread.
const writeTimeout = 10 * time.Second

// A pipe is our end of a child's standard input.
type pipe interface {
	io.WriteCloser
	SetWriteDeadline(time.Time) error
}

// A receiver gets what a child says of its own accord. Its methods are called by
// whoever reads, one at a time, in the order of the messages, and must not wait for
// another message of the child. Slices are the receiver's to keep.
type receiver interface {
	request(p *process, id []byte, method string, params []byte)
	notification(p *process, method string, params []byte)
	junk(p *process, line []byte)
}

// A conn speaks JSON-RPC with a child, one message a line. It is safe for
// concurrent use.
type conn struct {
	owner      *process
	in         pipe
	maxMessage int
	receiver   receiver
	turn       turn

	writing sync.Mutex

	mu      sync.Mutex
	nextID  int64
	waiting map[int64]*exchange
	broken  error

	dead chan struct{} // closed when broken is set
}

// An exchange is a request that was sent and its answer, which arrives once.
type exchange struct {
	id     int64
	answer chan answer
}

type answer struct {
	result []byte
	err    error // *sdkrpc.Error as the child sent it, or why there will be none
}

func newConn(p *process, in pipe, maxMessage int, r receiver) *conn {
	return &conn{owner: p, in: in, maxMessage: maxMessage, receiver: r, waiting: make(map[int64]*exchange), dead: make(chan struct{}),
		turn: turn{free: make(chan struct{}, 1), back: make(chan struct{}, 1)}}
}

// reserve makes an exchange whose request is still to be sent, so that its id can be
// known before.
func (c *conn) reserve() (*exchange, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	c.nextID++
	x := &exchange{id: c.nextID, answer: make(chan answer, 1)}
	c.waiting[x.id] = x
	return x, nil
}

func (c *conn) forget(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, x.id)
}

// send sends the request of an exchange.
func (c *conn) send(x *exchange, method string, params []byte) error {
	err := c.write(jsonrpc.AppendRequest(make([]byte, 0, len(params)+len(method)+64), strconv.AppendInt(nil, x.id, 10), method, params))
	if err != nil {
		c.forget(x)
	}
	return err
}

// call sends a request and waits for the answer. If ctx ends first the child is told
// that nobody waits any more.
func (c *conn) call(ctx context.Context, method string, params []byte) ([]byte, error) {
	x, err := c.reserve()
	if err != nil {
		return nil, err
	}
	if err := c.send(x, method, params); err != nil {
		return nil, err
	}
	turn := c.turn.free
	for {
		select {
		case <-turn:
			if !c.hear(x, nil) {
				turn = nil
			}
		case a := <-x.answer:
			return a.result, a.err
		case <-ctx.Done():
			c.cancel(x)
			return nil, context.Cause(ctx)
		}
	}
}

// cancel gives an exchange up and tells the child so.
func (c *conn) cancel(x *exchange) {
	c.forget(x)
	params := append([]byte(`{"requestId":`), strconv.AppendInt(nil, x.id, 10)...)
	_ = c.notify("notifications/cancelled", append(params, `,"reason":"the client no longer waits"}`...))
}

func (c *conn) notify(method string, params []byte) error {
	return c.write(jsonrpc.AppendNotification(nil, method, params))
}

func (c *conn) reply(id, result []byte) { _ = c.write(jsonrpc.AppendResult(nil, id, result)) }

func (c *conn) refuse(id []byte, err error) {
	werr := &sdkrpc.Error{Code: sdkrpc.CodeInternalError, Message: err.Error()}
	_ = errors.As(err, &werr)
	_ = c.write(jsonrpc.AppendError(nil, id, werr.Code, werr.Message, werr.Data))
}

// write sends one message. A child that does not read for [writeTimeout] is broken.
func (c *conn) write(msg []byte) error {
	line := append(flat(msg), '\n')
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.failure(); err != nil {
		return err
	}
	_ = c.in.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.in.Write(line); err != nil {
		c.fail(fmt.Errorf("the program does not read its input: %w", err))
		return c.failure()
	}
	return nil
}

// flat takes the line ends out of a message: between tokens they mean nothing, and
// in a string JSON has none. What has none is returned as it is.
func flat(msg []byte) []byte {
	if !bytes.ContainsAny(msg, "\r\n") {
		return msg
	}
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, msg)
}

func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// fail ends the conversation: whoever waits for an answer gets err.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.broken != nil {
		c.mu.Unlock()
		return
	}
	c.broken = err
	waiting := c.waiting
	c.waiting = nil
	close(c.dead)
	c.mu.Unlock()
	for _, x := range waiting {
		x.answer <- answer{err: err}
	}
}

var errEnded = errors.New("the program has ended")

// take handles one line and reports whether it was a message, or a batch of them.
func (c *conn) take(line []byte) bool {
	if jsonrpc.IsBatch(line) {
		entries, err := jsonrpc.ParseBatch(line, jsonrpc.Limits{})
		if err != nil {
			return false
		}
		for i := range entries {
			if entries[i].Err == nil {
				c.dispatch(&entries[i].Message)
			}
		}
		return true
	}
	msg, err := jsonrpc.Parse(line, jsonrpc.Limits{})
	if err != nil {
		return false
	}
	c.dispatch(&msg)
	return true
}

func (c *conn) dispatch(msg *jsonrpc.Message) {
	switch msg.Kind {
	case jsonrpc.Request:
		c.receiver.request(c.owner, msg.ID, msg.Method, msg.Params)
	case jsonrpc.Notification:
		c.receiver.notification(c.owner, msg.Method, msg.Params)
	case jsonrpc.Response:
		id, ok := jsonrpc.IDValue(msg.ID).(int64)
		if !ok {
			return // our ids are numbers: this answers nothing
		}
		c.mu.Lock()
		x := c.waiting[id]
		delete(c.waiting, id)
		c.mu.Unlock()
		if x != nil {
			x.answer <- answerOf(msg)
			c.turn.hasReplied = true
		}
	}
}

func answerOf(msg *jsonrpc.Message) answer {
	if msg.Error == nil {
		return answer{result: msg.Result}
	}
	e, err := jsonrpc.ParseErrorObject(msg.Error)
	if err != nil {
		return answer{err: &sdkrpc.Error{Code: sdkrpc.CodeInternalError, Message: "the program answered with a malformed error"}}
	}
	return answer{err: &sdkrpc.Error{Code: e.Code, Message: e.Message, Data: e.Data}}
}
