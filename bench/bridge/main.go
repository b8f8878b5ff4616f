// Bridge compares `causeway connect` with mcp-remote, side by side on this machine: both
// stand on stdio for the same small server, and do the same work in turns.
//
//	go run ./bridge          # about two minutes
//	go run ./bridge -gate    # exit 1 where a promise is missed
//
// It needs Node and mcp-remote, as `npm ci` in e2e/ installs them. Linux only: what is
// resident is read from /proc.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "bridge:", err)
		os.Exit(1)
	}
}

// A plan is how much is measured.
type plan struct {
	starts, calls int
	gate          bool
	slack         float64
}

func run(args []string) (err error) {
	p := plan{}
	f := flag.NewFlagSet("bridge", flag.ContinueOnError)
	f.IntVar(&p.starts, "starts", 15, "measured `starts` of each")
	f.IntVar(&p.calls, "calls", 2000, "sequential `calls` of each")
	f.BoolVar(&p.gate, "gate", false, "exit with 1 if a promise is missed")
	f.Float64Var(&p.slack, "slack", 1, "`factor` on what the promises ask of time, at most 1, for machines with other work")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "causeway-bench-bridge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	subjects, err := prepare(dir)
	if err != nil {
		return err
	}
	s, err := startServer()
	if err != nil {
		return err
	}
	defer s.Close()
	results, err := p.measure(subjects, s)
	if err != nil {
		return err
	}
	return p.report(results)
}

// A subject is a bridge that is measured.
type subject struct {
	name string
	argv []string
	env  []string
}

// prepare builds ours and finds theirs.
func prepare(dir string) ([]subject, error) {
	causeway := filepath.Join(dir, "bin", "causeway")
	build := exec.Command("go", "build", "-C", "..", "-trimpath", "-ldflags=-s -w", "-o", causeway, "./cmd/causeway")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building causeway: %w\n%s", err, out)
	}
	node, remote := "../e2e/node_modules/node/bin/node", "../e2e/node_modules/mcp-remote/dist/proxy.js"
	for _, path := range []string{node, remote} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%w: run `npm ci` in e2e/ first", err)
		}
	}
	env := append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_CONFIG_HOME="+dir, "MCP_REMOTE_CONFIG_DIR="+filepath.Join(dir, "mcp-auth"))
	return []subject{
		{"mcp-remote 0.15.1", []string{node, remote, "URL", "--allow-http"}, env},
		{"causeway connect", []string{causeway, "connect", "URL"}, env},
	}, nil
}

// A result is what was seen of one subject; the first is that of no bridge at all.
type result struct {
	name       string
	starts     []time.Duration
	calls      []time.Duration
	resident   int // KiB, idle after tools/list
	shared     int // KiB of it, each page shared out among those that map it (PSS)
	afterLarge int // KiB, after 200 results of 256 KiB
	left       int // sessions
}

func (p plan) measure(subjects []subject, s *server) ([]result, error) {
	direct := result{name: "no bridge"}
	results := make([]result, len(subjects))
	for i, subject := range subjects {
		results[i].name = subject.name
		if _, err := start(subject, s.url); err != nil { // disks and caches get warm
			return nil, err
		}
	}
	for range p.starts {
		for i, subject := range subjects {
			took, err := start(subject, s.url)
			if err != nil {
				return nil, err
			}
			results[i].starts = append(results[i].starts, took)
		}
	}
	if err := p.inTurns(subjects, results, &direct, s); err != nil {
		return nil, err
	}
	for i, subject := range subjects {
		left, err := sessionsLeft(subject, s)
		if err != nil {
			return nil, err
		}
		results[i].left = left
	}
	return append([]result{direct}, results...), nil
}

// inTurns makes calls through each subject and through none, a hundred at a time.
func (p plan) inTurns(subjects []subject, results []result, direct *result, s *server) error {
	hosts := make([]*host, len(subjects))
	for i, subject := range subjects {
		h, err := open(subject, s.url)
		if err != nil {
			return err
		}
		defer h.close()
		hosts[i] = h
	}
	time.Sleep(time.Second)
	for i, h := range hosts {
		results[i].resident, results[i].shared = h.memory()
	}
	const turn = 100
	for made := 0; made < p.calls; made += turn {
		for range turn {
			took, err := s.direct()
			if err != nil {
				return err
			}
			direct.calls = append(direct.calls, took)
		}
		for i, h := range hosts {
			for range turn {
				took, err := h.call("echo")
				if err != nil {
					return err
				}
				results[i].calls = append(results[i].calls, took)
			}
		}
	}
	for i, h := range hosts {
		for range 200 {
			if _, err := h.call("large"); err != nil {
				return err
			}
		}
		results[i].afterLarge, _ = h.memory()
	}
	return nil
}

// sessionsLeft starts a subject eight times and counts what stays open at the server.
func sessionsLeft(subject subject, s *server) (int, error) {
	before := s.sessions()
	for i := range 8 {
		h, err := open(subject, s.url)
		if err != nil {
			return 0, err
		}
		if i%2 == 0 {
			h.close()
		} else {
			h.terminate()
		}
	}
	return s.sessions() - before, nil
}

func median(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func (p plan) report(results []result) error {
	direct, theirs, ours := results[0], results[1], results[2]
	added := func(r result) time.Duration { return max(median(r.calls)-median(direct.calls), 0) }
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
	mib := func(kib int) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t%s\t%s\tratio\tpromise\t\n", theirs.name, ours.name)
	missed := 0
	row := func(what, a, b string, ratio, promise float64, timed bool) {
		verdict := ""
		if promise > 0 {
			allowed := promise
			if timed {
				allowed /= p.slack
			}
			verdict = fmt.Sprintf("≤ %.3f kept", promise)
			if ratio > allowed {
				verdict = fmt.Sprintf("≤ %.3f MISSED", promise)
				missed++
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%s\t\n", what, a, b, ratio, verdict)
	}
	ratio := func(a, b int64) float64 { return float64(b) / float64(cmp.Or(a, 1)) }
	row("warm start to the first tools/list", ms(median(theirs.starts)), ms(median(ours.starts)), ratio(int64(median(theirs.starts)), int64(median(ours.starts))), 0.1, true)
	row("resident memory, idle", mib(theirs.resident), mib(ours.resident), ratio(int64(theirs.resident), int64(ours.resident)), 0.2, false)
	row("of it its own (PSS)", mib(theirs.shared), mib(ours.shared), ratio(int64(theirs.shared), int64(ours.shared)), 0, false)
	row("resident after 200 results of 256 KiB", mib(theirs.afterLarge), mib(ours.afterLarge), ratio(int64(theirs.afterLarge), int64(ours.afterLarge)), 0, false)
	row("a call (median; "+ms(median(direct.calls))+" without a bridge)", ms(median(theirs.calls)), ms(median(ours.calls)), ratio(int64(median(theirs.calls)), int64(median(ours.calls))), 0, false)
	row("added to a call", ms(added(theirs)), ms(added(ours)), ratio(int64(added(theirs)), int64(added(ours))), 0.25, true)
	verdict := "0 kept"
	if ours.left != 0 {
		verdict, missed = "0 MISSED", missed+1
	}
	fmt.Fprintf(w, "sessions left behind after 8 starts\t%d\t%d\t\t%s\t\n", theirs.left, ours.left, verdict)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\n%d starts and %d calls of each, in turns; medians.\n", p.starts, p.calls)
	if p.gate && missed > 0 {
		return fmt.Errorf("%d promises are missed", missed)
	}
	return nil
}
