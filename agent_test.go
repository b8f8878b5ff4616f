package causeway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type count struct{ N int }

// newCounter is an agent, a server that uses it, and an App in dir that serves both.
func newCounter(t *testing.T, dir string, scope causeway.Scope, migrations ...object.Migration) (*causeway.App, *causeway.Agent[count]) {
	t.Helper()
	agent := &causeway.Agent[count]{Kind: "count", Initial: count{1}, Scope: scope, Resources: []string{"test://count"}, Migrations: migrations}
	s := mcp.NewServer(&mcp.Implementation{Name: "count", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
	}) (*mcp.CallToolResult, any, error) {
		st, err := agent.Self(ctx).Update(ctx, func(st *count) error { st.N += in.A; return nil })
		return causeway.Textf("total %d", st.N), nil, err
	})
	causeway.AddTool(s, &mcp.Tool{Name: "buy"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := causeway.Elicit(ctx, &mcp.ElicitParams{Message: "Buy?"})
		if err != nil || r.Action != "accept" {
			return causeway.Text("not bought"), nil, err
		}
		n, err := causeway.Once(ctx, agent.Self(ctx), "order", func(_ context.Context, _ object.Tx, st *count) (int, error) {
			st.N++
			return st.N, nil
		})
		return causeway.Textf("order %d", n), nil, err
	})
	s.AddResource(&mcp.Resource{URI: "test://count", Name: "count"}, func(ctx context.Context, _ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		st, err := agent.Self(ctx).State(ctx)
		return causeway.TextResource(st.N), err
	})
	app := &causeway.App{Data: dir}
	app.Mount("/mcp", agent.Handler(s))
	if err := app.Open(); err != nil {
		t.Fatal(err)
	}
	return app, agent
}

func serveApp(t *testing.T, app *causeway.App) string {
	t.Helper()
	verify := func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		user, client, _ := strings.Cut(token, "@")
		return &auth.TokenInfo{UserID: user, Expiration: time.Now().Add(time.Hour), Extra: map[string]any{"client_id": client}}, nil
	}
	signedIn := auth.RequireBearerToken(verify, nil)(app.Handler())
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			signedIn.ServeHTTP(w, r)
			return
		}
		app.Handler().ServeHTTP(w, r)
	}))
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := app.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		ts.CloseClientConnections()
		ts.Close()
	})
	t.Cleanup(stop)
	return ts.URL + "/mcp"
}

// speak is a request over the wire; sid or token may be empty.
func speak(t *testing.T, url, sid, token, method, params string) (http.Header, string) {
	t.Helper()
	modern := sid == "" && method != "initialize"
	if modern {
		params += `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"io.modelcontextprotocol/clientInfo":{"name":"same","version":"1"}}`
		params = strings.TrimPrefix(params, ",")
	}
	req, err := http.NewRequest("POST", url, strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if sid != "" {
		req.Header.Set("Mcp-Session-Id", sid)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if modern {
		req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		req.Header.Set("Mcp-Method", method)
		var p struct{ Name, URI string }
		_ = json.Unmarshal([]byte("{"+params+"}"), &p)
		if p.Name+p.URI != "" {
			req.Header.Set("Mcp-Name", p.Name+p.URI)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header, string(b)
}

func initialize(t *testing.T, url, token string) string {
	t.Helper()
	h, body := speak(t, url, "", token, "initialize", `"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"same","version":"1"}`)
	if h.Get("Mcp-Session-Id") == "" {
		t.Fatal(body)
	}
	return h.Get("Mcp-Session-Id")
}

func wantIn(t *testing.T, body, want string) {
	t.Helper()
	if !strings.Contains(body, want) {
		t.Errorf("no %q in %s", want, body)
	}
}

func add(t *testing.T, url, sid, token, more string) string {
	t.Helper()
	_, body := speak(t, url, sid, token, "tools/call", `"name":"add","arguments":{"a":1`+more+`}`)
	return body
}

func handleIn(t *testing.T, body string) string {
	t.Helper()
	var m struct {
		Result struct {
			Meta map[string]any `json:"_meta"`
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err, body)
	}
	h, _ := m.Result.Meta["causeway/handle"].(string)
	if h == "" {
		t.Fatalf("no handle in %s", body)
	}
	return h
}

func TestASessionsStateOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	app, _ := newCounter(t, dir, causeway.PerSession)
	url := serveApp(t, app)
	one, two := initialize(t, url, ""), initialize(t, url, "")
	wantIn(t, add(t, url, one, "", ""), "total 2")
	wantIn(t, add(t, url, one, "", ""), "total 3")
	wantIn(t, add(t, url, two, "", ""), "total 2")
	if err := app.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	app, _ = newCounter(t, dir, causeway.PerSession)
	url = serveApp(t, app)
	wantIn(t, add(t, url, one, "", ""), "total 4")
	wantIn(t, add(t, url, two, "", ""), "total 3")
	if strings.Contains(add(t, url, one, "", ""), "handle") {
		t.Error("a handle where there is a session")
	}
}

func TestAnonymousClientsWithoutSessionsGoByHandles(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerSession)
	url := serveApp(t, app)
	first := add(t, url, "", "", "")
	wantIn(t, first, "total 2")
	other := add(t, url, "", "", "")
	wantIn(t, other, "total 2") // the same claims of the same address: another object
	h := handleIn(t, first)
	if h == handleIn(t, other) {
		t.Error("two clients share a handle")
	}
	wantIn(t, add(t, url, "", "", `,"handle":"`+h+`"`), "total 3")
	if strings.Contains(add(t, url, "", "", `,"handle":"`+h+`"`), "causeway/handle") {
		t.Error("a new handle for one who has one")
	}
	_, body := speak(t, url, "", "", "resources/read", `"uri":"test://count?handle=`+h+`"`)
	wantIn(t, body, `"text":"4"`)
	wantIn(t, body, `"uri":"test://count?handle=`+h)
	_, body = speak(t, url, "", "", "resources/read", `"uri":"test://count"`)
	wantIn(t, body, `"text":"1"`)
	_, body = speak(t, url, "", "", "tools/list", "")
	wantIn(t, body, `"handle":{"type":"string"`)
	for _, forged := range []string{"x", h + "A", "AAAA" + h[4:], strings.Replace(h, ".", "", 1), strings.Repeat("A", 500)} {
		wantIn(t, add(t, url, "", "", `,"handle":"`+forged+`"`), "-32602")
	}
	wantIn(t, add(t, url, "", "", `,"handle":7`), "-32602")
	// In a session there is no such argument.
	sid := initialize(t, url, "")
	_, body = speak(t, url, sid, "", "tools/list", "")
	if strings.Contains(body, "handle") {
		t.Error(body)
	}
}

func TestAUserIsTheSameWithEveryClient(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerUser)
	url := serveApp(t, app)
	wantIn(t, add(t, url, "", "ada@phone", ""), "total 2")
	wantIn(t, add(t, url, "", "ada@laptop", ""), "total 3")
	wantIn(t, add(t, url, initialize(t, url, "ada@desk"), "ada@desk", ""), "total 4")
	wantIn(t, add(t, url, "", "bob@phone", ""), "total 2")
}

func TestAGrantIsAUserWithOneClient(t *testing.T) {
	for _, scope := range []causeway.Scope{causeway.PerGrant, causeway.PerSession} {
		app, _ := newCounter(t, t.TempDir(), scope)
		url := serveApp(t, app)
		wantIn(t, add(t, url, "", "ada@phone", ""), "total 2")
		wantIn(t, add(t, url, "", "ada@phone", ""), "total 3")
		wantIn(t, add(t, url, "", "ada@laptop", ""), "total 2")
		wantIn(t, add(t, url, "", "bob@phone", ""), "total 2")
	}
}

func TestSharedIsOneForAll(t *testing.T) {
	app, agent := newCounter(t, t.TempDir(), causeway.Shared)
	url := serveApp(t, app)
	wantIn(t, add(t, url, "", "", ""), "total 2")
	wantIn(t, add(t, url, initialize(t, url, ""), "", ""), "total 3")
	me, err := agent.Object(app, "shared")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := me.State(context.Background()); err != nil || st.N != 3 {
		t.Errorf("%v %v", st, err)
	}
}

func TestAPurchaseHappensOnce(t *testing.T) {
	dir := t.TempDir()
	app, _ := newCounter(t, dir, causeway.Shared)
	url := serveApp(t, app)
	round := func(params string) string {
		_, body := speak(t, url, "", "", "tools/call", `"name":"buy"`+params)
		return body
	}
	var asked struct {
		Result struct {
			InputRequests map[string]any
			RequestState  string
		}
	}
	if err := json.Unmarshal([]byte(round("")), &asked); err != nil || len(asked.Result.InputRequests) != 1 {
		t.Fatal(err)
	}
	var key string
	for key = range asked.Result.InputRequests {
	}
	answer := fmt.Sprintf(`,"requestState":%q,"inputResponses":{%q:{"action":"accept","content":{}}}`, asked.Result.RequestState, key)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { wantIn(t, round(answer), "order 2") })
	}
	wg.Wait()
	if err := app.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	app, _ = newCounter(t, dir, causeway.Shared)
	url = serveApp(t, app)
	wantIn(t, round(answer), "order 2") // a lost answer, asked for again after a restart
	wantIn(t, add(t, url, "", "", ""), "total 3")
}

func TestSubscribersHearOfAnUpdate(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerSession)
	url := serveApp(t, app)
	sid := initialize(t, url, "")
	speak(t, url, sid, "", "resources/subscribe", `"uri":"test://count"`)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	req.Header = http.Header{"Mcp-Session-Id": {sid}, "Accept": {"text/event-stream"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	add(t, url, sid, "", "")
	var got bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), "notifications/resources/updated") {
		n, err := resp.Body.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatal(err, got.String())
		}
	}
}

func TestAToolThatOnlySomeSee(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "v", Version: "1"}, nil)
	for _, name := range []string{"open", "secret"} {
		causeway.AddTool(s, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return causeway.Text("ran"), nil, nil
		})
	}
	causeway.VisibleIf(s, "secret", func(ctx context.Context) bool {
		tok := auth.TokenInfoFromContext(ctx)
		return tok != nil && tok.UserID == "ada"
	})
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(s))
	url := serveApp(t, app)
	for token, sees := range map[string]bool{"ada": true, "bob": false, "": false} {
		_, list := speak(t, url, "", token, "tools/list", "")
		_, call := speak(t, url, "", token, "tools/call", `"name":"secret"`)
		_, missing := speak(t, url, "", token, "tools/call", `"name":"nosuch"`)
		if strings.Contains(list, "secret") != sees || strings.Contains(call, "ran") != sees || !strings.Contains(list, `"cacheScope":"private"`) {
			t.Errorf("%q: %s %s", token, list, call)
		}
		if !sees && strings.ReplaceAll(missing, "nosuch", "secret") != call {
			t.Errorf("a hidden tool is not answered as a missing one:\n%s\n%s", call, missing)
		}
	}
}

func TestASecretIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	app, _ := newCounter(t, dir, causeway.Shared)
	if err := app.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "secret.key")
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	again := &causeway.App{Data: dir}
	if err := again.Open(); err == nil || !strings.Contains(err.Error(), "secret.key is missing") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(name, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	again = &causeway.App{Data: dir}
	if err := again.Open(); err == nil || !strings.Contains(err.Error(), "not the secret") {
		t.Errorf("%v", err)
	}
}

func TestTwoAppsCannotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	app, _ := newCounter(t, dir, causeway.Shared)
	defer app.Shutdown(context.Background())
	if err := (&causeway.App{Data: dir}).Open(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
}

func TestSelfOutsideARequestIsAMistake(t *testing.T) {
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "count") {
			t.Errorf("%v", p)
		}
	}()
	_, agent := newCounter(t, t.TempDir(), causeway.Shared)
	agent.Self(context.Background())
}

func TestAServerMountedTwiceKeepsItsHandles(t *testing.T) {
	agent := &causeway.Agent[count]{Kind: "count", Initial: count{1}}
	s := mcp.NewServer(&mcp.Implementation{Name: "count", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
	}) (*mcp.CallToolResult, any, error) {
		st, err := agent.Self(ctx).Update(ctx, func(st *count) error { st.N += in.A; return nil })
		return causeway.Textf("total %d", st.N), nil, err
	})
	app := &causeway.App{Data: t.TempDir()}
	app.Mount("/mcp", agent.Handler(s))
	app.Mount("/v2", agent.Handler(s))
	url := serveApp(t, app)
	first := add(t, url, "", "", "")
	wantIn(t, first, "total 2")
	wantIn(t, add(t, strings.TrimSuffix(url, "mcp")+"v2", "", "", `,"handle":"`+handleIn(t, first)+`"`), "total 3")
	_, list := speak(t, url, "", "", "tools/list", "")
	wantIn(t, list, `"handle":{"type":"string"`)
}

// newDiary is a server with a prompt and a tool that use the object, and a prompt that does not.
func newDiary(t *testing.T, agent *causeway.Agent[count]) string {
	s := mcp.NewServer(&mcp.Implementation{Name: "count", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
	}) (*mcp.CallToolResult, any, error) {
		st, err := agent.Self(ctx).Update(ctx, func(st *count) error { st.N += in.A; return nil })
		return causeway.Textf("total %d", st.N), nil, err
	})
	said := func(text string) *mcp.GetPromptResult {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}
	}
	s.AddPrompt(&mcp.Prompt{Name: "go on", Arguments: []*mcp.PromptArgument{{Name: "how"}}}, func(ctx context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		st, err := agent.Self(ctx).Update(ctx, func(st *count) error { st.N += 10; return nil })
		return said(fmt.Sprintf("go on from %d with %v", st.N, r.Params.Arguments)), err
	})
	s.AddPrompt(&mcp.Prompt{Name: "hello"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return said("say hello"), nil
	})
	app := &causeway.App{Data: t.TempDir()}
	app.Mount("/mcp", agent.Handler(s))
	return serveApp(t, app)
}

func prompt(t *testing.T, url, sid, name, arguments string) string {
	t.Helper()
	_, body := speak(t, url, sid, "", "prompts/get", fmt.Sprintf(`"name":%q,"arguments":{%s}`, name, arguments))
	return body
}

func TestPromptsTakeHandlesAsToolsDo(t *testing.T) {
	for _, scope := range []causeway.Scope{causeway.PerSession, causeway.PerHandle} {
		t.Run(scope.String(), func(t *testing.T) {
			url := newDiary(t, &causeway.Agent[count]{Kind: "count", Initial: count{1}, Scope: scope})
			_, list := speak(t, url, "", "", "prompts/list", "")
			if n := strings.Count(list, `"Goes on with what an earlier call began`); n != 2 {
				t.Errorf("%d arguments called handle in %s", n, list)
			}
			first := prompt(t, url, "", "go on", `"how":"care"`)
			wantIn(t, first, "go on from 11 with map[how:care]")
			h := handleIn(t, first)
			wantIn(t, first, "handle: "+h)
			if strings.Index(first, "handle: "+h) > strings.Index(first, "go on from") {
				t.Error("the last word is not the author's")
			}
			if other := handleIn(t, prompt(t, url, "", "go on", "")); other == h {
				t.Error("two clients share a handle")
			}
			wantIn(t, add(t, url, "", "", `,"handle":"`+h+`"`), "total 12")
			again := prompt(t, url, "", "go on", `"how":"care","handle":"`+h+`"`)
			wantIn(t, again, "go on from 22 with map[how:care]") // the handler does not see it
			wantIn(t, again, "handle: "+h)                       // the model does
			fromTool := handleIn(t, add(t, url, "", "", ""))
			wantIn(t, prompt(t, url, "", "go on", `"handle":"`+fromTool+`"`), "go on from 12")
			for _, forged := range []string{"x", h + "A", "AAAA" + h[4:], strings.Replace(h, ".", "", 1), strings.Repeat("A", 500)} {
				got := prompt(t, url, "", "go on", `"handle":"`+forged+`"`)
				wantIn(t, got, "-32602")
				if strings.Contains(got, "go on from") {
					t.Errorf("%q was taken", forged)
				}
			}
			wantIn(t, prompt(t, url, "", "go on", `"handle":7`), "error")
			if got := prompt(t, url, "", "hello", ""); strings.Contains(got, "handle") {
				t.Errorf("a handle of what uses no object: %s", got)
			}
			wantIn(t, prompt(t, url, "", "go on", `"handle":""`), "go on from 11")
			sid := initialize(t, url, "")
			_, list = speak(t, url, sid, "", "prompts/list", "")
			if strings.Contains(list, "handle") != (scope == causeway.PerHandle) {
				t.Error(list)
			}
		})
	}
}

func TestOnlyNamedPromptsTakeHandles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		agent causeway.Agent[count]
		want  int
	}{
		{"those named", causeway.Agent[count]{Prompts: []string{"go on"}}, 1},
		{"none of them", causeway.Agent[count]{Prompts: []string{}}, 0},
		{"none where only tools are named", causeway.Agent[count]{Tools: []string{"add"}}, 0},
		{"those named beside tools", causeway.Agent[count]{Tools: []string{"add"}, Prompts: []string{"go on"}}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.agent.Kind = "count"
			url := newDiary(t, &tc.agent)
			_, list := speak(t, url, "", "", "prompts/list", "")
			if n := strings.Count(list, "Goes on with what an earlier call began"); n != tc.want {
				t.Errorf("%d prompts, want %d: %s", n, tc.want, list)
			}
			if got := prompt(t, url, "", "go on", ""); strings.Contains(got, "causeway/handle") != (tc.want > 0) {
				t.Error(got)
			}
		})
	}
}

func TestAPromptWithAHandleOfItsOwnIsRefused(t *testing.T) {
	agent := &causeway.Agent[count]{Kind: "count"}
	s := mcp.NewServer(&mcp.Implementation{Name: "count", Version: "1"}, nil)
	s.AddPrompt(&mcp.Prompt{Name: "open", Arguments: []*mcp.PromptArgument{{Name: "handle"}}}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{}, nil
	})
	app := &causeway.App{Data: t.TempDir()}
	app.Mount("/mcp", agent.Handler(s))
	_, list := speak(t, serveApp(t, app), "", "", "prompts/list", "")
	wantIn(t, list, `"error"`)
}

func TestAToolSaysWhichMigrationOfItsObjectFailed(t *testing.T) {
	dir := t.TempDir()
	app, _ := newCounter(t, dir, causeway.Shared)
	wantIn(t, add(t, serveApp(t, app), "", "", ""), "total 2")
	if err := app.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name       string
		migrations []object.Migration
		want       string
	}{
		{"one that fails", []object.Migration{object.MigrateSQL("ALTER TABLE nothing ADD COLUMN x")}, `migration 1 of 1 of kind \"count\" failed`},
		{"one that works", []object.Migration{object.MigrateState(func(c count) (count, error) { c.N *= 10; return c, nil })}, "total 21"},
		{"an older program", nil, "newer version of the program"},
	} {
		app, _ := newCounter(t, dir, causeway.Shared, step.migrations...)
		url := serveApp(t, app)
		body := add(t, url, "", "", "")
		wantIn(t, body, step.want)
		if failed := strings.Contains(body, `"isError":true`); failed != (step.name != "one that works") {
			t.Errorf("%s: %s", step.name, body)
		}
		_, body = speak(t, url, "", "", "resources/read", `"uri":"test://count"`)
		if step.name != "one that works" {
			wantIn(t, body, `"error"`)
		}
		if err := app.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
