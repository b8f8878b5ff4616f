package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// round is what one input-required answer asks.
type round struct {
	Type  string `json:"resultType"`
	State string `json:"requestState"`
	Asks  map[string]struct {
		Method string         `json:"method"`
		Params map[string]any `json:"params"`
	} `json:"inputRequests"`
}

func roundOf(t testing.TB, a *answered) round {
	t.Helper()
	var r round
	if err := json.Unmarshal(a.msg.Result, &r); err != nil || r.Type != "input_required" {
		t.Fatalf("not a round of questions: %d %s", a.status, a.body)
	}
	return r
}

func inputResponses(m map[string]string) string {
	var parts []string
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%q:%s", k, v))
	}
	return `"inputResponses":{` + strings.Join(parts, ",") + `}`
}

func (r round) only() string {
	for k := range r.Asks {
		return k
	}
	return ""
}

func again2(name, args string, r round, resp map[string]string) string {
	state, _ := json.Marshal(r.State)
	out := fmt.Sprintf(`"name":%q,"requestState":%s,%s`, name, state, inputResponses(resp))
	if args != "" {
		out += `,"arguments":` + args
	}
	return out
}

func newAskingServer() *mcp.Server {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "order"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		Item string `json:"item"`
	}) (*mcp.CallToolResult, any, error) {
		r, err := Elicit(ctx, &mcp.ElicitParams{Message: "How many " + in.Item + "?", RequestedSchema: map[string]any{
			"type": "object", "required": []string{"n"}, "properties": map[string]any{"n": map[string]any{"type": "integer"}}}})
		if err != nil {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "must be discarded"}}}, nil, err
		}
		m, err := Sample(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "price?"}}}})
		if err != nil {
			return nil, nil, err
		}
		roots, err := ListRoots(ctx)
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf("%v %s for %s in %s", r.Content["n"], in.Item,
			m.Content.(*mcp.TextContent).Text, roots.Roots[0].URI)}}}, nil, nil
	})
	return s
}

const (
	three  = `{"action":"accept","content":{"n":3}}`
	dollar = `{"role":"assistant","model":"m","content":{"type":"text","text":"$5"}}`
	roots  = `{"roots":[{"uri":"file:///tmp/x"}]}`
)

func TestQuestionsAreRoundsInTheModernEra(t *testing.T) {
	_, url := serve(t, newAskingServer(), nil)
	w := &wire{t: t, url: url}
	const args = `{"item":"pears"}`
	r1 := roundOf(t, w.modern("1", "tools/call", "order", `"name":"order","arguments":`+args))
	if a := r1.Asks[r1.only()]; len(r1.Asks) != 1 || a.Method != "elicitation/create" || a.Params["message"] != "How many pears?" || a.Params["mode"] != "form" {
		t.Fatalf("%+v", r1)
	}
	r2 := roundOf(t, w.modern("2", "tools/call", "order", again2("order", args, r1, map[string]string{r1.only(): three})))
	if a := r2.Asks[r2.only()]; len(r2.Asks) != 1 || a.Method != "sampling/createMessage" {
		t.Fatalf("%+v", r2)
	}
	if r2.State == r1.State || r2.only() == r1.only() {
		t.Error("the second round looks like the first")
	}
	// The arguments may come back written otherwise.
	r3 := roundOf(t, w.modern("3", "tools/call", "order", again2("order", `{ "item" : "pe\u0061rs" }`, r2, map[string]string{r2.only(): dollar, "junk": `{"x":1}`})))
	if a := r3.Asks[r3.only()]; a.Method != "roots/list" {
		t.Fatalf("%+v", r3)
	}
	a := w.modern("4", "tools/call", "order", again2("order", args, r3, map[string]string{r3.only(): roots}))
	if !strings.Contains(a.body, "3 pears for $5 in file:///tmp/x") || strings.Contains(a.body, "discarded") {
		t.Errorf("%s", a.body)
	}
}

func TestTheSameToolAsksOnTheStreamInTheOldEras(t *testing.T) {
	_, url := serve(t, newAskingServer(), nil)
	w := (&wire{t: t, url: url}).initialize(version20250618)
	st := w.stream("POST", request("1", "tools/call", `"name":"order","arguments":{"item":"pears"}`))
	for _, answer := range []string{three, dollar, roots} {
		var ask struct {
			ID     string `json:"id"`
			Method string `json:"method"`
		}
		if ev := st.next(); json.Unmarshal([]byte(ev.data), &ask) != nil || ask.ID == "" {
			t.Fatalf("%s", ev.data)
		}
		if a := w.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":%s}`, ask.ID, answer)); a.status != 202 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if ev := st.next(); !strings.Contains(ev.data, "3 pears for $5 in file:///tmp/x") {
		t.Errorf("%s", ev.data)
	}
}

// The specification requires a requestedSchema of every form, and clients that check
// it (the TypeScript SDKs do) refuse the question otherwise.
func TestAYesOrNoQuestionHasASchemaOfNothing(t *testing.T) {
	s := newServer(nil)
	ask := &mcp.ElicitParams{Message: "Sure?"}
	mcp.AddTool(s, &mcp.Tool{Name: "sure"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := Elicit(ctx, ask)
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Action}}}, nil, nil
	})
	_, url := serve(t, s, nil)
	const want = `"requestedSchema":{"properties":{},"type":"object"}`
	modern := &wire{t: t, url: url}
	a := modern.modern("1", "tools/call", "sure", `"name":"sure"`)
	r := roundOf(t, a)
	if got, _ := json.Marshal(r.Asks[r.only()].Params); !strings.Contains(string(got), want) {
		t.Errorf("2026-07-28 was asked %s", got)
	}
	if a := modern.modern("2", "tools/call", "sure", again2("sure", "", r, map[string]string{r.only(): `{"action":"accept"}`})); !strings.Contains(a.body, `"text":"accept"`) {
		t.Errorf("%s", a.body)
	}
	old := (&wire{t: t, url: url}).initialize(version20251125)
	st := old.stream("POST", request("1", "tools/call", `"name":"sure"`))
	var q struct {
		ID     string         `json:"id"`
		Params map[string]any `json:"params"`
	}
	if ev := st.next(); json.Unmarshal([]byte(ev.data), &q) != nil || q.ID == "" {
		t.Fatalf("%s", ev.data)
	}
	if got, _ := json.Marshal(q.Params); !strings.Contains(string(got), want) {
		t.Errorf("2025-11-25 was asked %s", got)
	}
	if a := old.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"action":"accept","content":{}}}`, q.ID)); a.status != 202 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if ev := st.next(); !strings.Contains(ev.data, `"text":"accept"`) {
		t.Errorf("%s", ev.data)
	}
	if ask.RequestedSchema != nil || ask.Mode != "" {
		t.Errorf("the handler's own params became %+v", ask)
	}
}

func TestAStateIsWorthNothingElsewhere(t *testing.T) {
	s := newAskingServer()
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	url := serveHTTP(t, as(h))
	alice := &wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer alice"}}}
	bob := &wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer bob"}}}
	const args = `{"item":"pears"}`
	r := roundOf(t, alice.modern("1", "tools/call", "order", `"name":"order","arguments":`+args))
	resp := map[string]string{r.only(): three}
	flipped := r
	flipped.State = strings.Map(func(c rune) rune {
		if c == 'A' {
			return 'B'
		}
		return c
	}, r.State) + "A"
	empty := r
	empty.State = ""
	for name, a := range map[string]*answered{
		"another user's":      bob.modern("2", "tools/call", "order", again2("order", args, r, resp)),
		"for other arguments": alice.modern("2", "tools/call", "order", again2("order", `{"item":"gold"}`, r, resp)),
		"for another tool":    alice.modern("2", "tools/call", "name", again2("name", args, r, resp)),
		"changed":             alice.modern("2", "tools/call", "order", again2("order", args, flipped, resp)),
		"cut short":           alice.modern("2", "tools/call", "order", again2("order", args, round{State: r.State[:20]}, resp)),
		"of the wrong type":   alice.modern("2", "tools/call", "order", `"name":"order","requestState":7,"arguments":`+args),
		"for another method":  alice.modern("2", "prompts/get", "order", again2("order", args, r, resp)),
		"too long":            alice.modern("2", "tools/call", "order", again2("order", args, round{State: strings.Repeat("A", 300<<10)}, resp)),
	} {
		if a.code() != -32602 || !strings.Contains(a.msg.Error.Message, "requestState") {
			t.Errorf("a state %s: %d %s", name, a.status, a.body)
		}
	}
	// Answers to our own questions count only under the state that asked them.
	if r := roundOf(t, alice.modern("2", "tools/call", "order", again2("order", args, empty, resp))); len(r.Asks) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestAnUnusableAnswerIsAskedForAgain(t *testing.T) {
	_, url := serve(t, newAskingServer(), nil)
	w := &wire{t: t, url: url}
	const args = `{"item":"pears"}`
	r := roundOf(t, w.modern("1", "tools/call", "order", `"name":"order","arguments":`+args))
	for _, answer := range []string{`7`, `null`, `"yes"`, `[]`, `{"action":5}`} {
		got := roundOf(t, w.modern("2", "tools/call", "order", again2("order", args, r, map[string]string{r.only(): answer})))
		if got.Asks[got.only()].Method != "elicitation/create" {
			t.Errorf("after %s: %+v", answer, got)
		}
	}
	a := w.modern("2", "tools/call", "order", again2("order", args, r, map[string]string{r.only(): `{"action":"accept","content":{"n":"many"}}`}))
	if !strings.Contains(a.body, `"isError":true`) {
		t.Errorf("an answer against the schema: %s", a.body)
	}
}

func TestQuestionsNeedTheCapability(t *testing.T) {
	_, url := serve(t, newAskingServer(), nil)
	w := &wire{t: t, url: url}
	body, hd := modernRequest("1", "tools/call", "order", `"name":"order","arguments":{"item":"pears"}`, nil)
	a := w.do("POST", strings.Replace(body, `"elicitation":{},`, "", 1), hd...)
	if a.status != 200 || !strings.Contains(a.body, `"isError":true`) || !strings.Contains(a.body, "elicitation") {
		// The tool is the SDK's typed one, which turns errors that wrap a JSON-RPC
		// error into tool errors unless they are one.
		if a.code() != -32021 || a.status != 400 || !strings.Contains(string(a.msg.Error.Data), `{"requiredCapabilities":{"elicitation":{}}}`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	l := w.call("1", "initialize", `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}`)
	s := &wire{t: t, url: url, sid: l.header.Get("Mcp-Session-Id")}
	if a := s.call("1", "tools/call", `"name":"order","arguments":{"item":"pears"}`); !strings.Contains(a.body, `"isError":true`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAQuestionAfterAWriteIsRefusedInEveryEra(t *testing.T) {
	s := newServer(nil)
	got := make(chan error, 10)
	mcp.AddTool(s, &mcp.Tool{Name: "late"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		effect.MarkWrite(ctx)
		_, err := Elicit(ctx, &mcp.ElicitParams{Message: "Sure?"})
		got <- err
		_, err = req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "Sure?"})
		got <- err
		return nil, nil, nil
	})
	_, url := serve(t, s, &Options{AskAsLegacy: []string{"late"}})
	w := &wire{t: t, url: url}
	w.modern("1", "tools/call", "late", `"name":"late"`)
	w.initialize(version20251125).call("1", "tools/call", `"name":"late"`)
	for range 4 {
		if err := <-got; !errors.Is(err, ErrAskAfterWrite) {
			t.Errorf("%v", err)
		}
	}
}

func TestAQuestionOutsideACallIsRefused(t *testing.T) {
	if _, err := Elicit(context.Background(), &mcp.ElicitParams{Message: "?"}); !errors.Is(err, ErrNoCall) {
		t.Errorf("%v", err)
	}
}

// The SDK refuses its own Elicit in 2026-07-28, unless the mount says otherwise.
func TestTheSDKsOwnElicit(t *testing.T) {
	s := newServer(nil)
	var runs atomic.Int32
	for _, name := range []string{"plain", "named"} {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			runs.Add(1)
			r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "Sure?"})
			if err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Action}}}, nil, nil
		})
	}
	_, url := serve(t, s, &Options{AskAsLegacy: []string{"named"}})
	w := &wire{t: t, url: url}
	if a := w.modern("1", "tools/call", "plain", `"name":"plain"`); !strings.Contains(a.body, "cannot be sent while serving a request on protocol version 2026-07-28") {
		t.Errorf("not the SDK's error: %s", a.body)
	}
	runs.Store(0)
	r := roundOf(t, w.modern("1", "tools/call", "named", `"name":"named"`))
	a := w.modern("2", "tools/call", "named", again2("named", "", r, map[string]string{r.only(): `{"action":"accept"}`}))
	if !strings.Contains(a.body, `"text":"accept"`) || runs.Load() != 2 {
		t.Errorf("%d runs: %s", runs.Load(), a.body)
	}
}

// A tool as the SDK's users write it for 2026-07-28: it returns its questions.
func TestNativeInputRequestsInBothEras(t *testing.T) {
	s := newServer(nil)
	s.AddTool(&mcp.Tool{Name: "native", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		n := len(req.Params.RequestState)
		if n > 0 && req.Params.InputResponses["q"] == nil {
			return nil, errors.New("no answer")
		}
		if n == 3 {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "done " + req.Params.RequestState}}}, nil
		}
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": &mcp.ElicitParams{Message: fmt.Sprint("step ", n)}},
			RequestState: strings.Repeat("x", n+1)}, nil
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	params := `"name":"native"`
	for i := range 3 {
		r := roundOf(t, w.modern("1", "tools/call", "native", params))
		if r.State == "" || strings.Contains(r.State, "x\"") || r.Asks["q"].Params["message"] != fmt.Sprint("step ", i) {
			t.Fatalf("%+v", r)
		}
		params = again2("native", "", r, map[string]string{"q": `{"action":"accept"}`})
	}
	if a := w.modern("1", "tools/call", "native", params); !strings.Contains(a.body, "done xxx") {
		t.Errorf("%s", a.body)
	}
	// For a client of the older eras the rounds are played on the stream.
	st := w.initialize(version20251125).stream("POST", request("1", "tools/call", `"name":"native"`))
	l := &wire{t: t, url: url, sid: st.resp.Request.Header.Get("Mcp-Session-Id")}
	for range 3 {
		var ask struct {
			ID string `json:"id"`
		}
		if ev := st.next(); json.Unmarshal([]byte(ev.data), &ask) != nil || ask.ID == "" {
			t.Fatalf("%s", ev.data)
		}
		l.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"action":"accept"}}`, ask.ID))
	}
	if ev := st.next(); !strings.Contains(ev.data, "done xxx") {
		t.Errorf("%s", ev.data)
	}
}

func TestATooCuriousToolIsStopped(t *testing.T) {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "endless"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for {
			if _, err := Elicit(ctx, &mcp.ElicitParams{Message: fmt.Sprint(time.Now().UnixNano())}); err != nil {
				return nil, nil, err
			}
		}
	})
	s.AddTool(&mcp.Tool{Name: "native", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": &mcp.ListRootsParams{}}}, nil
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	params := `"name":"endless"`
	for range maxRounds {
		r := roundOf(t, w.modern("1", "tools/call", "endless", params))
		params = again2("endless", "", r, map[string]string{r.only(): `{"action":"accept"}`})
	}
	if a := w.modern("1", "tools/call", "endless", params); a.code() != -32603 {
		t.Errorf("%d %s", a.status, a.body)
	}
	l := w.initialize(version20251125)
	st := l.stream("POST", request("1", "tools/call", `"name":"native"`))
	for n := 0; ; n++ {
		var msg struct {
			ID     any `json:"id"`
			Method string
			Error  any `json:"error"`
		}
		if err := json.Unmarshal([]byte(st.next().data), &msg); err != nil || n > 40 {
			t.Fatal(n, err)
		}
		if msg.Error != nil {
			break
		}
		l.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":%s}`, msg.ID, roots))
	}
}

func TestAnswersReachOnlyWhoAsked(t *testing.T) {
	_, url := serve(t, newAskingServer(), nil)
	w := &wire{t: t, url: url}
	alice, eve := w.initialize(version20251125), w.initialize(version20251125)
	st := alice.stream("POST", request("1", "tools/call", `"name":"order","arguments":{"item":"pears"}`))
	var ask struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(st.next().data), &ask); err != nil {
		t.Fatal(err)
	}
	eve.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"action":"accept","content":{"n":666}}}`, ask.ID))
	alice.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"error":{"code":-1,"message":"no such window"}}`, ask.ID))
	if ev := st.next(); !strings.Contains(ev.data, "no such window") || strings.Contains(ev.data, "666") {
		t.Errorf("%s", ev.data)
	}
}
