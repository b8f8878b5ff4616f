package schema

import "testing"

func BenchmarkCheck(b *testing.B) {
	for _, bench := range []struct{ name, schema, in string }{
		{"add", `{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}`, `{"a":1234,"b":-5}`},
		{"order", order, `{"item":"abc","count":3,"size":"m","price":12.5,"tags":["a"],"to":{"zip":"12345","country":"FR"},"gift":true}`},
	} {
		c := mustCompile(b, bench.schema)
		in := []byte(bench.in)
		b.Run(bench.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Check(in); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/sdk", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := applySchema(c.resolved, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
