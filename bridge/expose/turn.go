package expose

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// What a child may write to its standard output that is no message: some programs
// print a greeting there. More than this is a program that does not speak MCP.
const (
	maxJunkLines = 1000
	maxJunkBytes = 1 << 20
)

const (
	// briefly is for how long whoever waits for an answer reads what the child says
	// before leaving that to [conn.read]. Meanwhile they see nothing else: that their
	// client has gone, say.
	briefly = 5 * time.Millisecond
	// quietFor is after how long without calls conn.read reads again, for what the
	// child says of its own accord.
	quietFor = 20 * time.Millisecond
)

// A turn says who reads what a child says: one goroutine at a time. That is conn.read,
// until a call is answered. From then on, and for as long as calls come, it is one of
// those who wait for an answer: where the program answers at once, to wake a goroutine
// that reads and have that wake the one that waits costs more than anything else we do.
// Who waits for longer than briefly gives the turn back to conn.read.
type turn struct {
	free chan struct{} // holds a token while it is nobody's
	back chan struct{} // holds a token when conn.read is to take it again

	// These are of whoever has the turn.
	lines      *bufio.Reader
	line       []byte // the beginning of a line, while the rest is still to come
	junkLines  int
	junkBytes  int
	hasReplied bool  // what was read last answered a request
	ended      error // why there is no more to read
	quiet      *time.Timer

	mu   sync.Mutex
	file deadliner // nil if reading cannot be interrupted: then conn.read never gives the turn away
	last time.Time // a deadline that no other replaces
}

type deadliner interface{ SetReadDeadline(time.Time) error }

// read takes in what the child writes until it ends, breaks a rule or is cut off.
// The error says which.
func (c *conn) read(out io.Reader) error {
	t := &c.turn
	t.lines = bufio.NewReaderSize(out, 64<<10)
	if f, ok := out.(deadliner); ok && f.SetReadDeadline(time.Time{}) == nil { // pipes of Windows have none
		t.mu.Lock()
		t.file = f
		t.mu.Unlock()
	}
	t.deadline(time.Time{})
	t.quiet = time.AfterFunc(quietFor, t.takeBack)
	defer t.quiet.Stop()
	for t.ended == nil {
		if t.ended = c.next(); t.ended == nil && t.hasReplied && t.file != nil {
			t.away()
		}
	}
	return t.ended
}

// away leaves the turn to others until there are none.
func (t *turn) away() {
	select {
	case <-t.back: // late, of the time before
	default:
	}
	t.give()
	<-t.back
	<-t.free
	t.deadline(time.Time{})
}

// hear reads what the child says in place of conn.read until x is answered, there is
// something in stirred, or it has taken long enough. Whoever calls it has the turn,
// from free. It reports whether it may be called again for x.
func (c *conn) hear(x *exchange, stirred <-chan struct{}) bool {
	t := &c.turn
	defer t.give()
	t.deadline(time.Now().Add(briefly))
	for len(x.answer) == 0 && len(stirred) == 0 && t.ended == nil {
		err := c.next()
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.ended = err // which is for conn.read to say
		}
		t.takeBack()
		return false
	}
	return t.ended == nil
}

func (t *turn) give() {
	t.quiet.Reset(quietFor)
	t.free <- struct{}{}
}

// takeBack has conn.read take the turn when it is free. One that comes late, when
// conn.read has it, makes it take it once more than it must.
func (t *turn) takeBack() {
	select {
	case t.back <- struct{}{}:
	default:
	}
}

// deadline sets until when reading may wait, unless that is settled.
func (t *turn) deadline(d time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() {
		d = t.last
	}
	if t.file != nil {
		_ = t.file.SetReadDeadline(d)
	}
}

// lastCall sets until when reading may wait, for good: the child has ended, and what
// it wrote last is all that can come. It may be called at any time.
func (t *turn) lastCall(d time.Time) {
	t.mu.Lock()
	t.last = d
	t.mu.Unlock()
	t.deadline(d)
}

// next reads one line and handles it.
func (c *conn) next() error {
	t := &c.turn
	t.hasReplied = false
	line, err := t.readLine(c.maxMessage)
	if text := bytes.TrimSpace(line); len(text) > 0 && (err == nil || err == io.EOF) && !c.take(text) {
		t.junkLines++
		t.junkBytes += len(line)
		if t.junkLines > maxJunkLines || t.junkBytes > maxJunkBytes {
			return errors.New("the program writes to its standard output what is no MCP message")
		}
		c.receiver.junk(c.owner, line)
	}
	switch {
	case err == nil:
		return nil
	case err == io.EOF:
		return errEnded
	case errors.Is(err, errTooLong):
		return fmt.Errorf("the program sent a message larger than %d bytes", c.maxMessage)
	default:
		return fmt.Errorf("reading from the program: %w", err)
	}
}

var errTooLong = errors.New("the line is too long")

// readLine returns the next line, which is the caller's to keep. What there is of it
// when the deadline comes is kept for the next time.
func (t *turn) readLine(most int) ([]byte, error) {
	for {
		part, err := t.lines.ReadSlice('\n')
		if len(t.line)+len(part) > most {
			return nil, errTooLong
		}
		t.line = append(t.line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		default:
			line := t.line
			t.line = nil
			return line, err
		}
	}
}
