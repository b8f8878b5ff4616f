//go:build unix

package client

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// hasModes: files have modes that keep others out.
const hasModes = true

// tryLock takes the lock of an open file if nobody has it. It ends when the file is
// closed, by the kernel at the latest.
func tryLock(file *os.File) (bool, error) {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, os.NewSyscallError("flock", err)
		}
	}
}
