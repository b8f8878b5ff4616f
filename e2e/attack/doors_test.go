package attack

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

const (
	graph   = "memory://knowledge-graph"
	kept    = "the-combination-is-4711"
	keeps   = `{"entities":[{"name":"safe","entityType":"thing","observations":["` + kept + `"]}]}`
	changes = `{"entities":[{"name":"mine","entityType":"thing","observations":[]}]}`
)

// A process that comes back reads sessions, tasks and keys from its store, and asks there whose they are.
func TestAfterAKillNothingIsAnybodyElses(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	owner, thief := s.signsIn(t, newPerson("alice")), s.signsIn(t, newPerson("mallory"))
	session := owner.opens(t)
	event := regexp.MustCompile(`(?m)^id: ?(.+)$`).FindStringSubmatch(owner.posts(t, session, "tools/call", bake).body)
	task := regexp.MustCompile(`"taskId":"([^"]+)"`).FindStringSubmatch(owner.uses(t, "", "roast", `{}`).body)
	state := regexp.MustCompile(`"requestState":"([^"]+)"`).FindStringSubmatch(owner.uses(t, "", "book_table", `{"restaurant":"Chez"}`).body)
	if event == nil || task == nil || state == nil {
		t.Fatalf("event %v, task %v, state %v", event, task, state)
	}
	s.kill(t)
	s.start(t)
	bearer := []string{"Authorization", "Bearer " + thief.access, "Accept", "text/event-stream", "MCP-Protocol-Version", "2025-11-25", "Mcp-Session-Id", session}
	for what, a := range map[string]answer{
		"POST":               thief.posts(t, session, "tools/list", `{}`),
		"GET":                s.sends(t, "GET", "/mcp", "", bearer...),
		"GET with its event": s.sends(t, "GET", "/mcp", "", append(bearer, "Last-Event-ID", event[1])...),
		"DELETE":             s.sends(t, "DELETE", "/mcp", "", bearer...),
	} {
		if a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s, want 404", what, a.status, a.body)
		}
	}
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		ask := func(id string) answer {
			return thief.posts(t, "", method, `{"taskId":"`+id+`","inputResponses":{}}`, "Mcp-Name", id)
		}
		theirs, never := ask(task[1]), ask("made-up")
		if !strings.Contains(theirs.body, `"error"`) || strings.ReplaceAll(theirs.body, task[1], "made-up") != never.body {
			t.Errorf("%s: %d %s\nof none: %d %s", method, theirs.status, theirs.body, never.status, never.body)
		}
	}
	again := func(c *client) answer {
		return c.posts(t, "", "tools/call", `{"name":"book_table","arguments":{"restaurant":"Chez"},"requestState":"`+state[1]+`","inputResponses":{}}`, "Mcp-Name", "book_table")
	}
	if a := again(thief); !strings.Contains(a.body, `"error"`) {
		t.Errorf("alice's state: %d %s", a.status, a.body)
	}
	if a := again(owner); a.status != http.StatusOK || strings.Contains(a.body, `"error"`) {
		t.Errorf("alice's state, by her: %d %s", a.status, a.body)
	}
	if a := owner.posts(t, session, "tools/list", `{}`); a.status != http.StatusOK {
		t.Errorf("alice's session, by her: %d %s", a.status, a.body)
	}
	if a := owner.posts(t, "", "tasks/get", `{"taskId":"`+task[1]+`"}`, "Mcp-Name", task[1]); a.status != http.StatusOK || strings.Contains(a.body, "cancelled") || !strings.Contains(a.body, task[1]) {
		t.Errorf("alice's task, by her: %d %s", a.status, a.body)
	}
}

// Who follows a resource learns that somebody's changed, never what is in it. See docs/security.md.
func TestASubscriptionTellsNothingOfOthersObjects(t *testing.T) {
	t.Parallel()
	s := startServer(t, memory)
	owner, thief := s.signsIn(t, newPerson("alice")), s.signsIn(t, newPerson("mallory"))
	req, _ := http.NewRequestWithContext(t.Context(), "POST", s.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{`+meta+`"notifications":{"resourceSubscriptions":["`+graph+`"]}}}`))
	for name, value := range map[string]string{"Authorization": "Bearer " + thief.access, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"} {
		req.Header.Set(name, value)
	}
	resp, err := direct.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("subscriptions/listen: %v %v", resp, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	until := func(what string) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), kept) || strings.Contains(lines.Text(), "alice") {
				t.Errorf("mallory is told %s", lines.Text())
			}
			if strings.Contains(lines.Text(), what) {
				return
			}
		}
		t.Fatalf("the stream ended before %s: %v", what, lines.Err())
	}
	until("acknowledged")
	owner.uses(t, "", "create_entities", keeps)
	thief.uses(t, "", "create_entities", changes)
	until("resources/updated")
	if a := thief.posts(t, "", "resources/read", `{"uri":"`+graph+`"}`, "Mcp-Name", graph); a.status != http.StatusOK || !strings.Contains(a.body, "mine") || strings.Contains(a.body, kept) {
		t.Errorf("mallory reads what she was told of: %d %s", a.status, a.body)
	}
}

// A WebSocket is its token's, whatever is said over it.
func TestAWebSocketOpensNobodyElsesObject(t *testing.T) {
	t.Parallel()
	s := startServer(t, memory)
	owner, thief := s.signsIn(t, newPerson("alice")), s.signsIn(t, newPerson("mallory"))
	owner.uses(t, "", "create_entities", keeps)
	session := owner.opens(t)
	for name, tc := range map[string]struct {
		by   *client
		want bool
	}{"mallory": {thief, false}, "alice": {owner, true}} {
		h := http.Header{"Authorization": {"Bearer " + tc.by.access}, "Mcp-Session-Id": {session}, "X-Forwarded-User": {"alice"}}
		ws, _, err := websocket.Dial(t.Context(), s.url+"/mcp", &websocket.DialOptions{Subprotocols: []string{"mcp"}, HTTPHeader: h})
		if err != nil {
			if !tc.want {
				continue // refused altogether for the session it names
			}
			t.Fatalf("%s: %v", name, err)
		}
		defer ws.CloseNow()
		said := ""
		for _, m := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"alice","version":"1"}}}`,
			`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read_graph","arguments":{}}}`,
			`{"jsonrpc":"2.0","id":3,"method":"resources/read","params":{"uri":"` + graph + `"}}`,
		} {
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, b, err := ws.Read(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			said += string(b)
		}
		if strings.Contains(said, kept) != tc.want {
			t.Errorf("%s is told %s", name, said)
		}
	}
}

// At /account a person sees, revokes and erases what is theirs. The ids of another's are worth nothing there.
func TestTheAccountOfAnotherIsOutOfReach(t *testing.T) {
	t.Parallel()
	s := startServer(t, memory)
	alice, mallory := newPerson("alice"), newPerson("mallory")
	owner, thief := s.signsIn(t, alice), s.signsIn(t, mallory)
	owner.uses(t, "", "create_entities", keeps)
	thief.uses(t, "", "create_entities", changes)
	hers, theirs := alice.account(t, s), mallory.account(t, s)
	grant, holding := button(hers, "revoke"), button(hers, "erase")
	if grant == "" || holding == "" || button(hers, "proof") == "" || button(theirs, "proof") == "" {
		t.Fatalf("alice's page: %s", hers)
	}
	if strings.Contains(theirs, grant) || strings.Contains(theirs, `"`+holding+`"`) || strings.Contains(theirs, "alice") {
		t.Errorf("mallory's page shows alice's: %s", theirs)
	}
	for _, form := range []url.Values{
		{"proof": {button(theirs, "proof")}, "revoke": {grant}},
		{"proof": {button(theirs, "proof")}, "erase": {holding}},
		{"proof": {button(hers, "proof")}, "revoke": {grant}},
		{"proof": {button(hers, "proof")}, "erase": {holding}},
		{"proof": {button(hers, "proof")}, "erase": {"all"}},
	} {
		for what, by := range map[string]*http.Client{"mallory": mallory.http, "a stranger": direct} {
			resp, err := by.PostForm(s.url+"/account", form)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			resp.Body.Close()
		}
		// Nor does mallory's form do anything in alice's browser.
		if form.Get("proof") == button(theirs, "proof") {
			if resp, err := alice.http.PostForm(s.url+"/account", form); err != nil || resp.StatusCode < 400 {
				t.Errorf("mallory's form in alice's browser: %v %v", resp, err)
			}
		}
	}
	s.kill(t)
	s.start(t)
	if a := owner.uses(t, "", "read_graph", `{}`); a.status != http.StatusOK || !strings.Contains(a.body, kept) {
		t.Errorf("alice's, after all that: %d %s", a.status, a.body)
	}
}

func button(page, name string) string {
	if m := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page); m != nil {
		return m[1]
	}
	return ""
}

// account signs in at /account, and is the page.
func (p *person) account(t *testing.T, s *server) string {
	t.Helper()
	req, err := http.NewRequest("GET", s.url+"/account", nil)
	for range 20 {
		if err != nil {
			t.Fatal(err)
		}
		resp, err2 := p.http.Do(req)
		if err2 != nil {
			t.Fatal(err2)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(b), `name="signout"`) {
			return string(b)
		}
		resp.Body = io.NopCloser(strings.NewReader(string(b)))
		req, err = p.next(t, req, resp)
	}
	t.Fatal("/account leads nowhere")
	return ""
}

// Where nobody signs in, a handle is all there is. One that is guessed, cut or put together opens nothing.
func TestAHandleCannotBeMade(t *testing.T) {
	t.Parallel()
	s := startServer(t, causeway, "demo", "-no-auth")
	stranger := &client{s: s}
	made := regexp.MustCompile(`[A-Z2-7]{26}\.[A-Z2-7]{26}`).FindString(stranger.uses(t, "", "count", `{"by":41}`).body)
	other := regexp.MustCompile(`[A-Z2-7]{26}\.[A-Z2-7]{26}`).FindString(stranger.uses(t, "", "count", `{"by":1}`).body)
	if made == "" || other == "" {
		t.Fatal("no handle")
	}
	id, mac, _ := strings.Cut(made, ".")
	for range 2 {
		for what, handle := range map[string]string{"without a signature": id, "with an empty one": id + ".", "with another's": id + other[26:],
			"with its beginning": id + "." + mac[:25], "signed by itself": id + "." + id, "in lower case": strings.ToLower(made), "with more": made + "A"} {
			if a := stranger.uses(t, "", "count", `{"handle":"`+handle+`"}`); !strings.Contains(a.body, `"error"`) || strings.Contains(a.body, "The counter") {
				t.Errorf("a handle %s: %d %s", what, a.status, a.body)
			}
		}
		if a := stranger.uses(t, "", "count", `{"by":0,"handle":"`+made+`"}`); !strings.Contains(a.body, "The counter is at 41.") {
			t.Errorf("the handle itself: %d %s", a.status, a.body)
		}
		s.kill(t)
		s.start(t)
	}
}
