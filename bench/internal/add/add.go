// Package add is the tool that every server under test has: add {a, b}, both numbers
// and required, nothing else allowed. Small arguments make the protocol's own share
// large, which is what is to be measured.
package add

import "strconv"

const (
	Name        = "add"
	Description = "Add two numbers."
)

// Input are the tool's arguments.
type Input struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

// Sum is the text of the result. It is plain decimal in every server, so that the
// load generator can say which digits must come back.
func (in Input) Sum() string { return strconv.FormatFloat(in.A+in.B, 'f', -1, 64) }
