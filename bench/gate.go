package main

import "fmt"

// A gate is a promise and what was measured of it.
type gate struct {
	Name     string
	Limit    float64
	Least    bool // the limit is the least that is good; else the most
	Measured float64
}

// Promises. Ratios of requests per second and of CPU are to the bare handler with
// the same requests and the same form of answer.
const (
	leastRateSessions  = 0.80
	leastRateStateless = 0.75
	mostCPUSessions    = 1.4
	mostCPUStateless   = 1.6
	leastOverStock     = 3.0
	mostLiveBytes      = 3000
	mostIdleBytes      = 600
	mostGoroutines     = 0.01 // per session: none, but for what the server has once
	mostStreamRatio    = 1.15
)

// passes tells whether the promise is kept. slack, at most 1, lowers what is asked
// for of ratios of time on machines that other work disturbs.
func (g gate) passes() bool {
	if g.Least {
		return g.Measured >= g.Limit
	}
	return g.Measured <= g.Limit
}

func (g gate) String() string {
	sign, verdict := "≤", "ok"
	if g.Least {
		sign = "≥"
	}
	if !g.passes() {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%-62s %10.4g  %s %-9.4g %s", g.Name, g.Measured, sign, g.Limit, verdict)
}

// rateGates judges throughput.
func rateGates(all []series, slack float64) []gate {
	var gates []gate
	for _, s := range all {
		switch s.variant.name {
		case ours:
			rate, cpu := leastRateSessions, mostCPUSessions
			if s.variant.era == stateless {
				rate, cpu = leastRateStateless, mostCPUStateless
			}
			gates = append(gates,
				gate{s.group.name + ": req/s of bare", rate * slack, true, s.rateRatio().Median},
				gate{s.group.name + ": CPU of bare", cpu / slack, false, s.cpuRatio().Median})
		case oursTyped:
			if theirs, ok := find(all, s.group, stock); ok {
				gates = append(gates, gate{s.group.name + ": SDK-typed, req/s of stock", leastOverStock * slack, true,
					spreadOf(ratios(s.windows, theirs.windows, window.rate)).Median})
			}
		}
	}
	return gates
}

func find(all []series, g group, name string) (series, bool) {
	for _, s := range all {
		if s.group.name == g.name && s.variant.name == name {
			return s, true
		}
	}
	return series{}, false
}

// memoryGates judges footprints. They are counted, not timed, so there is no slack.
func memoryGates(all []holding) []gate {
	var gates []gate
	var floor float64
	for _, h := range all {
		switch {
		case h.Server == "bare" && h.Thing == openedStream:
			floor = h.Bytes
		case h.Server == ours && h.Thing == liveSession:
			gates = append(gates, gate{"live session, bytes", mostLiveBytes, false, h.Bytes},
				gate{"live session, goroutines", mostGoroutines, false, h.Goroutines})
		case h.Server == ours && h.Thing == idleSession:
			gates = append(gates, gate{"idle session, bytes", mostIdleBytes, false, h.Bytes},
				gate{"idle session, goroutines", mostGoroutines, false, h.Goroutines})
		case h.Server == ours && h.Thing == openedStream:
			gates = append(gates, gate{"open GET stream with its session, bytes of bare", mostStreamRatio, false, h.Bytes / floor})
		}
	}
	return gates
}
