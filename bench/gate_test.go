package main

import (
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/spread"
)

// round is a window with nothing but what gates look at.
func rounds(perSecond float64, cpu time.Duration) []window {
	return []window{{PerSecond: perSecond, CPU: cpu}, {PerSecond: perSecond, CPU: cpu}, {PerSecond: perSecond, CPU: cpu}}
}

func oneGroup(ourRate float64, ourCPU time.Duration, typedRate float64) []series {
	g := groups()[0]
	bare := rounds(1000, 10)
	return []series{
		{g, variant{name: "bare", era: sessions}, bare, bare},
		{g, variant{name: ours, era: sessions}, rounds(ourRate, ourCPU), bare},
		{g, variant{name: oursTyped, era: sessions}, rounds(typedRate, 20), bare},
		{g, variant{name: stock, era: sessions}, rounds(100, 100), bare},
	}
}

func TestGatesMissWhatIsWorseThanPromised(t *testing.T) {
	for name, tc := range map[string]struct {
		all    []series
		slack  float64
		missed string
	}{
		"all kept":                      {oneGroup(800, 14, 300), 1, ""},
		"too few requests":              {oneGroup(799, 14, 300), 1, "req/s of bare"},
		"too much CPU":                  {oneGroup(800, 15, 300), 1, "CPU of bare"},
		"too close to stock":            {oneGroup(800, 14, 299), 1, "SDK-typed"},
		"slack forgives some":           {oneGroup(600, 19, 220), 0.7, ""},
		"slack does not forgive rate":   {oneGroup(550, 19, 220), 0.7, "req/s of bare"},
		"slack does not forgive CPU":    {oneGroup(600, 21, 220), 0.7, "CPU of bare"},
		"slack does not forgive typing": {oneGroup(600, 19, 200), 0.7, "SDK-typed"},
	} {
		t.Run(name, func(t *testing.T) {
			var missed []string
			for _, g := range rateGates(tc.all, tc.slack) {
				if !g.Passes() {
					missed = append(missed, g.Name)
				}
			}
			if got := strings.Join(missed, ", "); (got == "") != (tc.missed == "") || !strings.Contains(got, tc.missed) || len(missed) > 1 {
				t.Errorf("missed %q, want %q", got, tc.missed)
			}
		})
	}
}

func TestMemoryGatesMissWhatIsWorseThanPromised(t *testing.T) {
	held := func(live, idle, stream, goroutines float64) []holding {
		return []holding{
			{Server: "bare", Thing: openedStream, Bytes: 25000},
			{Server: ours, Thing: liveSession, Bytes: live, Goroutines: goroutines},
			{Server: ours, Thing: idleSession, Bytes: idle},
			{Server: ours, Thing: openedStream, Bytes: stream, Goroutines: 2},
			{Server: stock, Thing: liveSession, Bytes: 9e9, Goroutines: 9},
		}
	}
	for name, tc := range map[string]struct {
		all    []holding
		missed string
	}{
		"all kept":              {held(3000, 600, 28000, 0), ""},
		"a heavy session":       {held(3001, 600, 28000, 0), "live session, bytes"},
		"a session's goroutine": {held(3000, 600, 28000, 1), "live session, goroutines"},
		"a light sleeper":       {held(3000, 601, 28000, 0), "idle session, bytes"},
		"a heavy stream":        {held(3000, 600, 29000, 0), "GET stream"},
	} {
		t.Run(name, func(t *testing.T) {
			var missed []string
			for _, g := range memoryGates(tc.all) {
				if !g.Passes() {
					missed = append(missed, g.Name)
				}
			}
			if got := strings.Join(missed, ", "); (got == "") != (tc.missed == "") || !strings.Contains(got, tc.missed) || len(missed) > 1 {
				t.Errorf("missed %q, want %q", got, tc.missed)
			}
		})
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	a := []window{{PerSecond: 10}, {PerSecond: 40}, {PerSecond: 90}}
	b := []window{{PerSecond: 10}, {PerSecond: 20}, {PerSecond: 30}}
	if got, want := spread.Of(ratios(a, b, window.rate)), (spread.Spread{Median: 2, Min: 1, Max: 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := spread.Of([]float64{4, 1, 3, 2}).Median; got != 2.5 {
		t.Errorf("the median of an even count is %v", got)
	}
}
