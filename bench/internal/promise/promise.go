// Package promise compares what was measured with what Causeway promises.
package promise

import "fmt"

// A Gate is a promise and what was measured of it.
type Gate struct {
	Name     string
	Limit    float64
	Least    bool // the limit is the least that is good; else the most
	Measured float64
}

// AtLeast is a promise that something is not less than limit.
func AtLeast(name string, limit, measured float64) Gate { return Gate{name, limit, true, measured} }

// AtMost is a promise that something is not more than limit.
func AtMost(name string, limit, measured float64) Gate { return Gate{name, limit, false, measured} }

// Passes tells whether the promise is kept.
func (g Gate) Passes() bool {
	if g.Least {
		return g.Measured >= g.Limit
	}
	return g.Measured <= g.Limit
}

func (g Gate) String() string {
	sign, verdict := "≤", "ok"
	if g.Least {
		sign = "≥"
	}
	if !g.Passes() {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%-62s %10.4g  %s %-9.4g %s", g.Name, g.Measured, sign, g.Limit, verdict)
}

// Missed counts the promises that are not kept.
func Missed(gates []Gate) int {
	n := 0
	for _, g := range gates {
		if !g.Passes() {
			n++
		}
	}
	return n
}
