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
// long as it is, its number and that of its group are not given to others.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
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
type census struct {
	known map[processKey]string // the mark, "" for none
}

type processKey struct {
	pid   int
	start uint64
}

// take returns the usage by mark. groups are marks by process group.
func (c *census) take(groups map[int]string) map[string]usage {
	found := make(map[string]usage)
	seen := make(map[processKey]string)
	for pid := range processes() {
		st, ok := readStat(pid)
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
	c.known = seen
	return found
}

func processes() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		dir, err := os.Open("/proc")
		if err != nil {
			return
		}
		defer dir.Close()
		names, _ := dir.Readdirnames(-1)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil && !yield(pid) {
				return
			}
		}
	}
}

type processStat struct {
	group    int
	start    uint64
	resident int64
}

// readStat reads /proc/PID/stat, see proc(5). Dead processes that wait for their
// parent count as gone.
func readStat(pid int) (processStat, bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return processStat{}, false
	}
	// The name, in parentheses, may hold anything.
	i := bytes.LastIndexByte(raw, ')')
	if i < 0 {
		return processStat{}, false
	}
	f := bytes.Fields(raw[i+1:])
	if len(f) < 22 || f[0][0] == 'Z' || f[0][0] == 'X' {
		return processStat{}, false
	}
	group, err1 := strconv.Atoi(string(f[2]))
	start, err2 := strconv.ParseUint(string(f[19]), 10, 64)
	pages, err3 := strconv.ParseInt(string(f[21]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return processStat{}, false
	}
	return processStat{group, start, pages * int64(os.Getpagesize())}, true
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
	var found []int
	for pid := range processes() {
		if pid == os.Getpid() || markOf(pid) != marker {
			continue
		}
		if _, alive := readStat(pid); alive {
			found = append(found, pid)
		}
	}
	return found
}
