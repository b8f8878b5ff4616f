package disk

import (
	"errors"
	"os"
	"syscall"
)

const errSharingViolation = syscall.Errno(32)

// lock opens the file so that nobody else can.
func lock(path string) (func() error, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharingViolation) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, os.NewSyscallError("CreateFile", err)
	}
	return func() error { return syscall.CloseHandle(h) }, nil
}

// SyncDir does nothing: Windows has no such call, NTFS journals its names.
func (d osDisk) SyncDir(string) error { return nil }
