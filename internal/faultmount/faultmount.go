//go:build linux

// Package faultmount shows a disk of package faultdisk to other processes, as a
// file system in user space, so that a real process with real system calls can
// lose its power. It needs /dev/fuse and the right to mount, and is for tests.
package faultmount

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/internal/faultdisk"
)

// Mount shows d at dir until unmount is called.
func Mount(d *faultdisk.Disk, at string) (unmount func() error, err error) {
	var zero time.Duration
	server, err := fs.Mount(at, &dir{d: d, name: "."}, &fs.Options{
		EntryTimeout: &zero, AttrTimeout: &zero, NegativeTimeout: &zero,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "faultdisk", Name: "faultdisk"},
	})
	if err != nil {
		return nil, err
	}
	return server.Unmount, nil
}

type dir struct {
	fs.Inode
	d    *faultdisk.Disk
	name string
}

var _ interface {
	fs.NodeLookuper
	fs.NodeReaddirer
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeUnlinker
	fs.NodeRenamer
	fs.NodeFsyncer
	fs.NodeGetattrer
} = (*dir)(nil)

func (n *dir) path(name string) string { return path.Join(n.name, name) }

func (n *dir) subdir(ctx context.Context, name string) *fs.Inode {
	return n.NewInode(ctx, &dir{d: n.d, name: n.path(name)}, fs.StableAttr{Mode: syscall.S_IFDIR})
}

func (n *dir) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFDIR | 0o755
	return 0
}

func (n *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.d.HasDir(n.path(name)) {
		out.Mode = syscall.S_IFDIR | 0o755
		return n.subdir(ctx, name), 0
	}
	f, err := n.d.Open(n.path(name), os.O_RDWR)
	if err != nil {
		return nil, errno(err)
	}
	return n.file(ctx, f, &out.Attr)
}

func (n *dir) file(ctx context.Context, f disk.File, out *fuse.Attr) (*fs.Inode, syscall.Errno) {
	child := &file{f: f}
	errno := child.attr(out)
	attr := fs.StableAttr{Mode: syscall.S_IFREG}
	if id, ok := f.(interface{ ID() uint64 }); ok {
		attr.Ino = id.ID() + 1<<40 // SQLite looks whether the file under a name is still the one it opened
	}
	return n.NewInode(ctx, child, attr), errno
}

func (n *dir) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	names, err := n.d.List(n.name)
	if err != nil {
		return nil, errno(err)
	}
	var entries []fuse.DirEntry
	for _, name := range names {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: syscall.S_IFREG})
	}
	for _, name := range n.d.Dirs(n.name) {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR})
	}
	return fs.NewListDirStream(entries), 0
}

func (n *dir) Create(ctx context.Context, name string, flags, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f, err := n.d.Open(n.path(name), os.O_RDWR|os.O_CREATE|int(flags)&(os.O_EXCL|os.O_TRUNC))
	if err != nil {
		return nil, nil, 0, errno(err)
	}
	inode, e := n.file(ctx, f, &out.Attr)
	return inode, nil, fuse.FOPEN_DIRECT_IO, e
}

func (n *dir) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.d.HasDir(n.path(name)) {
		return nil, syscall.EEXIST
	}
	if err := n.d.MakeDir(n.path(name)); err != nil {
		return nil, errno(err)
	}
	out.Mode = syscall.S_IFDIR | 0o755
	return n.subdir(ctx, name), 0
}

func (n *dir) Unlink(_ context.Context, name string) syscall.Errno {
	return errno(n.d.Remove(n.path(name)))
}

func (n *dir) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	target, ok := to.(*dir)
	if !ok {
		return syscall.EXDEV
	}
	return errno(n.d.Rename(n.path(name), target.path(newName)))
}

func (n *dir) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return errno(n.d.SyncDir(n.name))
}

type file struct {
	fs.Inode
	f disk.File
}

var _ interface {
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeGetattrer
	fs.NodeSetattrer
} = (*file)(nil)

func (n *file) attr(out *fuse.Attr) syscall.Errno {
	size, err := n.f.Size()
	out.Size, out.Mode = uint64(size), syscall.S_IFREG|0o600
	return errno(err)
}

func (n *file) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if int(flags)&os.O_TRUNC != 0 {
		if err := n.f.Truncate(0); err != nil {
			return nil, 0, errno(err)
		}
	}
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	got, err := n.f.ReadAt(dest, off)
	if err != nil && err != io.EOF {
		return nil, errno(err)
	}
	return fuse.ReadResultData(dest[:got]), 0
}

func (n *file) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	written, err := n.f.WriteAt(data, off)
	return uint32(written), errno(err)
}

func (n *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno { return errno(n.f.Sync()) }

func (n *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.attr(&out.Attr)
}

func (n *file) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if err := n.f.Truncate(int64(size)); err != nil {
			return errno(err)
		}
	}
	return n.attr(&out.Attr)
}

// errno turns an error of the disk into what a system call reports.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e
	}
	return syscall.EIO
}
