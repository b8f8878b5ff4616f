package local

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// recover reads the directory: the index if there is a good one, or else all
// packs, and then the log behind it. It changes nothing before it knows that
// nothing is damaged.
func (s *Store) recover() (logTail, error) {
	began := time.Now()
	c, err := s.catalogue()
	if err != nil {
		return logTail{}, err
	}
	r := newReplay(s)
	ix, err := s.loadIndex(c, r)
	if err != nil {
		return logTail{}, err
	}
	if ix == nil {
		ix, err = s.rebuild(c, r)
		if err != nil {
			return logTail{}, err
		}
	}
	tail, err := s.replayLog(c, r, ix.tail)
	if err != nil {
		return logTail{}, err
	}
	if err := r.finish(); err != nil {
		return logTail{}, err
	}
	if err := s.keepFound(c, tail); err != nil {
		return logTail{}, fmt.Errorf("making what was found durable: %w", err)
	}
	s.records.ForgetChanges(tail.lsn)
	s.tail = tail
	s.dirty = r.frames
	s.adopt(c)
	if err := s.sweepBlobs(); err != nil {
		return logTail{}, err
	}
	s.log.Debug("data directory opened", "dir", s.disk.Path("."), "records", s.records.Len(), "objects", len(s.objects),
		"replayed", r.frames, "took", time.Since(began))
	return tail, nil
}

// keepFound makes durable what was read. A process that was killed may have left
// names and its last batch in the page cache only; whatever is built on them from
// here on must not outlast them.
func (s *Store) keepFound(c *catalogue, tail logTail) error {
	for _, dir := range []string{".", "blob", "pack", "log"} {
		if err := s.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	if seg := c.segments[uint32(tail.segment)]; seg != nil {
		return seg.file.f.Sync()
	}
	return nil
}

// catalogue is what lies in the directory.
type catalogue struct {
	segments map[uint32]*foundSegment
	packs    map[uint32]*foundPack
	order    []*foundSegment // those in use, in the order of the log
	rubbish  []string        // unfinished files
	leftover []*dataFile     // files whose contents live elsewhere by now
}

type foundSegment struct {
	file *dataFile
	head *segmentHead // nil if it is not in use
}

type foundPack struct {
	file *dataFile
	head packHead
	bad  error
}

// catalogue opens all files and reads their first pages.
func (s *Store) catalogue() (*catalogue, error) {
	c := &catalogue{segments: make(map[uint32]*foundSegment), packs: make(map[uint32]*foundPack)}
	for _, dir := range []string{"log", "pack"} {
		names, err := s.disk.List(dir)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", s.disk.Path(dir), err)
		}
		for _, name := range names {
			if err := s.find(c, dir, name); err != nil {
				return nil, err
			}
		}
	}
	for _, seg := range c.segments {
		if seg.head != nil {
			c.order = append(c.order, seg)
		}
	}
	slices.SortFunc(c.order, func(a, b *foundSegment) int {
		if a.head.firstLSN != b.head.firstLSN {
			return cmp.Compare(a.head.firstLSN, b.head.firstLSN)
		}
		return cmp.Compare(c.emptyBefore(a), c.emptyBefore(b))
	})
	return c, nil
}

// emptyBefore counts the segments without batches right before seg. They begin
// with the same change as it does.
func (c *catalogue) emptyBefore(seg *foundSegment) int {
	for n := 0; ; n++ {
		prev := c.segments[uint32(seg.head.prev)]
		if prev == nil || prev == seg || prev.head == nil || prev.head.firstLSN != seg.head.firstLSN || n > len(c.order) {
			return n
		}
		seg = prev
	}
}

func (s *Store) find(c *catalogue, dir, name string) error {
	full := dir + "/" + name
	stem, ext, _ := strings.Cut(name, ".")
	number, err := strconv.ParseUint(stem, 10, 32)
	if strings.HasSuffix(name, ".tmp") {
		c.rubbish = append(c.rubbish, full)
		return nil
	}
	if err != nil || ext != map[string]string{"log": "seg", "pack": "pack"}[dir] {
		return nil // not ours
	}
	s.nextFile = max(s.nextFile, uint32(number)+1)
	f, err := s.disk.Open(full, os.O_RDWR)
	if err != nil {
		return notWritable(err)
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	d := s.newFile(f, full, uint32(number), size)
	head := make([]byte, page)
	if n, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("reading %s: %w", s.disk.Path(full), err)
	} else {
		head = head[:n]
	}
	if dir == "pack" {
		d.pack = true
		p := &foundPack{file: d}
		p.head, p.bad = parsePackHead(head, s.seed, uint64(number), size)
		d.end, d.minLSN, d.dead = p.head.end, p.head.minLSN, p.head.dead
		c.packs[d.number] = p
		return nil
	}
	seg := &foundSegment{file: d}
	c.segments[d.number] = seg
	h, err := parseSegmentHead(head, s.seed, number)
	if err == nil {
		seg.head = &h
		d.minLSN, d.end = h.firstLSN, page
		return nil
	}
	return s.checkUnused(d, err)
}

// checkUnused refuses a segment whose header is bad but which holds a batch of
// its own: the header was durable before that batch was written. The batch counts
// whatever its checksum, for both fail if the directory's id is another.
func (s *Store) checkUnused(d *dataFile, why error) error {
	b := make([]byte, batchHeader)
	if _, err := d.f.ReadAt(b, page); err != nil {
		if err == io.EOF {
			return nil
		}
		return fmt.Errorf("reading %s: %w", s.disk.Path(d.name), err)
	}
	if binary.LittleEndian.Uint32(b) == batchMagic && binary.LittleEndian.Uint64(b[8:]) == uint64(d.number) {
		return s.damage(d, 0, why)
	}
	return nil
}

// rebuild reads all packs, for want of an index.
func (s *Store) rebuild(c *catalogue, r *replay) (*index, error) {
	if len(c.packs)+len(c.order) > 0 {
		s.log.Info("the data directory has no index yet, or none that is good; reading everything, nothing is lost", "dir", s.disk.Path("."))
	}
	replaced := make(map[uint32]bool)
	for _, p := range c.packs {
		if p.bad != nil {
			return nil, s.damage(p.file, 0, p.bad)
		}
		for _, n := range p.head.replaces {
			replaced[n] = true
		}
	}
	c.leave(func(d *dataFile) bool { return !replaced[d.number] })
	for _, p := range c.packs {
		if err := s.eachInPack(p.file, func(f *frame, at place) error { r.apply(f, at); return nil }); err != nil {
			return nil, err
		}
	}
	ix := &index{}
	if len(c.order) > 0 {
		h := c.order[0].head
		ix.tail = logTail{segment: h.number, end: page, crc: h.prevCRC, lsn: h.firstLSN - 1}
	}
	return ix, nil
}

// leave keeps the files for which keep is true, and calls the others leftovers.
func (c *catalogue) leave(keep func(*dataFile) bool) {
	for n, p := range c.packs {
		if !keep(p.file) {
			c.leftover = append(c.leftover, p.file)
			delete(c.packs, n)
		}
	}
	c.order = slices.DeleteFunc(c.order, func(seg *foundSegment) bool {
		if keep(seg.file) {
			return false
		}
		c.leftover = append(c.leftover, seg.file)
		delete(c.segments, seg.file.number)
		return true
	})
}

// replayLog applies the log from tail on and returns where it ends.
func (s *Store) replayLog(c *catalogue, r *replay, tail logTail) (logTail, error) {
	if tail.segment == 0 {
		if len(c.order) == 0 {
			return tail, nil
		}
		h := c.order[0].head
		if h.prev != 0 {
			return tail, fmt.Errorf("%w: %s is missing; restore the directory from a backup", store.ErrDamaged, s.disk.Path(segmentName(uint32(h.prev))))
		}
		tail = logTail{segment: h.number, end: page, crc: h.prevCRC, lsn: h.firstLSN - 1}
	}
	for {
		at := slices.IndexFunc(c.order, func(seg *foundSegment) bool { return seg.head.number == tail.segment })
		if at < 0 {
			return tail, fmt.Errorf("%w: %s is missing or has lost its header; restore the directory from a backup", store.ErrDamaged, s.disk.Path(segmentName(uint32(tail.segment))))
		}
		var next *foundSegment
		if at+1 < len(c.order) {
			next = c.order[at+1]
		}
		var err error
		if tail, err = s.replaySegment(r, c.order[at], next, tail); err != nil {
			return tail, err
		}
		if next == nil {
			return tail, nil
		}
		tail = logTail{segment: next.head.number, end: page, crc: next.head.prevCRC, lsn: next.head.firstLSN - 1}
	}
}

// replaySegment applies the batches of seg behind tail. If the log goes on in
// next, that says where seg must end.
func (s *Store) replaySegment(r *replay, seg, next *foundSegment, tail logTail) (logTail, error) {
	d := seg.file
	sr := &segmentReader{f: d.f, size: d.size, seed: s.seed, number: uint64(d.number), off: tail.end, prev: tail.crc, lsn: tail.lsn + 1}
	var bad error
	for bad == nil {
		var frames []placed
		frames, bad = sr.next()
		for i := range frames {
			r.apply(&frames[i].frame, place{d.number, uint32(frames[i].off), uint32(frames[i].size)})
		}
	}
	var ioErr *ioError
	if errors.As(bad, &ioErr) {
		return tail, fmt.Errorf("reading %s at offset %d: %w", s.disk.Path(d.name), sr.off, bad)
	}
	d.end = sr.off
	tail = logTail{segment: uint64(d.number), end: sr.off, crc: sr.prev, lsn: sr.lsn - 1}
	if next != nil {
		h := next.head
		if h.prev != uint64(d.number) || h.prevEnd != uint64(sr.off) || h.prevCRC != sr.prev || h.firstLSN != sr.lsn {
			return tail, s.damage(d, sr.off, fmt.Errorf("the log goes on in %s, but here: %w", next.file.name, bad))
		}
		return tail, nil
	}
	return tail, s.checkTorn(sr, seg, bad)
}

// checkTorn decides whether what lies behind the last good batch is a write that
// never ended or damage.
func (s *Store) checkTorn(sr *segmentReader, seg *foundSegment, bad error) error {
	if seg.head.unordered {
		return nil
	}
	off, found, err := sr.successor()
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.disk.Path(seg.file.name), err)
	}
	if found {
		return s.damage(seg.file, sr.off, fmt.Errorf("%w, but a later batch is at %d", bad, off))
	}
	if bad != errNoBatch {
		s.log.Info("dropped a batch that was being written when the machine stopped",
			"file", s.disk.Path(seg.file.name), "offset", sr.off, "why", bad)
	}
	return nil
}

// adopt takes the files into use and removes what is not needed.
func (s *Store) adopt(c *catalogue) {
	for _, seg := range c.order {
		s.sealed = append(s.sealed, seg.file)
	}
	s.made.Store(uint32(len(s.sealed)))
	for _, seg := range c.segments {
		if seg.head != nil {
			continue
		}
		d := seg.file
		delete(s.files, d.number)
		if len(s.spares) < 2 && d.size == s.opts.SegmentSize {
			s.spares = append(s.spares, spare{d.f, d.name, d.number, d.size})
			continue
		}
		c.leftover = append(c.leftover, d)
	}
	slices.SortFunc(c.leftover, func(a, b *dataFile) int { return cmp.Compare(a.minLSN, b.minLSN) })
	for _, d := range c.leftover {
		delete(s.files, d.number)
		s.condemned[d.number] = true
		s.retired = append(s.retired, d)
	}
	for _, name := range c.rubbish {
		if err := s.disk.Remove(name); err != nil {
			s.log.Warn("removing a file that is not needed any more", "file", s.disk.Path(name), "err", err)
		}
	}
	s.reuse()
}

// sweepBlobs removes blobs that no entry names: nobody is left who could.
func (s *Store) sweepBlobs() error {
	names, err := s.disk.List("blob")
	if err != nil {
		return fmt.Errorf("listing %s: %w", s.disk.Path("blob"), err)
	}
	for _, name := range names {
		if s.blobs[name] == nil {
			if err := s.disk.Remove(blobName(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("removing a blob that nothing names", "file", s.disk.Path(blobName(name)), "err", err)
			}
		}
	}
	return nil
}
