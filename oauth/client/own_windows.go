package client

import (
	"errors"
	"io/fs"
	"os"
)

// own reports whether a folder is there. Access lists keep others out of what is in the
// user's profile.
func (*Folder) own(path string) (exists bool, err error) {
	_, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (*Folder) openOwn(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, flags, 0o600)
}
