package paramheader

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/google/jsonschema-go/jsonschema"
)

func TestBindings(t *testing.T) {
	raw := json.RawMessage(`{"type":"object","properties":{
		"region":{"type":"string","x-mcp-header":"Region"},
		"to":{"type":"object","properties":{"zip":{"type":"integer","x-mcp-header":"postal-CODE!"},"x-mcp-header":{"type":"string"}}},
		"dry":{"type":"boolean","x-mcp-header":"Dry","default":"x-mcp-header"},
		"plain":{"type":"array","items":{"type":"string"}}}}`)
	var asMap map[string]any
	var asSchema jsonschema.Schema
	for _, v := range []any{&asMap, &asSchema} {
		if err := json.Unmarshal(raw, v); err != nil {
			t.Fatal(err)
		}
	}
	want := "[{[dry] Mcp-Param-Dry} {[region] Mcp-Param-Region} {[to zip] Mcp-Param-Postal-CODE!}]"
	for _, schema := range []any{raw, asMap, &asSchema} {
		got, err := Bindings(schema)
		if err != nil {
			t.Fatalf("%T: %v", schema, err)
		}
		for i := range got {
			// A token with characters that are not letters keeps its case in net/http or
			// not; what counts is that it is found there.
			h := http.Header{}
			h.Set(got[i].Header, "x")
			if h[got[i].Header] == nil {
				t.Errorf("%s is not how net/http keeps it", got[i].Header)
			}
		}
		if !strings.EqualFold(fmt.Sprint(got), want) {
			t.Errorf("%T: got %v, want %v", schema, got, want)
		}
	}
	if got, err := Bindings(json.RawMessage(`{"type":"object"}`)); err != nil || got != nil {
		t.Errorf("no annotations: %v, %v", got, err)
	}
}

func TestBindingsRefuses(t *testing.T) {
	property := func(s string) string { return `{"type":"object","properties":{"a":` + s + `}}` }
	for name, tt := range map[string]struct{ schema, says string }{
		"an empty name":             {property(`{"type":"string","x-mcp-header":""}`), `property "a": x-mcp-header must be a non-empty HTTP token`},
		"a space":                   {property(`{"type":"string","x-mcp-header":"a b"}`), "token"},
		"a colon":                   {property(`{"type":"string","x-mcp-header":"a:b"}`), "token"},
		"a line break":              {property(`{"type":"string","x-mcp-header":"a\r\nX"}`), "token"},
		"text outside ASCII":        {property(`{"type":"string","x-mcp-header":"é"}`), "token"},
		"a number as name":          {property(`{"type":"string","x-mcp-header":1}`), "token"},
		"null as name":              {property(`{"type":"string","x-mcp-header":null}`), "token"},
		"type number":               {property(`{"type":"number","x-mcp-header":"A"}`), `property "a": x-mcp-header "A": the type must be`},
		"type array":                {property(`{"type":"array","x-mcp-header":"A"}`), "the type must be"},
		"no type":                   {property(`{"x-mcp-header":"A"}`), "the type must be"},
		"two types":                 {property(`{"type":["null","string"],"x-mcp-header":"A"}`), "the type must be"},
		"the root":                  {`{"type":"object","x-mcp-header":"A"}`, "only on properties"},
		"items":                     {property(`{"type":"array","items":{"type":"string","x-mcp-header":"A"}}`), `property "a.items"`},
		"a property of items":       {property(`{"type":"array","items":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}`), "only on properties"},
		"a choice":                  {property(`{"oneOf":[{"type":"string","x-mcp-header":"A"}]}`), "only on properties"},
		"a definition":              {`{"type":"object","$defs":{"d":{"type":"string","x-mcp-header":"A"}}}`, "only on properties"},
		"additional properties":     {property(`{"additionalProperties":{"type":"string","x-mcp-header":"A"}}`), "only on properties"},
		"pattern properties":        {`{"type":"object","patternProperties":{"x":{"type":"string","x-mcp-header":"A"}}}`, "only on properties"},
		"a name twice":              {`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"Same"},"b":{"properties":{"c":{"type":"string","x-mcp-header":"sAME"}}}}}`, `property "b.c": x-mcp-header "sAME" is also on property "a"`},
		"a schema that is not JSON": {`{`, "reading the input schema"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Bindings(json.RawMessage(tt.schema))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func encode(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

func TestCheck(t *testing.T) {
	bindings, err := Bindings(json.RawMessage(`{"type":"object","properties":{"s":{"type":"string","x-mcp-header":"S"},
		"n":{"type":"integer","x-mcp-header":"N"},"b":{"type":"boolean","x-mcp-header":"B"},
		"o":{"properties":{"s":{"type":"string","x-mcp-header":"OS"},"p":{"properties":{"n":{"type":"integer","x-mcp-header":"OPN"}}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, arguments string
		headers         []string // name, value, …
		says            string
	}{
		{"nothing at all", ``, nil, ""},
		{"no bound argument", `{"x":1}`, nil, ""},
		{"null arguments", `{"s":null,"n":null,"o":null}`, nil, ""},
		{"a text", `{"s":"us-west1"}`, []string{"s", "us-west1"}, ""},
		{"an empty text", `{"s":""}`, []string{"S", ""}, ""},
		{"an escaped text", `{"\u0073":"us\u002dwest1"}`, []string{"S", "us-west1"}, ""},
		{"a text in Base64", `{"s":"日本 "}`, []string{"S", encode("日本 ")}, ""},
		{"an ASCII text in Base64", `{"s":"x"}`, []string{"S", encode("x")}, ""},
		{"an empty text in Base64", `{"s":""}`, []string{"S", "=?base64??="}, ""},
		{"the prefix alone is text", `{"s":"=?base64?eA=="}`, []string{"S", "=?base64?eA=="}, ""},
		{"the suffix alone is text", `{"s":"eA==?="}`, []string{"S", "eA==?="}, ""},
		{"both marks in one", `{"s":"=?base64?="}`, []string{"S", "=?base64?="}, ""},
		{"the prefix in capitals is text", `{"s":"=?BASE64?eA==?="}`, []string{"S", "=?BASE64?eA==?="}, ""},
		{"a text that looks encoded", `{"s":"=?base64?x?="}`, []string{"S", encode("=?base64?x?=")}, ""},
		{"an integer", `{"n":42}`, []string{"N", "42"}, ""},
		{"the same integer written in other ways", `{"n":4.2e1}`, []string{"N", "42.0"}, ""},
		{"the largest integer", `{"n":-9007199254740991}`, []string{"N", "-9007199254740991"}, ""},
		{"zero and minus zero", `{"n":0}`, []string{"N", "-0"}, ""},
		{"true", `{"b":true}`, []string{"B", "true"}, ""},
		{"false", `{"b":false}`, []string{"B", "false"}, ""},
		{"nested ones", `{"o":{"p":{"n":1},"s":"x"}}`, []string{"OS", "x", "Opn", "1"}, ""},
		{"a header nobody bound", `{}`, []string{"Other", "x"}, ""},
		{"what should be an object is none", `{"o":[{"s":"x"}]}`, nil, ""},

		{"another text", `{"s":"a"}`, []string{"S", "b"}, `Mcp-Param-S differs from the argument "s"`},
		{"another case", `{"s":"a"}`, []string{"S", "A"}, "differs"},
		{"no header", `{"s":"a"}`, nil, `Mcp-Param-S is missing; it mirrors the argument "s"`},
		{"no header for an empty text", `{"s":""}`, nil, "is missing"},
		{"no header for a nested one", `{"o":{"s":"a"}}`, nil, `"o.s"`},
		{"no argument", `{}`, []string{"S", "a"}, `Mcp-Param-S without the argument "s"`},
		{"no arguments", ``, []string{"S", "a"}, "without the argument"},
		{"arguments that are no object", `["a"]`, []string{"S", "a"}, "without the argument"},
		{"null with a header", `{"s":null}`, []string{"S", "null"}, "without the argument"},
		{"null with an empty header", `{"s":null}`, []string{"S", ""}, "without the argument"},
		{"two headers", `{"s":"a"}`, []string{"S", "a", "S", "a"}, "Mcp-Param-S occurs twice"},
		{"an argument twice", `{"s":"a","s":"b"}`, []string{"S", "a"}, `"s" occurs twice`},
		{"an argument twice, once escaped", `{"s":"a","\u0073":"b"}`, []string{"S", "b"}, `"s" occurs twice`},
		{"a nested argument twice", `{"o":{"s":"a","s":"b"}}`, []string{"Os", "b"}, `"s" occurs twice`},
		{"what holds the argument twice", `{"o":{"s":"a"},"o":{"s":"b"}}`, []string{"Os", "b"}, `"o" occurs twice`},
		{"bad Base64", `{"s":"a"}`, []string{"S", "=?base64?YQ?="}, "not Base64"},
		{"Base64 with stray bits", `{"s":"a"}`, []string{"S", "=?base64?YR==?="}, "not Base64"},
		{"Base64 with a space", `{"s":"a"}`, []string{"S", "=?base64?Y Q==?="}, "not Base64"},
		{"Base64 for URLs", `{"s":"\u00ff?"}`, []string{"S", "=?base64?w78_?="}, "not Base64"},
		{"Base64 that is not UTF-8", `{"s":"\ufffd"}`, []string{"S", "=?base64?/w==?="}, "not UTF-8"},
		{"bare text outside ASCII", `{"s":"é"}`, []string{"S", "é"}, "must be in Base64"},
		{"a control character", `{"s":"\u0001"}`, []string{"S", "\x01"}, "must be in Base64"},
		{"another integer", `{"n":42}`, []string{"N", "43"}, "differs"},
		{"an integer a little off", `{"n":9007199254740991}`, []string{"N", "9007199254740991.4"}, "differs"},
		{"an integer as hex", `{"n":16}`, []string{"N", "0x10"}, "differs"},
		{"an integer with a plus sign", `{"n":1}`, []string{"N", "+1"}, "differs"},
		{"an integer with a leading zero", `{"n":1}`, []string{"N", "01"}, "differs"},
		{"an integer with space in Base64", `{"n":1}`, []string{"N", encode(" 1")}, "differs"},
		{"an empty integer", `{"n":0}`, []string{"N", ""}, "differs"},
		{"an integer beyond what floats hold", `{"n":9007199254740993}`, []string{"N", "9007199254740993"}, "differs"},
		{"a huge exponent", `{"n":1e999999999}`, []string{"N", "1e999999999"}, "differs"},
		{"a fraction", `{"n":1.5}`, []string{"N", "1.5"}, "differs"},
		{"true in capitals", `{"b":true}`, []string{"B", "True"}, "differs"},
		{"true as 1", `{"b":true}`, []string{"B", "1"}, "differs"},
		{"an object where a text belongs", `{"s":{}}`, []string{"S", "{}"}, "differs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := jsonrpc.Valid([]byte(tt.arguments), 0); err != nil && tt.arguments != "" {
				t.Fatal(err)
			}
			h := http.Header{}
			for i := 0; i < len(tt.headers); i += 2 {
				h.Add(Prefix+tt.headers[i], tt.headers[i+1])
			}
			err := Check(bindings, h, []byte(tt.arguments))
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// FuzzDecode checks that a text that was encoded comes back, and that nothing
// decodes to text that is not UTF-8.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "a", "é", "=?base64?", "=?base64?YQ==?=", "=?base64?=", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Decode(s)
		if err == nil && strings.ToValidUTF8(got, "") != got {
			t.Fatalf("%q decodes to %q", s, got)
		}
		if back, err := Decode(encode(s)); strings.ToValidUTF8(s, "") == s && (err != nil || back != s) {
			t.Fatalf("%q came back as %q, %v", s, back, err)
		}
	})
}
