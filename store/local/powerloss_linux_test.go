package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/causeway-mcp/causeway/internal/faultdisk"
	"github.com/causeway-mcp/causeway/internal/faultmount"
	"github.com/causeway-mcp/causeway/store/storetest"
)

// losePower runs writers in a process of their own on a file system that
// forgets what was not synced, and returns what is wrong afterwards.
func losePower(t *testing.T, rounds int, seed uint64, env ...string) (acked int, err error) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	d, l := faultdisk.New(seed), storetest.NewLedger(nil)
	for i := range rounds {
		dir := t.TempDir()
		unmount, err := faultmount.Mount(d, dir)
		if err != nil {
			t.Skipf("cannot mount a file system: %v", err)
		}
		runChild(t, dir, l, uint64(i), 1+rnd.IntN(1500), append(env, "CAUSEWAY_CRASH_SMALL=1")...)
		if err := unmount(); err != nil {
			t.Fatalf("unmounting: %v", err)
		}
		d.Restart(true)
		opts := small()
		opts.disk = d
		s, err := Open("", opts)
		if err != nil {
			return l.Acked(), fmt.Errorf("round %d: %w", i, err)
		}
		err = l.Check(context.Background(), s)
		abandonStore(s)
		if err != nil {
			return l.Acked(), fmt.Errorf("round %d: %w", i, err)
		}
	}
	return l.Acked(), nil
}

func needFuse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("there is no /dev/fuse")
	}
}

func TestNothingIsLostByPowerFailure(t *testing.T) {
	needFuse(t)
	n := rounds(t, 15)
	acked, err := losePower(t, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d power failures, %d acknowledged writes, 0 lost", n, acked)
}

func TestThePowerFailureHarnessNoticesAcknowledgementsBeforeSync(t *testing.T) {
	needFuse(t)
	_, err := losePower(t, 80, 1, "CAUSEWAY_CRASH_BROKEN=1")
	if err == nil {
		t.Fatal("80 power failures of an engine that acknowledges before it syncs, and nothing was missed")
	}
	t.Logf("noticed: %v", err)
}
