package main

import "strconv"

// Every server has the same tool: add {a, b}, both numbers and required, nothing
// else allowed. Small arguments make the protocol's own share large, which is what
// is to be measured.
const (
	toolName        = "add"
	toolDescription = "Add two numbers."
)

type addInput struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

// sum is the text of the result. It is plain decimal in every server, so that the
// load generator can say which digits must come back.
func sum(a, b float64) string { return strconv.FormatFloat(a+b, 'f', -1, 64) }
