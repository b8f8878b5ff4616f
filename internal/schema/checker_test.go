package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

func mustSchema(t testing.TB, text string) *jsonschema.Schema {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &s
}

func mustCompile(t testing.TB, text string) *Checker {
	t.Helper()
	c, err := Compile(mustSchema(t, text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

const order = `{"type":"object","additionalProperties":false,"required":["item","count"],"properties":{
	"item":{"type":"string","minLength":1,"maxLength":5,"pattern":"^[^!]*$"},
	"count":{"type":"integer","minimum":1,"maximum":9},
	"size":{"type":"string","enum":["s","m",3,null,true]},
	"price":{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1000,"multipleOf":0.5},
	"fixed":{"const":"x"},
	"tags":{"type":["null","array"],"items":{"type":"string"},"minItems":1,"maxItems":2},
	"to":{"type":"object","properties":{"zip":{"type":"string"},"country":{"type":"string"}},"required":["zip"]},
	"note":{"type":["null","string"]},
	"gift":{"type":"boolean","default":false},
	"a/b~c":{"type":"integer"},
	"free":{}}}`

func TestCheckPassesOrNamesPropertyAndRule(t *testing.T) {
	c := mustCompile(t, order)
	if !c.Flat() {
		t.Fatal("not flat")
	}
	tests := []struct{ name, in, says string }{
		{"the least", `{"item":"a","count":1}`, ""},
		{"all of it", `{"item":"日本語日本","count":9,"size":"m","price":0.5,"fixed":"x","tags":["a","b"],"to":{"zip":"1","x":1},"note":null,"gift":true,"a/b~c":-0,"free":{"any":[1,"x"]}}`, ""},
		{"space between tokens", " { \"item\" :\n\"a\" , \"count\" : 1 } ", ""},
		{"escaped names and text", `{"\u0069tem":"\u0061\ud83d\ude00\n","count":1,"size":"\u006d"}`, ""},
		{"an integer as a fraction", `{"item":"a","count":1.0}`, ""},
		{"null where it is allowed", `{"item":"a","count":1,"tags":null,"note":null}`, ""},

		{"nothing", ``, `validating root: required: missing properties: ["item" "count"]`},
		{"null", `null`, `missing properties: ["item" "count"]`},
		{"an array", `[1]`, `unmarshaling arguments: want an object, got array`},
		{"a string", `"x"`, `want an object, got string`},
		{"one missing", `{"item":"a"}`, `validating root: required: missing properties: ["count"]`},
		{"an unknown name", `{"item":"a","count":1,"x":1,"y":2}`, `validating root: unexpected additional properties ["x" "y"]`},
		{"a name in another case", `{"Item":"a","item":"a","count":1}`, `unexpected additional properties ["Item"]`},
		{"a string for an integer", `{"item":"a","count":"1"}`, `validating root: validating /properties/count: type: 1 has type "string", want "integer"`},
		{"a fraction for an integer", `{"item":"a","count":1.5}`, `/properties/count: type: 1.5 has type "number", want "integer"`},
		{"null for an integer", `{"item":"a","count":null}`, `type: null has type "null", want "integer"`},
		{"true for a string", `{"item":true,"count":1}`, `/properties/item: type: true has type "boolean", want "string"`},
		{"an object for a string", `{"item":{},"count":1}`, `/properties/item: type: the value has type "object", want "string"`},
		{"a number for an array", `{"item":"a","count":1,"tags":1}`, `type: 1 has type "integer", want one of "null, array"`},
		{"too small", `{"item":"a","count":0}`, `minimum: 0 is less than 1`},
		{"too large", `{"item":"a","count":10}`, `maximum: 10 is greater than 9`},
		{"at the excluded minimum", `{"item":"a","count":1,"price":0}`, `exclusiveMinimum: 0 is less than or equal to 0`},
		{"at the excluded maximum", `{"item":"a","count":1,"price":1e3}`, `exclusiveMaximum: 1e3 is greater than or equal to 1000`},
		{"no multiple", `{"item":"a","count":1,"price":0.7}`, `multipleOf: 0.7 is not a multiple of 0.5`},
		{"too short", `{"item":"","count":1}`, `minLength: "" contains 0 Unicode code points, fewer than 1`},
		{"too long", `{"item":"äöüßéa","count":1}`, `maxLength: "äöüßéa" contains 6 Unicode code points, more than 5`},
		{"against the pattern", `{"item":"a!","count":1}`, `pattern: "a!" does not match regular expression`},
		{"no choice", `{"item":"a","count":1,"size":"xl"}`, `/properties/size: enum: xl does not equal any of: [s m 3 null true]`},
		{"another constant", `{"item":"a","count":1,"fixed":"y"}`, `const: y does not equal x`},
		{"too few items", `{"item":"a","count":1,"tags":[]}`, `minItems: array length 0 is less than 1`},
		{"too many items", `{"item":"a","count":1,"tags":["a","b","c"]}`, `maxItems: array length 3 is greater than 2`},
		{"a wrong item", `{"item":"a","count":1,"tags":["a",5]}`, `validating /properties/tags: validating /properties/tags/items: type: 5`},
		{"a nested one missing", `{"item":"a","count":1,"to":{}}`, `validating /properties/to: required: missing properties: ["zip"]`},
		{"a name to be escaped", `{"item":"a","count":1,"a/b~c":"x"}`, `validating /properties/a~1b~0c: type`},
		{"a name twice", `{"item":"a","count":1,"item":"b"}`, `property "item" occurs twice`},
		{"a name twice, once escaped", `{"item":"a","count":1,"\u0069tem":"b"}`, `property "item" occurs twice`},
		{"an undeclared name twice below", `{"item":"a","count":1,"to":{"zip":"1","x":1,"x":2}}`, `property "x" occurs twice`},
		{"a name twice where anything goes", `{"item":"a","count":1,"free":[{"k":[{"x":1,"x":1}]}]}`, `property "x" occurs twice`},
		{"a number out of range", `{"item":"a","count":1,"free":1e400}`, `number 1e400 is out of range`},
		{"many digits", `{"item":"a","count":1,"free":` + strings.Repeat("9", 400) + `}`, `out of range`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Check([]byte(tt.in))
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func TestMessagesQuoteLittle(t *testing.T) {
	c := mustCompile(t, order)
	long := strings.Repeat("ä", 5000)
	for _, in := range []string{`{"item":"` + long + `","count":1}`, `{"count":"` + long + `"}`, `{"` + long + `":1}`, `{"count":` + strings.Repeat("9", 290) + `}`} {
		if _, err := c.Check([]byte(in)); err == nil || len(err.Error()) > 400 {
			t.Errorf("got %d bytes: %.100v", len(fmt.Sprint(err)), err)
		}
	}
}

func TestCheckFillsInDefaults(t *testing.T) {
	tests := []struct{ name, schema, in, want string }{
		{"into nothing", `{"type":"object","properties":{"b":{"default":"<x>"},"a":{"default":1}}}`, ``, `{"a":1,"b":"<x>"}`},
		{"after others", `{"type":"object","properties":{"a":{"default":1}}}`, `{"z":2 } `, `{"z":2 ,"a":1}`},
		{"never over what is there", `{"type":"object","properties":{"a":{"default":1}}}`, `{"a":null}`, `{"a":null}`},
		{"not for required ones", `{"type":"object","properties":{"a":{"properties":{"x":{"default":1}}}},"required":["a"]}`, `{"a":{}}`, `{"a":{}}`},
		{"below", `{"type":"object","properties":{"a":{"properties":{"x":{"default":1}}}}}`, `{"a":{"y":[]}}`, `{"a":{"y":[],"x":1}}`},
		{"making what holds them", `{"type":"object","properties":{"a":{"properties":{"x":{"default":{"k":true}}}}}}`, `{}`, `{"a":{"x":{"k":true}}}`},
		{"into defaults", `{"type":"object","properties":{"a":{"default":{"y":0},"properties":{"x":{"default":1}}}}}`, `{}`, `{"a":{"y":0,"x":1}}`},
		{"not in items", `{"type":"object","properties":{"a":{"items":{"properties":{"x":{"default":1}}}}}}`, `{"a":[{}]}`, `{"a":[{}]}`},
		{"a null", `{"type":"object","properties":{"a":{"default":null}}}`, `{}`, `{"a":null}`},
		{"by jsonschema-go", `{"type":"object","properties":{"a":{"default":1}},"minProperties":1}`, `{}`, `{"a":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mustCompile(t, tt.schema).Check([]byte(tt.in))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestDefaultsThatMakeNoValidObjectAreRefused(t *testing.T) {
	c := mustCompile(t, `{"type":"object","properties":{"a":{"required":["y"],"properties":{"x":{"default":1},"y":{}}}}}`)
	if _, err := c.Check([]byte(`{}`)); err == nil || !strings.Contains(err.Error(), `missing properties: ["y"]`) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Check([]byte(`{"a":{"y":1}}`)); err != nil {
		t.Error(err)
	}
}

func TestIntegersAreWrittenInDigits(t *testing.T) {
	c := mustCompile(t, `{"type":"object"}`)
	in := `{"a":1.0,"b":[1e3,-2.50E+2,1.5,1e21,-0.0,1e-400],"c":9007199254740993,"d":"1.0"}`
	want := `{"a":1,"b":[1000,-250,1.5,1e21,-0,0],"c":9007199254740993,"d":"1.0"}`
	if got, err := c.Check([]byte(in)); err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestCheckOutput(t *testing.T) {
	tests := []struct {
		name, schema, in, want string
		ok                     bool
	}{
		{"an array", `{"type":"array","items":{"type":"integer"}}`, `[1,2]`, `[1,2]`, true},
		{"a wrong array", `{"type":"array","items":{"type":"integer"}}`, `[1,"2"]`, ``, false},
		{"a string", `{"type":"string"}`, `"x"`, `"x"`, true},
		{"null for an object", `{"type":"object","properties":{"a":{"default":1}}}`, `null`, `{"a":1}`, true},
		{"null where it is allowed", `{"type":["null","array"]}`, `null`, `null`, true},
		{"null for a string", `{"type":"string"}`, `null`, ``, false},
		{"a choice of two", `{"anyOf":[{"type":"string"},{"type":"integer"}]}`, `5`, `5`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mustCompile(t, tt.schema).CheckOutput([]byte(tt.in))
			if (err == nil) != tt.ok || string(got) != tt.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestCompileRefusesBadSchemas(t *testing.T) {
	for name, text := range map[string]string{
		"a pattern that does not compile": `{"properties":{"a":{"pattern":"("}}}`,
		"a reference outside":             `{"$ref":"https://example.com/x"}`,
		"a default against its own type":  `{"properties":{"a":{"type":"integer","default":"x"}}}`,
	} {
		if _, err := Compile(mustSchema(t, text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Compile(nil); err == nil {
		t.Error("nil: accepted")
	}
}

func TestOtherSchemasGoToTheLibraryAndKeepOurRules(t *testing.T) {
	c := mustCompile(t, `{"type":"object","properties":{"a":{"oneOf":[{"type":"string"},{"type":"null"}]}},"patternProperties":{"^n":{"type":"integer"}}}`)
	if c.Flat() {
		t.Fatal("flat")
	}
	for in, says := range map[string]string{
		`{"a":"x","n1":1.0}`:              ``,
		`{"a":null}`:                      ``,
		`{"a":1}`:                         `oneOf`,
		`{"n":"x"}`:                       `want "integer"`,
		`{"n":null}`:                      `null has type "null"`,
		`{"x":[{"y":1,"y":2}]}`:           `occurs twice`,
		`{"x":1e999}`:                     `out of range`,
		`{"x":` + nested(1000) + `}`:      `deeper than 1000`,
		`{"x":` + nested(900) + `,"a":1}`: `oneOf`,
	} {
		_, err := c.Check([]byte(in))
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%.60s: %v, want %q", in, err, says)
		}
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestTextThatIsNotJSONIsRefused(t *testing.T) {
	c := mustCompile(t, `{"type":"object"}`)
	for _, in := range []string{`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{a:1}`, `{"a":tru}`, `{"a":nulll}`,
		`{"a":[1,]}`, `{"a":[1}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":-}`, `{"a":Inf}`, `{"a":0x1}`, `{"a":"`, `{} x`, `{"a`} {
		if got, err := c.Check([]byte(in)); err == nil {
			t.Errorf("%s passes as %s", in, got)
		}
	}
}

func TestManyProperties(t *testing.T) {
	s := &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}}
	in := map[string]int{}
	for i := range 300 {
		name := fmt.Sprintf("p%d", i)
		s.Properties[name] = &jsonschema.Schema{Type: "integer"}
		s.Required = append(s.Required, name)
		in[name] = i
	}
	c, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(in)
	if _, err := c.Check(raw); err != nil {
		t.Error(err)
	}
	delete(in, "p299")
	raw, _ = json.Marshal(in)
	if _, err := c.Check(raw); err == nil || !strings.Contains(err.Error(), `["p299"]`) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Check([]byte(`{"p200":1,"p200":1}`)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

func TestCheckOfFlatArgumentsDoesNotAllocate(t *testing.T) {
	c := mustCompile(t, order)
	in := []byte(`{"item":"abc","count":3,"size":"m","price":12.5,"tags":["a"],"to":{"zip":"12345","country":"FR"},"gift":true}`)
	if allocs := testing.AllocsPerRun(100, func() {
		if _, err := c.Check(in); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// applySchema is what the SDK does with arguments.
func applySchema(resolved *jsonschema.Resolved, raw []byte) (out []byte, err error) {
	value := map[string]any{}
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	var v any = value
	if err := resolved.ApplyDefaults(&v); err != nil {
		return nil, err
	}
	if err := resolved.Validate(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// FuzzCheck compares random schemas and values with what the SDK does.
func FuzzCheck(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, []byte(nil))
	}
	f.Add(uint64(1), []byte(`{"a":1.0,"b":"\ud800","c":[null,{}]}`))
	f.Fuzz(func(t *testing.T, seed uint64, raw []byte) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomSchema(r, 3)
		s.Type, s.Types = "object", nil
		c, err := Compile(s)
		if err != nil {
			return // a default that does not fit
		}
		for range 8 {
			in := raw
			if !json.Valid(raw) {
				in = randomObject(r, s)
			}
			compareWithSDK(t, c, s, in)
		}
	})
}

func compareWithSDK(t *testing.T, c *Checker, s *jsonschema.Schema, in []byte) {
	t.Helper()
	if trimmed := bytes.TrimSpace(in); string(trimmed) == "null" {
		return // the SDK panics on null if there are defaults
	}
	got, err := c.Check(in)
	want, wantErr := applySchema(c.resolved, in)
	show := func() string {
		text, _ := json.Marshal(s)
		return fmt.Sprintf("schema %s (flat: %t)\nvalue %s", text, c.Flat(), in)
	}
	if err != nil && strings.Contains(err.Error(), "occurs twice") {
		return
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s\ngot  %v\nwant %v", show(), err, wantErr)
	}
	if err != nil {
		return
	}
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%s\nresult %s: %v", show(), got, err)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("%s\ngot  %s\nwant %s", show(), got, want)
	}
}

var someNames = []string{"a", "b", "c", "d/e", "é", ""}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomSchema(r *rand.Rand, depth int) *jsonschema.Schema {
	s := &jsonschema.Schema{}
	one := func(in int) bool { return r.IntN(in) == 0 }
	switch r.IntN(8) {
	case 0:
		s.Types = []string{"null", pick(r, "string", "array", "object", "integer")}
	case 1:
	default:
		s.Type = pick(r, "null", "boolean", "integer", "number", "string", "string", "integer", "array", "object", "object")
	}
	if one(8) {
		s.Enum = []any{pick[any](r, "x", 1, 1.5, nil, true), pick[any](r, "y", 2.0, false, "\ufffd")}
	}
	if one(12) {
		v := pick[any](r, "x", 1.0, nil, true, 100)
		s.Const = &v
	}
	limit := func() *float64 {
		if !one(5) {
			return nil
		}
		f := pick(r, -1, 0, 1, 2.5, 100, 1e15)
		return &f
	}
	s.Minimum, s.Maximum, s.ExclusiveMinimum, s.ExclusiveMaximum = limit(), limit(), limit(), limit()
	if one(8) {
		m := pick(r, 1, 2, 0.1, 0.5)
		s.MultipleOf = &m
	}
	size := func() *int {
		if !one(5) {
			return nil
		}
		n := r.IntN(4)
		return &n
	}
	s.MinLength, s.MaxLength, s.MinItems, s.MaxItems = size(), size(), size(), size()
	if one(8) {
		s.Pattern = pick(r, "^x", "[0-9]", "é|\ufffd", "^$")
	}
	if depth > 0 {
		randomParts(r, s, depth-1)
	}
	if one(3) { // one that may not fit would spoil most schemas, so match the type
		switch s.Type {
		case "object":
			s.Default = json.RawMessage(pick(r, `{}`, `{"x":1.0}`))
		case "string":
			s.Default = json.RawMessage(pick(r, `"x"`, `"xxé"`))
		case "integer", "number":
			s.Default = json.RawMessage(pick(r, `1`, `100`, `2.0`))
		}
	} else if one(40) {
		s.Default = json.RawMessage(pick(r, `1`, `"x"`, `null`, `{}`, `[]`, `{"a":1}`, `true`, `1.0`))
	}
	return s
}

func randomParts(r *rand.Rand, s *jsonschema.Schema, depth int) {
	for _, name := range someNames {
		if r.IntN(3) == 0 {
			if s.Properties == nil {
				s.Properties = map[string]*jsonschema.Schema{}
			}
			s.Properties[name] = randomSchema(r, depth)
		}
		if r.IntN(10) == 0 {
			s.Required = append(s.Required, name)
		}
	}
	switch r.IntN(6) {
	case 0:
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	case 1:
		s.AdditionalProperties = randomSchema(r, depth)
	}
	if r.IntN(3) == 0 {
		s.Items = randomSchema(r, depth)
	}
	if r.IntN(40) == 0 {
		s.AnyOf = []*jsonschema.Schema{randomSchema(r, 0), randomSchema(r, 0)}
	}
	if r.IntN(40) == 0 {
		s.UniqueItems = true
	}
}

// randomObject makes a value that often satisfies s.
func randomObject(r *rand.Rand, s *jsonschema.Schema) []byte {
	out := []byte("{")
	for _, name := range someNames {
		sub, declared := s.Properties[name]
		if !declared && r.IntN(4) > 0 || r.IntN(4) == 0 {
			continue
		}
		if len(out) > 1 {
			out = append(out, ", "...)
		}
		quoted, _ := json.Marshal(name)
		out = append(append(out, quoted...), ':')
		out = append(out, randomValue(r, sub)...)
	}
	return append(out, '}')
}

func randomValue(r *rand.Rand, s *jsonschema.Schema) []byte {
	if s == nil {
		s = &jsonschema.Schema{}
	}
	kind := s.Type
	if kind == "" || r.IntN(6) == 0 {
		kind = pick(r, "null", "boolean", "integer", "number", "string", "array", "object")
	}
	switch kind {
	case "null":
		return []byte("null")
	case "boolean":
		return []byte(pick(r, "true", "false"))
	case "integer":
		return []byte(pick(r, "0", "1", "2", "-1", "100", "1.0", "1e2", "-0", "9007199254740993", "1E+21", "123456789012345678901234567890"))
	case "number":
		return []byte(pick(r, "0.5", "1", "2.5", "1e-400", "0.1", "0.3", "9007199254740993.5", "1e400", "-0.0"))
	case "array":
		out := []byte("[")
		for i := range r.IntN(4) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, randomValue(r, s.Items)...)
		}
		return append(out, ']')
	case "object":
		return randomObject(r, s)
	}
	return []byte(pick(r, `"x"`, `"y"`, `""`, `"é7"`, `"\u0078"`, `"\ud83d\ude00"`, `"\ud800"`, `"xxxxx"`, `"\ufffd"`))
}

// TestRandomSchemasCoverBothOutcomes guards the fuzz test against becoming empty.
func TestRandomSchemasCoverBothOutcomes(t *testing.T) {
	var flat, passed, refused int
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomSchema(r, 3)
		s.Type, s.Types = "object", nil
		c, err := Compile(s)
		if err != nil || !c.Flat() {
			continue
		}
		flat++
		if _, err := c.Check(randomObject(r, s)); err == nil {
			passed++
		} else {
			refused++
		}
	}
	if flat < 200 || passed < 50 || refused < 50 {
		t.Errorf("%d flat schemas, %d values passed, %d refused", flat, passed, refused)
	}
	t.Logf("%d flat schemas, %d values passed, %d refused", flat, passed, refused)
}
