package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type everyKindIn struct {
	Text  string         `json:"text"`
	Count int            `json:"count,omitempty"`
	List  []string       `json:"list,omitempty"`
	Map   map[string]any `json:"map,omitempty"`
}

type everyKindOut struct {
	Text  string         `json:"text"`
	Big   int64          `json:"big"`
	Float float64        `json:"float"`
	List  []string       `json:"list"`
	Map   map[string]any `json:"map"`
}

// newEveryKindServer is a server as the SDK's users write them, with a feature of every kind. It is built
// anew for each mount, so that neither sees what was done to the other's. No handler returns a nil result: in
// 2026-07-28 that ends the process behind the SDK's handler, which leaves nothing to compare with.
func newEveryKindServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "every", Title: "Évery kind", Version: "1"}, &mcp.ServerOptions{
		Instructions: "read me", PageSize: 2, SchemaCache: mcp.NewSchemaCache(),
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(_ context.Context, r *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			if r.Params.Argument.Value == "bad" {
				return nil, errors.New("no completion")
			}
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{r.Params.Argument.Value + "x"}, Total: 1}}, nil
		},
	})
	typed := func(_ context.Context, _ *mcp.CallToolRequest, in everyKindIn) (*mcp.CallToolResult, everyKindOut, error) {
		switch in.Text {
		case "error":
			return nil, everyKindOut{}, errors.New("returned error")
		case "rpc":
			return nil, everyKindOut{}, &jsonrpc.Error{Code: -32050, Message: "own code", Data: json.RawMessage(`{"why":1}`)}
		case "wrapped":
			return nil, everyKindOut{}, fmt.Errorf("wrapped: %w", &jsonrpc.Error{Code: -32051, Message: "own code"})
		case "iserror":
			return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: "sorry"}}}, everyKindOut{List: []string{}, Map: map[string]any{}}, nil
		}
		return nil, everyKindOut{Text: in.Text, Big: 9007199254740993, Float: 1e-9, List: append([]string{}, in.List...), Map: map[string]any{"n": nil, "in": in.Map}}, nil
	}
	mcp.AddTool(s, &mcp.Tool{Name: "typed", Title: "Typed", Description: "typed ☃", Meta: mcp.Meta{"a/b": 1},
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}, Icons: []mcp.Icon{{Source: "https://example.com/i.png", Sizes: []string{"any"}}}}, typed)
	mcp.AddTool(s, &mcp.Tool{Name: "any"}, func(_ context.Context, _ *mcp.CallToolRequest, in map[string]any) (*mcp.CallToolResult, any, error) {
		return nil, in, nil
	})
	untyped := func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var in map[string]any
		_ = json.Unmarshal(r.Params.Arguments, &in)
		switch in["do"] {
		case "error":
			return nil, errors.New("untyped error")
		case "rpc":
			return nil, &jsonrpc.Error{Code: -32052, Message: "own", Data: json.RawMessage(`[1]`)}
		case "wrapped":
			return nil, fmt.Errorf("wrapped: %w", &jsonrpc.Error{Code: -32053, Message: "own"})
		case "notfound":
			return nil, mcp.ResourceNotFoundError("x:y")
		case "empty":
			return &mcp.CallToolResult{}, nil
		case "null":
			return &mcp.CallToolResult{StructuredContent: json.RawMessage(`null`)}, nil
		case "many":
			return &mcp.CallToolResult{Meta: mcp.Meta{"m": nil}, Content: []mcp.Content{
				&mcp.TextContent{Text: "<&>\u2028"}, &mcp.ImageContent{MIMEType: "image/png"}, &mcp.AudioContent{Data: []byte{1}, MIMEType: "audio/wav"},
				&mcp.ResourceLink{URI: "file:///a", Name: "a"}, &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: "file:///a", Text: ""}}}}, nil
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(r.Params.Arguments)}}, StructuredContent: r.Params.Arguments}, nil
	}
	s.AddTool(&mcp.Tool{Name: "untyped", InputSchema: json.RawMessage(`{"type":"object"}`)}, untyped)
	for _, name := range []string{"plain", "named"} {
		s.AddPrompt(&mcp.Prompt{Name: name, Title: "P", Arguments: []*mcp.PromptArgument{{Name: "who", Required: true}}},
			func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				switch r.Params.Arguments["who"] {
				case "error":
					return nil, errors.New("prompt error")
				case "empty":
					return &mcp.GetPromptResult{}, nil
				}
				return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: r.Params.Arguments["who"]}}}}, nil
			})
	}
	read := func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		switch {
		case strings.HasSuffix(r.Params.URI, "missing"):
			return nil, mcp.ResourceNotFoundError(r.Params.URI)
		case strings.HasSuffix(r.Params.URI, "error"):
			return nil, errors.New("read error")
		case strings.HasSuffix(r.Params.URI, "empty"):
			return &mcp.ReadResourceResult{}, nil
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Blob: []byte{}}, {Text: "t", MIMEType: "text/plain"}}}, nil
	}
	for _, uri := range []string{"file:///a", "file:///b", "file:///nil"} {
		s.AddResource(&mcp.Resource{URI: uri, Name: uri, Annotations: &mcp.Annotations{Priority: 0.5}}, read)
	}
	s.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: "db://{table}/{id}", Name: "row"}, read)
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if p, ok := req.GetParams().(*mcp.CallToolParamsRaw); ok && p != nil && p.Name == "renamed" {
				p.Name = "untyped"
			} else if ok && p != nil && p.Name == "short" {
				return &mcp.CallToolResult{Content: []mcp.Content{}}, nil
			} else if ok && p != nil && p.Name == "refused" {
				return nil, errors.New("middleware refuses")
			}
			res, err := next(ctx, method, req)
			if r, ok := res.(*mcp.CallToolResult); ok && r != nil {
				if r.Meta == nil {
					r.Meta = mcp.Meta{}
				}
				r.Meta["mw"] = method
			}
			return res, err
		}
	})
	return s
}

// wireAnswer is what two mounts are compared by: everything but the text of an error message.
type wireAnswer struct {
	Status int
	Type   string
	ID     any
	Code   any
	Data   any
	Result any
}

func postRaw(t *testing.T, url string, header http.Header, body string) (wireAnswer, http.Header) {
	t.Helper()
	req, _ := http.NewRequest("POST", url, strings.NewReader(body))
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := wireAnswer{Status: res.StatusCode}
	a.Type, _, _ = mime.ParseMediaType(res.Header.Get("Content-Type"))
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a large integer must not be rounded into equality
	var m map[string]any
	if d.Decode(&m) == nil {
		a.ID, a.Result = m["id"], m["result"]
		if e, ok := m["error"].(map[string]any); ok {
			a.Code, a.Data = e["code"], e["data"]
		}
	}
	return a, res.Header
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// wireMount is one server behind one handler, ready for requests of one era.
type wireMount struct {
	url    string
	header http.Header
}

func openMount(t *testing.T, url, version string) wireMount {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if version != "2026-07-28" {
		_, got := postRaw(t, url, h, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
		h.Set("Mcp-Session-Id", got.Get("Mcp-Session-Id"))
	}
	h.Set("Mcp-Protocol-Version", version)
	if version != "2026-07-28" {
		postRaw(t, url, h, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	return wireMount{url, h}
}

func (m wireMount) send(t *testing.T, method, name, body string) wireAnswer {
	h := m.header.Clone()
	if h.Get("Mcp-Protocol-Version") == "2026-07-28" {
		h.Set("Mcp-Method", method)
		if name != "" {
			h.Set("Mcp-Name", name)
		}
	}
	a, _ := postRaw(t, m.url, h, body)
	return a
}

var wireValues = []string{`null`, `true`, `0`, `-1`, `1.5`, `9007199254740993`, `1e400`, `""`, `"x"`, `"\u2603"`, `[]`, `{}`, `[null]`, `{"a":{"b":[{"c":null}]}}`, `"error"`, `"rpc"`, `"wrapped"`, `"nil"`, `"empty"`}

// wireParams are well-formed params, whose every part is then replaced, left out and doubled.
var wireParams = []struct {
	method, name string
	params       map[string]string
}{
	{"tools/list", "", map[string]string{"cursor": `""`}},
	{"prompts/list", "", map[string]string{}},
	{"resources/list", "", map[string]string{}},
	{"resources/templates/list", "", map[string]string{}},
	{"tools/call", "typed", map[string]string{"name": `"typed"`, "arguments": `{"text":"a"}`}},
	{"tools/call", "any", map[string]string{"name": `"any"`, "arguments": `{"a":1.0,"b":[],"c":9007199254740993}`}},
	{"tools/call", "untyped", map[string]string{"name": `"untyped"`, "arguments": `{}`}},
	{"tools/call", "renamed", map[string]string{"name": `"renamed"`}},
	{"tools/call", "short", map[string]string{"name": `"short"`}},
	{"tools/call", "refused", map[string]string{"name": `"refused"`}},
	{"tools/call", "nobody", map[string]string{"name": `"nobody"`}},
	{"prompts/get", "plain", map[string]string{"name": `"plain"`, "arguments": `{"who":"me"}`}},
	{"prompts/get", "nobody", map[string]string{"name": `"nobody"`}},
	{"resources/read", "file:///a", map[string]string{"uri": `"file:///a"`}},
	{"resources/read", "file:///nil", map[string]string{"uri": `"file:///nil"`}},
	{"resources/read", "db://t/1", map[string]string{"uri": `"db://t/1"`}},
	{"resources/read", "db://t/missing", map[string]string{"uri": `"db://t/missing"`}},
	{"resources/read", "db://t/error", map[string]string{"uri": `"db://t/error"`}},
	{"resources/read", "db://t/empty", map[string]string{"uri": `"db://t/empty"`}},
	{"resources/read", "::", map[string]string{"uri": `"::"`}},
	{"resources/subscribe", "", map[string]string{"uri": `"file:///a"`}},
	{"resources/unsubscribe", "", map[string]string{"uri": `"file:///a"`}},
	{"completion/complete", "", map[string]string{"ref": `{"type":"ref/prompt","name":"plain"}`, "argument": `{"name":"who","value":"a"}`}},
	{"completion/complete", "", map[string]string{"ref": `{"type":"ref/resource","uri":"db://{table}/{id}"}`, "argument": `{"name":"who","value":"bad"}`}},
	{"completion/complete", "", map[string]string{"ref": `{"type":"ref/what"}`, "argument": `{"name":"who","value":"a"}`}},
	{"logging/setLevel", "", map[string]string{"level": `"info"`}},
	{"ping", "", map[string]string{}},
	{"server/discover", "", map[string]string{}},
	{"nobody/knows", "", map[string]string{}},
	{"notifications/initialized", "", map[string]string{}},
	{"notifications/cancelled", "", map[string]string{"requestId": `99`}},
}

type wireRequest struct {
	what, method, name, body string
	twice                    bool // one member of the params is there twice
}

// wireRequests is the table, then as many seeded mutations as asked for.
func wireRequests(modern bool, random int) []wireRequest {
	r := rand.New(rand.NewSource(1))
	var all []wireRequest
	add := func(method, name, id, params string) {
		all = append(all, wireRequest{method + " id=" + id + " " + params, method, name, body(method, id, params), false})
	}
	object := func(p map[string]string, extra ...string) string {
		parts := append([]string{}, extra...)
		for _, k := range []string{"name", "uri", "arguments", "cursor", "ref", "argument", "level", "requestId"} {
			if v, ok := p[k]; ok {
				parts = append(parts, fmt.Sprintf("%q:%s", k, v))
			}
		}
		if modern {
			parts = append(parts, modernMeta)
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	for _, w := range wireParams {
		add(w.method, w.name, `1`, object(w.params))
		add(w.method, w.name, `2`, object(w.params, `"unknown":{"x":null}`))
		add(w.method, w.name, ``, object(w.params))
		for _, p := range []string{``, `null`, `[]`, `3`, `"x"`} {
			add(w.method, w.name, `3`, p)
		}
	}
	for _, id := range []string{`null`, `0`, `-1`, `1.5`, `9007199254740993`, `1e3`, `"s"`, `""`, `"☃"`, `true`, `[]`, `{}`} {
		add("tools/list", "", id, object(nil))
	}
	for _, do := range []string{"error", "rpc", "wrapped", "iserror", "notfound", "empty", "null", "many"} {
		add("tools/call", "typed", `5`, object(map[string]string{"name": `"typed"`, "arguments": `{"text":"` + do + `"}`}))
		add("tools/call", "untyped", `5`, object(map[string]string{"name": `"untyped"`, "arguments": `{"do":"` + do + `"}`}))
		add("prompts/get", "plain", `5`, object(map[string]string{"name": `"plain"`, "arguments": `{"who":"` + do + `"}`}))
	}
	for range random {
		w := wireParams[r.Intn(len(wireParams))]
		p := map[string]string{}
		for k, v := range w.params {
			p[k] = v
		}
		keys := []string{"arguments", "cursor", "name", "uri", "ref", "argument", "level"}
		k, v := keys[r.Intn(len(keys))], wireValues[r.Intn(len(wireValues))]
		var extra []string
		switch r.Intn(4) {
		case 0:
			delete(p, k)
		case 1:
			extra = []string{fmt.Sprintf("%q:%s", k, v)} // twice, when it is there already
		default:
			p[k] = v
		}
		add(w.method, w.name, fmt.Sprint(r.Intn(1000)), object(p, extra...))
		_, had := p[k]
		all[len(all)-1].twice = had && len(extra) > 0
	}
	return all
}

func body(method, id, params string) string {
	b := fmt.Sprintf(`{"jsonrpc":"2.0","method":%q`, method)
	if id != "" {
		b += `,"id":` + id
	}
	if params != "" {
		b += `,"params":` + params
	}
	return b + "}"
}

// wireDifferences are the rows of docs/compat.md that a raw request can show. Each accepts exactly its own
// difference: what none accepts fails the test, and so does a row that no request shows any more.
var wireDifferences = []struct {
	name string
	is   func(w wireRequest, sdk, here wireAnswer) bool
}{
	{"a request's method without an id is a notification and is accepted", func(w wireRequest, sdk, here wireAnswer) bool {
		return !strings.Contains(w.body, `"id":`) && sdk.Status == 400 && reflect.DeepEqual(here, wireAnswer{Status: 202})
	}},
	{"a refusal in plain text is a JSON-RPC error", func(_ wireRequest, sdk, here wireAnswer) bool {
		return sdk.Type == "text/plain" && sdk.Status >= 400 && here.Type == "application/json" && here.Code != nil && here.Result == nil
	}},
	{"an error without a code is an internal error", func(_ wireRequest, sdk, here wireAnswer) bool {
		want := sdk
		want.Code = json.Number("-32603")
		return sdk.Code == json.Number("0") && reflect.DeepEqual(want, here)
	}},
	{"the status of a refusal", func(_ wireRequest, sdk, here wireAnswer) bool {
		want := sdk
		want.Status = here.Status
		return sdk.Code == json.Number("-32602") && (here.Status == 200 || here.Status == 400) && reflect.DeepEqual(want, here)
	}},
	{"the code of params that cannot be read", func(_ wireRequest, sdk, here wireAnswer) bool {
		return (sdk.Code == json.Number("-32600") || sdk.Code == json.Number("-32601") || sdk.Code == json.Number("-32020")) &&
			here.Code == json.Number("-32602") && reflect.DeepEqual(sdk.ID, here.ID)
	}},
	{"a read without a uri has no data", func(_ wireRequest, sdk, here wireAnswer) bool {
		want := sdk
		want.Data, want.Status = nil, here.Status
		return reflect.DeepEqual(sdk.Data, map[string]any{"uri": ""}) && reflect.DeepEqual(want, here)
	}},
	{"an id that is no integer is refused", func(w wireRequest, sdk, here wireAnswer) bool {
		return (strings.Contains(w.body, `"id":1.5,`) || strings.Contains(w.body, `"id":1e3,`)) && sdk.Result != nil &&
			here.Status == 400 && here.Code == json.Number("-32600")
	}},
	{"a large id comes back unrounded", func(w wireRequest, sdk, here wireAnswer) bool {
		want := sdk
		want.ID = json.Number("9007199254740993")
		return strings.Contains(w.body, `"id":9007199254740993,`) && reflect.DeepEqual(want, here)
	}},
	{"a result made by middleware has its resultType", func(_ wireRequest, sdk, here wireAnswer) bool {
		r, ok := here.Result.(map[string]any)
		if !ok || r["resultType"] != "complete" {
			return false
		}
		delete(r, "resultType")
		same := reflect.DeepEqual(sdk, here)
		r["resultType"] = "complete"
		return same
	}},
	{"a member given twice is refused", func(w wireRequest, sdk, here wireAnswer) bool {
		return w.twice && sdk.Result != nil && here.Code == json.Number("-32602")
	}},
}

func TestTheSameServerAnswersAsBehindTheSDKsHandler(t *testing.T) {
	shown := map[string]int{}
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			modern := version == "2026-07-28"
			theirs, ours := newEveryKindServer(), newEveryKindServer()
			stock := openMount(t, serveHTTP(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return theirs },
				&mcp.StreamableHTTPOptions{JSONResponse: true, Stateless: modern})), version)
			here := openMount(t, serveHTTP(t, NewHandler(func(*http.Request) *mcp.Server { return ours }, &Options{AllowAnonymous: true})), version)
			for _, w := range wireRequests(modern, 250) {
				want, got := stock.send(t, w.method, w.name, w.body), here.send(t, w.method, w.name, w.body)
				if !reflect.DeepEqual(want, got) && !listed(w, want, got, shown) {
					t.Errorf("%s\n  SDK  %s\n  here %s", w.what, show(want), show(got))
				}
			}
		})
	}
	for _, d := range wireDifferences {
		if shown[d.name] == 0 {
			t.Errorf("no request shows: %s", d.name)
		}
		t.Logf("%5d %s", shown[d.name], d.name)
	}
}

// listed reports whether a row of docs/compat.md says why the answers differ, and counts the row as shown.
func listed(w wireRequest, sdk, here wireAnswer, shown map[string]int) bool {
	for _, d := range wireDifferences {
		if d.is(w, sdk, here) {
			shown[d.name]++
			return true
		}
	}
	return false
}

func show(a wireAnswer) string { b, _ := json.Marshal(a); return string(b) }
