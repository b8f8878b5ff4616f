package mcphttp

import (
	"testing"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/verbatim"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A result that is JSON already is a proper result of 2026-07-28 in any case, or an
// error, and keeps every member that it has.
func FuzzResultsThatAreJSONAlready(f *testing.F) {
	for _, raw := range []string{`{}`, `{"content":[]}`, `{"resultType":"","_meta":null}`, `{ "resultType" : "task" , "_meta" : { "a" : 1 } , "x":1.0}`,
		`{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x"}},"a":{"a":1}}`, `{"_meta":{"a":1,"a":2}}`, `{"result\u0054ype":"complete","_m\u0065ta":[]}`, `{"a":1,"a":2}`} {
		f.Add([]byte(raw), true)
		f.Add([]byte(raw), false)
	}
	c := &call{modern: true, host: &host{info: []byte(`{"name":"served","version":"1"}`)}}
	f.Fuzz(func(t *testing.T, raw []byte, named bool) {
		if jsonrpc.Valid(raw, 0) != nil || !jsonrpc.IsObject(raw) {
			return
		}
		r := &verbatim.Result{JSON: raw}
		if named {
			r.Server = []byte(`{"name":"maker","version":"1"}`)
		}
		b, err := c.encodeVerbatim(r)
		if err != nil {
			return
		}
		if err := jsonrpc.Valid(b, 0); err != nil {
			t.Fatalf("%s became %s: %v", raw, b, err)
		}
		members := func(b []byte) map[string]string {
			all := map[string]string{}
			if err := jsonrpc.ScanObject(b, func(name, value []byte) error { all[string(name)] = string(value); return nil }); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			return all
		}
		had, has := members(raw), members(b)
		if len(has["resultType"]) <= 2 || members([]byte(has["_meta"]))[mcp.MetaKeyServerInfo] == "" {
			t.Errorf("%s became %s", raw, b)
		}
		for name, value := range had {
			if name != "_meta" && name != "resultType" && has[name] != value {
				t.Errorf("%s became %s: %q is another", raw, b, name)
			}
		}
	})
}
