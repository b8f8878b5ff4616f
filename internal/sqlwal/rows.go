package sqlwal

import (
	"bufio"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"time"
)

// bufferedRows is a result that no longer needs SQLite.
type bufferedRows struct {
	columns []string
	decl    []string
	scan    []reflect.Type
	cells   []driver.Value // of the rows in memory, one after the other
	spill   *spill         // the rows after those
}

// typedRows is what modernc's rows tell about columns beyond driver.Rows.
type typedRows interface {
	ColumnTypeDatabaseTypeName(int) string
	ColumnTypeScanType(int) reflect.Type
}

// readAhead reads rows to their end and closes them.
func (d *DB) readAhead(ctx context.Context, rows driver.Rows) (_ driver.Rows, err error) {
	b := &bufferedRows{columns: rows.Columns()}
	defer func() {
		err = errors.Join(err, rows.Close())
		if err != nil {
			_ = b.Close()
		}
	}()
	if t, ok := rows.(typedRows); ok {
		for i := range b.columns {
			b.decl = append(b.decl, t.ColumnTypeDatabaseTypeName(i))
			b.scan = append(b.scan, t.ColumnTypeScanType(i))
		}
	}
	row := make([]driver.Value, len(b.columns))
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, v := range row {
			size += cellSize(v)
		}
		if size > d.opts.MaxResult {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrResultTooLarge, d.opts.MaxResult)
		}
		if b.spill == nil && size <= int64(d.opts.ReadAhead) {
			b.cells = append(b.cells, row...)
			continue
		}
		if b.spill == nil {
			if b.spill, err = newSpill(filepath.Dir(d.path)); err != nil {
				return nil, err
			}
		}
		if err := b.spill.write(row); err != nil {
			return nil, err
		}
	}
	if b.spill != nil {
		if err := b.spill.rewind(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *bufferedRows) Columns() []string { return b.columns }

func (b *bufferedRows) Next(dest []driver.Value) error {
	n := len(b.columns)
	if len(b.cells) >= n && n > 0 {
		copy(dest, b.cells[:n])
		clear(b.cells[:n])
		b.cells = b.cells[n:]
		return nil
	}
	if b.spill == nil {
		return io.EOF
	}
	return b.spill.read(dest)
}

func (b *bufferedRows) Close() error {
	b.cells = nil
	if b.spill == nil {
		return nil
	}
	err := b.spill.close()
	b.spill = nil
	return err
}

func (b *bufferedRows) ColumnTypeDatabaseTypeName(i int) string {
	if i < len(b.decl) {
		return b.decl[i]
	}
	return ""
}

func (b *bufferedRows) ColumnTypeScanType(i int) reflect.Type {
	if i < len(b.scan) && b.scan[i] != nil {
		return b.scan[i]
	}
	return reflect.TypeFor[any]()
}

func cellSize(v driver.Value) int64 {
	switch v := v.(type) {
	case string:
		return int64(len(v)) + 16
	case []byte:
		return int64(len(v)) + 24
	}
	return 16
}

// spill keeps rows in a file without a name.
type spill struct {
	file *os.File
	w    *bufio.Writer
	r    *bufio.Reader
	buf  []byte
}

func newSpill(dir string) (*spill, error) {
	f, err := os.CreateTemp(dir, "rows-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("spill a large result: %w", err)
	}
	_ = os.Remove(f.Name()) // where the system allows it; close removes it where not
	return &spill{file: f, w: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (s *spill) write(row []driver.Value) error {
	b := s.buf[:0]
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.AppendVarint(append(b, 'i'), v)
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
		case bool:
			b = append(b, 'b', 0)
			if v {
				b[len(b)-1] = 1
			}
		case string:
			b = append(binary.AppendUvarint(append(b, 's'), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 'x'), uint64(len(v))), v...)
		case time.Time:
			t, err := v.MarshalBinary()
			if err != nil {
				return err
			}
			b = append(binary.AppendUvarint(append(b, 't'), uint64(len(t))), t...)
		default:
			return fmt.Errorf("sqlwal: a result holds a %T", v)
		}
	}
	s.buf = b
	_, err := s.w.Write(b)
	return err
}

func (s *spill) rewind() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	_, err := s.file.Seek(0, io.SeekStart)
	s.r, s.w = bufio.NewReaderSize(s.file, 64<<10), nil
	return err
}

func (s *spill) read(dest []driver.Value) error {
	for i := range dest {
		v, err := s.readCell()
		if errors.Is(err, io.EOF) && i > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		dest[i] = v
	}
	return nil
}

func (s *spill) readCell() (driver.Value, error) {
	kind, err := s.r.ReadByte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case 'n':
		return nil, nil
	case 'i':
		return binary.ReadVarint(s.r)
	case 'f':
		var b [8]byte
		_, err := io.ReadFull(s.r, b[:])
		return math.Float64frombits(binary.BigEndian.Uint64(b[:])), err
	case 'b':
		c, err := s.r.ReadByte()
		return c == 1, err
	}
	n, err := binary.ReadUvarint(s.r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return nil, err
	}
	switch kind {
	case 's':
		return string(b), nil
	case 't':
		var t time.Time
		err := t.UnmarshalBinary(b)
		return t, err
	}
	return b, nil
}

func (s *spill) close() error {
	err := s.file.Close()
	_ = os.Remove(s.file.Name())
	return err
}
