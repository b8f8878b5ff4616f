//go:build unix

package expose

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor that is neither input, output nor log.
const firstInherited = 3

// keepDescriptors keeps from children what this process was started with: sockets of a
// service manager, files of a shell. Go's own descriptors are kept from them anyway.
func keepDescriptors() {
	if closeRange() {
		return
	}
	if open := openDescriptors(); open != nil {
		for _, fd := range open {
			unix.CloseOnExec(fd)
		}
		return
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur = maxDescriptors
	}
	for fd := firstInherited; uint64(fd) < min(uint64(limit.Cur), maxDescriptors); fd++ {
		unix.CloseOnExec(fd)
	}
}

// maxDescriptors is how many are tried where the system does not say which are open.
const maxDescriptors = 64 << 10

// openDescriptors are those that the system lists, nil if it does not.
func openDescriptors() []int {
	for _, list := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(list)
		if err != nil {
			continue
		}
		var open []int
		for _, entry := range entries {
			if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= firstInherited {
				open = append(open, fd)
			}
		}
		return open
	}
	return nil
}
