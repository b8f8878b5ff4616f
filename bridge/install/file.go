package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A File is a settings file as it was read.
type File struct {
	// Path is where it is looked for; it may be a link.
	Path string
	// Text is what is in it, empty if it is not there.
	Text []byte
	// Exists says whether it is.
	Exists bool

	target string // the file itself
	mode   fs.FileMode
}

// Read reads a settings file. One that is not there is empty.
func Read(path string) (*File, error) {
	f := &File{Path: path, target: path, mode: 0o600}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		// The link stays, and what it points to changes: people keep settings elsewhere.
		if f.target, err = filepath.EvalSymlinks(path); err != nil {
			return nil, fmt.Errorf("%s is a link that leads nowhere: %w", path, err)
		}
		if info, err = os.Stat(f.target); err != nil {
			return nil, err
		}
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	file, err := os.Open(f.target)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if f.Text, err = io.ReadAll(io.LimitReader(file, maxFile+1)); err != nil {
		return nil, err
	}
	if len(f.Text) > maxFile {
		return nil, fmt.Errorf("%s: %w", path, errTooLarge)
	}
	f.Exists, f.mode = true, info.Mode().Perm()
	return f, nil
}

// ErrChanged: somebody else has written the file since it was read.
var ErrChanged = errors.New("the file has changed meanwhile; nothing was written, try again")

// Write puts text into the file, by one rename, with the permissions it had; a new one
// is for its owner alone. What was there is first copied next to it, and the name of the
// copy returned, empty if there was nothing.
func (f *File) Write(text []byte) (backup string, err error) {
	dir := filepath.Dir(f.target)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	now, err := Read(f.Path)
	if err != nil {
		return "", err
	}
	if now.Exists != f.Exists || now.target != f.target || !bytes.Equal(now.Text, f.Text) {
		return "", fmt.Errorf("%s: %w", f.Path, ErrChanged)
	}
	if f.Exists {
		if backup, err = f.copyAside(); err != nil {
			return "", fmt.Errorf("keeping a copy: %w", err)
		}
	}
	temp, err := os.CreateTemp(dir, ".causeway-*")
	if err != nil {
		return backup, err
	}
	defer os.Remove(temp.Name()) // gone already if all went well
	if _, err = temp.Write(text); err == nil {
		err = temp.Chmod(f.mode)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return backup, err
	}
	return backup, os.Rename(temp.Name(), f.target)
}

// copyAside writes what the file holds next to it.
func (f *File) copyAside() (string, error) {
	stamp := time.Now().UTC().Format("20060102-150405")
	for n := range 1000 {
		name := f.target + ".before-causeway-" + stamp
		if n > 0 {
			name += fmt.Sprintf("-%d", n)
		}
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = file.Write(f.Text)
		return name, errors.Join(err, file.Sync(), file.Close())
	}
	return "", errors.New("there are too many copies of this second")
}

// Diff is what changes between two texts, line by line, for people to read: only the
// lines that go and come. Settings hold secrets, so their neighbours are not shown.
func Diff(before, after []byte) string {
	if bytes.Equal(before, after) {
		return ""
	}
	a, b := bytes.SplitAfter(before, []byte("\n")), bytes.SplitAfter(after, []byte("\n"))
	start := 0
	for start < len(a) && start < len(b) && bytes.Equal(a[start], b[start]) {
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && bytes.Equal(a[endA-1], b[endB-1]) {
		endA--
		endB--
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "@@ line %d @@\n", start+1)
	show := func(sign byte, lines [][]byte) {
		for _, l := range lines {
			if len(l) > 0 {
				fmt.Fprintf(&out, "%c%s\n", sign, bytes.TrimRight(l, "\r\n"))
			}
		}
	}
	show('-', a[start:endA])
	show('+', b[start:endB])
	return out.String()
}
