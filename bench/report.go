package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/promise"
	"github.com/causeway-mcp/causeway/bench/internal/spread"
)

func (w window) rate() float64 { return w.PerSecond }
func (w window) cpu() float64  { return float64(w.CPU) }

// ratios are of the same round each.
func ratios(a, b []window, of func(window) float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		out = append(out, of(a[i])/of(b[i]))
	}
	return out
}

func (s series) rateRatio() spread.Spread { return spread.Of(ratios(s.windows, s.bare, window.rate)) }
func (s series) cpuRatio() spread.Spread  { return spread.Of(ratios(s.windows, s.bare, window.cpu)) }

func (s series) median(of func(window) float64) float64 {
	var v []float64
	for _, w := range s.windows {
		v = append(v, of(w))
	}
	return spread.Of(v).Median
}

// A result is everything that one run found, as it is written to a file.
type result struct {
	Time    time.Time
	Go      string
	CPUs    int
	GOGC    string
	Clients int           `json:",omitempty"`
	Rounds  int           `json:",omitempty"`
	Length  time.Duration `json:",omitempty"` // of a round, nanoseconds
	Rows    []row         `json:",omitempty"`
	Memory  []holding     `json:",omitempty"`
	Idle    time.Duration `json:",omitempty"` // after which Causeway's sessions slept
	Gates   []promise.Gate
}

// A row is one variant. Medians are over rounds, ratios to the bare handler of the
// same round.
type row struct {
	Group, Server string
	PerSecond     float64
	CPU           float64 // µs of the server per request
	P50, P99      float64 // µs
	Bytes         float64 // allocated per request
	Objects       float64
	RateRatio     spread.Spread
	CPURatio      spread.Spread
	Windows       []window
}

func rows(all []series) []row {
	var out []row
	for _, s := range all {
		micros := func(of func(window) time.Duration) float64 {
			return s.median(func(w window) float64 { return float64(of(w)) / 1e3 })
		}
		out = append(out, row{
			Group: s.group.name, Server: s.variant.name,
			PerSecond: s.median(window.rate),
			CPU:       micros(func(w window) time.Duration { return w.CPU }),
			P50:       micros(func(w window) time.Duration { return w.P50 }),
			P99:       micros(func(w window) time.Duration { return w.P99 }),
			Bytes:     s.median(func(w window) float64 { return w.Bytes }),
			Objects:   s.median(func(w window) float64 { return w.Objects }),
			RateRatio: s.rateRatio(), CPURatio: s.cpuRatio(), Windows: s.windows,
		})
	}
	return out
}

func newResult(gogc string) result {
	return result{Time: time.Now().UTC(), Go: runtime.Version(), CPUs: runtime.NumCPU(), GOGC: gogc}
}

func (r result) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s, %d CPUs shared by server and load generator, GOGC=%s", r.Go, r.CPUs, r.GOGC)
	if len(r.Rows) > 0 {
		fmt.Fprintf(w, ", %d clients, %d alternating rounds of %s in %d turns\n", r.Clients, r.Rounds, r.Length, turnsPerRound)
		fmt.Fprintln(w, "tools/call add{a,b}; every answer checked. bare: net/http + encoding/json v1, decodes everything, validates nothing.")
		fmt.Fprintln(w, "Ratios: to bare in the same round, median (min–max).")
		if err := r.printRows(w); err != nil {
			return err
		}
	}
	if len(r.Memory) > 0 {
		fmt.Fprintf(w, "\nHeap and stacks after collection, per session or stream; Causeway's sessions sleep after %s:\n", r.Idle)
		if err := r.printMemory(w); err != nil {
			return err
		}
	}
	if len(r.Gates) > 0 {
		fmt.Fprintln(w, "\nPromises:")
	}
	for _, g := range r.Gates {
		fmt.Fprintln(w, "  "+g.String())
	}
	return nil
}

func (r result) printRows(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	group := ""
	for _, row := range r.Rows {
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(t, "\n%s\treq/s\tof bare\tCPU µs\tof bare\tp50 ms\tp99 ms\tallocs\tbytes\n", group)
		}
		fmt.Fprintf(t, "  %s\t%.0f\t%s\t%.1f\t%s\t%.2f\t%.2f\t%.0f\t%.0f\n", row.Server, row.PerSecond, row.RateRatio,
			row.CPU, row.CPURatio, row.P50/1e3, row.P99/1e3, row.Objects, row.Bytes)
	}
	return t.Flush()
}

func (r result) printMemory(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  server\twhat\tcount\tbytes each\theap\tstacks\tgoroutines")
	for _, h := range r.Memory {
		fmt.Fprintf(t, "  %s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.2f\n", h.Server, h.Thing, h.Count, h.Bytes, h.Heap, h.Stacks, h.Goroutines)
	}
	return t.Flush()
}

func writeJSON(file string, results []result) error {
	b, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
