//go:build unix

package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// own makes sure that a folder, if it is there, is a real one and the user's alone. Whoever
// else could write to it could have tokens kept, and read, where they like.
func (f *Folder) own(path string) (exists bool, err error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, notOwn(path, err)
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return false, fmt.Errorf("the folder for tokens: %w", err)
	}
	if !isOwn(info) {
		return false, fmt.Errorf("the folder for tokens %s belongs to another user: run this as that user, or set CAUSEWAY_AUTH_DIR to a folder of your own", path)
	}
	return true, f.close(dir, info, 0o700)
}

// notOwn is why a folder could not be opened.
func notOwn(path string, err error) error {
	info, missing := os.Lstat(path)
	switch {
	case missing == nil && info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("the folder for tokens %s is a symbolic link, and what it leads to may be somebody else's: remove it, or set CAUSEWAY_AUTH_DIR to where it leads", path)
	case missing == nil && !info.IsDir():
		return fmt.Errorf("the folder for tokens %s is not a folder: remove it, or set CAUSEWAY_AUTH_DIR to one", path)
	}
	return fmt.Errorf("the folder for tokens: %w (or set CAUSEWAY_AUTH_DIR to another)", err)
}

// openOwn opens a file of the folder that is regular and the user's alone. It waits for
// nobody: a pipe in its place would.
func (f *Folder) openOwn(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENXIO) { // EMLINK: FreeBSD
		return nil, fmt.Errorf("%s is not a regular file: remove it", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file: remove it", path)
	case !isOwn(info):
		err = fmt.Errorf("%s belongs to another user: remove it", path)
	default:
		err = f.close(file, info, 0o600)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func isOwn(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// close closes a file or folder to others.
func (f *Folder) close(file *os.File, info fs.FileInfo, mode fs.FileMode) error {
	was := info.Mode().Perm()
	if was&0o077 == 0 {
		return nil
	}
	err := file.Chmod(mode)
	if err == nil {
		info, err = file.Stat() // some file systems say yes and do nothing
	}
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		return errors.Join(fmt.Errorf("others on this machine can get at %s, and that could not be changed: run chmod %o %[1]s, or set CAUSEWAY_AUTH_DIR to a folder on another file system", file.Name(), mode), err)
	}
	if f.Logger != nil {
		f.Logger.Warn("others on this machine could get at tokens or their key; now they cannot", "path", file.Name(), "mode_was", fmt.Sprintf("%o", was))
	}
	return nil
}
