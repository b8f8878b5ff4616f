package jsonrpc

import (
	"encoding/json"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	sdk "github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

type envelope struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type callParams struct {
	Meta      map[string]json.RawMessage `json:"_meta"`
	Name      string                     `json:"name"`
	Arguments json.RawMessage            `json:"arguments"`
}

// BenchmarkModernCall reads a tools/call of 2026-07-28 as far as a dispatcher
// needs it: the envelope, its parameters and their _meta.
func BenchmarkModernCall(b *testing.B) {
	in := []byte(modernCall)
	readers := []struct {
		name string
		read func() error
	}{
		{"ours", func() error {
			msg, err := Parse(in, Limits{})
			if err != nil {
				return err
			}
			params, err := ParseParams(msg.Params)
			if err != nil {
				return err
			}
			_, err = ParseMeta(params.Meta)
			return err
		}},
		{"encoding_json", func() error {
			var msg envelope
			var params callParams
			if err := json.Unmarshal(in, &msg); err != nil {
				return err
			}
			return json.Unmarshal(msg.Params, &params)
		}},
		{"json_v2", func() error {
			var msg envelope
			var params callParams
			if err := jsonv2.Unmarshal(in, &msg); err != nil {
				return err
			}
			return jsonv2.Unmarshal(msg.Params, &params)
		}},
		{"sdk_envelope_only", func() error {
			_, err := sdk.DecodeMessage(in)
			return err
		}},
	}
	for _, r := range readers {
		b.Run(r.name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if err := r.read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendResult(b *testing.B) {
	result := []byte(`{"content":[{"type":"text","text":"3"}],"structuredContent":{"sum":3}}`)
	id := []byte("12")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendResult(buf[:0], id, result)
	}
}
