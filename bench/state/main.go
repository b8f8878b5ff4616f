// State compares Causeway's durable objects with what people do without them: a SQLite
// file for each user, WAL, synchronous=FULL, through database/sql. And it counts what a
// million sleeping objects hold, and how long a start over them takes.
//
//	go run ./state                   # throughput: 9 alternating rounds, about 2 minutes
//	go run ./state -sleepers 1000000 # the sleeping objects as well, about 3 minutes more
//	go run ./state -gate -slack 0.7  # exit 1 where a promise is missed by more than that
//	go run ./state -counter          # examples/counter over HTTP beside a bare handler
//
// All of it is on disk, in a temporary directory under -dir.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/promise"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == sleeperChild {
		exit(runSleeper(os.Args[2:]))
	}
	exit(run(os.Args[1:]))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "state:", err)
	os.Exit(1)
}

// settings are the flags.
type settings struct {
	dir      string
	rounds   int
	length   time.Duration
	objects  int
	sleepers int
	counter  bool
	gate     bool
	slack    float64
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("state", flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", os.TempDir(), "`directory` on the disk to measure")
	f.IntVar(&s.rounds, "rounds", 9, "alternating `rounds`; 0 leaves throughput out")
	f.DurationVar(&s.length, "d", 2*time.Second, "measured `time` of each contender in each round")
	f.IntVar(&s.objects, "objects", 64, "busy `objects`, each with one writer")
	f.IntVar(&s.sleepers, "sleepers", 0, "sleeping `objects` to count; 0 leaves them out")
	f.BoolVar(&s.counter, "counter", false, "examples/counter over HTTP as well")
	f.BoolVar(&s.gate, "gate", false, "exit with 1 if a promise is missed")
	f.Float64Var(&s.slack, "slack", 1, "`factor` on what the promises ask of time, at most 1, for machines with other work")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("%q is not a flag; see -h", f.Arg(0))
	case s.rounds < 0 || s.length <= 0 || s.objects < 1 || s.sleepers < 0:
		return s, errors.New("-d and -objects must be positive, -rounds and -sleepers not negative")
	case s.slack <= 0 || s.slack > 1:
		return s, errors.New("-slack must be more than 0 and at most 1")
	}
	return s, nil
}

func run(args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "causeway-state-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s.dir = dir
	var gates []promise.Gate
	for _, part := range []struct {
		wanted bool
		run    func(settings) ([]promise.Gate, error)
	}{
		{s.rounds > 0, throughput},
		{s.counter, counterOverHTTP},
		{s.sleepers > 0, sleepers},
	} {
		if !part.wanted {
			continue
		}
		g, err := part.run(s)
		if err != nil {
			return err
		}
		gates = append(gates, g...)
	}
	fmt.Println("\nPromises:")
	for _, g := range gates {
		fmt.Println("  " + g.String())
	}
	if n := promise.Missed(gates); s.gate && n > 0 {
		return fmt.Errorf("%d promises are missed", n)
	}
	return nil
}
