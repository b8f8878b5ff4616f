package local

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"
	"syscall"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
)

// ErrFormat: the directory was written by something else or by a newer version.
// It is left as it is.
var ErrFormat = errors.New("not a data directory of this version")

const (
	formatFile = "FORMAT"
	lockFile   = "LOCK"
	indexFile  = "INDEX"
	formatLine = "causeway data directory"
	// formatVersion changes when an older version could not read the directory.
	formatVersion = 1
)

// format is what the file FORMAT says, in lines of text for people who look.
type format struct {
	Version     int
	ID          string // random; part of every checksum
	Incarnation int    // grows when the directory is restored from a backup
}

func (f *format) encode() []byte {
	b := fmt.Appendf(nil, "%s\nversion %d\nid %s\nincarnation %d\n", formatLine, f.Version, f.ID, f.Incarnation)
	return fmt.Appendf(b, "check %08x\n", crc32.Checksum(b, castagnoli))
}

func parseFormat(b []byte) (f format, err error) {
	text, ok := strings.CutPrefix(string(b), formatLine+"\nversion ")
	if !ok {
		return f, errors.New("it does not begin as one of ours")
	}
	if _, err := fmt.Sscanf(text, "%d\n", &f.Version); err != nil {
		return f, errors.New("it names no version")
	}
	if f.Version != formatVersion {
		return f, fmt.Errorf("version %d, and this program knows version %d; use the program that wrote it or a newer one", f.Version, formatVersion)
	}
	n, err := fmt.Sscanf(text, "%d\nid %32s\nincarnation %d\n", &f.Version, &f.ID, &f.Incarnation)
	if _, herr := hex.DecodeString(f.ID); err != nil || n != 3 || herr != nil || len(f.ID) != 32 || string(f.encode()) != string(b) {
		return f, errors.New("it is damaged; restore this file from a backup")
	}
	return f, nil
}

// Incarnation counts how often the directory was restored from a backup.
func (s *Store) Incarnation() int { return s.format.Incarnation }

// takeDirectory locks the directory and sees that it is ours, or makes it if
// there is nothing yet.
func (s *Store) takeDirectory() error {
	if err := s.disk.MakeDir("."); err != nil {
		return notWritable(err)
	}
	if err := s.refuseForeign(); err != nil {
		return err
	}
	unlock, err := s.disk.Lock(lockFile)
	if errors.Is(err, disk.ErrLocked) {
		return s.lockedError()
	}
	if err != nil {
		return notWritable(err)
	}
	s.unlock = unlock
	b, err := disk.ReadFile(s.disk, formatFile, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeDirectory()
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.disk.Path(formatFile), err)
	}
	if s.format, err = parseFormat(b); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, s.disk.Path(formatFile), err)
	}
	return nil
}

// refuseForeign refuses to make a data directory among other files.
func (s *Store) refuseForeign() error {
	names, err := s.disk.List(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == formatFile {
			return nil
		}
	}
	for _, name := range names {
		if name != lockFile && name != formatFile+".tmp" && !strings.HasPrefix(name, ".") {
			return fmt.Errorf("%w: it holds %s but no file %s; choose an empty or a new directory", ErrFormat, name, formatFile)
		}
	}
	return nil
}

func (s *Store) makeDirectory() error {
	for _, dir := range []string{"log", "pack", "blob"} {
		if err := s.disk.MakeDir(dir); err != nil {
			return notWritable(err)
		}
	}
	for _, dir := range []string{"log", "pack"} {
		if names, err := s.disk.List(dir); err != nil {
			return err
		} else if len(names) > 0 {
			return fmt.Errorf("%w: it holds %s/%s but no file %s; restore that file from a backup", ErrFormat, dir, names[0], formatFile)
		}
	}
	if err := s.disk.SyncDir("."); err != nil {
		return err
	}
	var id [16]byte
	rand.Read(id[:])
	s.format = format{Version: formatVersion, ID: hex.EncodeToString(id[:]), Incarnation: 1}
	return notWritable(disk.WriteFile(s.disk, ".", formatFile, s.format.encode()))
}

func (s *Store) lockedError() error {
	holder := ""
	if b, err := disk.ReadFile(s.disk, lockFile, 32); err == nil {
		holder = strings.TrimSpace(string(b))
	}
	if holder != "" {
		holder = " (process " + holder + ")"
	}
	return fmt.Errorf("%w%s; stop that one or choose another directory", disk.ErrLocked, holder)
}

// notWritable says what to do about a directory that may not be written to.
func notWritable(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("it is not writable; give this user the right to write there, or choose another directory: %w", err)
	}
	if isFull(err) {
		return fmt.Errorf("%w: free some space or choose another directory: %w", store.ErrFull, err)
	}
	return err
}

// isFull reports that an error means that there is no space.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// damage says that the file is damaged at an offset.
func (s *Store) damage(d *dataFile, off int64, why error) error { return s.damageAt(d.name, off, why) }

func (s *Store) damageAt(name string, off int64, why error) error {
	return fmt.Errorf("%w: %s at offset %d: %w; restore the directory from a backup, and check the disk",
		store.ErrDamaged, s.disk.Path(name), off, why)
}
