//go:build !linux

package main

import (
	"errors"
	"io/fs"
)

func dropCache(string) error { return errors.New("the page cache can be dropped on Linux only") }

func onDisk(info fs.FileInfo) int64 { return info.Size() }
