package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/promise"
	"github.com/causeway-mcp/causeway/bench/internal/spread"
)

// Promises, beside a plain SQLite file for each object.
const (
	leastSQL   = 2.0
	mostP99    = 0.25
	leastState = 3.0
	leastTurns = 5
)

// throughput lets the contenders write in turns, in another order each round, so that
// what the machine does meanwhile hits all of them alike.
func throughput(s settings) (gates []promise.Gate, err error) {
	var all []*contender
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.close())
		}
	}()
	for i, open := range []func(dir string) (*contender, error){
		func(dir string) (*contender, error) { return plainSQLite("SQLite, WAL+FULL", dir, s.objects) },
		func(dir string) (*contender, error) { return plainSQLite("the same again (A/A)", dir, s.objects) },
		func(dir string) (*contender, error) { return ourSQL(dir, s.objects) },
		func(dir string) (*contender, error) { return ourTx(dir, s.objects) },
		func(dir string) (*contender, error) { return ourState(dir, s.objects) },
		theDisk,
	} {
		dir := filepath.Join(s.dir, fmt.Sprint("contender-", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		c, err := open(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		if _, err := c.run(writers(c, s.objects), s.length/4); err != nil { // warm
			return nil, err
		}
	}
	tallies := make([][]tally, len(all))
	for round := range s.rounds {
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", round+1, s.rounds)
		for turn := range all {
			i := (round + turn) % len(all)
			if tallies[i], err = again(tallies[i], all[i], s); err != nil {
				return nil, err
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return report(s, all, tallies)
}

func again(t []tally, c *contender, s settings) ([]tally, error) {
	got, err := c.run(writers(c, s.objects), s.length)
	return append(t, got), err
}

func writers(c *contender, objects int) int {
	if c.turns == nil && c.name[0] == 'f' {
		return 1 // the disk itself
	}
	return objects
}

func ratio(a, b []tally, of func(tally) float64) spread.Spread {
	var v []float64
	for i := range a {
		v = append(v, of(a[i])/of(b[i]))
	}
	return spread.Of(v)
}

func rate(t tally) float64 { return t.perSecond }
func slow(t tally) float64 { return float64(t.p99) }

func report(s settings, all []*contender, tallies [][]tally) ([]promise.Gate, error) {
	fmt.Printf("\n%s, %d CPUs; %d objects, one writer each, every write durable before it returns; %d alternating rounds of %s.\n",
		runtime.Version(), runtime.NumCPU(), s.objects, s.rounds, s.length)
	fmt.Println("Ratios: to plain SQLite in the same round, median (min–max). Flushes: writes/s as a multiple of what the disk flushes one at a time.")
	plain, disk := tallies[0], tallies[len(tallies)-1]
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\n  \twrites/s\tof SQLite\tflushes\tp50 ms\tp99 ms\tof SQLite\tturns of the log")
	var gates []promise.Gate
	for i, c := range all {
		t := tallies[i]
		var perSecond, p50, p99 []float64
		for _, x := range t {
			perSecond, p50, p99 = append(perSecond, x.perSecond), append(p50, ms(x.p50)), append(p99, ms(x.p99))
		}
		turns := ""
		if c.turns != nil {
			n := c.turns()
			turns = fmt.Sprintf("%.1f", n)
			gates = append(gates, promise.AtLeast(c.name+": turns of the log", leastTurns, n))
		}
		fmt.Fprintf(w, "  %s\t%.0f\t%s\t%.2f\t%.2f\t%.2f\t%s\t%s\n", c.name, spread.Of(perSecond).Median, ratio(t, plain, rate),
			ratio(t, disk, rate).Median, spread.Of(p50).Median, spread.Of(p99).Median, ratio(t, plain, slow), turns)
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return append(gates,
		promise.AtLeast("Object.SQL: transactions/s of SQLite", leastSQL*s.slack, ratio(tallies[2], plain, rate).Median),
		promise.AtMost("Object.SQL: p99 of SQLite", mostP99/s.slack, ratio(tallies[2], plain, slow).Median),
		promise.AtLeast("Object.Update: updates/s of SQLite", leastState*s.slack, ratio(tallies[4], plain, rate).Median)), nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
