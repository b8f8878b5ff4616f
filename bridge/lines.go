package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
)

// A lineReader reads messages of the stdio transport: one a line.
type lineReader struct {
	r     *bufio.Reader
	limit int
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 16<<10), limit: limit}
}

// next returns the next line that is not empty, in memory of its own. A line that is too
// long is skipped and reported as errTooLong; reading can go on. What stands at the end
// without a line break is a line as well.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.line()
		if line = bytes.TrimSpace(line); len(line) > 0 && err == nil {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (l *lineReader) line() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line)+len(part) > l.limit {
			long, line = true, nil
		}
		if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil && long:
			return nil, errTooLong
		case err == nil, errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}

// A lineWriter writes messages of the stdio transport, each in one piece. It may be used
// by several goroutines at once.
type lineWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// write sends one message. message is not changed.
func (l *lineWriter) write(message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf[:0], message...)
	oneLine(l.buf)
	l.buf = append(l.buf, '\n')
	_, err := l.w.Write(l.buf)
	if cap(l.buf) > 64<<10 {
		l.buf = nil // one large result must not be held for ever
	}
	return err
}

// oneLine replaces line breaks, which in JSON stand between tokens only, by spaces.
func oneLine(message []byte) {
	for i, c := range message {
		if c == '\n' || c == '\r' {
			message[i] = ' '
		}
	}
}
