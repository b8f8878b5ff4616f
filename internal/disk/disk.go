// Package disk is the file system as the local engine uses it: few operations,
// so that tests can stand in for it and fail each one.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrLocked: another process holds the directory.
var ErrLocked = errors.New("in use by another process")

// A Disk is one directory. Names are relative to it, with slashes.
type Disk interface {
	// Open opens a file for reading, and for writing if flag says so (os.O_RDONLY,
	// os.O_RDWR, with os.O_CREATE and os.O_EXCL).
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// List returns the names of the files in dir, without dir.
	List(dir string) ([]string, error)
	MakeDir(dir string) error
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
	// Lock takes the directory for this process, ErrLocked if another has it. The
	// name is the lock file's.
	Lock(name string) (unlock func() error, err error)
	// Path returns what to call the file in messages.
	Path(name string) string
}

// A File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the contents durable, and the size if it changed.
	Sync() error
	Size() (int64, error)
	Truncate(size int64) error
}

// OS returns the directory dir of the operating system.
func OS(dir string) Disk { return osDisk(dir) }

type osDisk string

func (d osDisk) Path(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

func (d osDisk) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(d.Path(name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDisk) Rename(from, to string) error { return os.Rename(d.Path(from), d.Path(to)) }

func (d osDisk) Remove(name string) error { return os.Remove(d.Path(name)) }

func (d osDisk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(d.Path(dir))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d osDisk) MakeDir(dir string) error { return os.MkdirAll(d.Path(dir), 0o700) }

func (d osDisk) Lock(name string) (func() error, error) { return lock(d.Path(name)) }

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// WriteFile replaces the file by one with these contents, durably: whoever
// looks sees the old contents or the new.
func WriteFile(d Disk, dir, name string, contents []byte) error {
	tmp := name + ".tmp"
	f, err := d.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("creating %s: %w", d.Path(tmp), err)
	}
	_, err = f.WriteAt(contents, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Rename(tmp, name)
	}
	if err == nil {
		err = d.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", d.Path(name), err)
	}
	return nil
}

// ReadFile returns a file's contents, at most max bytes of them.
func ReadFile(d Disk, name string, max int64) ([]byte, error) {
	f, err := d.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, max))
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}
