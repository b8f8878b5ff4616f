//go:build linux

package expose

import (
	"context"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What a call costs between the wire and the program, without either's own part: a
// round trip over HTTP by the SDK's client is about a quarter of it.
func BenchmarkCall(b *testing.B) {
	w := newWorld(b, "sdk", Options{})
	for _, k := range eras[:2] {
		b.Run(k.version, func(b *testing.B) {
			ann := w.connect(b, "ann", k)
			params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "x"}}
			for b.Loop() {
				if _, err := ann.CallTool(context.Background(), params); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
