package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// An event is one of a text/event-stream (WHATWG HTML §9.2). Events without data are
// handed out too: an id alone is where a stream can be taken up again.
type event struct {
	name  string
	data  []byte // lines joined by \n; owned by the receiver
	id    string
	hasID bool
	retry time.Duration // -1 if the event has none
}

// errTooLong is an answer that is cut because it is longer than any may be.
var errTooLong = errors.New("the answer is longer than allowed")

// longestField bounds the id and the name of an event; only data may be long.
const longestField = 4096

// An eventReader reads events whose data is at most limit bytes.
type eventReader struct {
	r     *bufio.Reader
	limit int
	begun bool
	crLF  bool // the last line ended with \r: a \n that follows belongs to it
}

func newEventReader(r io.Reader, limit int) *eventReader {
	return &eventReader{r: bufio.NewReaderSize(r, 16<<10), limit: limit}
}

// next returns the next event, or io.EOF at the end: what stands there without an empty
// line after it was cut off, and is no event.
func (e *eventReader) next() (event, error) {
	ev := event{retry: -1}
	var seen, data bool
	for {
		line, err := e.line(len(ev.data))
		if err != nil {
			return event{}, err
		}
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 {
			if seen {
				return ev, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		if len(value) > longestField && string(name) != "data" && len(name) > 0 {
			return event{}, fmt.Errorf("the field %.20q of an event: %w", name, errTooLong)
		}
		switch string(name) {
		case "data":
			if len(ev.data)+len(value) >= e.limit {
				return event{}, errTooLong
			}
			if data {
				ev.data = append(ev.data, '\n')
			}
			if ev.data == nil && e.owned(line) {
				ev.data = value // the line was read into a buffer of its own
			} else {
				ev.data = append(ev.data, value...)
			}
			seen, data = true, true
		case "event":
			ev.name, seen = string(value), true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.id, ev.hasID, seen = string(value), true, true
			}
		case "retry":
			if d, ok := retryOf(value); ok {
				ev.retry, seen = d, true
			}
		}
	}
}

// longestRetry bounds what a server may ask for: one that says a year has a mistake in it.
const longestRetry = 10 * time.Minute

func retryOf(value []byte) (time.Duration, bool) {
	if len(value) == 0 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	ms, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || ms > longestRetry.Milliseconds() {
		return longestRetry, true // digits alone: out of range is what can be wrong
	}
	return time.Duration(ms) * time.Millisecond, true
}

// owned reports whether line is too long to be a part of the reader's buffer.
func (e *eventReader) owned(line []byte) bool { return len(line) > e.r.Size() }

// line returns the next line without its end: \n, \r or \r\n. It is valid until the next
// call, unless it is owned. have is what the event holds already.
func (e *eventReader) line(have int) ([]byte, error) {
	if err := e.skipLF(); err != nil {
		return nil, err
	}
	var long []byte
	for {
		// Peek waits for one byte, then takes what is there: a line must not wait for the next.
		if _, err := e.r.Peek(1); err != nil {
			return nil, eof(err)
		}
		part, _ := e.r.Peek(e.r.Buffered())
		end := bytes.IndexAny(part, "\n\r")
		if end >= 0 {
			if have+len(long)+end > e.limit {
				return nil, errTooLong
			}
			e.crLF = part[end] == '\r'
			_, err := e.r.Discard(end + 1)
			if long == nil {
				return part[:end], err
			}
			return append(long, part[:end]...), err
		}
		if have+len(long)+len(part) > e.limit {
			return nil, errTooLong
		}
		long = append(long, part...)
		if _, err := e.r.Discard(len(part)); err != nil {
			return nil, err
		}
	}
}

// skipLF reads the \n of a \r\n only when the next line is asked for: the event that \r
// ended must not wait for it.
func (e *eventReader) skipLF() error {
	if !e.crLF {
		return nil
	}
	e.crLF = false
	next, err := e.r.Peek(1)
	if err != nil {
		return eof(err)
	}
	if next[0] == '\n' {
		_, err = e.r.Discard(1)
	}
	return err
}

func eof(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}
