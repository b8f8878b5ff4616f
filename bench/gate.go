package main

import (
	"strings"

	"github.com/causeway-mcp/causeway/bench/internal/promise"
	"github.com/causeway-mcp/causeway/bench/internal/spread"
)

// Promises. Ratios of requests per second and of CPU are to the bare handler with
// the same requests and the same form of answer.
const (
	leastRateSessions  = 0.80
	leastRateStateless = 0.75
	mostCPUSessions    = 1.4
	mostCPUStateless   = 1.6
	leastSignedIn      = 0.85 // of the same server without sign-in
	leastOverStock     = 3.0
	mostLiveBytes      = 3000
	mostIdleBytes      = 600
	mostGoroutines     = 0.01 // per session: none, but for what the server has once
	mostStreamRatio    = 1.15
)

// rateGates judges throughput. slack, at most 1, lowers what is asked for of ratios of
// time on machines that other work disturbs.
func rateGates(all []series, slack float64) []promise.Gate {
	var gates []promise.Gate
	for _, s := range all {
		switch s.variant.name {
		case ours:
			rate, cpu := leastRateSessions, mostCPUSessions
			if s.variant.era == stateless {
				rate, cpu = leastRateStateless, mostCPUStateless
			}
			gates = append(gates,
				promise.AtLeast(s.group.name+": req/s of bare", rate*slack, s.rateRatio().Median),
				promise.AtMost(s.group.name+": CPU of bare", cpu/slack, s.cpuRatio().Median))
		case signedIn:
			if open, ok := find(all, s.group, ours); ok {
				gates = append(gates, promise.AtLeast(s.group.name+": signed in, req/s of open", leastSignedIn*slack,
					spread.Of(ratios(s.windows, open.windows, window.rate)).Median))
			}
		case oursTyped, oneLine:
			if theirs, ok := find(all, s.group, stock); ok {
				gates = append(gates, promise.AtLeast(s.group.name+": "+strings.TrimPrefix(s.variant.name, "causeway, ")+", req/s of stock", leastOverStock*slack,
					spread.Of(ratios(s.windows, theirs.windows, window.rate)).Median))
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
func memoryGates(all []holding) []promise.Gate {
	var gates []promise.Gate
	var floor float64
	for _, h := range all {
		switch {
		case h.Server == "bare" && h.Thing == openedStream:
			floor = h.Bytes
		case h.Server == ours && h.Thing == liveSession:
			gates = append(gates, promise.AtMost("live session, bytes", mostLiveBytes, h.Bytes),
				promise.AtMost("live session, goroutines", mostGoroutines, h.Goroutines))
		case h.Server == ours && h.Thing == idleSession:
			gates = append(gates, promise.AtMost("idle session, bytes", mostIdleBytes, h.Bytes),
				promise.AtMost("idle session, goroutines", mostGoroutines, h.Goroutines))
		case h.Server == ours && h.Thing == openedStream:
			gates = append(gates, promise.AtMost("open GET stream with its session, bytes of bare", mostStreamRatio, h.Bytes/floor))
		}
	}
	return gates
}
