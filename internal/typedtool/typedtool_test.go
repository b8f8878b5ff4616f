package typedtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

var errPassed = errors.New("passed on")

func add[In, Out any](s *mcp.Server, t *mcp.Tool, h mcp.ToolHandlerFor[In, Out]) {
	tool, handler, err := New(t, h, func(err error) bool { return errors.Is(err, errPassed) })
	if err != nil {
		panic(err)
	}
	s.AddTool(tool, handler)
}

// pair is the same server twice: its tools added by the SDK and by this package.
type pair struct{ sdk, ours *mcp.ClientSession }

func connect(t testing.TB, s *mcp.Server) *mcp.ClientSession {
	t.Helper()
	ct, st := mcp.NewInMemoryTransports()
	if _, err := s.Connect(t.Context(), st, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil).Connect(t.Context(), ct, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func both[In, Out any](t testing.TB, tool *mcp.Tool, h mcp.ToolHandlerFor[In, Out]) pair {
	t.Helper()
	tool.Name = "t"
	options := &mcp.ServerOptions{Logger: slog.New(slog.DiscardHandler)}
	theirs := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, options)
	ours := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, options)
	mcp.AddTool(theirs, tool, h)
	add(ours, tool, h)
	return pair{connect(t, theirs), connect(t, ours)}
}

// outcome is what a client sees, as text.
func outcome(t testing.TB, s *mcp.ClientSession, arguments string) string {
	t.Helper()
	params := &mcp.CallToolParams{Name: "t"}
	if arguments != "" {
		params.Arguments = json.RawMessage(arguments)
	}
	res, err := s.CallTool(t.Context(), params)
	if err != nil {
		var wire *jsonrpc.Error
		if errors.As(err, &wire) {
			return fmt.Sprintf("protocol error %d %s %s", wire.Code, wire.Message, wire.Data)
		}
		return "error " + err.Error()
	}
	var texts []string
	for _, c := range res.Content {
		raw, _ := json.Marshal(c)
		text, ok := c.(*mcp.TextContent)
		var asJSON any
		if ok && !res.IsError && json.Unmarshal([]byte(text.Text), &asJSON) == nil {
			raw, _ = json.Marshal(asJSON) // the order of names is not compared
		}
		texts = append(texts, string(raw))
	}
	structured, _ := json.Marshal(res.StructuredContent)
	return fmt.Sprintf("isError=%t structured=%s content=%s", res.IsError, structured, texts)
}

func (p pair) compare(t *testing.T, arguments string) {
	t.Helper()
	want, got := outcome(t, p.sdk, arguments), outcome(t, p.ours, arguments)
	if got != want {
		t.Errorf("%s\ngot  %s\nwant %s", arguments, got, want)
	}
}

// compareRefusal checks that both refuse; the words differ where the SDK's show
// Go types or depend on the order of a map.
func (p pair) compareRefusal(t *testing.T, arguments, says string) {
	t.Helper()
	want, got := outcome(t, p.sdk, arguments), outcome(t, p.ours, arguments)
	if !strings.HasPrefix(want, "isError=true") || !strings.HasPrefix(got, "isError=true") || !strings.Contains(got, says) {
		t.Errorf("%s\ngot  %s\nwant %s (with %q)", arguments, got, want, says)
	}
	for _, internal := range []string{"Go ", "reflect", "struct ", "map[", "typedtool", ".go:"} {
		if strings.Contains(got, internal) {
			t.Errorf("%s: %s shows %q", arguments, got, internal)
		}
	}
}

func (p pair) compareLists(t *testing.T) {
	t.Helper()
	list := func(s *mcp.ClientSession) string {
		res, err := s.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(res.Tools)
		return string(raw)
	}
	if want, got := list(p.sdk), list(p.ours); got != want {
		t.Errorf("tools/list\ngot  %s\nwant %s", got, want)
	}
}

type everything struct {
	Text     string          `json:"text" jsonschema:"a text"`
	Int      int             `json:"int"`
	Small    uint8           `json:"small,omitempty"`
	Float    float64         `json:"float,omitempty"`
	Flag     bool            `json:"flag,omitempty"`
	Pointer  *string         `json:"pointer,omitempty"`
	List     []string        `json:"list,omitempty"`
	Numbers  [2]int          `json:"numbers,omitzero"`
	Map      map[string]int  `json:"map,omitempty"`
	Any      any             `json:"any,omitempty"`
	Nested   *nestedArgs     `json:"nested,omitempty"`
	Objects  []nestedArgs    `json:"objects,omitempty"`
	Time     *time.Time      `json:"time,omitempty"`
	Duration time.Duration   `json:"duration,omitempty"`
	Bytes    []byte          `json:"bytes,omitempty"`
	Raw      json.RawMessage `json:"raw,omitempty"`
	Big      *big.Int        `json:"-"`
	NoTag    string          `json:",omitempty"`
	embedded
}

type nestedArgs struct {
	A int    `json:"a"`
	B string `json:"b,omitempty"`
}

type embedded struct {
	Inner string `json:"inner,omitempty"`
}

func TestToolsBehaveAsTheSDKs(t *testing.T) {
	p := both(t, &mcp.Tool{Description: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in everything) (*mcp.CallToolResult, everything, error) {
		return nil, in, nil
	})
	p.compareLists(t)
	for _, arguments := range []string{
		`{"text":"a","int":1}`,
		`{"text":"<é>&\u2028\ud83d\ude00\ud800","int":-5,"small":255,"float":1.5e-7,"flag":true,"pointer":"p","list":["a",""],"numbers":[1,2],
			"map":{"z":1,"a":2},"any":{"x":[1,2.5,null,"s",true]},"nested":{"a":1,"b":"x"},"objects":[{"a":1},{"a":2}],
			"time":"2026-01-02T03:04:05Z","duration":1500,"NoTag":"n","inner":"i"}`,
		`{"text":"","int":1.0,"small":2e1,"float":100,"duration":1E3}`,
		`{"text":"x","int":1,"pointer":null,"list":null,"nested":null,"objects":null,"any":null,"time":null}`,
		`{"text":"x","int":1,"list":[],"map":{},"objects":[],"any":[]}`,
		`{"text":"x","int":1,"float":1e300,"any":123456789012345680000}`,
		`{"\u0074ext":"x","int":1}`,
		`{"text":"x","int":1,"bytes":[1,2]}`,
		`{"text":"x","int":1,"any":"\ud800"}`,
	} {
		p.compare(t, arguments)
	}
	for arguments, says := range map[string]string{
		``:                                    `validating \"arguments\": validating root: required: missing properties: [\"text\" \"int\"]`,
		`{}`:                                  `missing properties`,
		`{"text":"x"}`:                        `validating \"arguments\": validating root: required: missing properties: [\"int\"]`,
		`{"text":5,"int":1}`:                  `validating /properties/text: type: 5 has type \"integer\", want \"string\"`,
		`{"text":"x","int":"1"}`:              `validating /properties/int`,
		`{"text":"x","int":1.5}`:              `validating /properties/int`,
		`{"text":null,"int":1}`:               `type: null has type`,
		`{"text":"x","int":1,"small":256}`:    `maximum: 256 is greater than 255`,
		`{"text":"x","int":1,"small":-1}`:     `minimum: -1 is less than 0`,
		`{"text":"x","int":1,"Int":2}`:        `unexpected additional properties [\"Int\"]`,
		`{"text":"x","int":1,"numbers":[1]}`:  `minItems`,
		`{"text":"x","int":1,"map":null}`:     `type`,
		`{"text":"x","int":1,"map":{"a":""}}`: `type`,
		`{"text":"x","int":1,"nested":{}}`:    `missing properties: [\"a\"]`,
		`{"text":"x","int":1,"objects":[{}]}`: `missing properties: [\"a\"]`,
		`{"text":"x","int":1,"time":"now"}`:   `reading \"arguments\": /time: parsing time`,
		`{"text":"x","int":1e20}`:             `reading \"arguments\": /int: a number 100000000000000000000 cannot be used here`,
		`{"text":"x","int":1e400}`:            `number 1e400 is out of range`,
		`{"text":"x","int":1,"bytes":["x"]}`:  `type`,
		`[]`:                                  `want an object, got array`,
		`"x"`:                                 `want an object, got string`,
	} {
		p.compareRefusal(t, arguments, says)
	}
}

func TestDefaultsReachTheHandler(t *testing.T) {
	type in struct {
		Unit  string `json:"unit,omitempty"`
		Count int    `json:"count,omitempty"`
	}
	p := both(t, &mcp.Tool{InputSchema: json.RawMessage(`{"type":"object","properties":{
		"unit":{"type":"string","enum":["C","F"],"default":"C"},"count":{"type":"integer","default":3}}}`)},
		func(_ context.Context, _ *mcp.CallToolRequest, in in) (*mcp.CallToolResult, in, error) {
			return nil, in, nil
		})
	p.compareLists(t)
	for _, arguments := range []string{``, `{}`, `{"unit":"F"}`, `{"count":1,"x":{}}`, ` {  } `} {
		p.compare(t, arguments)
	}
	p.compareRefusal(t, `{"unit":"K"}`, `/properties/unit: enum: K does not equal any of: [C F]`)
}

func TestInputsOfOtherTypes(t *testing.T) {
	t.Run("any", func(t *testing.T) {
		p := both(t, &mcp.Tool{}, func(_ context.Context, _ *mcp.CallToolRequest, in any) (*mcp.CallToolResult, any, error) {
			return nil, map[string]any{"type": fmt.Sprintf("%T", in), "value": in}, nil
		})
		p.compareLists(t)
		for _, arguments := range []string{``, `{}`, `{"a":[1,"x",null,{"b":1.5}]}`} {
			p.compare(t, arguments)
		}
		p.compareRefusal(t, `[1]`, "want an object")
	})
	t.Run("a map", func(t *testing.T) {
		p := both(t, &mcp.Tool{}, func(_ context.Context, _ *mcp.CallToolRequest, in map[string]int) (*mcp.CallToolResult, map[string]int, error) {
			return nil, in, nil
		})
		p.compareLists(t)
		for _, arguments := range []string{``, `{}`, `{"a":1,"b":2.0}`} {
			p.compare(t, arguments)
		}
		p.compareRefusal(t, `{"a":"x"}`, `want \"integer\"`)
	})
	t.Run("a pointer", func(t *testing.T) {
		p := both(t, &mcp.Tool{}, func(_ context.Context, _ *mcp.CallToolRequest, in *nestedArgs) (*mcp.CallToolResult, *nestedArgs, error) {
			return nil, in, nil
		})
		p.compareLists(t)
		p.compare(t, `{"a":1}`)
		p.compareRefusal(t, `{}`, "missing")
	})
	t.Run("raw JSON with a schema of its own", func(t *testing.T) {
		p := both(t, &mcp.Tool{InputSchema: map[string]any{"type": "object", "properties": map[string]any{"a": map[string]any{"type": "integer"}}}},
			func(_ context.Context, _ *mcp.CallToolRequest, in json.RawMessage) (*mcp.CallToolResult, any, error) {
				return nil, in, nil
			})
		p.compareLists(t)
		p.compare(t, `{"a":1}`)
		p.compareRefusal(t, `{"a":true}`, "type")
	})
	t.Run("a schema that is not flat", func(t *testing.T) {
		p := both(t, &mcp.Tool{InputSchema: &jsonschema.Schema{Type: "object", OneOf: []*jsonschema.Schema{{Required: []string{"a"}}, {Required: []string{"b"}}}}},
			func(_ context.Context, _ *mcp.CallToolRequest, in struct{ A, B int }) (*mcp.CallToolResult, any, error) {
				return nil, nil, nil
			})
		p.compare(t, `{"a":1}`)
		p.compareRefusal(t, `{"a":1,"b":2}`, "oneOf")
	})
}

func TestOutputs(t *testing.T) {
	type out struct {
		N int            `json:"n"`
		M map[string]int `json:"m,omitempty"`
	}
	text := func(s string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
	}
	t.Run("a struct", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, out{N: 1}) })
	t.Run("a struct and content", func(t *testing.T) { output2(t, &mcp.Tool{}, text("hi"), out{N: 1}) })
	t.Run("empty content", func(t *testing.T) { output2(t, &mcp.Tool{}, &mcp.CallToolResult{Content: []mcp.Content{}}, out{N: 1}) })
	t.Run("a pointer", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, &out{N: 1}) })
	t.Run("a nil pointer", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, (*out)(nil)) })
	t.Run("nothing", func(t *testing.T) { output2[any](t, &mcp.Tool{}, nil, nil) })
	t.Run("nothing but content", func(t *testing.T) { output2[any](t, &mcp.Tool{}, text("hi"), nil) })
	t.Run("anything", func(t *testing.T) { output2[any](t, &mcp.Tool{}, nil, []int{1}) })
	t.Run("a list", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, []int{1, 2}) })
	t.Run("a list and content", func(t *testing.T) { output2(t, &mcp.Tool{}, text("hi"), []int{1, 2}) })
	t.Run("a nil list", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, []int(nil)) })
	t.Run("a text", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, "x") })
	t.Run("a number", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, 1.5) })
	t.Run("a nil map", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, map[string]int(nil)) })
	t.Run("a map", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, map[string]int{"b": 1, "a": 2}) })
	t.Run("a time", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, time.Unix(0, 0).UTC()) })
	t.Run("a struct with a list that is nil", func(t *testing.T) { output2(t, &mcp.Tool{}, nil, struct{ L []int }{}) })
	t.Run("an error result with output", func(t *testing.T) { output2(t, &mcp.Tool{}, &mcp.CallToolResult{IsError: true}, out{N: 1}) })
	t.Run("a schema of its own with a default", func(t *testing.T) {
		output2(t, &mcp.Tool{OutputSchema: json.RawMessage(`{"type":"object","properties":{"d":{"type":"integer","default":7}}}`)}, nil, map[string]any{})
	})
	t.Run("null where the schema wants an object", func(t *testing.T) {
		output2(t, &mcp.Tool{OutputSchema: json.RawMessage(`{"type":"object"}`)}, nil, json.RawMessage(`null`))
	})
	t.Run("any with a schema", func(t *testing.T) {
		output2[any](t, &mcp.Tool{OutputSchema: json.RawMessage(`{"type":"object"}`)}, nil, map[string]any{"a": 1})
	})
}

func output2[Out any](t *testing.T, tool *mcp.Tool, res *mcp.CallToolResult, out Out) {
	t.Helper()
	p := both(t, tool, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, Out, error) {
		if res == nil {
			return nil, out, nil
		}
		own := *res // the SDK writes to it
		return &own, out, nil
	})
	p.compareLists(t)
	p.compare(t, `{}`)
}

func TestOutputsThatBreakTheirSchemaAreProtocolErrors(t *testing.T) {
	for name, out := range map[string]any{"a missing name": map[string]any{}, "another type": map[string]any{"n": "x"}, "a list": []int{1}} {
		t.Run(name, func(t *testing.T) {
			p := both(t, &mcp.Tool{OutputSchema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)},
				func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
					return nil, out, nil
				})
			want, got := outcome(t, p.sdk, `{}`), outcome(t, p.ours, `{}`)
			// The code of an error without one is the transport's business.
			if !strings.HasPrefix(want, "protocol error") || got[:16] != want[:16] || !strings.Contains(got, "validating tool output") {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	wire := &jsonrpc.Error{Code: -32042, Message: "no", Data: json.RawMessage(`{"k":1}`)}
	for name, err := range map[string]error{
		"a plain error":      errors.New("it broke"),
		"a protocol error":   wire,
		"a cancelled call":   context.Canceled,
		"an error in layers": fmt.Errorf("outer: %w", errors.New("inner")),
	} {
		t.Run(name, func(t *testing.T) {
			both(t, &mcp.Tool{}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, nestedArgs, error) {
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "lost"}}}, nestedArgs{A: 1}, err
			}).compare(t, `{}`)
		})
	}
	t.Run("a wrapped protocol error stays one", func(t *testing.T) {
		p := both(t, &mcp.Tool{}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return nil, nil, fmt.Errorf("outer: %w", wire)
		})
		if got := outcome(t, p.ours, `{}`); !strings.HasPrefix(got, "protocol error -32042 outer: no") {
			t.Errorf("got %s", got)
		}
	})
}

func TestErrorsToPassOnAreReturnedUnchanged(t *testing.T) {
	asked := fmt.Errorf("asking: %w", errPassed)
	_, handler, err := New(&mcp.Tool{Name: "t"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, 1, asked
	}, func(err error) bool { return errors.Is(err, errPassed) })
	if err != nil {
		t.Fatal(err)
	}
	res, err := handler(t.Context(), &mcp.CallToolRequest{Params: &mcp.CallToolParamsRaw{}})
	if res != nil || err != asked {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestInputRequestsLeaveOutTheOutput(t *testing.T) {
	ask := &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"k": &mcp.ElicitParams{Message: "?"}}}
	_, handler, err := New(&mcp.Tool{Name: "t"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, nestedArgs, error) {
		return ask, nestedArgs{}, nil
	}, func(error) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	res, err := handler(t.Context(), &mcp.CallToolRequest{Params: &mcp.CallToolParamsRaw{}})
	if err != nil || res.StructuredContent != nil || res.Content != nil || len(res.InputRequests) != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestAResultThatIsReturnedAgainStaysAsItWas(t *testing.T) {
	shared := &mcp.CallToolResult{Content: make([]mcp.Content, 1, 8)}
	shared.Content[0] = &mcp.TextContent{Text: "hi"}
	_, handler, err := New(&mcp.Tool{Name: "t"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, []int, error) {
		return shared, []int{1}, nil
	}, func(error) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		res, err := handler(t.Context(), &mcp.CallToolRequest{Params: &mcp.CallToolParamsRaw{}})
		if err != nil || len(res.Content) != 2 {
			t.Fatalf("got %+v, %v", res, err)
		}
	}
	if shared.StructuredContent != nil || len(shared.Content) != 1 || shared.Content[:2][1] != nil {
		t.Error("the handler's result was written to")
	}
}

func TestStricterThanTheSDK(t *testing.T) {
	type in struct {
		N int64 `json:"n"`
		M any   `json:"m,omitempty"`
	}
	p := both(t, &mcp.Tool{}, func(_ context.Context, _ *mcp.CallToolRequest, in in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint("n is ", in.N)}}}, nil, nil
	})
	for arguments, says := range map[string]string{
		`{"n":1,"n":2}`:                     `property \"n\" occurs twice`,
		`{"n":1,"\u006e":2}`:                `property \"n\" occurs twice`,
		`{"n":1,"m":{"a":[{"b":1,"b":2}]}}`: `property \"b\" occurs twice`,
	} {
		if got := outcome(t, p.ours, arguments); !strings.HasPrefix(got, "isError=true") || !strings.Contains(got, says) {
			t.Errorf("%s: %s", arguments, got)
		}
	}
	if got := outcome(t, p.ours, `{"n":9007199254740993}`); !strings.Contains(got, `"text":"n is 9007199254740993"`) {
		t.Errorf("an integer beyond 2^53: %s", got)
	}
	if got := outcome(t, p.ours, `null`); !strings.Contains(got, "missing properties") {
		t.Errorf("null: %s", got)
	}
}

func TestNewRefuses(t *testing.T) {
	bad := func(t *testing.T, tool *mcp.Tool, says string) {
		t.Helper()
		_, _, err := New(tool, func(context.Context, *mcp.CallToolRequest, map[string]any) (*mcp.CallToolResult, any, error) {
			return nil, nil, nil
		}, nil)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	bad(t, &mcp.Tool{InputSchema: json.RawMessage(`{"type":"object","properties":{"a":{"pattern":"("}}}`)}, "input schema")
	bad(t, &mcp.Tool{InputSchema: json.RawMessage(`{"type":"object","properties":{"price":{"type":"number","x-mcp-header":"Price"}}}`)}, `property "price": x-mcp-header "Price"`)
	bad(t, &mcp.Tool{InputSchema: (*jsonschema.Schema)(nil)}, "no schema")
	bad(t, &mcp.Tool{InputSchema: 5}, "reading the schema")
	bad(t, &mcp.Tool{OutputSchema: json.RawMessage(`{"$ref":"https://example.com/"}`)}, "output schema")
	if _, _, err := New(&mcp.Tool{}, func(context.Context, *mcp.CallToolRequest, struct{ C chan int }) (*mcp.CallToolResult, any, error) {
		return nil, nil, nil
	}, nil); err == nil {
		t.Error("a channel as input: accepted")
	}
}

func TestTheToolItselfIsNotChanged(t *testing.T) {
	tool := &mcp.Tool{Name: "t"}
	if _, _, err := New(tool, func(context.Context, *mcp.CallToolRequest, nestedArgs) (*mcp.CallToolResult, nestedArgs, error) {
		return nil, nestedArgs{}, nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(tool, &mcp.Tool{Name: "t"}) {
		t.Errorf("got %+v", tool)
	}
}

// FuzzArguments compares what reaches a typed handler with what the SDK brings
// it, for any JSON object.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a","int":1}`, `{"text":"\ud800","int":1.0,"float":1e5,"list":["a"],"map":{"x":1},"any":[{}],"nested":{"a":1}}`,
		`{"text":"x","int":-0,"small":3,"flag":true,"pointer":null,"objects":[{"a":1,"b":"c"}],"time":"2026-01-02T03:04:05Z","duration":1}`,
		`{"numbers":[1,2],"text":"","int":9,"bytes":[1],"raw":[123],"NoTag":"","inner":"x"}`,
	} {
		f.Add(seed)
	}
	var got, want string // what the handlers were given
	_, handler, err := New(&mcp.Tool{Name: "t"}, func(_ context.Context, _ *mcp.CallToolRequest, in everything) (*mcp.CallToolResult, any, error) {
		got = written(in)
		return nil, nil, nil
	}, func(error) bool { return false })
	if err != nil {
		f.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "t"}, func(_ context.Context, _ *mcp.CallToolRequest, in everything) (*mcp.CallToolResult, any, error) {
		want = written(in)
		return nil, nil, nil
	})
	theirs := connect(f, server)
	longDigits := regexp.MustCompile(`[0-9]{16}|[eE]`)
	f.Fuzz(func(t *testing.T, arguments string) {
		if !json.Valid([]byte(arguments)) || strings.TrimSpace(arguments) == "null" {
			return
		}
		got, want = "", ""
		ours, err := handler(t.Context(), &mcp.CallToolRequest{Params: &mcp.CallToolParamsRaw{Arguments: json.RawMessage(arguments)}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := theirs.CallTool(t.Context(), &mcp.CallToolParams{Name: "t", Arguments: json.RawMessage(arguments)})
		if err != nil {
			t.Skip(err) // refused by the client or with the envelope
		}
		if ours.IsError && strings.Contains(ours.Content[0].(*mcp.TextContent).Text, "twice") {
			return
		}
		if longDigits.MatchString(arguments) {
			return // the SDK rounds integers
		}
		if ours.IsError != res.IsError || got != want {
			t.Fatalf("%s\ngot  %s %s\nwant %s %s", arguments, got, written(ours.Content), want, written(res.Content))
		}
	})
}

func written(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
