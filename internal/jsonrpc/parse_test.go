package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

func TestParseReadsEachKindOfMessage(t *testing.T) {
	tests := []struct {
		name, in string
		want     Message
	}{
		{"a request", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add"}}`,
			Message{Kind: Request, ID: []byte("7"), Method: "tools/call", Params: []byte(`{"name":"add"}`)}},
		{"a request with space everywhere", " \t{ \"id\" : \"x\\n\" ,\r\n\"params\" : { } , \"jsonrpc\" : \"2.0\" , \"method\" : \"own/method\" } \n",
			Message{Kind: Request, ID: []byte(`"x\n"`), Method: "own/method", Params: []byte(`{ }`)}},
		{"escaped names and method", `{"json\u0072pc":"2\u002e0","i\u0064":-3,"meth\u006fd":"p\u0069ng"}`,
			Message{Kind: Request, ID: []byte("-3"), Method: "ping"}},
		{"a notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			Message{Kind: Notification, Method: "notifications/initialized"}},
		{"params that are null", `{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`,
			Message{Kind: Request, ID: []byte("1"), Method: "ping"}},
		{"a request whose other members are null", `{"jsonrpc":"2.0","id":1,"method":"ping","result":null,"error":null}`,
			Message{Kind: Request, ID: []byte("1"), Method: "ping"}},
		{"an empty method", `{"jsonrpc":"2.0","id":1,"method":""}`,
			Message{Kind: Request, ID: []byte("1")}},
		{"a result", `{"jsonrpc":"2.0","id":"a","result":[1,{}],"error":null}`,
			Message{Kind: Response, ID: []byte(`"a"`), Result: []byte(`[1,{}]`)}},
		{"a result that is null", `{"jsonrpc":"2.0","id":"a","result":null}`,
			Message{Kind: Response, ID: []byte(`"a"`), Result: []byte(`null`)}},
		{"an error", `{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"no","data":[]}}`,
			Message{Kind: Response, ID: []byte(`2`), Error: []byte(`{"code":-1,"message":"no","data":[]}`)}},
		{"members nobody defines", `{"jsonrpc":"2.0","id":2,"method":"ping","x":{"id":1},"y":[[]]}`,
			Message{Kind: Request, ID: []byte(`2`), Method: "ping"}},
		{"the largest ids", `{"jsonrpc":"2.0","id":-9223372036854775808,"method":"ping"}`,
			Message{Kind: Request, ID: []byte(`-9223372036854775808`), Method: "ping"}},
		{"text outside ASCII", `{"jsonrpc":"2.0","id":"日本","method":"ünï","params":{"€":"😀\ud83d\ude00"}}`,
			Message{Kind: Request, ID: []byte(`"日本"`), Method: "ünï", Params: []byte(`{"€":"😀\ud83d\ude00"}`)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.in), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != tt.want.Kind || got.Method != tt.want.Method || !same(got.ID, tt.want.ID) ||
				!same(got.Params, tt.want.Params) || !same(got.Result, tt.want.Result) || !same(got.Error, tt.want.Error) {
				t.Errorf("got %s, want %s", show(got), show(tt.want))
			}
		})
	}
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func show(m Message) string {
	out, _ := json.Marshal(map[string]any{"kind": m.Kind, "id": string(m.ID), "method": m.Method,
		"params": string(m.Params), "result": string(m.Result), "error": string(m.Error)})
	return string(out)
}

func TestParseRefuses(t *testing.T) {
	request := func(rest string) string { return `{"jsonrpc":"2.0","id":5,"method":"ping"` + rest + `}` }
	tests := []struct {
		name, in string
		code     int
		id       string // "" when the answer must carry null
		says     string
	}{
		{"nothing", ``, CodeParseError, "", "no message"},
		{"a word", `hello`, CodeParseError, "", "byte 0"},
		{"a cut message", `{"jsonrpc":"2.0","id":5`, CodeParseError, "", "does not end"},
		{"a cut string", `{"jsonrpc":"2.0","id":"5`, CodeParseError, "", "string does not end"},
		{"a missing value", `{"jsonrpc":"2.0","id":}`, CodeParseError, "", "value"},
		{"a comma at the end", request(`,`), CodeParseError, "", "name in double quotes"},
		{"a comma at the end of an array", request(`,"x":[1,]`), CodeParseError, "", "expected a value"},
		{"brackets that do not match", request(`,"x":[1}`), CodeParseError, "", "expected ',' or ']'"},
		{"a name without quotes", `{jsonrpc:"2.0"}`, CodeParseError, "", "name in double quotes"},
		{"single quotes", `{'jsonrpc':'2.0'}`, CodeParseError, "", "name in double quotes"},
		{"a comment", request(`/**/`), CodeParseError, "", "expected ',' or '}'"},
		{"a leading zero", request(`,"x":01`), CodeParseError, "", "expected ',' or '}'"},
		{"a plus sign", request(`,"x":+1`), CodeParseError, "", "expected a value"},
		{"a point without digits", request(`,"x":1.`), CodeParseError, "", "digit after '.'"},
		{"an exponent without digits", request(`,"x":1e+`), CodeParseError, "", "exponent"},
		{"NaN", request(`,"x":NaN`), CodeParseError, "", "expected a value"},
		{"a control character", request(",\"x\":\"\x01\""), CodeParseError, "", "control character"},
		{"a line break in a string", request(",\"x\":\"\n\""), CodeParseError, "", "control character"},
		{"an unknown escape", request(`,"x":"\x41"`), CodeParseError, "", "escape"},
		{"a short unicode escape", request(`,"x":"\u00g0"`), CodeParseError, "", "escape"},
		{"text that is not UTF-8", request(",\"x\":\"\xff\""), CodeParseError, "", "UTF-8"},
		{"an overlong encoding", request(",\"x\":\"\xc0\xaf\""), CodeParseError, "", "UTF-8"},
		{"an encoded surrogate", request(",\"x\":\"\xed\xa0\x80\""), CodeParseError, "", "UTF-8"},
		{"a byte order mark", "\ufeff" + request(``), CodeParseError, "", "byte 0"},
		{"text after the message", request(``) + ` {}`, CodeParseError, "", "text after the message"},
		{"a second message on the next line", request(``) + "\n" + request(``), CodeParseError, "", "text after the message"},

		{"a number", `5`, CodeInvalidRequest, "", "object"},
		{"null", `null`, CodeInvalidRequest, "", "object"},
		{"a batch", `[` + request(``) + `]`, CodeInvalidRequest, "", "object"},
		{"an empty object", `{}`, CodeInvalidRequest, "", `"jsonrpc"`},
		{"no version", `{"id":5,"method":"ping"}`, CodeInvalidRequest, "5", `"jsonrpc"`},
		{"another version", `{"jsonrpc":"1.0","id":5,"method":"ping"}`, CodeInvalidRequest, "5", `"jsonrpc"`},
		{"a number as version", `{"jsonrpc":2.0,"method":"ping","id":5}`, CodeInvalidRequest, "5", `"jsonrpc"`},
		{"an id of null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"an id with a fraction", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"an id with an exponent", `{"jsonrpc":"2.0","id":1e2,"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"an id beyond int64", `{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"an id of many digits", `{"jsonrpc":"2.0","id":` + strings.Repeat("9", 400) + `,"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"an id of true", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"an object as id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, CodeInvalidRequest, "", `"id"`},
		{"no method", `{"jsonrpc":"2.0","id":5}`, CodeInvalidRequest, "5", `"method"`},
		{"a method of null", `{"jsonrpc":"2.0","id":5,"method":null}`, CodeInvalidRequest, "5", `"method"`},
		{"a number as method", `{"jsonrpc":"2.0","id":5,"method":1}`, CodeInvalidRequest, "5", `"method"`},
		{"a method in another case", `{"jsonrpc":"2.0","id":5,"Method":"ping"}`, CodeInvalidRequest, "5", `"Method"`},
		{"a second method in another case", request(`,"METHOD":"tools/call"`), CodeInvalidRequest, "5", `"METHOD"`},
		{"a second method", request(`,"method":"tools/call"`), CodeInvalidRequest, "5", `"method" occurs twice`},
		{"a second method that is escaped", request(`,"meth\u006fd":"tools/call"`), CodeInvalidRequest, "5", `"method" occurs twice`},
		{"two ids", request(`,"id":6`), CodeInvalidRequest, "", `"id" occurs twice`},
		{"twice the same id", request(`,"id":5`), CodeInvalidRequest, "", `"id" occurs twice`},
		{"two versions", request(`,"jsonrpc":"2.0"`), CodeInvalidRequest, "5", `"jsonrpc" occurs twice`},
		{"two params", request(`,"params":{},"params":{}`), CodeInvalidRequest, "5", `"params" occurs twice`},
		{"an unknown member twice", request(`,"x":1,"x":2`), CodeInvalidRequest, "5", `"x" occurs twice`},
		{"a fault before the id", `{"method":1,"jsonrpc":"2.0","id":5}`, CodeInvalidRequest, "5", `"method"`},
		{"params in an array", request(`,"params":[1]`), CodeInvalidParams, "5", `"params"`},
		{"params in a string", request(`,"params":"x"`), CodeInvalidParams, "5", `"params"`},
		{"a request with a result", request(`,"result":{}`), CodeInvalidRequest, "5", `"method" together`},
		{"a request with an error", request(`,"error":{"code":1,"message":""}`), CodeInvalidRequest, "5", `"method" together`},
		{"a response without id", `{"jsonrpc":"2.0","result":{}}`, CodeInvalidRequest, "", `"id"`},
		{"a response with result and error", `{"jsonrpc":"2.0","id":5,"result":1,"error":{"code":1,"message":""}}`, CodeInvalidRequest, "5", "both"},
		{"an error that is a string", `{"jsonrpc":"2.0","id":5,"error":"no"}`, CodeInvalidRequest, "5", `"error"`},
		{"an error code with a fraction", `{"jsonrpc":"2.0","id":5,"error":{"code":1.5,"message":"no"}}`, CodeInvalidRequest, "5", `"error.code"`},
		{"an error message that is a number", `{"jsonrpc":"2.0","id":5,"error":{"code":1,"message":1}}`, CodeInvalidRequest, "5", `"error.message"`},
		{"many unknown members", request(manyMembers(33)), CodeInvalidRequest, "5", "more than 32"},
		{"too deep", request(`,"params":{"x":` + strings.Repeat("[", 999) + strings.Repeat("]", 999) + `}`), CodeParseError, "", "deep"},
		{"far too deep", strings.Repeat(`{"a":`, 1_000_000), CodeParseError, "", "deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.in), Limits{})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %s, %v; want an *Error", show(got), err)
			}
			if e.Code != tt.code || string(e.ID) != tt.id || !strings.Contains(e.Message, tt.says) {
				t.Errorf("got code %d, id %q, %q; want %d, %q, a message with %q", e.Code, e.ID, e.Message, tt.code, tt.id, tt.says)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"m` + strings.Repeat("x", i) + `":0`)
	}
	return b.String()
}

func TestUnknownMembersAreBounded(t *testing.T) {
	if _, err := Parse([]byte(`{"jsonrpc":"2.0","id":5,"method":"ping"`+manyMembers(32)+`}`), Limits{}); err != nil {
		t.Errorf("32 unknown members: %v", err)
	}
}

func TestDepthLimits(t *testing.T) {
	nested := func(depth int) []byte { // depth counts the envelope
		return []byte(`{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":` +
			strings.Repeat("[", depth-2) + strings.Repeat("]", depth-2) + `}}`)
	}
	for _, limit := range []int{3, 10, 64, 65, 999, 1000} {
		if _, err := Parse(nested(limit), Limits{Depth: limit}); err != nil {
			t.Errorf("depth %d with limit %d: %v", limit, limit, err)
		}
		if _, err := Parse(nested(limit+1), Limits{Depth: limit}); CodeOf(err) != CodeParseError {
			t.Errorf("depth %d with limit %d: %v", limit+1, limit, err)
		}
	}
	if _, err := Parse(nested(1001), Limits{Depth: 5000}); CodeOf(err) != CodeParseError {
		t.Error("a limit above MaxDepth is not MaxDepth")
	}
	if _, err := Parse([]byte(`{}`), Limits{Depth: 1}); CodeOf(err) != CodeInvalidRequest {
		t.Errorf("an envelope at depth 1: %v", err)
	}
}

func TestParseBatch(t *testing.T) {
	in := ` [ {"jsonrpc":"2.0","id":1,"method":"ping"} , 5, {"jsonrpc":"2.0","id":2},{"jsonrpc":"2.0","method":"n"} ] `
	if !IsBatch([]byte(in)) {
		t.Error("not seen as a batch")
	}
	got, err := ParseBatch([]byte(in), Limits{})
	if err != nil || len(got) != 4 {
		t.Fatalf("got %d entries, %v", len(got), err)
	}
	if got[0].Err != nil || got[0].Message.Kind != Request || string(got[0].Message.ID) != "1" {
		t.Errorf("entry 0: %+v", got[0])
	}
	if got[1].Err == nil || got[1].Err.Code != CodeInvalidRequest || got[1].Err.ID != nil {
		t.Errorf("entry 1: %+v", got[1])
	}
	if got[2].Err == nil || got[2].Err.Code != CodeInvalidRequest || string(got[2].Err.ID) != "2" {
		t.Errorf("entry 2: %+v", got[2])
	}
	if got[3].Err != nil || got[3].Message.Kind != Notification {
		t.Errorf("entry 3: %+v", got[3])
	}
}

func TestParseBatchRefuses(t *testing.T) {
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	tests := []struct {
		name, in string
		code     int
	}{
		{"no batch", ping, CodeInvalidRequest},
		{"nothing", ``, CodeInvalidRequest},
		{"an empty batch", `[ ]`, CodeInvalidRequest},
		{"text after an empty batch", `[] []`, CodeParseError},
		{"text after a batch", `[` + ping + `] x`, CodeParseError},
		{"a comma at the end", `[` + ping + `,]`, CodeParseError},
		{"no end", `[` + ping, CodeParseError},
		{"no comma", `[` + ping + ping + `]`, CodeParseError},
		{"one message too many", `[` + strings.Repeat(ping+",", 3) + ping + `]`, CodeInvalidRequest},
		{"too deep", `[{"x":[[]]}]`, CodeParseError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseBatch([]byte(tt.in), Limits{Batch: 3, Depth: 3})
			if CodeOf(err) != tt.code || got != nil {
				t.Errorf("got %v, %v; want code %d", got, err, tt.code)
			}
		})
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	in := []byte(modernCall)
	allocs := testing.AllocsPerRun(100, func() {
		msg, err := Parse(in, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		params, err := ParseParams(msg.Params)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMeta(params.Meta); err != nil {
			t.Fatal(err)
		}
		if !StringEquals(params.Name, "add") {
			t.Fatal("name")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per message", allocs)
	}
}

const modernCall = `{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
	`"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1.0.0"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}}},` +
	`"progressToken":3},"name":"add","arguments":{"a":1234,"b":-5.5,"note":"a text of some length, with an é in it"}}}`

// FuzzParse checks that what is accepted here is accepted by the SDK, with the
// same fields, and that what only the SDK accepts is refused for a reason that
// the package comment lists.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := Parse(data, Limits{})
		theirs, theirErr := sdk.DecodeMessage(bytes.Clone(data))
		switch {
		case err == nil && theirErr != nil:
			t.Fatalf("accepted %q, which the SDK refuses: %v", data, theirErr)
		case err == nil:
			compare(t, msg, theirs)
			roundTrip(t, msg)
		case theirErr == nil && !stricter(err):
			t.Fatalf("refused %q, which the SDK accepts: %v", data, err)
		}
	})
}

var seeds = []string{
	modernCall,
	`{"jsonrpc":"2.0","id":"a","method":"ping"}`,
	`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
	`{"jsonrpc":"2.0","id":1,"result":{"x":[1,-2.5e+3,true,false,null,"\ud83d\ude00\ud800"]}}`,
	`{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"\u0000","data":{}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"a","method":"b","Method":"c"}`,
	`{"jsonrpc":"2.0","id":null,"method":null,"params":[]}`,
	`{"jsonrpc":"2.0","id":1.0,"method":"x"} trailing`,
	`{"\u006asonrpc":"2.0","id":9223372036854775807,"method":"\"\\\/\b\f\n\r\t"}`,
	"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"\xc3\x28\"}",
	`[{"jsonrpc":"2.0"}]`, `null`, `0`, `"`, `{`, `{"a":}`, `1e999`,
}

func compare(t *testing.T, msg Message, theirs sdk.Message) {
	t.Helper()
	switch theirs := theirs.(type) {
	case *sdk.Request:
		params := []byte(theirs.Params)
		if string(params) == "null" {
			params = nil
		}
		if msg.Kind == Response || msg.Method != theirs.Method || !bytes.Equal(msg.Params, params) {
			t.Fatalf("got %s, the SDK reads %+v", show(msg), theirs)
		}
		if (msg.Kind == Request) != theirs.IsCall() {
			t.Fatalf("kind %d, the SDK says call: %t", msg.Kind, theirs.IsCall())
		}
		compareID(t, msg.ID, theirs.ID)
	case *sdk.Response:
		if msg.Kind != Response || (msg.Error == nil) != (theirs.Error == nil) {
			t.Fatalf("got %s, the SDK reads %+v", show(msg), theirs)
		}
		if msg.Error == nil && !bytes.Equal(msg.Result, theirs.Result) {
			t.Fatalf("result %s, the SDK reads %s", msg.Result, theirs.Result)
		}
		if msg.Error != nil {
			compareError(t, msg.Error, theirs.Error.(*sdk.Error))
		}
		compareID(t, msg.ID, theirs.ID)
	}
}

func compareID(t *testing.T, raw []byte, theirs sdk.ID) {
	t.Helper()
	ours := IDValue(raw)
	if n, ok := ours.(int64); ok {
		if n > 1<<53 || n < -(1<<53) {
			return // the SDK rounds it to a float64
		}
	}
	if ours != theirs.Raw() {
		t.Fatalf("id %s is %v, the SDK reads %v", raw, ours, theirs.Raw())
	}
}

func compareError(t *testing.T, raw []byte, theirs *sdk.Error) {
	t.Helper()
	ours, err := ParseErrorObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	if ours.Code != theirs.Code || ours.Message != theirs.Message || !bytes.Equal(ours.Data, theirs.Data) {
		t.Fatalf("error %+v, the SDK reads %+v", ours, theirs)
	}
}

// stricter reports whether err is one of the documented differences.
func stricter(err error) bool {
	for _, reason := range []string{
		"text after the message", "not UTF-8", "occurs twice", "letter case only",
		`"id" must be`, `"method" must be`, `"params" must be`, `"method" together`,
		`both "result" and "error"`, `"method" is missing`, "more than 32",
	} {
		if strings.Contains(err.Error(), reason) {
			return true
		}
	}
	return false
}

func roundTrip(t *testing.T, msg Message) {
	t.Helper()
	var out []byte
	switch {
	case msg.Kind == Request:
		out = AppendRequest(nil, msg.ID, msg.Method, msg.Params)
	case msg.Kind == Notification:
		out = AppendNotification(nil, msg.Method, msg.Params)
	case msg.Error == nil:
		out = AppendResult(nil, msg.ID, msg.Result)
	default:
		e, _ := ParseErrorObject(msg.Error)
		out = AppendError(nil, msg.ID, e.Code, e.Message, e.Data)
	}
	if bytes.ContainsAny(out, "\r\n") {
		t.Fatalf("more than one line: %q", out)
	}
	again, err := Parse(out, Limits{})
	if err != nil {
		t.Fatalf("our own %s: %v", out, err)
	}
	if again.Kind != msg.Kind || again.Method != msg.Method || !bytes.Equal(again.ID, msg.ID) ||
		compact(t, again.Params) != compact(t, msg.Params) || msg.Error == nil && compact(t, again.Result) != compact(t, msg.Result) {
		t.Fatalf("wrote %s, read %s", show(msg), show(again))
	}
}

func compact(t *testing.T, raw []byte) string {
	t.Helper()
	if raw == nil {
		return ""
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// FuzzParseBatch checks that no input makes ParseBatch panic or pass text that
// is not JSON.
func FuzzParseBatch(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte("[" + seed + "]"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParseBatch(data, Limits{Batch: 5})
		if err == nil && (!json.Valid(data) || len(entries) == 0 || len(entries) > 5) {
			t.Fatalf("accepted %q as %d entries", data, len(entries))
		}
	})
}
