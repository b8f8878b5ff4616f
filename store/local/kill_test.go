package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/causeway-mcp/causeway/store/storetest"
)

// The test binary is its own victim: started with this variable it writes to
// the directory named there until it is killed.
const childDir = "CAUSEWAY_CRASH_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// traceFD is where the child writes what it does.
const traceFD = 3

func writeUntilKilled(dir string) error {
	var opts Options
	if os.Getenv("CAUSEWAY_CRASH_SMALL") != "" {
		opts = *small()
	}
	opts.Logger = quiet()
	opts.breakAckBeforeSync = os.Getenv("CAUSEWAY_CRASH_BROKEN") != ""
	seed, err := strconv.ParseUint(os.Getenv("CAUSEWAY_CRASH_SEED"), 10, 64)
	if err != nil {
		return err
	}
	s, err := Open(dir, &opts)
	if err != nil {
		return err
	}
	l := storetest.NewLedger(os.NewFile(traceFD, "trace"))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for w := range errs {
		wg.Go(func() { errs[w] = l.Work(context.Background(), s, w, 1<<30, seed) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// runChild starts a writer on dir, kills it after lines lines of its trace and
// adds the trace to the ledger.
func runChild(t testing.TB, dir string, l *storetest.Ledger, seed uint64, lines int, env ...string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), childDir+"="+dir, fmt.Sprint("CAUSEWAY_CRASH_SEED=", seed)), env...)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	trace := countLines(r, lines)
	cmd.Process.Kill()
	rest, err := io.ReadAll(r) // what it wrote before the kill took effect
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && stderr.Len() > 0 {
		t.Fatalf("the writer: %v: %s", err, stderr.String())
	}
	if err := l.ReadLedger(bytes.NewReader(append(trace, rest...))); err != nil {
		t.Fatal(err)
	}
}

func countLines(r io.Reader, lines int) []byte {
	var trace []byte
	buf := make([]byte, 4096)
	for lines > 0 {
		n, err := r.Read(buf)
		trace = append(trace, buf[:n]...)
		lines -= bytes.Count(buf[:n], []byte("\n"))
		if err != nil {
			break
		}
	}
	return trace
}

func TestNothingIsLostByKill9(t *testing.T) {
	for name, env := range map[string]string{"usual files": "CAUSEWAY_CRASH_SMALL=", "small files": "CAUSEWAY_CRASH_SMALL=1"} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 1))
			dir, l := t.TempDir(), storetest.NewLedger(nil)
			n := rounds(t, 8)
			for i := range n {
				runChild(t, dir, l, uint64(i), 1+rnd.IntN(2000), env)
				opts := &Options{Logger: quiet()}
				if env[len(env)-1] == '1' {
					opts = small()
				}
				s, err := Open(dir, opts)
				if err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				if err := l.Check(t.Context(), s); err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				if i%3 == 0 { // or else killed again on what recovery left
					s.Close()
				} else {
					abandonStore(s)
				}
			}
			t.Logf("%d kills, %d acknowledged writes, 0 lost", n, l.Acked())
		})
	}
}

// abandonStore gives the directory up as a killed process does: without an index.
func abandonStore(s *Store) {
	s.fail(errors.New("abandoned by the test"))
	s.Close()
}
