package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A tasker is a 2026-07-28 client that declares what it is told to.
type tasker struct {
	*wire
	caps string
}

const tasksAndAsks = `{"elicitation":{},"sampling":{},"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`

func newTasker(t testing.TB, url string) *tasker {
	return &tasker{wire: &wire{t: t, url: url}, caps: tasksAndAsks}
}

// by is the same client signed in as a user; see as.
func (k *tasker) by(user string) *tasker {
	return &tasker{wire: &wire{t: k.t, url: k.url, hd: http.Header{"Authorization": {"Bearer " + user}}}, caps: k.caps}
}

func (k *tasker) declaring(caps string) *tasker { return &tasker{wire: k.wire, caps: caps} }

func (k *tasker) request(method, name, params string) (string, []string) {
	if params != "" {
		params += ","
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":%s}}}`, method, params, k.caps)
	hd := []string{"MCP-Protocol-Version", version20260728, "Mcp-Method", method}
	if name != "" {
		hd = append(hd, "Mcp-Name", name)
	}
	return body, hd
}

func (k *tasker) send(method, name, params string) *answered {
	k.t.Helper()
	body, hd := k.request(method, name, params)
	return k.do("POST", body, hd...)
}

func (k *tasker) tool(name, arguments string) *answered {
	k.t.Helper()
	if arguments == "" {
		arguments = "{}"
	}
	return k.send("tools/call", name, fmt.Sprintf(`"name":%q,"arguments":%s`, name, arguments))
}

// seenTask is a task as a client sees it.
type seenTask struct {
	Type    string `json:"resultType"`
	ID      string `json:"taskId"`
	Status  string `json:"status"`
	Message string `json:"statusMessage"`
	TTL     int64  `json:"ttlMs"`
	Poll    int64  `json:"pollIntervalMs"`
	Asks    map[string]struct {
		Method string         `json:"method"`
		Params map[string]any `json:"params"`
	} `json:"inputRequests"`
	Result *struct {
		Type    string         `json:"resultType"`
		Meta    map[string]any `json:"_meta"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
	} `json:"result"`
	Error *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

func (s seenTask) text() string {
	if s.Result == nil || len(s.Result.Content) == 0 {
		return ""
	}
	return s.Result.Content[0].Text
}

func seen(t testing.TB, a *answered, resultType string) seenTask {
	t.Helper()
	var s seenTask
	if err := json.Unmarshal(a.msg.Result, &s); err != nil || s.Type != resultType || s.ID == "" {
		t.Fatalf("not a task with resultType %q: %d %s", resultType, a.status, a.body)
	}
	return s
}

// create calls a tool and returns the id of the task it became.
func (k *tasker) create(name, arguments string) string {
	k.t.Helper()
	return seen(k.t, k.tool(name, arguments), "task").ID
}

func (k *tasker) get(id string) seenTask {
	k.t.Helper()
	return seen(k.t, k.send("tasks/get", id, fmt.Sprintf(`"taskId":%q`, id)), "complete")
}

func (k *tasker) update(id, responses string) *answered {
	k.t.Helper()
	return k.send("tasks/update", id, fmt.Sprintf(`"taskId":%q,"inputResponses":%s`, id, responses))
}

func (k *tasker) cancelTask(id string) *answered {
	k.t.Helper()
	return k.send("tasks/cancel", id, fmt.Sprintf(`"taskId":%q`, id))
}

// until polls until the task has one of the statuses.
func (k *tasker) until(id string, statuses ...string) seenTask {
	k.t.Helper()
	var last seenTask
	for range 2000 {
		if last = k.get(id); slices.Contains(statuses, last.Status) {
			return last
		}
		time.Sleep(5 * time.Millisecond)
	}
	k.t.Fatalf("the task stays %q, want one of %v", last.Status, statuses)
	return last
}

// asking waits until a task asks n questions, and returns their keys in order.
func (k *tasker) asking(id string, n int) []string {
	k.t.Helper()
	for range 2000 {
		s := k.get(id)
		if len(s.Asks) == n && s.Status == "input_required" {
			var keys []string
			for key := range s.Asks {
				keys = append(keys, key)
			}
			slices.Sort(keys)
			return keys
		}
		if s.Status == "completed" || s.Status == "failed" {
			k.t.Fatalf("the task ended without asking: %+v", s)
		}
		time.Sleep(5 * time.Millisecond)
	}
	k.t.Fatalf("the task never asks %d questions", n)
	return nil
}

type none struct{}

// addTask adds a task tool without arguments.
func addTask(s *mcp.Server, name string, opts TaskOptions, h func(ctx context.Context) (string, error)) {
	AddTask(s, &mcp.Tool{Name: name}, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		out, err := h(ctx)
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: out}}}, nil, nil
	}, opts)
}

func forever(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func quick(context.Context) (string, error) { return "done", nil }

func plainServer() *mcp.Server {
	return mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
}

func askName(ctx context.Context) (string, error) {
	res, err := Elicit(ctx, &mcp.ElicitParams{Message: "Your name?"})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(res.Action, " ", res.Content["name"]), nil
}

func TestACallBecomesATaskOnlyForClientsThatKnowTasks(t *testing.T) {
	s := plainServer()
	addTask(s, "optional", TaskOptions{}, quick)
	addTask(s, "required", TaskOptions{Required: true}, quick)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)

	for _, name := range []string{"optional", "required"} {
		if got := seen(t, k.tool(name, ""), "task"); got.Status != "working" || got.TTL != 3_600_000 || got.Poll != 1000 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, caps := range []string{`{}`, `{"extensions":{}}`, `{"extensions":{"io.modelcontextprotocol/tasks":null}}`, `{"tasks":{}}`} {
		a := k.declaring(caps).tool("optional", "")
		if a.status != 200 || !strings.Contains(a.body, `"resultType":"complete"`) || !strings.Contains(a.body, "done") || strings.Contains(a.body, "taskId") {
			t.Errorf("%s, optional: %d %s", caps, a.status, a.body)
		}
		a = k.declaring(caps).tool("required", "")
		if a.status != 400 || a.code() != -32021 || string(a.msg.Error.Data) != `{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}` {
			t.Errorf("%s, required: %d %s", caps, a.status, a.body)
		}
	}
	old := (&wire{t: t, url: url}).initialize(version20251125)
	for _, name := range []string{"optional", "required"} {
		a := old.call("1", "tools/call", fmt.Sprintf(`"name":%q,"arguments":{},"task":{"ttl":60000}`, name))
		if a.status != 200 || !strings.Contains(a.body, "done") || strings.Contains(a.body, "taskId") {
			t.Errorf("a session, %s: %d %s", name, a.status, a.body)
		}
	}
	for _, m := range []string{"tasks/get", "tasks/result", "tasks/list"} {
		if a := old.call("1", m, `"taskId":"0-X"`); a.code() != -32601 {
			t.Errorf("a session, %s: %d %s", m, a.status, a.body)
		}
	}
}

func TestATaskToolRunsSynchronouslyOverTheSDKsTransports(t *testing.T) {
	s := plainServer()
	type key struct{}
	addTask(s, "work", TaskOptions{Required: true, Before: func(ctx context.Context, _ *mcp.CallToolRequest) (context.Context, error) {
		return context.WithValue(ctx, key{}, "before"), nil
	}}, func(ctx context.Context) (string, error) { return fmt.Sprint(ctx.Value(key{})), nil })
	_, url := serve(t, s, nil) // captured, and served beside us
	newTasker(t, url).create("work", "")
	a, b := mcp.NewInMemoryTransports()
	if _, err := s.Connect(context.Background(), a, nil); err != nil {
		t.Fatal(err)
	}
	cs, err := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil).Connect(context.Background(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close()
	res, err := cs.CallTool(context.Background(), &mcp.CallToolParams{Name: "work"})
	if err != nil || text(t, res) != "before" {
		t.Errorf("%v %v", res, err)
	}
}

func TestACreatedTaskHasExactlyItsFields(t *testing.T) {
	s := plainServer()
	addTask(s, "work", TaskOptions{TTL: time.Minute, Poll: 250 * time.Millisecond}, forever)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	a := k.tool("work", "")
	var got map[string]any
	if err := json.Unmarshal(a.msg.Result, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"createdAt", "lastUpdatedAt"} {
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(got[name])); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	id := fmt.Sprint(got["taskId"])
	if _, random, _ := strings.Cut(id, "-"); len(random) < 26 { // 5 bits each
		t.Errorf("the id %q can be guessed", id)
	}
	var names []string
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := "_meta createdAt lastUpdatedAt pollIntervalMs resultType status taskId ttlMs"; strings.Join(names, " ") != want {
		t.Errorf("members %v, want %s", names, want)
	}
	if got["status"] != "working" || got["ttlMs"] != 60000.0 || got["pollIntervalMs"] != 250.0 || !strings.Contains(a.body, mcp.MetaKeyServerInfo) {
		t.Errorf("%s", a.body)
	}
	if again := k.get(id); again.ID != id || again.Status != "working" || again.TTL != 60000 {
		t.Errorf("read at once: %+v", again)
	}
}

func TestDiscoverTellsOfTasksWhereThereAreAny(t *testing.T) {
	for _, with := range []bool{false, true} {
		s := plainServer()
		if with {
			addTask(s, "work", TaskOptions{}, quick)
		}
		_, url := serve(t, s, nil)
		k := newTasker(t, url)
		var d struct {
			Capabilities map[string]any `json:"capabilities"`
		}
		a := k.send("server/discover", "", "")
		if err := json.Unmarshal(a.msg.Result, &d); err != nil {
			t.Fatal(err)
		}
		ext, _ := d.Capabilities["extensions"].(map[string]any)
		if _, told := ext[tasksExtension].(map[string]any); told != with || d.Capabilities["tasks"] != nil {
			t.Errorf("with tasks %v: %s", with, a.body)
		}
		if a := k.send("tasks/get", "0-X", `"taskId":"0-X"`); (a.code() == -32601) == with {
			t.Errorf("with tasks %v: %s", with, a.body)
		}
		for _, m := range []string{"tasks/list", "tasks/result"} {
			if a := k.send(m, "", `"taskId":"0-X"`); a.code() != -32601 || a.status != 404 {
				t.Errorf("%s: %d %s", m, a.status, a.body)
			}
		}
	}
}

func TestHowATaskEnds(t *testing.T) {
	big := strings.Repeat("x", store.MaxValue)
	wire := &jsonrpc.Error{Code: -31999, Message: "no", Data: json.RawMessage(`{"why":"because"}`)}
	tests := map[string]struct {
		h       func(context.Context) (string, error)
		status  string
		isError bool
		text    string // of the result, or a part of the error's
		code    int
		data    string
	}{
		"a result completes it":                     {quick, "completed", false, "done", 0, ""},
		"a plain error completes it with isError":   {func(context.Context) (string, error) { return "", errors.New("broke") }, "completed", true, "broke", 0, ""},
		"a JSON-RPC error fails it":                 {func(context.Context) (string, error) { return "", wire }, "failed", false, "no", -31999, `{"why":"because"}`},
		"a wrapped JSON-RPC error fails it":         {func(context.Context) (string, error) { return "", fmt.Errorf("so: %w", wire) }, "failed", false, "no", -31999, `{"why":"because"}`},
		"a panic fails it":                          {func(context.Context) (string, error) { panic("secret") }, "failed", false, "internal error", -32603, ""},
		"a result that cannot be kept fails it":     {func(context.Context) (string, error) { return big, nil }, "failed", false, "too large", -32603, ""},
		"an error that cannot be kept fails it too": {func(context.Context) (string, error) { return "", &jsonrpc.Error{Code: -31998, Message: big} }, "failed", false, "too large", -32603, ""},
		"data that is not JSON is left out of errors": {func(context.Context) (string, error) {
			return "", &jsonrpc.Error{Code: -31997, Message: "m", Data: json.RawMessage("{")}
		}, "failed", false, "m", -31997, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := plainServer()
			addTask(s, "work", TaskOptions{}, tt.h)
			_, url := serve(t, s, &Options{Logger: slog.New(slog.DiscardHandler)})
			k := newTasker(t, url)
			got := k.until(k.create("work", ""), "completed", "failed")
			if got.Status != tt.status {
				t.Fatalf("%+v", got)
			}
			if tt.status == "completed" {
				if got.Error != nil || got.Result.IsError != tt.isError || got.text() != tt.text || got.Result.Type != "complete" || got.Result.Meta["io.modelcontextprotocol/related-task"] != nil {
					t.Errorf("%+v %+v", got, got.Result)
				}
				return
			}
			if got.Result != nil || got.Error.Code != tt.code || !strings.Contains(got.Error.Message, tt.text) || string(got.Error.Data) != tt.data || got.Message != got.Error.Message {
				t.Errorf("%+v %+v", got, got.Error)
			}
			if strings.Contains(got.Error.Message, "secret") {
				t.Error("the panic's value was told")
			}
		})
	}
}

func TestTypedTasksCheckTheirArgumentsFirst(t *testing.T) {
	s := plainServer()
	AddTask(s, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in addIn) (*mcp.CallToolResult, addOut, error) {
		return nil, addOut{in.A + in.B}, nil
	}, TaskOptions{})
	h, url := serve(t, s, nil)
	k := newTasker(t, url)
	if a := k.tool("add", `{"a":"one","b":2}`); !strings.Contains(a.body, `"isError":true`) || strings.Contains(a.body, "taskId") {
		t.Errorf("wrong arguments: %s", a.body)
	}
	for r, err := range h.opts.Records.List(context.Background(), "mcp/task") {
		t.Errorf("a task was made of wrong arguments: %s %v", r.Key, err)
	}
	got := k.until(k.create("add", `{"a":1,"b":2}`), "completed")
	if string(got.Result.Structured) != `{"sum":3}` || got.text() != `{"sum":3}` {
		t.Errorf("%+v", got.Result)
	}
}

func TestWhatIsAskedBeforeThereIsATask(t *testing.T) {
	s := plainServer()
	type key struct{}
	addTask(s, "greet", TaskOptions{Before: func(ctx context.Context, _ *mcp.CallToolRequest) (context.Context, error) {
		name, err := askName(ctx)
		ctx, cancel := context.WithCancel(context.WithValue(ctx, key{}, name))
		cancel() // an end has no effect on the task
		return ctx, err
	}}, func(ctx context.Context) (string, error) { return fmt.Sprint("Hello ", ctx.Value(key{})), ctx.Err() })
	addTask(s, "refuse", TaskOptions{Before: func(context.Context, *mcp.CallToolRequest) (context.Context, error) {
		return nil, errors.New("not today")
	}}, quick)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	a := k.tool("greet", "")
	if strings.Contains(a.body, "taskId") {
		t.Fatalf("a task before its time: %s", a.body)
	}
	r := roundOf(t, a)
	params := again2("greet", "{}", r, map[string]string{r.only(): `{"action":"accept","content":{"name":"Ada"}}`})
	created := k.send("tools/call", "greet", params)
	if strings.Contains(created.body, "requestState") || strings.Contains(created.body, "inputRequests") {
		t.Errorf("the round leaks into the task: %s", created.body)
	}
	if got := k.until(seen(t, created, "task").ID, "completed"); got.text() != "Hello accept Ada" {
		t.Errorf("%+v", got.Result)
	}
	if a := k.tool("refuse", ""); !strings.Contains(a.body, "not today") || !strings.Contains(a.body, `"isError":true`) {
		t.Errorf("refused: %s", a.body)
	}
}

func TestQuestionsOfATaskWaitForTheirAnswers(t *testing.T) {
	s := plainServer()
	addTask(s, "two", TaskOptions{}, func(ctx context.Context) (string, error) {
		var names [2]string
		var errs [2]error
		var wg sync.WaitGroup
		for i := range names {
			wg.Go(func() { names[i], errs[i] = askName(ctx) })
		}
		wg.Wait()
		slices.Sort(names[:])
		third, err := askName(ctx)
		return fmt.Sprint(names[0], ", ", names[1], ", ", third), errors.Join(errs[0], errs[1], err)
	})
	h, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("two", "")
	keys := k.asking(id, 2)
	if q := k.get(id).Asks[keys[0]]; q.Method != "elicitation/create" || q.Params["message"] != "Your name?" {
		t.Errorf("the question: %+v", q)
	}
	answer := func(key, value string) {
		t.Helper()
		a := k.update(id, fmt.Sprintf(`{%q:%s}`, key, value))
		if a.status != 200 || !strings.Contains(a.body, `"resultType":"complete"`) || strings.Contains(a.body, "taskId") || strings.Contains(a.body, "status") {
			t.Errorf("update: %d %s", a.status, a.body)
		}
	}
	stillAsks := func(want ...string) {
		t.Helper()
		if got := k.asking(id, len(want)); !slices.Equal(got, want) {
			t.Errorf("asks %v, want %v", got, want)
		}
	}
	answer("never-asked", `{"ignored":true}`)
	answer(keys[0], `7`)
	answer(keys[0], `{"action":7}`)
	answer(keys[0], `{"action":"perhaps"}`)
	answer(keys[0], `{}`)
	answer(keys[0], `null`)
	stillAsks(keys...)
	answer(keys[0], `{"action":"accept","content":{"name":"A","more":true}}`)
	// Applied before it is acknowledged.
	if now := k.get(id); now.Status != "input_required" || len(now.Asks) != 1 || now.Asks[keys[1]].Method == "" {
		t.Errorf("after one of two answers: %+v", now)
	}
	answer(keys[0], `{"action":"accept","content":{"name":"again"}}`)
	answer(keys[1], `{"action":"decline"}`)
	third := k.asking(id, 1)[0]
	if slices.Contains(keys, third) {
		t.Errorf("the key %s was used twice", third)
	}
	answer(keys[0], `{"action":"accept","content":{"name":"late"}}`)
	stillAsks(third)
	if rec, _, err := h.readTask(t.Context(), id, ""); err != nil || len(rec.Answers) != 0 {
		t.Errorf("answers that arrived are still kept: %v %v", rec, err)
	}
	answer(third, `{"action":"accept","content":{"name":"C"}}`)
	if got := k.until(id, "completed"); got.text() != "accept A, decline <nil>, accept C" {
		t.Errorf("%q", got.text())
	}
	for _, bad := range []string{`"inputResponses":[]`, `"inputResponses":null`, `"inputResponses":"x"`, `"x":1`} {
		if a := k.send("tasks/update", id, fmt.Sprintf(`"taskId":%q,%s`, id, bad)); a.code() != -32602 {
			t.Errorf("%s: %d %s", bad, a.status, a.body)
		}
	}
}

func TestEveryKindOfQuestionCanBeAskedInATask(t *testing.T) {
	s := plainServer()
	addTask(s, "all", TaskOptions{}, func(ctx context.Context) (string, error) {
		sampled, err := Sample(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "hi"}}}})
		if err != nil {
			return "", err
		}
		roots, err := ListRoots(ctx)
		if err != nil {
			return "", err
		}
		return sampled.Model + " " + roots.Roots[0].URI, nil
	})
	AddTask(s, &mcp.Tool{Name: "native"}, func(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		if got, ok := req.Params.InputResponses["who"].(*mcp.ElicitResult); ok {
			if req.Params.RequestState == "second" {
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(got.Content["name"])}}}, nil, nil
			}
			return &mcp.CallToolResult{RequestState: "second", InputRequests: mcp.InputRequestMap{"who": &mcp.ElicitParams{Message: "Again?"}}}, nil, nil
		}
		return &mcp.CallToolResult{RequestState: "first", InputRequests: mcp.InputRequestMap{"who": &mcp.ElicitParams{Message: "Who?"}}}, nil, nil
	}, TaskOptions{})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("all", "")
	first := k.asking(id, 1)[0]
	k.update(id, fmt.Sprintf(`{%q:{"role":"assistant","model":"m","content":{"type":"text","text":"hello"}}}`, first))
	waitFor(t, "the second question", func() bool { return k.get(id).Asks[first].Method == "" && len(k.get(id).Asks) == 1 })
	k.update(id, fmt.Sprintf(`{%q:{"roots":[{"uri":"file:///r"}]}}`, k.asking(id, 1)[0]))
	if got := k.until(id, "completed"); got.text() != "m file:///r" {
		t.Errorf("%q", got.text())
	}

	id = k.create("native", "")
	used := map[string]bool{}
	for _, name := range []string{"one", "two"} {
		waitFor(t, "the question for "+name, func() bool { s := k.get(id); return len(s.Asks) == 1 && !used[k.asking(id, 1)[0]] })
		key := k.asking(id, 1)[0]
		used[key] = true
		k.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":%q}}}`, key, name))
	}
	if got := k.until(id, "completed", "failed"); got.text() != "two" {
		t.Errorf("native: %+v", got)
	}
}

func TestATaskAsksOnlyWhatItsClientDeclared(t *testing.T) {
	s := plainServer()
	addTask(s, "ask", TaskOptions{}, askName)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.declaring(`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`).create("ask", "")
	if got := k.until(id, "completed", "failed"); got.Status != "failed" || got.Error.Code != -32021 || !strings.Contains(string(got.Error.Data), "elicitation") {
		t.Errorf("%+v", got)
	}
}

func TestAQuestionAfterAWriteIsRefusedInATaskToo(t *testing.T) {
	s := plainServer()
	addTask(s, "write", TaskOptions{}, func(ctx context.Context) (string, error) {
		effect.MarkWrite(ctx)
		_, err := askName(ctx)
		return fmt.Sprint(errors.Is(err, ErrAskAfterWrite)), nil
	})
	addTask(s, "write before", TaskOptions{Before: func(ctx context.Context, _ *mcp.CallToolRequest) (context.Context, error) {
		effect.MarkWrite(ctx)
		return ctx, nil
	}}, func(ctx context.Context) (string, error) {
		_, err := askName(ctx)
		return fmt.Sprint(errors.Is(err, ErrAskAfterWrite)), nil
	})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	for _, name := range []string{"write", "write before"} {
		if got := k.until(k.create(name, ""), "completed", "failed", "input_required"); got.text() != "true" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// unflushable is something that was written and never becomes durable.
type unflushable struct{}

func (unflushable) Flush(context.Context) error { return errors.New("disk gone") }

func TestATaskTellsNothingThatIsNotDurable(t *testing.T) {
	s := plainServer()
	addTask(s, "write", TaskOptions{}, func(ctx context.Context) (string, error) {
		if !effect.CallOf(ctx).Gated() {
			t.Error("writes of a task wait for the disk one by one")
		}
		effect.CallOf(ctx).Touch(unflushable{})
		return "written", nil
	})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	if got := k.until(k.create("write", ""), "completed", "failed"); got.Status != "failed" || !strings.Contains(got.Error.Message, "durable") {
		t.Errorf("%+v", got)
	}
}

func TestAQuestionWhoseAskerGaveUpIsTakenBack(t *testing.T) {
	s := plainServer()
	asked := make(chan struct{})
	addTask(s, "impatient", TaskOptions{}, func(ctx context.Context) (string, error) {
		short, cancel := context.WithCancel(ctx)
		go func() { <-asked; cancel() }()
		_, err := askName(short)
		if !errors.Is(err, context.Canceled) {
			return "", fmt.Errorf("asking: %v", err)
		}
		return forever(ctx)
	})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("impatient", "")
	key := k.asking(id, 1)[0]
	close(asked)
	k.until(id, "working")
	if a := k.update(id, fmt.Sprintf(`{%q:{"action":"decline"}}`, key)); a.status != 200 {
		t.Errorf("an answer too late: %s", a.body)
	}
	if got := k.get(id); got.Status != "working" {
		t.Errorf("%+v", got)
	}
}

func TestNotificationsOfATaskGoNowhere(t *testing.T) {
	s := plainServer()
	AddTask(s, &mcp.Tool{Name: "loud"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		return nil, nil, errors.Join(
			req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "t", Progress: 1}),
			req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "emergency", Data: "x"}))
	}, TaskOptions{})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	if got := k.until(k.create("loud", ""), "completed"); got.Result.IsError {
		t.Errorf("%+v", got.Result)
	}
}

func TestACancelledTaskStaysCancelled(t *testing.T) {
	s := plainServer()
	causes := make(chan error, 10)
	addTask(s, "stubborn", TaskOptions{}, func(ctx context.Context) (string, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return "finished all the same", nil
	})
	addTask(s, "parked", TaskOptions{}, func(ctx context.Context) (string, error) {
		out, err := askName(ctx)
		causes <- err
		return out, err
	})
	addTask(s, "quick", TaskOptions{}, quick)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	for _, name := range []string{"stubborn", "parked"} {
		id := k.create(name, "")
		if name == "parked" {
			k.asking(id, 1)
		}
		for range 3 {
			if a := k.cancelTask(id); a.status != 200 || !strings.Contains(a.body, `"resultType":"complete"`) || strings.Contains(a.body, "taskId") || strings.Contains(a.body, "status") {
				t.Errorf("cancel: %d %s", a.status, a.body)
			}
			if got := k.get(id); got.Status != "cancelled" || got.Result != nil || got.Error != nil || got.Asks != nil {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if err := <-causes; !errors.Is(err, errTaskCancelled) {
			t.Errorf("%s: the handler was told %v", name, err)
		}
		waitFor(t, "the handler to return", func() bool { return k.get(id).Status == "cancelled" })
	}
	id := k.create("quick", "")
	before := k.until(id, "completed")
	if a := k.cancelTask(id); a.status != 200 {
		t.Errorf("cancel of a finished task: %s", a.body)
	}
	if after := k.get(id); after.Status != "completed" || after.text() != before.text() {
		t.Errorf("a finished task changed: %+v", after)
	}
}

func TestAnotherUsersTaskDoesNotExist(t *testing.T) {
	s := plainServer()
	addTask(s, "ask", TaskOptions{}, askName)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	k := newTasker(t, serveHTTP(t, as(h)))
	ada, bob := k.by("ada"), k.by("bob")
	id := ada.create("ask", "")
	key := ada.asking(id, 1)[0]
	unknown := h.newSessionID("bob")
	stripped := func(a *answered) string { return fmt.Sprint(a.status, a.body) }
	for name, send := range map[string]func(k *tasker, id string) *answered{
		"get": func(k *tasker, id string) *answered { return k.send("tasks/get", id, fmt.Sprintf(`"taskId":%q`, id)) },
		"update": func(k *tasker, id string) *answered {
			return k.update(id, fmt.Sprintf(`{%q:{"action":"decline"}}`, key))
		},
		"cancel": func(k *tasker, id string) *answered { return k.cancelTask(id) },
	} {
		theirs, none := send(bob, id), send(bob, unknown)
		if theirs.code() != -32602 || stripped(theirs) != stripped(none) {
			t.Errorf("%s tells them apart:\n%s\n%s", name, theirs.body, none.body)
		}
		for _, odd := range []string{"", "x", "../../session/x", strings.Repeat("A", 1000), "0-\u00e9", "0-A/B", "-", "0-"} {
			encoded := "=?base64?" + b64(odd) + "?="
			body, hd := bob.request("tasks/"+name, "x", fmt.Sprintf(`"taskId":%q,"inputResponses":{}`, odd))
			if a := bob.do("POST", body, append(hd, "Mcp-Name", encoded)...); a.code() != -32602 {
				t.Errorf("%s of %q: %d %s", name, odd, a.status, a.body)
			}
		}
		// Declaring comes first: nothing is told of ids to who may not ask.
		if a := send(bob.declaring("{}"), id); a.code() != -32021 || a.status != 400 {
			t.Errorf("%s undeclared: %d %s", name, a.status, a.body)
		}
	}
	if got := ada.asking(id, 1); got[0] != key {
		t.Errorf("someone else changed the task: %v", got)
	}
	// A user whose digest collides still is another user: the record decides.
	rec, _, err := h.readTask(context.Background(), id, "ada")
	if err != nil || rec.User != "ada" {
		t.Errorf("%v %v", rec, err)
	}
	if _, _, err := h.readTask(context.Background(), id, ""); err == nil {
		t.Error("nobody may read a user's task")
	}
}

func TestTheMcpNameOfATaskIsChecked(t *testing.T) {
	s := plainServer()
	addTask(s, "work", TaskOptions{}, forever)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("work", "")
	if a := k.send("tasks/get", "another", fmt.Sprintf(`"taskId":%q`, id)); a.code() != -32020 || a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRunningTasksAreBounded(t *testing.T) {
	s := plainServer()
	addTask(s, "work", TaskOptions{}, forever)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, &Options{MaxTasks: 3, MaxTasksPerUser: 2})
	k := newTasker(t, serveHTTP(t, as(h)))
	first := k.by("ada").create("work", "")
	k.by("ada").create("work", "")
	if a := k.by("ada").tool("work", ""); a.code() != -32603 || !strings.Contains(a.body, "yours") {
		t.Errorf("a user's third: %s", a.body)
	}
	k.by("bob").create("work", "")
	if a := k.by("bob").tool("work", ""); a.code() != -32603 || !strings.Contains(a.body, "too many") {
		t.Errorf("the fourth of all: %s", a.body)
	}
	k.by("ada").cancelTask(first)
	waitFor(t, "a place", func() bool { return !strings.Contains(k.by("bob").tool("work", "").body, "too many") })
	n := 0
	for range h.opts.Records.List(context.Background(), taskPrefix) {
		n++
	}
	if n != 4 {
		t.Errorf("%d records, want 4: refused tasks must leave none", n)
	}
}

func TestATaskThatTakesTooLongFails(t *testing.T) {
	s := plainServer()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	addTask(s, "stubborn", TaskOptions{Timeout: 20 * time.Millisecond}, func(context.Context) (string, error) { <-release; return "late", nil })
	addTask(s, "obedient", TaskOptions{Timeout: 20 * time.Millisecond}, forever)
	addTask(s, "parked", TaskOptions{Timeout: 50 * time.Millisecond}, askName)
	h, url := serve(t, s, nil)
	k := newTasker(t, url)
	for _, name := range []string{"stubborn", "obedient", "parked"} {
		if got := k.until(k.create(name, ""), "completed", "failed"); got.Status != "failed" || got.Error.Code != -32603 || !strings.Contains(got.Error.Message, "longer than the server allows") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	waitFor(t, "only the stubborn handler to be at work", func() bool { return len(h.tasks.all()) == 1 })
}

func TestATaskIsGoneSomeTimeAfterItsTimeToLive(t *testing.T) {
	s := plainServer()
	addTask(s, "quick", TaskOptions{TTL: 100 * time.Millisecond}, quick)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	created := time.Now()
	id := k.create("quick", "")
	var last *answered
	waitFor(t, "the task to expire", func() bool {
		last = k.send("tasks/get", id, fmt.Sprintf(`"taskId":%q`, id))
		if last.msg.Error != nil && time.Since(created) < 100*time.Millisecond {
			t.Fatalf("gone before its time: %s", last.body)
		}
		return last.msg.Error != nil
	})
	if last.code() != -32602 {
		t.Errorf("%s", last.body)
	}
}

func TestMiddlewareRunsAroundTheCallThatBecomesATask(t *testing.T) {
	for _, fails := range []bool{false, true} {
		s := plainServer()
		ran := make(chan struct{}, 10)
		addTask(s, "work", TaskOptions{}, func(context.Context) (string, error) { ran <- struct{}{}; return "done", nil })
		s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if method != "tools/call" {
					return next(ctx, method, req)
				}
				if _, err := next(ctx, method, req); err != nil {
					return nil, err
				}
				res, err := next(ctx, method, req) // as one that retries
				if fails {
					return nil, errors.New("refused after all")
				}
				res.SetMeta(map[string]any{"trace": "42"})
				return res, err
			}
		})
		h, url := serve(t, s, nil)
		k := newTasker(t, url)
		a := k.tool("work", "")
		records := 0
		for range h.opts.Records.List(context.Background(), taskPrefix) {
			records++
		}
		if fails {
			if a.code() != -32603 || records != 0 || len(h.tasks.all()) != 0 || len(ran) != 0 {
				t.Errorf("a task nobody knows of is left: %s, %d records, %d running", a.body, records, len(h.tasks.all()))
			}
			continue
		}
		id := seen(t, a, "task").ID
		if records != 1 || !strings.Contains(a.body, `"trace":"42"`) {
			t.Errorf("%d tasks, %s", records, a.body)
		}
		k.until(id, "completed")
		if len(ran) != 1 {
			t.Errorf("the handler ran %d times", len(ran))
		}
	}
}

func TestATaskSeesTheRequestItWasMadeOf(t *testing.T) {
	s := plainServer()
	AddTask(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, req *mcp.CallToolRequest, in addIn) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintln(req.Params.Name, string(req.Params.Arguments), in, req.Extra.TokenInfo.UserID, req.Extra.Header.Get("Mcp-Name"))}}}, nil, nil
	}, TaskOptions{})
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	k := newTasker(t, serveHTTP(t, as(h))).by("ada")
	if got := k.until(k.create("echo", `{"a":1,"b":2}`), "completed"); got.text() != `echo {"a":1,"b":2} {1 2} ada echo`+"\n" {
		t.Errorf("%q", got.text())
	}
}
