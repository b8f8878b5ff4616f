package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestScanObjectVisitsMembersInOrder(t *testing.T) {
	var got []string
	raw := []byte(` { "a" : 1 , "b\n":{"x":"}\"]"},"c":[1,[2]] ,"":"\\" , "é":null,"f":true} `)
	if err := Valid(raw, 0); err != nil {
		t.Fatal(err)
	}
	err := ScanObject(raw, func(name, value []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", name, value))
		return nil
	})
	want := []string{"a=1", "b\n={\"x\":\"}\\\"]\"}", "c=[1,[2]]", `="\\"`, "é=null", "f=true"}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestScanObjectRefuses(t *testing.T) {
	many := func(last string) string {
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, `"m%d":0,`, i)
		}
		return `{` + b.String() + `"` + last + `":0}`
	}
	for name, in := range map[string]string{
		"a name twice":                   `{"a":1,"b":2,"a":3}`,
		"a name twice, once escaped":     `{"a":1,"\u0061":3}`,
		"two lone surrogates":            `{"\ud800":1,"\udfff":3}`,
		"an early name of many":          many("m0"),
		"a late name of many":            many("m39"),
		"a name in the middle, escaped":  many(`\u006d20`),
		"an array":                       `[]`,
		"a string":                       `"{}"`,
		"null":                           `null`,
		"nothing":                        ``,
		"text that is not JSON":          `{x}`,
		"text that is not JSON, in part": `{"a"`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := ScanObject([]byte(in), func(_, _ []byte) error { return nil }); CodeOf(err) != CodeInvalidParams {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := ScanObject([]byte(many("m40")), func(_, _ []byte) error { return nil }); err != nil {
		t.Errorf("many different names: %v", err)
	}
}

func TestScanObjectReturnsTheVisitorsError(t *testing.T) {
	boom := errors.New("boom")
	n := 0
	err := ScanObject([]byte(`{"a":1,"b":2}`), func(_, _ []byte) error { n++; return boom })
	if !errors.Is(err, boom) || n != 1 {
		t.Errorf("got %v after %d visits", err, n)
	}
}

func TestParseParams(t *testing.T) {
	p, err := ParseParams([]byte(`{"name":"a\u0064d","arguments":{"x":1},"_meta":{"k":1},"inputResponses":{},"requestState":"s","other":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !StringEquals(p.Name, "add") || string(p.Arguments) != `{"x":1}` || string(p.Meta) != `{"k":1}` ||
		string(p.InputResponses) != `{}` || string(p.RequestState) != `"s"` || p.URI != nil {
		t.Errorf("got %+v", p)
	}
	if p, err := ParseParams(nil); err != nil || p.Meta != nil {
		t.Errorf("no params: %+v, %v", p, err)
	}
	for _, in := range []string{
		`{"name":"a","name":"b"}`, `{"name":"a","n\u0061me":"b"}`, `{"Name":"b"}`, `{"name":"a","NAME":"b"}`,
		`{"inputresponses":{}}`, "{\"argument\u017f\":{}}", `{"argument\u017f":{}}`, `{"_Meta":{}}`, `{"x":1,"x":2}`, `[]`,
	} {
		if _, err := ParseParams([]byte(in)); CodeOf(err) != CodeInvalidParams {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParseMeta(t *testing.T) {
	m, err := ParseMeta([]byte(`{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{},` +
		`"io.modelcontextprotocol/clientCapabilities":{"x":1},"io.modelcontextprotocol/logLevel":"info","progressToken":"t",` +
		`"traceparent":"00-1","tracestate":"a=b","baggage":"c=d","io.modelcontextprotocol/related-task":{"taskId":"1"},"own":{}}`))
	want := Meta{[]byte(`"2026-07-28"`), []byte(`{}`), []byte(`{"x":1}`), []byte(`"info"`), []byte(`{"taskId":"1"}`),
		[]byte(`"t"`), []byte(`"00-1"`), []byte(`"a=b"`), []byte(`"c=d"`)}
	if err != nil || fmt.Sprintf("%s", m) != fmt.Sprintf("%s", want) {
		t.Errorf("got %s, %v", m, err)
	}
	for _, in := range []string{`[]`, `"x"`, `null`, `{"own":1,"own":2}`, `{"progressToken":1,"progressToken":1}`} {
		if _, err := ParseMeta([]byte(in)); CodeOf(err) != CodeInvalidParams {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestIDKeyIsOneForEachID(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{`"a"`, `"\u0061"`, true}, {`1`, `"1"`, false}, {`0`, `-0`, true}, {`1`, `2`, false}, {`"a"`, `"b"`, false}, {`"\""`, `"\u0022"`, true},
	} {
		if got := IDKey([]byte(tt.a)) == IDKey([]byte(tt.b)); got != tt.same {
			t.Errorf("%s and %s: %t", tt.a, tt.b, got)
		}
	}
}

func TestValidIDChecksWhatNobodyHasChecked(t *testing.T) {
	for raw, want := range map[string]bool{
		`1`: true, `-9223372036854775808`: true, `""`: true, `"a\u0000"`: true, `"日"`: true,
		``: false, `"`: false, `-`: false, `01`: false, `1.0`: false, `1e1`: false, `9223372036854775808`: false, `null`: false, `true`: false,
		`"a"b"`: false, `"a","result":"b"`: false, "\"a\n\"": false, "\"\xff\"": false, `"a\"`: false, `"\x"`: false, ` 1`: false, `{}`: false,
	} {
		if got := ValidID([]byte(raw)); got != want {
			t.Errorf("%q: %t", raw, got)
		}
	}
}

func TestAppendError(t *testing.T) {
	got := string(AppendError([]byte("x"), nil, CodeInvalidParams, "a \"b\"\n\x00<é>\xff", []byte("{\n\"k\":\r\n1}")))
	want := `x{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"a \"b\"\n\u0000<é>` + "\ufffd" + `","data":{ "k":  1}}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAppendKeepsIDsAsWritten(t *testing.T) {
	for _, id := range []string{`1`, `"\u0061"`, `-0`} {
		got := string(AppendRequest(nil, []byte(id), "m", []byte(`{}`)))
		if want := `{"jsonrpc":"2.0","id":` + id + `,"method":"m","params":{}}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzValid compares the syntax check with encoding/json and json v2.
func FuzzValid(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Valid(data, 0)
		lax := jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		strict := jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true))
		if err == nil && (!lax || !json.Valid(data)) {
			t.Fatalf("%q passes", data)
		}
		if err != nil && strict && !strings.Contains(err.Error(), "deep") {
			t.Fatalf("%q: %v", data, err)
		}
	})
}

// FuzzScanObject compares members with encoding/json, and shows that text nobody
// checked does no harm.
func FuzzScanObject(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		err := ScanObject(data, func(name, value []byte) error {
			got = append(got, string(name), string(value))
			return nil
		})
		if Valid(data, 0) != nil {
			return
		}
		want, ok := membersOf(t, data)
		if (err == nil) != ok {
			t.Fatalf("%q: %v; want success: %t", data, err, ok)
		}
		if err == nil && !slices.Equal(got, want) {
			t.Fatalf("%q: got %q, want %q", data, got, want)
		}
	})
}

// membersOf lists names and values of an object as encoding/json reads them. It
// reports false if data is not an object or a name occurs twice.
func membersOf(t *testing.T, data []byte) ([]string, bool) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	var list []string
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		if seen[name.(string)] {
			return nil, false
		}
		seen[name.(string)] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		list = append(list, name.(string), string(value))
	}
	return list, true
}

// FuzzString compares unquoting and quoting with encoding/json.
func FuzzString(f *testing.F) {
	for _, seed := range []string{``, `a`, `\n`, `\ud83d\ude00`, `\ud800`, `\ud800\u0041`, `\ud800\ud83d\ude00`, `\\\"\/`, "é\x00", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		raw := []byte(`"` + inner + `"`)
		if Valid(raw, 0) == nil {
			var want string
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			if got, ok := String(raw); !ok || got != want || !StringEquals(raw, want) {
				t.Fatalf("%q: got %q, want %q", raw, got, want)
			}
		}
		quoted := AppendString(nil, inner)
		if err := Valid(quoted, 0); err != nil {
			t.Fatalf("quoted %q as %q: %v", inner, quoted, err)
		}
		if back, _ := String(quoted); back != strings.ToValidUTF8(inner, "\ufffd") && back != string([]rune(inner)) {
			t.Fatalf("%q came back as %q", inner, back)
		}
	})
}
