package install

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Whatever a settings file holds, an edit changes what it should and nothing else, or
// nothing at all.
func fuzzClient(f *testing.F, id string) {
	c, err := ClientByID(id)
	if err != nil {
		f.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			f.Add(text)
		}
	}
	for _, s := range []string{"", "{}", "[a]\n", "a: b\n", "{\"mcpServers\":{\"x\":1,},}", "mcp_servers.x = {a=1}\n", "extensions: &a {}\nb: *a\n",
		"extensions:\n  x: |\n    # text\n\n  y: 1\n", "mcp_servers.x.a = '''\n[b]\n'''", "{\"mcpServers\": {\"x\": {}} // c\n}", "//\n\n", "[mcp_servers.x]\na=[\n[1],#]\n]\n"} {
		f.Add([]byte(s))
	}
	s := &Server{Name: "x", URL: "https://x.example/mcp", Headers: map[string]string{"A": "b"}}
	if c.OnlyCommands {
		s = s.ThroughBridge("/causeway")
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		kept := bytes.Clone(src)
		before, decodeErr := c.format.decode(src)
		out, err := c.Install(src, s)
		if !bytes.Equal(src, kept) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		if decodeErr != nil {
			t.Fatalf("edited although it is malformed: %v", decodeErr)
		}
		again, err := c.Install(out, s)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("not idempotent: %v\n%q\n%q", err, out, again)
		}
		gone, _, err := c.Uninstall(out, "x")
		if err != nil {
			return // of a shape that can be added to and not taken from
		}
		after, err := c.format.decode(gone)
		if err != nil {
			t.Fatal(err)
		}
		drop(before, c.table, "x")
		drop(after, c.table, "x")
		if canonical(before) != canonical(after) {
			t.Fatalf("something else has changed:\n%q\n%q", src, gone)
		}
	})
}

func FuzzJSON(f *testing.F) { fuzzClient(f, "cursor") }
func FuzzTOML(f *testing.F) { fuzzClient(f, "codex") }
func FuzzYAML(f *testing.F) { fuzzClient(f, "goose") }

// What encoding/json accepts, we accept, and read the same.
func FuzzJSONReader(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5e3,"x\u00e9",null,true,{"b":{}}]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		dec := json.NewDecoder(bytes.NewReader(src))
		dec.UseNumber()
		var want map[string]any
		if !json.Valid(src) || dec.Decode(&want) != nil || want == nil {
			return
		}
		got, err := jsonFormat{}.decode(src)
		if err != nil {
			if n, _ := parseJSON(src); n == nil { // nested too deep, or not UTF-8
				return
			}
			t.Fatal(err)
		}
		if canonical(got) != canonical(want) {
			t.Fatalf("%s: read %s, want %s", src, canonical(got), canonical(want))
		}
	})
}
