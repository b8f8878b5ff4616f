package causeway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// heard reads the session's stream after an event until there are as many updates as
// wanted, and then a little more: there must be no others.
func heard(t *testing.T, url, sid, after string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Mcp-Session-Id", sid)
	req.Header.Set("Accept", "text/event-stream")
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %+v", err, resp)
	}
	defer resp.Body.Close()
	got := 0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") {
			got++
			if !strings.Contains(lines.Text(), "notifications/resources/updated") || strings.Contains(lines.Text(), "causeway/source") {
				t.Errorf("heard %s", lines.Text())
			}
			time.AfterFunc(100*time.Millisecond, cancel)
		}
		if want == 0 && strings.HasPrefix(lines.Text(), "id: ") {
			return
		}
	}
	if got != want {
		t.Errorf("heard of %d updates, want %d", got, want)
	}
}

func subscriber(t *testing.T, url string) string {
	t.Helper()
	sid := initialize(t, url, "")
	heard(t, url, sid, "", 0) // it has a stream from now on
	_, body := speak(t, url, sid, "", "resources/subscribe", `"uri":"test://count"`)
	wantIn(t, body, `"result"`)
	return sid
}

func notesLeft(t *testing.T, app *causeway.App) (notes []string) {
	t.Helper()
	for r, err := range causeway.Engine(app).List(t.Context(), "object/note/") {
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, string(r.Value))
	}
	return notes
}

// What was told in the entry of a change, and not delivered when the process was killed,
// is delivered by the next; what was delivered, and not forgotten any more, is in the log
// of a session once.
func TestWhatACrashKeptFromItsSubscribersIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	app, _ := newCounter(t, dir, causeway.Shared)
	url := serveApp(t, app)
	sid := subscriber(t, url)
	note := object.Note{ID: "0000000000000001-TESTTESTTESTTESTTESTTEST", Kind: "count", Obj: "shared", Topic: "causeway/updated", Data: json.RawMessage("null")}
	leave := func() { // as a crash between commit and delivery, or between delivery and forgetting, does
		b, err := json.Marshal(note)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := causeway.Engine(app).Put(t.Context(), "object/note/"+note.ID, b, store.AnyRevision, nil); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() {
		if err := app.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		app, _ = newCounter(t, dir, causeway.Shared)
		url = serveApp(t, app)
		for range 500 {
			if len(notesLeft(t, app)) == 0 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("not delivered: %q", notesLeft(t, app))
	}
	leave()
	restart()
	heard(t, url, sid, "g~0", 1)
	leave()
	restart()
	heard(t, url, sid, "g~0", 1)
	wantIn(t, add(t, url, "", "", ""), "total 2")
	heard(t, url, sid, "g~0", 2)
}

func TestTwoServersOfOneAgentBothHear(t *testing.T) {
	agent := &causeway.Agent[count]{Kind: "count", Scope: causeway.Shared, Resources: []string{"test://count"}}
	app := &causeway.App{Data: t.TempDir()}
	for n := range 2 {
		s := mcp.NewServer(&mcp.Implementation{Name: fmt.Sprint("count", n), Version: "1"}, causeway.Subscribable(nil))
		causeway.AddTool(s, &mcp.Tool{Name: "add"}, countUp(agent))
		s.AddResource(&mcp.Resource{URI: "test://count", Name: "count"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return causeway.TextResource("x"), nil
		})
		app.Mount(fmt.Sprint("/", n), agent.Handler(s))
	}
	base := strings.TrimSuffix(serveApp(t, app), "/mcp")
	first, second := subscriber(t, base+"/0"), subscriber(t, base+"/1")
	add(t, base+"/0", "", "", "")
	heard(t, base+"/0", first, "g~0", 1)
	heard(t, base+"/1", second, "g~0", 1)
}
