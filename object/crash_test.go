package object_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
)

// The test binary is its own victim: with this variable it works on objects in the directory named there,
// tells on descriptor 3 what was acknowledged, and is killed.
const (
	crashChild    = "CAUSEWAY_OBJECT_CRASH_CHILD"
	crashTooEarly = "CAUSEWAY_OBJECT_CRASH_TOO_EARLY" // break the promise: tell before the gate opens
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashChild); dir != "" {
		fmt.Fprintln(os.Stderr, workUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func crashRounds(t *testing.T, usual int) int {
	if s := os.Getenv("CAUSEWAY_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		must(t, err)
		return n
	}
	if testing.Short() {
		return usual / 4
	}
	return usual
}

// tally is the state of a crash test's objects: how often each kind of write was made.
type tally struct{ States, Units int }

const crashObjects = 6

// ledger is what was acknowledged for each object: a name of a counter and its value.
type ledger map[string]int

func (l ledger) note(line string) error {
	name, n, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		return nil // cut off by the kill: it was not told
	}
	v, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	l[name] = max(l[name], v)
	return nil
}

func openCrash(dir string, synced func(string)) (*local.Store, *object.Host, *object.Kind[tally], error) {
	s, err := local.Open(filepath.Join(dir, "log"), &local.Options{Logger: quiet, SegmentSize: 256 << 10, Segments: 3, IndexEvery: 500})
	if err != nil {
		return nil, nil, nil, err
	}
	h, err := object.NewHost(s, &object.Options{Dir: filepath.Join(dir, "objects"), Logger: quiet, IdleAfter: 15 * time.Millisecond, MaxOpen: 3})
	if err != nil {
		return nil, nil, nil, errors.Join(err, s.Close())
	}
	h.TuneForTests(synced)
	k, err := object.Register(h, object.Spec[tally]{Name: "tally", OnJob: func(ctx context.Context, o *object.Object[tally], j object.Job) error {
		_, err := object.Once(ctx, o, j.ID, func(ctx context.Context, tx object.Tx, _ *tally) (int, error) {
			_, err := tx.ExecContext(ctx, "INSERT INTO jobs(id) VALUES(?)", j.ID)
			return 0, err
		})
		return err
	}})
	if err == nil {
		err = h.Start(context.Background())
	}
	return s, h, k, err
}

func workUntilKilled(dir string) error {
	_, _, k, err := openCrash(dir, nil)
	if err != nil {
		return err
	}
	out := os.NewFile(3, "trace")
	var wg sync.WaitGroup
	errs := make([]error, crashObjects)
	for i := range errs {
		wg.Go(func() {
			errs[i] = workOn(context.Background(), k.Get(fmt.Sprint(i)), rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(i))), 1<<30, func(name string, v int) {
				fmt.Fprintf(out, "%d/%s %d\n", i, name, v)
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// workOn makes writes of every sort, each counting one further, and tells what was acknowledged.
func workOn(ctx context.Context, o *object.Object[tally], rnd *rand.Rand, steps int, told func(string, int)) error {
	db, err := o.SQL(ctx)
	if err != nil {
		return err
	}
	const schema = `CREATE TABLE IF NOT EXISTS lone(n INTEGER PRIMARY KEY, pad BLOB);
		CREATE TABLE IF NOT EXISTS unit(n INTEGER PRIMARY KEY, pad BLOB); CREATE TABLE IF NOT EXISTS jobs(id TEXT PRIMARY KEY)`
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	for range steps {
		ctx, end := context.WithCancel(ctx)
		err := step(ctx, o, rnd, told)
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

func step(ctx context.Context, o *object.Object[tally], rnd *rand.Rand, told func(string, int)) error {
	pad := []int{10, 300, 5000, 60_000}[rnd.IntN(4)]
	switch rnd.IntN(8) {
	case 0, 1:
		st, err := o.Update(ctx, func(t *tally) error { t.States++; return nil })
		if err == nil {
			told("state", st.States)
		}
		return err
	case 2, 3:
		db, err := o.SQL(ctx)
		if err != nil {
			return err
		}
		var n int
		err = db.QueryRowContext(ctx, "INSERT INTO lone(pad) VALUES(randomblob(?)) RETURNING n", pad).Scan(&n)
		if err == nil {
			told("lone", n)
		}
		return err
	case 4, 5:
		n := 0
		err := o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *tally) error {
			st.Units++
			n = st.Units
			if _, err := o.Enqueue(ctx, "job", nil, &object.JobOptions{ID: fmt.Sprint(n)}); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO unit(n, pad) VALUES(?, randomblob(?))", n, pad)
			return err
		})
		if err == nil {
			told("unit", n)
		}
		return err
	case 6: // run ahead, and tell only what the gate has let out
		ctx, call := effect.NewCall(ctx)
		call.Gate()
		n := 0
		for range 1 + rnd.IntN(20) {
			st, err := o.Update(ctx, func(t *tally) error { t.States++; return nil })
			if err != nil {
				return err
			}
			n = st.States
		}
		if os.Getenv(crashTooEarly) != "" {
			told("state", n)
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Kill() // at the worst moment
				select {}
			}
		}
		err := call.Flush(ctx)
		if err == nil {
			told("state", n)
		}
		return err
	default:
		if rnd.IntN(3) > 0 {
			time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond) // fall asleep
			return nil
		}
		// Old rows make room, so that databases shrink and pages are used again.
		db, err := o.SQL(ctx)
		if err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, "UPDATE lone SET pad = NULL WHERE n < (SELECT max(n) - 5 FROM lone); UPDATE unit SET pad = NULL WHERE n < (SELECT max(n) - 5 FROM unit)"); err != nil {
			return err
		}
		return o.Vacuum(ctx)
	}
}

// verify opens the directory and tells where an object differs from what was acknowledged.
func verify(t *testing.T, dir string, acked ledger, wrong func(format string, args ...any)) {
	t.Helper()
	s, h, k, err := openCrash(dir, nil)
	if err != nil {
		t.Fatalf("open after the crash: %v", err)
	}
	defer func() { shut(t, h); must(t, s.Close()) }()
	for i := range crashObjects {
		o := k.Get(fmt.Sprint(i))
		st := state(t, o)
		if _, err := s.Stat(t.Context(), store.ObjectID{Kind: "tally", ID: o.ID()}); errors.Is(err, store.ErrNotFound) {
			if len(acked) > 0 && slices.ContainsFunc(slices.Collect(maps.Keys(acked)), func(n string) bool { return strings.HasPrefix(n, o.ID()+"/") }) {
				wrong("object %d is gone", i)
			}
			continue
		}
		if got := query[string](t, o, "PRAGMA integrity_check"); got != "ok" {
			wrong("object %d: integrity_check: %s", i, got)
		}
		has := query[int](t, o, "SELECT count(*) FROM sqlite_schema WHERE name = 'jobs'") == 1
		if !has {
			continue
		}
		for table, least := range map[string]int{"lone": acked[fmt.Sprint(i, "/lone")], "unit": acked[fmt.Sprint(i, "/unit")]} {
			rows := query[int](t, o, "SELECT count(*) FROM "+table)
			if last := query[int](t, o, "SELECT coalesce(max(n), 0) FROM "+table); last != rows {
				wrong("object %d: %s has %d rows and ends at %d", i, table, rows, last)
			}
			if rows < least {
				wrong("object %d: %s has %d rows, %d were acknowledged", i, table, rows, least)
			}
		}
		if units := query[int](t, o, "SELECT count(*) FROM unit"); units != st.Units {
			wrong("object %d: %d rows of units, but the state counts %d", i, units, st.Units)
		}
		if least := acked[fmt.Sprint(i, "/state")]; st.States < least {
			wrong("object %d: %d states, %d were acknowledged", i, st.States, least)
		}
		jobs, err := o.Jobs(t.Context())
		must(t, err)
		if done := query[int](t, o, "SELECT count(*) FROM jobs"); done+len(jobs) < st.Units {
			wrong("object %d: %d jobs done and %d waiting of %d", i, done, len(jobs), st.Units)
		}
	}
}

// killOnce starts the child on dir, kills it after a while, and returns how much it told.
func killOnce(t *testing.T, dir string, acked ledger, after time.Duration, env ...string) (told int) {
	t.Helper()
	trace, out, err := os.Pipe()
	must(t, err)
	cmd := osexec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), crashChild+"="+dir), env...)
	cmd.ExtraFiles = []*os.File{out}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	must(t, out.Close())
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for lines := bufio.NewReader(trace); ; told++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		must(t, acked.note(line))
	}
	_ = cmd.Wait()
	must(t, trace.Close())
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		t.Fatalf("the child ended by itself with %d: %s", code, stderr.String())
	}
	return told
}

// A process that is killed at any moment loses nothing that it acknowledged, and tears no unit.
func TestKilledProcessesLoseNothing(t *testing.T) {
	skipWithoutSelf(t)
	dir := t.TempDir()
	acked := ledger{}
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for round := range crashRounds(t, 12) {
		if round%10 == 9 { // a fresh one now and then
			dir, acked = t.TempDir(), ledger{}
		}
		told := killOnce(t, dir, acked, time.Duration(50+rnd.IntN(900))*time.Millisecond)
		verify(t, dir, acked, t.Errorf)
		if t.Failed() {
			t.Fatalf("round %d, after %d acknowledgements", round, told)
		}
	}
	t.Logf("acknowledged in the last directory: %v", acked)
}

// The harness must notice a process that acknowledges before anything is written.
func TestTheHarnessNoticesWhoTellsTooEarly(t *testing.T) {
	skipWithoutSelf(t)
	for range 20 {
		dir, acked, lost := t.TempDir(), ledger{}, 0
		killOnce(t, dir, acked, 10*time.Second, crashTooEarly+"=1")
		verify(t, dir, acked, func(string, ...any) { lost++ })
		if lost > 0 {
			return
		}
	}
	t.Error("20 kills of a process that tells too early, and nothing was missed")
}

func skipWithoutSelf(t *testing.T) {
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Skip("the test binary cannot start itself here")
	}
}

// A power failure also takes back what was written to database files but not flushed: any mix of their
// pages as last flushed and as written since must be repaired from the journal.
func TestAPowerFailureUnderDatabaseFilesIsRepaired(t *testing.T) {
	for round := range crashRounds(t, 3) {
		rnd := rand.New(rand.NewPCG(uint64(round), 99))
		dir := t.TempDir()
		var mu sync.Mutex
		flushed := map[string][]byte{}
		s, h, k, err := openCrash(dir, func(path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			flushed[path] = b
		})
		must(t, err)
		acked := ledger{}
		var wg sync.WaitGroup
		for i := range crashObjects {
			wg.Go(func() {
				err := workOn(t.Context(), k.Get(fmt.Sprint(i)), rand.New(rand.NewPCG(uint64(round), uint64(i))), 40, func(name string, v int) {
					mu.Lock()
					defer mu.Unlock()
					acked[fmt.Sprintf("%d/%s", i, name)] = v
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		must(t, s.Close()) // from here on nothing can be journalled, nor a file be made part of a snapshot
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		_ = h.Close(ctx)
		cancel()
		repairs := 0
		for path, image := range files(t, filepath.Join(dir, "objects")) {
			now, then := image, flushed[path]
			if rnd.IntN(3) == 0 && then == nil { // never flushed: even the name may be gone
				must(t, os.Remove(path))
				continue
			}
			for off := 0; off < len(now); off += 4096 {
				if rnd.IntN(2) == 0 {
					old := make([]byte, 4096)
					if off < len(then) {
						copy(old, then[off:])
					}
					if string(old) != string(now[off:min(off+4096, len(now))]) {
						repairs++
					}
					copy(now[off:], old)
				}
			}
			must(t, os.WriteFile(path, now, 0o600))
		}
		verify(t, dir, acked, t.Errorf)
		t.Logf("round %d: %d pages taken back", round, repairs)
		if t.Failed() {
			t.FailNow()
		}
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".db") {
			return err
		}
		out[path], err = os.ReadFile(path)
		return err
	}))
	return out
}
