// Package spread says what a figure was over several rounds.
package spread

import (
	"fmt"
	"slices"
)

// A Spread is what a figure was over the rounds. The zero value is that of no rounds.
type Spread struct{ Median, Min, Max float64 }

// Of returns the spread of v.
func Of(v []float64) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	v = slices.Sorted(slices.Values(v))
	median := v[len(v)/2]
	if len(v)%2 == 0 {
		median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return Spread{Median: median, Min: v[0], Max: v[len(v)-1]}
}

func (s Spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max) }

// Quantile is the q-th of sorted values, zero if there are none.
func Quantile[T any](sorted []T, q float64) T {
	var none T
	if len(sorted) == 0 {
		return none
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
