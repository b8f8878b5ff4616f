package sqlwal

import (
	"encoding/binary"
	"fmt"
)

// A patch says how a page differs from what it was: how many bytes stay, how many are new, those bytes,
// and so on. Lengths are varints; what follows the last stays.

// appendPatch appends the patch that makes now of was, which has the same length. It gives up when that
// is not worth it.
func appendPatch(b, was, now []byte) (patch []byte, ok bool) {
	const apart = 8 // bytes that are the same, before another piece is worth its lengths
	begin, last := len(b), 0
	for i := 0; ; {
		for i+8 <= len(now) && binary.NativeEndian.Uint64(was[i:]) == binary.NativeEndian.Uint64(now[i:]) {
			i += 8
		}
		for i < len(now) && was[i] == now[i] {
			i++
		}
		if i == len(now) {
			return b, true
		}
		start, same := i, 0
		for ; i < len(now) && same < apart; i++ {
			if same++; was[i] != now[i] {
				same = 0
			}
		}
		end := i - same
		b = binary.AppendUvarint(b, uint64(start-last))
		b = binary.AppendUvarint(b, uint64(end-start))
		b = append(b, now[start:end]...)
		last = end
		if len(b)-begin > len(now)/4 {
			return b[:begin], false
		}
	}
}

// patchPage changes page, of size bytes; with nil it only looks whether it could.
func patchPage(page, patch []byte, size int) error {
	for at := 0; len(patch) > 0; {
		var n [2]uint64 // bytes that stay, bytes that are new
		for i := range n {
			v, used := binary.Uvarint(patch)
			if used <= 0 || v > uint64(size) {
				return fmt.Errorf("%w: length in a patch", ErrMalformed)
			}
			n[i], patch = v, patch[used:]
		}
		at += int(n[0])
		end := at + int(n[1])
		if end > size || int(n[1]) > len(patch) {
			return fmt.Errorf("%w: a patch goes beyond the page", ErrMalformed)
		}
		if page != nil {
			copy(page[at:end], patch)
		}
		at, patch = end, patch[n[1]:]
	}
	return nil
}
