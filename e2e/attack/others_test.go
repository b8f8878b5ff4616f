package attack

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

const bake = `{"name":"bake","arguments":{"steps":2,"milliseconds":1},"_meta":{"progressToken":"p"}}`

// Who knows the id of a session has nothing: not another person, not another client of the same one, not a stranger.
func TestASessionIsNobodyElses(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	alice := newPerson("alice")
	owner := s.signsIn(t, alice)
	session := owner.opens(t)
	baked := owner.posts(t, session, "tools/call", bake)
	ids := regexp.MustCompile(`(?m)^id: ?(.+)$`).FindAllStringSubmatch(baked.body, -1)
	if len(ids) == 0 {
		t.Fatalf("no event ids in %s", baked.body)
	}
	for name, thief := range map[string]*client{
		"another person":                    s.signsIn(t, newPerson("mallory")),
		"another client of the same person": s.signsIn(t, alice),
	} {
		t.Run(name, func(t *testing.T) {
			bearer := []string{"Authorization", "Bearer " + thief.access, "Accept", "text/event-stream", "MCP-Protocol-Version", "2025-11-25"}
			for what, a := range map[string]answer{
				"POST":               thief.posts(t, session, "tools/list", `{}`),
				"POST of subscribe":  thief.posts(t, session, "resources/subscribe", `{"uri":"demo://board"}`),
				"GET":                s.sends(t, "GET", "/mcp", "", append(bearer, "Mcp-Session-Id", session)...),
				"GET with its event": s.sends(t, "GET", "/mcp", "", append(bearer, "Mcp-Session-Id", session, "Last-Event-ID", ids[0][1])...),
				"DELETE":             s.sends(t, "DELETE", "/mcp", "", append(bearer, "Mcp-Session-Id", session)...),
			} {
				made := thief.posts(t, "made-up", "tools/list", `{}`)
				if a.status != http.StatusNotFound || made.status != a.status {
					t.Errorf("%s: %d %s, want 404, as for a session that is none (%d)", what, a.status, a.body, made.status)
				}
			}
			// In a session of its own the event names nothing. What is replayed, if anything, is not the owner's.
			own := thief.opens(t)
			if a := s.sendsBriefly(t, append(bearer, "Mcp-Session-Id", own, "Last-Event-ID", ids[0][1])...); strings.Contains(a.body, "cake") || strings.Contains(a.body, `"result"`) {
				t.Errorf("GET in its own session with the owner's event: %d %s", a.status, a.body)
			}
		})
	}
	for what, a := range map[string]answer{
		"a stranger":           s.sends(t, "POST", "/mcp", `{}`, "Mcp-Session-Id", session, "Content-Type", "application/json"),
		"a token in the query": s.sends(t, "POST", "/mcp?access_token="+owner.access, `{}`, "Mcp-Session-Id", session, "Content-Type", "application/json"),
		"a token in the form":  s.sends(t, "POST", "/mcp", "access_token="+owner.access, "Mcp-Session-Id", session, "Content-Type", "application/x-www-form-urlencoded"),
		"a token as Basic":     s.sends(t, "POST", "/mcp", `{}`, "Authorization", "Basic "+owner.access, "Content-Type", "application/json"),
		"a token in a cookie":  s.sends(t, "POST", "/mcp", `{}`, "Cookie", "access_token="+owner.access, "Content-Type", "application/json"),
		"a refresh token":      s.sends(t, "POST", "/mcp", `{}`, "Authorization", "Bearer "+owner.refresh, "Content-Type", "application/json"),
	} {
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s, want 401", what, a.status, a.body)
		}
	}
	if a := owner.posts(t, session, "tools/list", `{}`); a.status != http.StatusOK {
		t.Errorf("the owner, after all that: %d %s", a.status, a.body)
	}
}

// sendsBriefly reads what a stream says at once, until its first pause.
func (s *server) sendsBriefly(t *testing.T, header ...string) answer {
	t.Helper()
	resp := s.streams(t, "/mcp", header...)
	defer resp.Body.Close()
	b := make([]byte, 64<<10)
	n := 0
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		n, _ = io.ReadFull(resp.Body, b)
	} else {
		n, _ = resp.Body.Read(b) // the priming event, and with it what is replayed
	}
	return answer{resp.StatusCode, resp.Header, string(b[:n])}
}

func (s *server) streams(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url+path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// The address that HTTP+SSE gives a client to post to is worth nothing without that client's token.
func TestTheMessageEndpointIsNobodyElses(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	owner, thief := s.signsInFor(t, newPerson("alice"), "/sse"), s.signsInFor(t, newPerson("mallory"), "/sse")
	resp := s.streams(t, "/sse", "Authorization", "Bearer "+owner.access, "Accept", "text/event-stream")
	endpoint := ""
	for lines := bufio.NewScanner(resp.Body); endpoint == "" && lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
			endpoint = strings.TrimPrefix(strings.TrimSpace(data), s.url)
		}
	}
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	if !strings.Contains(endpoint, "sessionId=") {
		t.Fatalf("the endpoint is %q", endpoint)
	}
	post := func(token string) int {
		return s.sends(t, "POST", endpoint, ping, "Authorization", token, "Content-Type", "application/json").status
	}
	if got := post("Bearer " + thief.access); got != http.StatusNotFound {
		t.Errorf("mallory posts there: %d, want 404", got)
	}
	if got := post(""); got != http.StatusUnauthorized {
		t.Errorf("a stranger posts there: %d, want 401", got)
	}
	if got := post("Bearer " + owner.access); got != http.StatusAccepted {
		t.Errorf("alice posts there: %d, want 202", got)
	}
}

func TestAWebSocketNeedsATokenInItsHeader(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	c := s.signsIn(t, newPerson("alice"))
	for name, tc := range map[string]struct {
		query string
		subs  []string
		token string
		want  int
	}{
		"no token":                   {"", []string{"mcp"}, "", http.StatusUnauthorized},
		"a token in the query":       {"?access_token=" + c.access, []string{"mcp"}, "", http.StatusUnauthorized},
		"a token among subprotocols": {"", []string{"mcp", "bearer." + c.access}, "", http.StatusUnauthorized},
		"a refresh token":            {"", []string{"mcp"}, c.refresh, http.StatusUnauthorized},
		"a token":                    {"", []string{"mcp"}, c.access, http.StatusSwitchingProtocols},
	} {
		h := http.Header{}
		if tc.token != "" {
			h.Set("Authorization", "Bearer "+tc.token)
		}
		ws, resp, err := websocket.Dial(t.Context(), s.url+"/mcp"+tc.query, &websocket.DialOptions{Subprotocols: tc.subs, HTTPHeader: h})
		if resp == nil || resp.StatusCode != tc.want {
			t.Errorf("%s: %v (%v), want %d", name, resp, err, tc.want)
		}
		if err == nil {
			ws.CloseNow()
		}
	}
}

// Another's task is answered as one that never was, and goes on.
func TestATaskIsNobodyElses(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	alice := newPerson("alice")
	owner := s.signsIn(t, alice)
	started := owner.posts(t, "", "tools/call", `{"name":"roast","arguments":{}}`, "Mcp-Name", "roast")
	id := regexp.MustCompile(`"taskId":"([^"]+)"`).FindStringSubmatch(started.body)
	if id == nil {
		t.Fatalf("roast: %d %s", started.status, started.body)
	}
	thief := s.signsIn(t, newPerson("mallory"))
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		ask := func(id string) answer {
			return thief.posts(t, "", method, `{"taskId":"`+id+`","inputResponses":{}}`, "Mcp-Name", id)
		}
		theirs, never := ask(id[1]), ask("made-up")
		if !strings.Contains(theirs.body, `"error"`) || theirs.status != never.status || strings.ReplaceAll(theirs.body, id[1], "made-up") != never.body {
			t.Errorf("%s of another's task: %d %s\nof none: %d %s", method, theirs.status, theirs.body, never.status, never.body)
		}
	}
	if a := owner.posts(t, "", "tasks/get", `{"taskId":"`+id[1]+`"}`, "Mcp-Name", id[1]); a.status != http.StatusOK || strings.Contains(a.body, "cancelled") || !strings.Contains(a.body, id[1]) {
		t.Errorf("the owner's look, after all that: %d %s", a.status, a.body)
	}
}

// The state of a round is worth nothing to others or for other arguments, and is carried out once.
func TestTheStateOfARoundIsNobodyElses(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	owner, thief := s.signsIn(t, newPerson("alice")), s.signsIn(t, newPerson("mallory"))
	first := owner.posts(t, "", "tools/call", `{"name":"book_table","arguments":{"restaurant":"Chez"}}`, "Mcp-Name", "book_table")
	var round struct {
		Result struct {
			State  string                     `json:"requestState"`
			Inputs map[string]json.RawMessage `json:"inputRequests"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(lastData(first.body)), &round); err != nil || round.Result.State == "" {
		t.Fatalf("book_table: %d %s (%v)", first.status, first.body, err)
	}
	responses := map[string]any{}
	for key := range round.Result.Inputs {
		responses[key] = map[string]any{"action": "accept", "content": map[string]any{"day": "2026-12-24", "people": 2, "outside": true}}
	}
	said, _ := json.Marshal(responses)
	state, _ := json.Marshal(round.Result.State)
	again := func(c *client, tool string) answer {
		return c.posts(t, "", "tools/call", `{"name":"`+tool+`","arguments":{"restaurant":"Chez"},"requestState":`+string(state)+`,"inputResponses":`+string(said)+`}`, "Mcp-Name", tool)
	}
	if a := again(thief, "book_table"); strings.Contains(a.body, "2026-12-24") || !strings.Contains(a.body, `"error"`) {
		t.Errorf("mallory with alice's state: %d %s", a.status, a.body)
	}
	if a := again(owner, "haiku"); !strings.Contains(a.body, `"error"`) {
		t.Errorf("the state of one tool with another: %d %s", a.status, a.body)
	}
	done, replayed := again(owner, "book_table"), again(owner, "book_table")
	if done.status != http.StatusOK || strings.Contains(done.body, `"error"`) || lastData(done.body) != lastData(replayed.body) {
		t.Errorf("alice's answer: %d %s\nand again: %d %s", done.status, done.body, replayed.status, replayed.body)
	}
	responses = map[string]any{}
	for key := range round.Result.Inputs {
		responses[key] = map[string]any{"action": "accept", "content": map[string]any{"day": "2027-01-01", "people": 2, "outside": true}}
	}
	said, _ = json.Marshal(responses)
	if a := again(owner, "book_table"); strings.Contains(a.body, "2027-01-01") {
		t.Errorf("a state that was used books another day: %d %s", a.status, a.body)
	}
}

// lastData is the last event of a stream, or the whole of what is none.
func lastData(body string) string {
	if i := strings.LastIndex(body, "\ndata:"); i >= 0 {
		return strings.TrimSpace(body[i+len("\ndata:"):])
	}
	return strings.TrimSpace(body)
}
