// Package faultdisk is a disk in memory that fails when told to: it crashes at
// the nth operation, forgets what was not synced, tears writes, and is full.
package faultdisk

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/causeway-mcp/causeway/internal/disk"
)

// ErrCrashed is what every operation reports after the crash.
var ErrCrashed = errors.New("faultdisk: the machine has crashed")

// sector is what a disk writes whole or not at all.
const sector = 512

// A Disk is one directory in memory. What is in effect at once and what
// survives a crash are kept apart, as page cache and platter are.
type Disk struct {
	mu      sync.Mutex
	names   map[string]*inode // in effect
	durable map[string]*inode // after a power failure
	dirs    map[string]bool
	pending []nameChange // between the two, in order
	lastID  uint64       // given out so far
	locked  bool
	crashed bool

	ops     int // that change something, so far
	crashAt int // the operation at which to crash, 0 for never
	rnd     *rand.Rand

	// Capacity bounds the bytes of all files. 0 is no bound.
	capacity int64
	readOnly bool
	syncErr  error
	syncGate chan struct{} // what syncs wait for, nil for nothing
}

type inode struct {
	id      uint64
	data    []byte
	durable []byte
	pending []write
}

type write struct {
	off  int64
	data []byte // nil for a truncation to off
}

type nameChange struct {
	dir      string
	from, to string // from "": created; to "": removed
	inode    *inode
}

// New returns an empty disk, whose crashes are drawn from seed.
func New(seed uint64) *Disk {
	return &Disk{names: make(map[string]*inode), durable: make(map[string]*inode), dirs: make(map[string]bool), rnd: rand.New(rand.NewPCG(seed, 1))}
}

// CrashAt makes the nth operation from now the last. Half of the time it still
// happens, in part or whole.
func (d *Disk) CrashAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashAt = d.ops + n
}

// Ops returns how many operations have changed something.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Crashed reports that the crash has happened.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashed
}

// SetCapacity bounds the bytes of all files from now on; 0 is no bound.
func (d *Disk) SetCapacity(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = n
}

// SetReadOnly makes every opening for writing fail.
func (d *Disk) SetReadOnly(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readOnly = on
}

// FailSyncs makes every sync of a file fail from now on.
func (d *Disk) FailSyncs(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncErr = err
}

// HoldSyncs makes every sync of a file wait until release is called.
func (d *Disk) HoldSyncs() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.syncGate = gate
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.syncGate = nil
		close(gate)
	})
}

// Used returns the bytes of all files.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() int64 {
	var n int64
	for _, i := range d.names {
		n += int64(len(i.data))
	}
	return n
}

// Restart makes the disk usable again. After a power failure only what was
// synced is sure to be there; of the rest any part may be, in pieces. After a
// mere kill everything that happened is there, but what was not synced can still
// be lost by a power failure later.
func (d *Disk) Restart(powerFailure bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashed, d.locked, d.crashAt, d.syncErr = false, false, 0, nil
	if !powerFailure {
		return
	}
	d.loseNames()
	for _, i := range d.inodes() {
		i.lose(d.rnd)
	}
	d.pending = nil
	d.durable = make(map[string]*inode)
	for name, i := range d.names {
		d.durable[name] = i
		i.durable, i.pending = slices.Clone(i.data), nil
	}
}

func (d *Disk) newInode() *inode {
	d.lastID++
	return &inode{id: d.lastID}
}

func (d *Disk) inodes() map[*inode]*inode {
	all := make(map[*inode]*inode)
	for _, i := range d.names {
		all[i] = i
	}
	return all
}

// loseNames keeps the durable names and, of what came after in each directory, a
// beginning: file systems keep the order of names within a directory.
func (d *Disk) loseNames() {
	inDir := make(map[string]int)
	for _, c := range d.pending {
		inDir[c.dir]++
	}
	for _, dir := range slices.Sorted(maps.Keys(inDir)) {
		inDir[dir] = d.rnd.IntN(inDir[dir] + 1)
	}
	names := d.durable
	for _, c := range d.pending {
		if inDir[c.dir]--; inDir[c.dir] >= 0 {
			c.apply(names)
		}
	}
	d.names = names
}

func (c *nameChange) apply(names map[string]*inode) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.inode
	}
}

// lose keeps the durable contents and an arbitrary part of what came after, by
// sectors and in any order.
func (i *inode) lose(rnd *rand.Rand) {
	data := slices.Clone(i.durable)
	all := rnd.IntN(4)
	for _, w := range i.pending {
		if w.data == nil {
			if rnd.IntN(2) == 0 {
				data = resize(data, w.off)
			}
			continue
		}
		for off := 0; off < len(w.data); {
			end := min(len(w.data), off+sector-int((w.off+int64(off))%sector))
			if all == 0 || all != 1 && rnd.IntN(2) == 0 {
				data = writeAt(data, w.data[off:end], w.off+int64(off))
			}
			off = end
		}
	}
	i.data = data
}

func resize(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func writeAt(b, p []byte, off int64) []byte {
	if end := off + int64(len(p)); int64(len(b)) < end {
		b = resize(b, end)
	}
	copy(b[off:], p)
	return b
}

// enter counts a changing operation. It reports false if that must not happen,
// and crashes when it is time.
func (d *Disk) enter() (happens bool, err error) {
	if d.crashed {
		return false, ErrCrashed
	}
	d.ops++
	if d.crashAt != 0 && d.ops >= d.crashAt {
		d.crashed = true
		return d.rnd.IntN(2) == 0, ErrCrashed
	}
	return true, nil
}

// Flip inverts one bit of a file, on platter and in cache.
func (d *Disk) Flip(name string, off int64, bit uint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[name]
	i.data[off] ^= 1 << bit
	if off < int64(len(i.durable)) {
		i.durable[off] ^= 1 << bit
	}
}

// Contents returns a file's contents.
func (d *Disk) Contents(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := d.names[name]; i != nil {
		return slices.Clone(i.data)
	}
	return nil
}

// SetContents replaces a file's contents, durably.
func (d *Disk) SetContents(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.newInode()
	i.data, i.durable = slices.Clone(b), slices.Clone(b)
	d.names[name], d.durable[name] = i, i
}

// Forget removes a file, durably, if it is there.
func (d *Disk) Forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, name)
	delete(d.durable, name)
}

// Names returns the names of all files, in order.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Clone returns a disk with the contents that this one has at one moment, all durable:
// whoever writes to it meanwhile has done so before or after all of it.
func (d *Disk) Clone() *Disk {
	c := New(uint64(d.Ops()))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		c.SetContents(name, d.names[name].data)
	}
	return c
}

// Open implements [disk.Disk].
func (d *Disk) Open(name string, flag int) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, ErrCrashed
	}
	if d.readOnly && flag&(os.O_RDWR|os.O_WRONLY) != 0 {
		return nil, &fs.PathError{Op: "open", Path: d.Path(name), Err: syscall.EROFS}
	}
	i := d.names[name]
	switch {
	case i == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: d.Path(name), Err: syscall.ENOENT}
	case i == nil:
		happens, err := d.enter()
		i = d.newInode()
		if happens {
			d.rename(nameChange{dir: path.Dir(name), to: name, inode: i})
		}
		if err != nil {
			return nil, err
		}
	case flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: d.Path(name), Err: syscall.EEXIST}
	case flag&os.O_TRUNC != 0:
		i.write(write{off: 0})
	}
	return &file{d: d, i: i}, nil
}

func (d *Disk) rename(c nameChange) {
	c.apply(d.names)
	d.pending = append(d.pending, c)
}

// Rename implements [disk.Disk].
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[from]
	if i == nil && !d.crashed {
		return &fs.PathError{Op: "rename", Path: d.Path(from), Err: syscall.ENOENT}
	}
	happens, err := d.enter()
	if happens {
		d.rename(nameChange{dir: path.Dir(to), from: from, to: to, inode: i})
	}
	return err
}

// Remove implements [disk.Disk].
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil && !d.crashed {
		return &fs.PathError{Op: "remove", Path: d.Path(name), Err: syscall.ENOENT}
	}
	happens, err := d.enter()
	if happens {
		d.rename(nameChange{dir: path.Dir(name), from: name})
	}
	return err
}

// List implements [disk.Disk].
func (d *Disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, ErrCrashed
	}
	var names []string
	for name := range d.names {
		if path.Dir(name) == dir {
			names = append(names, strings.TrimPrefix(name, dir+"/"))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MakeDir implements [disk.Disk]. A directory survives everything: that making one may
// be forgotten is not shown.
func (d *Disk) MakeDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readOnly {
		return syscall.EROFS
	}
	if d.crashed {
		return ErrCrashed
	}
	d.dirs[name] = true
	return nil
}

// HasDir tells whether MakeDir has made the directory.
func (d *Disk) HasDir(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dirs[name]
}

// Dirs returns the names of the directories made in parent, without parent, in order.
func (d *Disk) Dirs(parent string) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.dirs {
		if path.Dir(name) == parent {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// SyncDir implements [disk.Disk]. It helps no other directory.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	happens, err := d.enter()
	if !happens {
		return err
	}
	d.pending = slices.DeleteFunc(d.pending, func(c nameChange) bool {
		if c.dir == dir {
			c.apply(d.durable)
		}
		return c.dir == dir
	})
	return err
}

// Lock implements [disk.Disk].
func (d *Disk) Lock(string) (func() error, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.crashed:
		return nil, ErrCrashed
	case d.locked:
		return nil, disk.ErrLocked
	case d.readOnly:
		return nil, syscall.EROFS
	}
	d.locked = true
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.locked = false
		return nil
	}, nil
}

// Path implements [disk.Disk].
func (d *Disk) Path(name string) string { return path.Join("faultdisk", name) }

type file struct {
	d *Disk
	i *inode
}

func (i *inode) write(w write) {
	if w.data == nil {
		i.data = resize(i.data, w.off)
	} else {
		i.data = writeAt(i.data, w.data, w.off)
	}
	i.pending = append(i.pending, w)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.crashed {
		return 0, ErrCrashed
	}
	if off >= int64(len(f.i.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.i.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if grow := off + int64(len(p)) - int64(len(f.i.data)); grow > 0 && f.d.capacity != 0 && f.d.used()+grow > f.d.capacity {
		return 0, &fs.PathError{Op: "write", Path: "faultdisk", Err: syscall.ENOSPC}
	}
	happens, err := f.d.enter()
	p = slices.Clone(p)
	if err != nil && happens && len(p) > 0 { // torn at any byte
		p = p[:f.d.rnd.IntN(len(p)+1)]
	}
	if happens {
		f.i.write(write{off: off, data: p})
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	gate := f.d.syncGate
	f.d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.syncErr != nil {
		return f.d.syncErr
	}
	happens, err := f.d.enter()
	if happens {
		f.i.durable, f.i.pending = slices.Clone(f.i.data), nil
	}
	return err
}

// ID tells a file from every other that the disk has had, whatever its name.
func (f *file) ID() uint64 { return f.i.id }

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.crashed {
		return 0, ErrCrashed
	}
	return int64(len(f.i.data)), nil
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	happens, err := f.d.enter()
	if happens {
		f.i.write(write{off: size})
	}
	return err
}

func (f *file) Close() error { return nil }
