package expose

import (
	"context"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/verbatim"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Whatever params a client sends that the wire lets pass, the program gets one proper
// object, with nothing in it that is between client and wire.
func FuzzParamsOfACall(f *testing.F) {
	for _, params := range []string{
		`{"name":"x","arguments":{}}`, `{}`, `{"_meta":{}}`, `{"_meta":{"progressToken":"mine","io.modelcontextprotocol/logLevel":"info"}}`, `{ "a" :null , "b":[1, {}]}`,
		`{"_meta":{"io.modelcontextprotocol/protocolVersion":"9","x":1,"io.modelcontextprotocol/logLevel":{}},"requestState":"child:x","inputResponses":{"a":1}}`,
		`{"t\u0061sk":{},"TASK":1,"\ud800":1,"_m\u0065ta":{"\u0070rogressToken":"mine"}}`,
	} {
		f.Add([]byte(params), false)
		f.Add([]byte(params), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, modernChild bool) {
		if jsonrpc.Valid(raw, 0) != nil || !jsonrpc.IsObject(raw) {
			return
		}
		p, err := jsonrpc.ParseParams(raw)
		if err != nil {
			return
		}
		if _, err := jsonrpc.ParseMeta(p.Meta); err != nil {
			return
		}
		s := &Server{}
		sl := &slot{t: &tenant{s: s}, levels: map[string]mcp.LoggingLevel{}}
		c := &call{sl: sl, p: &process{hello: &greeting{modern: modernChild, version: modern}}, x: &exchange{id: 7}, ss: new(mcp.ServerSession), token: "mine"}
		ctx := context.WithValue(context.Background(), verbatim.ParamsKey{}, raw)
		out, err := sl.paramsFor(ctx, c, &mcp.CallToolParamsRaw{})
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if err := jsonrpc.Valid(out, 0); err != nil {
			t.Fatalf("%s became %s: %v", raw, out, err)
		}
		got, err := jsonrpc.ParseParams(out)
		if err != nil {
			t.Fatalf("%s became %s: %v", raw, out, err)
		}
		meta, err := jsonrpc.ParseMeta(got.Meta)
		if err != nil || string(meta.ProgressToken) != "7" || (meta.ProtocolVersion != nil) != modernChild || got.RequestState != nil || got.InputResponses != nil {
			t.Errorf("%s became %s: %v", raw, out, err)
		}
		_ = jsonrpc.ScanObject(out, func(name, _ []byte) error {
			if strings.EqualFold(string(name), "task") {
				t.Errorf("%s became %s", raw, out)
			}
			return nil
		})
	})
}
