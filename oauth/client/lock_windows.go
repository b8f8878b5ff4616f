package client

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// hasModes: a folder in the user's profile is the user's by its access list.
const hasModes = false

// tryLock takes the lock of an open file if nobody has it. It ends when the file is
// closed, by the kernel at the latest.
func tryLock(file *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, os.NewSyscallError("LockFileEx", err)
}
