package expose

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent ends the child when the thread that started it does; see forge.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// maxOpenFiles is enough for any server, and little enough for the machine.
const maxOpenFiles = 4096

// limitResources sets what the kernel can hold a child to by itself. Address space
// is not among it: runtimes such as V8 reserve far more than they use.
func limitResources(pid int) {
	for which, most := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxOpenFiles} {
		var had unix.Rlimit
		if unix.Prlimit(pid, which, nil, &had) != nil || had.Cur <= most {
			continue
		}
		_ = unix.Prlimit(pid, which, &unix.Rlimit{Cur: most, Max: min(most, had.Max)}, nil)
	}
}

// awaitExit waits until the process has ended, and leaves it to be waited for: as
// long as it is, its number and that of its group are not given to others. It reports
// whether it saw the end.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// A usage is what a child takes of the machine, with everything it started.
type usage struct {
	processes int
	memory    int64 // resident bytes; pages shared among them count for each
}

// A census of processes finds out what belongs to which child. It reads each
// process's environment once, and its place in the process groups each time.
//
// It is taken several times a second, and there may be thousands of processes: files
// are read with the three system calls that it takes, into one buffer.
type census struct {
	known, before map[processKey]string // the mark, "" for none
	names         []string
	buf           [4 << 10]byte
}

type processKey struct {
	pid   int
	start uint64
}

// take returns the usage by mark. groups are marks by process group.
func (c *census) take(groups map[int]string) map[string]usage {
	proc, err := openAt(unix.AT_FDCWD, "/proc", unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer unix.Close(proc)
	found := make(map[string]usage)
	seen := c.before
	if seen == nil {
		seen = make(map[processKey]string)
	}
	clear(seen)
	c.names = readNames(proc, c.buf[:], c.names[:0])
	for _, name := range c.names {
		pid, ok := pidOf(name)
		if !ok {
			continue
		}
		st, ok := readStat(proc, name, c.buf[:])
		if !ok {
			continue
		}
		key := processKey{pid, st.start}
		mark, known := c.known[key]
		if !known {
			mark = markOf(pid)
		}
		// A process that has not replaced its image yet shows its parent's environment,
		// so "none" is only believed the second time.
		if mark != "" || known {
			seen[key] = mark
		} else if _, second := c.known[processKey{pid, ^st.start}]; second {
			seen[key] = ""
		} else {
			seen[processKey{pid, ^st.start}] = ""
		}
		if m, ok := groups[st.group]; ok {
			mark = m
		}
		if mark == "" {
			continue
		}
		u := found[mark]
		u.processes++
		u.memory += st.resident
		found[mark] = u
	}
	c.known, c.before = seen, c.known
	clear(c.names) // they are parts of more than themselves
	return found
}

func openAt(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readNames appends the names in a directory that has just been opened.
func readNames(dir int, buf []byte, names []string) []string {
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// pidOf is the process that an entry of /proc is about. Most that are not begin with
// a letter.
func pidOf(name string) (int, bool) {
	if name == "" || name[0] < '1' || name[0] > '9' {
		return 0, false
	}
	pid, err := strconv.Atoi(name)
	return pid, err == nil
}

type processStat struct {
	group    int
	start    uint64
	resident int64
}

// readStat reads /proc/PID/stat, of which all that matters fits into buf: a name has
// 64 bytes at most. proc is /proc.
func readStat(proc int, name string, buf []byte) (processStat, bool) {
	fd, err := openAt(proc, name+"/stat", 0)
	if err != nil {
		return processStat{}, false
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return processStat{}, false
		}
		return parseStat(buf[:n])
	}
}

var pageSize = int64(os.Getpagesize())

// parseStat reads what proc(5) says of a process. Dead processes that wait for their
// parent count as gone.
func parseStat(raw []byte) (st processStat, ok bool) {
	// The name, in parentheses, may hold anything.
	i := bytes.LastIndexByte(raw, ')')
	if i < 0 {
		return st, false
	}
	rest := raw[i+1:]
	for n := 3; ; n++ { // proc(5) counts from 1, and the name is the second
		rest = bytes.TrimLeft(rest, " ")
		field, after, _ := bytes.Cut(rest, []byte(" "))
		rest = after
		var err error
		switch n {
		case 3:
			if len(field) != 1 || field[0] == 'Z' || field[0] == 'X' {
				return st, false
			}
		case 5:
			st.group, err = strconv.Atoi(string(field))
		case 22:
			st.start, err = strconv.ParseUint(string(field), 10, 64)
		case 24:
			var pages int64
			pages, err = strconv.ParseInt(string(bytes.TrimRight(field, "\n")), 10, 64)
			st.resident = pages * pageSize
			return st, err == nil
		}
		if err != nil || len(field) == 0 {
			return st, false
		}
	}
}

// markOf reads the mark in the environment a process was started with.
func markOf(pid int) string {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return "" // another user's, or gone
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if mark, ok := bytes.CutPrefix(v, []byte(markVariable+"=")); ok {
			return string(mark)
		}
	}
	return ""
}

func findMarked(marker string) []int {
	proc, err := openAt(unix.AT_FDCWD, "/proc", unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer unix.Close(proc)
	var buf [4 << 10]byte
	var found []int
	for _, name := range readNames(proc, buf[:], nil) {
		pid, ok := pidOf(name)
		if !ok || pid == os.Getpid() || markOf(pid) != marker {
			continue
		}
		if _, alive := readStat(proc, name, buf[:]); alive {
			found = append(found, pid)
		}
	}
	return found
}
