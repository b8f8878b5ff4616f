// Bench compares Causeway with a bare net/http handler, the stock handler of go-sdk
// and mcp-go, side by side on this machine: requests per second, CPU and latency of
// a validated tools/call in both protocol eras, and what sessions and streams hold.
//
//	go run .                        # throughput, about 5 minutes
//	go run . -mem                   # memory as well
//	go run . -gate -slack 0.7       # exit 1 where a promise is missed by more than that
//	go run . -gogc 100,1000         # once per setting of the servers' garbage collector
//	go run . -profile DIR           # CPU and allocation profiles of Causeway
//
// Each server is a program of its own, under server/. This one is the load generator.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	exit(run(os.Args[1:]))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// settings are the flags.
type settings struct {
	plan
	gogcs    string
	quick    bool
	memory   bool
	onlyMem  bool
	count    int
	sleep    time.Duration
	gate     bool
	slack    float64
	jsonFile string
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&s.rounds, "rounds", 9, "alternating `rounds`")
	f.DurationVar(&s.length, "d", time.Second, "measured `time` of each round")
	f.DurationVar(&s.warm, "warm", 300*time.Millisecond, "`time` of each round that is not measured")
	f.IntVar(&s.clients, "clients", 32, "`clients`, each with one request in flight")
	f.StringVar(&s.gogcs, "gogc", "100", "GOGC of the servers; several `values`, separated by commas, are run one after the other")
	f.StringVar(&s.only, "only", "", "run only groups whose name contains `text`")
	f.BoolVar(&s.quick, "quick", false, "3 rounds of 300 ms, 1,000 sessions: a check that all of it works, not a measurement")
	f.BoolVar(&s.memory, "mem", false, "measure memory as well")
	f.BoolVar(&s.onlyMem, "only-mem", false, "measure memory only")
	f.IntVar(&s.count, "count", 10_000, "`sessions`, and streams, for the memory")
	f.DurationVar(&s.sleep, "sleep", 4*time.Second, "idle `time` after which Causeway's sessions leave memory in the memory test (the library's default is 60s)")
	f.BoolVar(&s.gate, "gate", false, "exit with 1 if a promise is missed")
	f.Float64Var(&s.slack, "slack", 1, "`factor` on what the promises ask of time, at most 1, for machines with other work")
	f.StringVar(&s.jsonFile, "json", "", "write everything to this `file` too")
	f.StringVar(&s.profiles, "profile", "", "write profiles of Causeway to this `directory`")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if s.quick {
		s.rounds, s.length, s.count, s.sleep = 3, 300*time.Millisecond, 1000, time.Second
	}
	s.log = os.Stderr
	return s, s.check(f.Args())
}

func (s settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not a flag; see -h", rest[0])
	case s.rounds < 1 || s.length <= 0 || s.clients < 1 || s.count < 1:
		return errors.New("-rounds, -d, -clients and -count must be positive")
	case s.slack <= 0 || s.slack > 1:
		return errors.New("-slack must be more than 0 and at most 1")
	}
	return nil
}

func run(args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	srv, err := buildServers()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.remove()) }()
	s.servers = srv
	var results []result
	missed := 0
	for i, gogc := range strings.Split(s.gogcs, ",") {
		r, err := s.once(strings.TrimSpace(gogc), i == 0)
		if err != nil {
			return err
		}
		if err := r.print(os.Stdout); err != nil {
			return err
		}
		results = append(results, r)
		for _, g := range r.Gates {
			if !g.Passes() {
				missed++
			}
		}
	}
	if s.jsonFile != "" {
		if err := writeJSON(s.jsonFile, results); err != nil {
			return err
		}
	}
	if s.gate && missed > 0 {
		return fmt.Errorf("%d promises are missed", missed)
	}
	return nil
}

// once runs everything with one setting of the collector. Promises are about the
// default, which is the first.
func (s settings) once(gogc string, first bool) (result, error) {
	r := newResult(gogc)
	if !s.onlyMem {
		p := s.plan
		p.gogc = gogc
		all, err := p.runGroups()
		if err != nil {
			return r, err
		}
		r.Clients, r.Rounds, r.Length, r.Rows = s.clients, s.rounds, s.length, rows(all)
		if first {
			r.Gates = rateGates(all, s.slack)
		}
	}
	if (s.memory || s.onlyMem) && first {
		all, err := census{servers: s.servers, count: s.count, sleep: s.sleep, gogc: gogc, profiles: s.profiles, log: s.log}.run()
		if err != nil {
			return r, err
		}
		r.Idle, r.Memory, r.Gates = s.sleep, all, append(r.Gates, memoryGates(all)...)
	}
	return r, nil
}
