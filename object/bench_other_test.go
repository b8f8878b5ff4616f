//go:build !linux

package object_test

import "os"

func fdatasync(f *os.File) error { return f.Sync() }
