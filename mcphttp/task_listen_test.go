package mcphttp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// note is a notification of a subscription.
type note struct {
	Method string `json:"method"`
	Params struct {
		seenTask
		Meta          map[string]any `json:"_meta"`
		Notifications map[string]any `json:"notifications"`
	} `json:"params"`
	Result map[string]any `json:"result"`
}

func (k *tasker) listen(notifications string) *streamed {
	k.t.Helper()
	body, hd := k.request("subscriptions/listen", "", `"notifications":`+notifications)
	return k.stream("POST", body, hd...)
}

func nextNote(s *streamed) note {
	s.t.Helper()
	ev := s.next()
	var n note
	if err := json.Unmarshal([]byte(ev.data), &n); err != nil {
		s.t.Fatalf("%v: %s", err, ev.data)
	}
	return n
}

// untilStatus reads notifications until the task has the status.
func untilStatus(s *streamed, id, status string) note {
	s.t.Helper()
	for {
		n := nextNote(s)
		if n.Method != "notifications/tasks" || n.Params.ID != id || n.Params.Meta["io.modelcontextprotocol/subscriptionId"] != 1.0 || n.Params.Type != "" {
			s.t.Fatalf("%+v", n)
		}
		if n.Params.Status == status {
			return n
		}
	}
}

func TestASubscriptionFollowsATask(t *testing.T) {
	s := plainServer()
	addTask(s, "ask", TaskOptions{}, askName)
	h, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("ask", "")
	key := k.asking(id, 1)[0]
	alone := k.listen(fmt.Sprintf(`{"taskIds":[%q,"0-UNKNOWN",%q]}`, id, id))
	mixed := k.listen(fmt.Sprintf(`{"taskIds":[%q],"toolsListChanged":true}`, id))
	for name, st := range map[string]*streamed{"tasks alone": alone, "with others": mixed} {
		ack := nextNote(st)
		if ack.Method != "notifications/subscriptions/acknowledged" || fmt.Sprint(ack.Params.Notifications["taskIds"]) != fmt.Sprint([]string{id}) ||
			ack.Params.Meta["io.modelcontextprotocol/subscriptionId"] != 1.0 || (ack.Params.Notifications["toolsListChanged"] == true) != (st == mixed) {
			t.Errorf("%s: acknowledged %+v", name, ack)
		}
		// The state at the start, so that no change is missed between a poll and this.
		if n := untilStatus(st, id, "input_required"); n.Params.Asks[key].Method != "elicitation/create" {
			t.Errorf("%s: %+v", name, n)
		}
	}
	k.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"Ada"}}}`, key))
	for name, st := range map[string]*streamed{"tasks alone": alone, "with others": mixed} {
		if n := untilStatus(st, id, "completed"); n.Params.text() != "accept Ada" {
			t.Errorf("%s: %+v", name, n)
		}
	}
	// Still open after that, and ended in order.
	go h.Shutdown(t.Context())
	if last := nextNote(alone); last.Result["resultType"] != "complete" {
		t.Errorf("the end: %+v", last)
	}
	alone.ended()
}

func TestWhoMayFollowWhichTask(t *testing.T) {
	s := plainServer()
	addTask(s, "work", TaskOptions{}, forever)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	k := newTasker(t, serveHTTP(t, as(h)))
	id := k.by("ada").create("work", "")

	ack := nextNote(k.by("bob").listen(fmt.Sprintf(`{"taskIds":[%q],"toolsListChanged":true}`, id)))
	if _, told := ack.Params.Notifications["taskIds"]; told {
		t.Errorf("another user's task: %+v", ack)
	}
	body, hd := k.by("bob").declaring("{}").request("subscriptions/listen", "", fmt.Sprintf(`"notifications":{"taskIds":[%q]}`, id))
	if a := k.by("bob").do("POST", body, hd...); a.code() != -32021 || a.status != 400 || !strings.Contains(string(a.msg.Error.Data), tasksExtension) {
		t.Errorf("undeclared: %d %s", a.status, a.body)
	}
	var many []string
	for i := range maxFollowed + 1 {
		many = append(many, fmt.Sprintf(`"0-%d"`, i))
	}
	for name, ids := range map[string]string{
		"a string": `"x"`, "numbers": `[1]`, "too many": "[" + strings.Join(many, ",") + "]", "an empty one": `[""]`, "an object": `{}`,
	} {
		body, hd := k.by("bob").request("subscriptions/listen", "", `"notifications":{"taskIds":`+ids+`}`)
		if a := k.by("bob").do("POST", body, hd...); a.code() != -32602 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestASubscriptionLearnsThatTheWorkerDied(t *testing.T) {
	first, second, a, b := twoProcesses(t, func(s *mcp.Server) { addTask(s, "work", TaskOptions{OneRun: true}, forever) })
	second.tasks.leaseTTL = 0 // look at every heartbeat
	id := a.create("work", "")
	st := b.listen(fmt.Sprintf(`{"taskIds":[%q]}`, id))
	nextNote(st)
	untilStatus(st, id, "working")
	die(t, first)
	if n := untilStatus(st, id, "failed"); !strings.Contains(n.Params.Error.Message, "gone") {
		t.Errorf("%+v", n)
	}
}

func TestTasksOverAWebSocket(t *testing.T) {
	s := plainServer()
	addTask(s, "quick", TaskOptions{}, quick)
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	sock := dial(t, url, "")
	id := 0 // of the next request: a connection has each only once
	send := func(method, params string) {
		id++
		body, _ := k.request(method, "", params)
		sock.write(strings.Replace(body, `"id":1`, fmt.Sprintf(`"id":%d`, id), 1))
	}
	send("tools/call", `"name":"quick","arguments":{}`)
	var created struct {
		Result seenTask `json:"result"`
	}
	if err := json.Unmarshal([]byte(sock.read()), &created); err != nil || created.Result.Type != "task" {
		t.Fatalf("%v %+v", err, created)
	}
	task := created.Result.ID
	k.until(task, "completed")
	send("tasks/get", fmt.Sprintf(`"taskId":%q`, task))
	if got := sock.read(); !strings.Contains(got, `"status":"completed"`) {
		t.Errorf("%s", got)
	}
	send("subscriptions/listen", fmt.Sprintf(`"notifications":{"taskIds":[%q]}`, task))
	if got := sock.read(); !strings.Contains(got, "acknowledged") || !strings.Contains(got, task) {
		t.Errorf("%s", got)
	}
	if got := sock.read(); !strings.Contains(got, `"notifications/tasks"`) || !strings.Contains(got, `"status":"completed"`) {
		t.Errorf("%s", got)
	}
}
