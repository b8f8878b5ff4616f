package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/promise"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store/local"
)

// Promises about objects that sleep, in bytes each.
const (
	mostSleeperRAM  = 400
	mostSleeperDisk = 1000
)

// What is aimed at on a machine like the one the research was done on. It is reported, and
// not a gate, since it is the disk's business.
const aims = "aims: start 2 s with its index, wake p99 1 ms for state and 5 ms for SQL"

// sleeperChild is the first argument of the process that works with the sleepers: each step is
// done by a process of its own, so that memory is counted from nothing and a start is a start.
const sleeperChild = "sleeper-child"

// databases is how many of the sleepers have a database.
const databases = 500

type sleeperState struct {
	Counter int
	Name    string
	When    time.Time
}

func sleeperID(i int) string { return fmt.Sprintf("%032x", i) }

// sleepers makes s.sleepers objects, ends the process that made them with kill -9, and starts
// over them in every way.
func sleepers(s settings) ([]promise.Gate, error) {
	dir := filepath.Join(s.dir, "sleepers")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	made, err := sleeper("fill", dir, s.sleepers)
	if err != nil {
		return nil, err
	}
	disk := diskUse(dir)
	fmt.Printf("\n%d sleeping objects with a small state, %d of them with a database too; made in %.1f s, then killed with -9.\n", s.sleepers, databases, made.Took)
	fmt.Printf("  disk: %.0f bytes each. The index on disk was written %d times while they were made.\n", float64(disk)/float64(s.sleepers), made.Indexes)
	fmt.Printf("  %s\n\n", aims)
	var ram float64
	for _, start := range []struct {
		name        string
		cold, index bool
	}{
		{"after kill -9, page cache warm", false, true},
		{"page cache warm", false, true},
		{"page cache cold", true, true},
		{"without its index, warm", false, false},
		{"without its index, cold", true, false},
	} {
		if !start.index {
			if err := removeIndex(dir); err != nil {
				return nil, err
			}
		}
		reading := ""
		if start.cold {
			if err := dropCache(dir); err != nil {
				return nil, err
			}
			began := time.Now()
			n, err := readAll(filepath.Join(dir, "store"))
			if err != nil {
				return nil, err
			}
			reading = fmt.Sprintf("; the disk reads the same %d MB in %.2f s", n>>20, time.Since(began).Seconds())
			if err := dropCache(dir); err != nil {
				return nil, err
			}
		}
		r, err := sleeper("start", dir, s.sleepers)
		if err != nil {
			return nil, err
		}
		ram = max(ram, r.Bytes/float64(s.sleepers))
		fmt.Printf("  start, %-32s first answer after %.2f s; wake: state p50 %.2f p99 %.2f ms, SQL p50 %.2f p99 %.2f ms; %.0f bytes of RAM each%s\n",
			start.name+":", r.Took, r.StateP50, r.StateP99, r.SQLP50, r.SQLP99, r.Bytes/float64(s.sleepers), reading)
	}
	return []promise.Gate{
		promise.AtMost("sleeping object, bytes of RAM", mostSleeperRAM, ram),
		promise.AtMost("sleeping object, bytes on disk", mostSleeperDisk, float64(disk)/float64(s.sleepers)),
		promise.AtLeast("index written while objects are made, times for 100,000", 1, float64(made.Indexes)/max(1, float64(s.sleepers/100_000))),
	}, nil
}

// sleeperReport is what a child says on its standard output.
type sleeperReport struct {
	Took               float64 // seconds
	Bytes              float64
	StateP50, StateP99 float64 // ms
	SQLP50, SQLP99     float64
	Indexes            int
}

func sleeper(step, dir string, count int) (sleeperReport, error) {
	var r sleeperReport
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, sleeperChild, step, dir, strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if len(bytes.TrimSpace(out)) == 0 {
		return r, fmt.Errorf("%s: %w", step, err)
	}
	return r, json.Unmarshal(out, &r) // how it ended does not matter: one of them kills itself
}

func runSleeper(args []string) error {
	if len(args) != 3 {
		return errors.New("step, directory and count are needed")
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var r sleeperReport
	switch args[0] {
	case "fill":
		err = fill(&r, args[1], count)
	case "start":
		err = start(&r, args[1], count)
	default:
		err = fmt.Errorf("no such step: %q", args[0])
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	return self.Kill() // nothing is closed: the next start finds what a crash leaves
}

func openSleepers(dir string) (*object.Host, *object.Kind[sleeperState], error) {
	s, err := local.Open(filepath.Join(dir, "store"), nil)
	if err != nil {
		return nil, nil, err
	}
	h, err := object.NewHost(s, &object.Options{Dir: filepath.Join(dir, "objects"), IdleAfter: time.Second, MaxLive: 1000})
	if err != nil {
		return nil, nil, err
	}
	k, err := object.Register(h, object.Spec[sleeperState]{Name: "sleeper"})
	if err != nil {
		return nil, nil, err
	}
	return h, k, h.Start(context.Background())
}

func fill(r *sleeperReport, dir string, count int) error {
	began := time.Now()
	h, k, err := openSleepers(dir)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	counted := make(chan int)
	go func() { counted <- countIndexes(filepath.Join(dir, "store"), stop) }()
	ctx := context.Background()
	const writers = 256
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < count && errs[w] == nil; i += writers {
				o := k.Get(sleeperID(i))
				errs[w] = o.SetState(ctx, sleeperState{i, "the small state of an object that sleeps", began.UTC()})
				if every := max(1, count/databases); errs[w] == nil && i%every == 0 {
					errs[w] = o.Tx(ctx, func(ctx context.Context, tx object.Tx, _ *sleeperState) error {
						_, err := tx.ExecContext(ctx, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 42)")
						return err
					})
				}
			}
		})
	}
	wg.Wait()
	r.Took = time.Since(began).Seconds()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if live, _ := h.Live(); live == 0 {
			break
		}
	}
	close(stop)
	r.Indexes = <-counted
	return errors.Join(errs...)
}

// countIndexes watches the index file be replaced.
func countIndexes(dir string, stop <-chan struct{}) int {
	var last time.Time
	n := 0
	for {
		if newest := newestIndex(dir); newest.After(last) {
			last = newest
			n++
		}
		select {
		case <-stop:
			return n
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func isIndex(name string) bool { return name == "INDEX" || name == "index" }

func newestIndex(dir string) time.Time {
	var newest time.Time
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && isIndex(d.Name()) {
			if info, err := d.Info(); err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
		return nil
	})
	return newest
}

func removeIndex(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && isIndex(d.Name()) {
			return os.Remove(path)
		}
		return err
	})
}

// start opens the directory as a process that starts does, and wakes objects at random.
func start(r *sleeperReport, dir string, count int) error {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	_, k, err := openSleepers(dir)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(7, uint64(began.UnixNano())))
	if err := wakeState(k, rnd.IntN(count)); err != nil {
		return err
	}
	r.Took = time.Since(began).Seconds()
	runtime.GC()
	runtime.ReadMemStats(&after)
	r.Bytes = float64(after.HeapAlloc+after.StackInuse) - float64(before.HeapAlloc+before.StackInuse)
	if r.StateP50, r.StateP99, err = wakes(2000, func(int) error { return wakeState(k, rnd.IntN(count)) }); err != nil {
		return err
	}
	every := max(1, count/databases)
	order := rnd.Perm(min(databases, (count+every-1)/every))
	r.SQLP50, r.SQLP99, err = wakes(len(order), func(i int) error { return wakeSQL(k, order[i]*every) })
	return err
}

func wakeState(k *object.Kind[sleeperState], i int) error {
	st, err := k.Get(sleeperID(i)).State(context.Background())
	if err == nil && st.Counter != i {
		err = fmt.Errorf("object %d has the state of %d", i, st.Counter)
	}
	return err
}

func wakeSQL(k *object.Kind[sleeperState], i int) error {
	ctx := context.Background()
	db, err := k.Get(sleeperID(i)).SQL(ctx)
	if err != nil {
		return err
	}
	var n int
	if err := db.QueryRowContext(ctx, "SELECT n FROM t WHERE id = 1").Scan(&n); err != nil {
		return fmt.Errorf("object %d: %w", i, err)
	}
	if n != 42 {
		return fmt.Errorf("object %d has %d in its database", i, n)
	}
	return nil
}

func wakes(n int, wake func(int) error) (p50, p99 float64, err error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := wake(i); err != nil {
			return 0, 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return ms(took[n/2]), ms(took[n*99/100]), nil
}

func diskUse(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			total += onDisk(info)
		}
		return nil
	})
	return total
}

// readAll reads every file, as the disk's own measure of a cold start.
func readAll(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		m, err := io.Copy(io.Discard, f)
		n += m
		return errors.Join(err, f.Close())
	})
	return n, err
}
