package causeway_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/store"
	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// wantObjects waits until the objects are as many as they should be.
func wantObjects(t *testing.T, app *causeway.App, want int) []string {
	t.Helper()
	var ids []string
	for range 500 {
		if ids = causeway.ObjectsOf(t, app, "count"); len(ids) == want {
			return ids
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("there are the objects %q, want %d", ids, want)
	return nil
}

func endSession(t *testing.T, url, sid, token string) {
	t.Helper()
	req, err := http.NewRequest("DELETE", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Mcp-Session-Id", sid)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 204 {
		t.Fatalf("DELETE: %v %+v", err, resp)
	}
	resp.Body.Close()
}

func TestTheObjectOfASessionIsErasedWithIt(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerSession)
	url := serveApp(t, app)
	anonymous, signedIn, stays := initialize(t, url, ""), initialize(t, url, "ada@app"), initialize(t, url, "")
	add(t, url, anonymous, "", "")
	add(t, url, signedIn, "ada@app", "")
	wantIn(t, add(t, url, stays, "", ""), "total 2")
	wantObjects(t, app, 3)
	endSession(t, url, anonymous, "")
	wantObjects(t, app, 2) // a DELETE is answered when it has happened
	endSession(t, url, signedIn, "ada@app")
	if ids := causeway.ObjectsOf(t, app, "count"); len(ids) != 1 {
		t.Errorf("left are %q", ids)
	}
	wantIn(t, add(t, url, stays, "", ""), "total 3")
}

func TestTheObjectOfAUserOutlivesTheSession(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerUser)
	url := serveApp(t, app)
	sid := initialize(t, url, "ada@app")
	add(t, url, sid, "ada@app", "")
	endSession(t, url, sid, "ada@app")
	wantIn(t, add(t, url, initialize(t, url, "ada@app"), "ada@app", ""), "total 3")
}

func TestTheObjectOfAConnectionIsErasedWithIt(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerSession)
	url := serveApp(t, app)
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}`,
	} {
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		if _, answer, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(answer), `"result"`) {
			t.Fatalf("%v %s", err, answer)
		}
	}
	if ids := wantObjects(t, app, 1); !strings.HasPrefix(ids[0], "t") {
		t.Errorf("the object is %q", ids[0])
	}
	if err := causeway.EraseOrphans(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	wantObjects(t, app, 1) // of a connection that is there
	ws.CloseNow()
	wantObjects(t, app, 0)
}

// What a kill got in between, or what expired, is found later; nothing else is touched.
func TestObjectsOfSessionsThatAreOverAreFound(t *testing.T) {
	app, agent := newCounter(t, t.TempDir(), causeway.PerSession)
	url := serveApp(t, app)
	stays, lost := initialize(t, url, ""), initialize(t, url, "")
	add(t, url, stays, "", "")
	add(t, url, lost, "", "")
	own := []string{"s-mine", "t", "tTEAM", "s-0123456789abcdef0123456789abcdef0"}
	for _, id := range own {
		me, err := agent.Object(app, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := me.SetState(t.Context(), count{7}); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := agent.Object(app, "tAAAABBBB-0123456789abcdef0123456789abcdef") // of a connection to a process that is gone
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.SetState(t.Context(), count{7}); err != nil {
		t.Fatal(err)
	}
	wantObjects(t, app, 7)
	_, random, _ := strings.Cut(lost, "-")
	if err := causeway.Engine(app).Delete(t.Context(), "mount/mcp|mcp/session/0/"+random, store.AnyRevision); err != nil {
		t.Fatal(err)
	}
	if err := causeway.EraseOrphans(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	left := wantObjects(t, app, 5)
	for _, id := range own {
		if !slices.Contains(left, id) {
			t.Errorf("%q, which is the application's own, is gone", id)
		}
	}
	wantIn(t, add(t, url, stays, "", ""), "total 3")
}

func TestTheObjectOfAnExpiredSessionIsErased(t *testing.T) {
	agent := &causeway.Agent[count]{Kind: "count"}
	s := mcp.NewServer(&mcp.Implementation{Name: "count", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, countUp(agent))
	app := &causeway.App{Data: t.TempDir()}
	h := agent.Handler(s)
	h.Options.SessionTTL = time.Second
	app.Mount("/mcp", h)
	url := serveApp(t, app)
	add(t, url, initialize(t, url, ""), "", "")
	wantObjects(t, app, 1)
	for range 500 {
		if err := causeway.EraseOrphans(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		if len(causeway.ObjectsOf(t, app, "count")) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("it is still there")
}

func countUp(agent *causeway.Agent[count]) mcp.ToolHandlerFor[struct {
	A int `json:"a"`
}, any] {
	return func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
	}) (*mcp.CallToolResult, any, error) {
		st, err := agent.Self(ctx).Update(ctx, func(st *count) error { st.N += in.A; return nil })
		return causeway.Textf("total %d", st.N), nil, err
	}
}
