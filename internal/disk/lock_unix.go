//go:build unix

package disk

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

func lock(path string) (func() error, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, os.NewSyscallError("flock", err)
	}
	// Who holds it, for people who look; the lock itself is the kernel's.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f.Close, nil
}

func (d osDisk) SyncDir(dir string) error {
	f, err := os.Open(d.Path(dir))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
