package object_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/faultdisk"
	"github.com/causeway-mcp/causeway/internal/faultmount"
)

// Below SQLite and the log there is a disk of ours that counts every operation which
// changes something (a write, an fsync, a truncation, a creation, a rename, a removal; so
// also each step of a checkpoint, a rebuild, a snapshot, of the recycling of a segment)
// and stops at any of them. What was acknowledged until then must be there afterwards.

const (
	// crashLooks has the test binary look at what is left, in a process of its own: the
	// one that serves the file system should not wait for it.
	crashLooks = "CAUSEWAY_OBJECT_CRASH_LOOKS"
	// crashLedger is the file with what was acknowledged.
	crashLedger = "CAUSEWAY_OBJECT_CRASH_LEDGER"
	// crashOps is how many operations the first life of a round has at most.
	crashOps = 4000
)

// A counted disk and what was acknowledged on it.
type countedCrash struct {
	t      *testing.T
	disk   *faultdisk.Disk
	ledger ledger
}

// live runs the child until the disk crashes at its nth operation.
func (c *countedCrash) live(n int, env ...string) {
	c.t.Helper()
	dir, unmount := c.mount()
	c.disk.CrashAt(n)
	c.work(dir, env...)
	must(c.t, unmount())
}

// mount shows the disk, until the end of the test at the latest.
func (c *countedCrash) mount() (dir string, unmount func() error) {
	c.t.Helper()
	dir = c.t.TempDir()
	unmount, err := faultmount.Mount(c.disk, dir)
	if err != nil {
		c.t.Skipf("cannot mount a file system: %v", err)
	}
	unmount = sync.OnceValue(unmount)
	c.t.Cleanup(func() { _ = unmount() })
	return dir, unmount
}

func (c *countedCrash) work(dir string, env ...string) {
	c.t.Helper()
	trace, out, err := os.Pipe()
	must(c.t, err)
	defer trace.Close()
	cmd := osexec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), crashChild+"="+dir), env...)
	cmd.ExtraFiles = []*os.File{out}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(c.t, cmd.Start())
	must(c.t, out.Close())
	ended := make(chan struct{})
	go func() { // nothing it says after the crash can be true; it dies like the machine
		for !c.disk.Crashed() {
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
			}
		}
		_ = cmd.Process.Kill()
	}()
	for lines := bufio.NewReader(trace); ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		must(c.t, err)
		must(c.t, c.ledger.note(line))
	}
	_ = cmd.Wait()
	close(ended)
	if !c.disk.Crashed() && cmd.ProcessState.ExitCode() >= 0 {
		c.t.Fatalf("the child ended by itself with %d: %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
}

// look tells what is wrong with what is left.
func (c *countedCrash) look() error {
	c.t.Helper()
	dir, unmount := c.mount()
	defer func() { must(c.t, unmount()) }()
	var acked bytes.Buffer
	for name, n := range c.ledger {
		fmt.Fprintf(&acked, "%s %d\n", name, n)
	}
	file := filepath.Join(c.t.TempDir(), "acknowledged")
	must(c.t, os.WriteFile(file, acked.Bytes(), 0o600))
	cmd := osexec.Command("/proc/self/exe", "-test.run=^TestWhatACrashLeft$", "-test.count=1")
	cmd.Env = append(os.Environ(), crashLooks+"="+dir, crashLedger+"="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestWhatACrashLeft is what look runs.
func TestWhatACrashLeft(t *testing.T) {
	dir := os.Getenv(crashLooks)
	if dir == "" {
		return
	}
	acked := ledger{}
	b, err := os.ReadFile(os.Getenv(crashLedger))
	must(t, err)
	for line := range bytes.Lines(b) {
		must(t, acked.note(string(line)))
	}
	verify(t, dir, acked, t.Errorf)
}

func needFuse(t *testing.T) {
	skipWithoutSelf(t)
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("there is no /dev/fuse")
	}
}

// surviveCrash crashes within the work, then within the recovery or soon after it, and
// looks. power says whether the power fails or the process is killed.
func surviveCrash(t *testing.T, seed uint64, at int, power bool, env ...string) (acked int, err error) {
	c := &countedCrash{t: t, disk: faultdisk.New(seed), ledger: ledger{}}
	for _, n := range []int{at, 1 + at%127} {
		c.live(n, env...)
		c.disk.Restart(power)
	}
	for _, n := range c.ledger {
		acked += n
	}
	return acked, c.look()
}

func TestCrashAtACountedWriteBelowSQLiteLosesNothing(t *testing.T) {
	needFuse(t)
	n := crashRounds(t, 30)
	for name, power := range map[string]bool{"kill": false, "power failure": true} {
		t.Run(name, func(t *testing.T) {
			total := 0
			for i := range (n + 1) / 2 {
				at := 1 + (2*i+1)*crashOps/(n+1)
				acked, err := surviveCrash(t, uint64(i), at, power)
				if err != nil {
					t.Fatalf("round %d, crash at operation %d: %v", i, at, err)
				}
				total += acked
			}
			t.Logf("%d rounds over %d operations, %d acknowledged writes, 0 lost, every database whole", (n+1)/2, crashOps, total)
		})
	}
}

// The harness must notice who acknowledges before anything is written.
func TestTheCountedCrashNoticesWhoTellsTooEarly(t *testing.T) {
	needFuse(t)
	for i := range 20 {
		c := &countedCrash{t: t, disk: faultdisk.New(uint64(i)), ledger: ledger{}}
		c.live(1<<40, crashTooEarly+"=1") // it kills itself at the worst moment
		c.disk.Restart(true)
		if err := c.look(); err != nil {
			t.Logf("noticed: %v", err)
			return
		}
	}
	t.Error("20 crashes of a process that tells too early, and nothing was missed")
}
