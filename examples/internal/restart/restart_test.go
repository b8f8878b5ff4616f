package restart

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const sessions = 100

// each does something with all sessions, some at a time.
func each(all []*session, do func(i int, s *session)) {
	var wg sync.WaitGroup
	turn := make(chan bool, 10)
	for i, s := range all {
		turn <- true
		wg.Go(func() { defer func() { <-turn }(); do(i, s) })
	}
	wg.Wait()
}

func TestAHundredSessionsGoOnAfterKillMinusNine(t *testing.T) {
	p := start(t)
	all := make([]*session, sessions)
	each(all, func(i int, _ *session) {
		s := open(p)
		primed := s.get.next()
		if s.last = primed.id; primed.msg != nil || s.last == "" {
			t.Errorf("the stream begins with %+v, want an id to resume from", primed)
		}
		s.call("resources/subscribe", `"uri":"test://book"`)
		s.call("logging/setLevel", `"level":"error"`)
		s.tool("add", fmt.Sprintf(`{"By":%d}`, i))
		all[i] = s
	})
	p.kill()
	each(all, func(_ int, s *session) { s.last = s.get.ended(s.last) })

	p.start()
	stranger := open(p)
	stranger.tool("order", `{}`) // while nobody is back
	each(all, func(i int, s *session) {
		s.listen()
		if m := s.hear(); m.Method != "notifications/resources/updated" || !strings.Contains(string(m.Params), "test://book") {
			t.Errorf("session %d missed what happened: %+v", i, m)
		}
		if got, want := s.tool("add", `{"By":1000}`), fmt.Sprint(i+1000); got != want {
			t.Errorf("session %d: the total is %s, want %s", i, got, want)
		}
		for _, level := range []string{"info", "error"} {
			resp := s.request("tools/call", fmt.Sprintf(`"name":"say","arguments":{"Level":%q}`, level))
			body, err := io.ReadAll(resp.Body)
			if told := strings.Contains(string(body), "notifications/message"); err != nil || told != (level == "error") {
				t.Errorf("session %d: told of %s: %v, %v %s", i, level, told, err, body)
			}
		}
	})
	stranger.tool("order", `{}`)
	each(all, func(i int, s *session) {
		before := s.last
		if m := s.hear(); m.Method != "notifications/resources/updated" || s.last == before {
			t.Errorf("session %d is no longer subscribed: %+v", i, m)
		}
		select {
		case ev := <-s.get.events:
			t.Errorf("session %d was told twice: %+v", i, ev)
		default:
		}
		if resp := s.do("DELETE", "", ""); resp.StatusCode != 204 {
			t.Errorf("session %d: DELETE: %s", i, resp.Status)
		}
	})
}

// A call that was in flight ends in "outcome unknown"; what it did is doubled only if it
// is repeated without a key.
func TestACallInFlightAtTheKillEndsAndIsDoubledOnlyWithoutAKey(t *testing.T) {
	for _, tc := range []struct {
		name, key string
		orders    int
	}{{"with a key", `"Key":"k1"`, 1}, {"without", `"Key":""`, 2}} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t)
			s := open(p)
			st := p.stream(s.request("tools/call", fmt.Sprintf(`"name":"order","arguments":{"Hang":true,%s},"_meta":{"progressToken":1}`, tc.key)))
			first := st.next()
			progress := st.next()
			if first.id == "" || progress.msg == nil || progress.msg.Method != "notifications/progress" {
				t.Fatalf("%+v %+v", first, progress)
			}
			p.kill()
			last := st.ended(progress.id)
			p.start()
			unknown := p.stream(s.do("GET", "", last)).next()
			if unknown.msg == nil || unknown.msg.Error == nil || !strings.Contains(unknown.msg.Error.Message, "outcome unknown") || string(unknown.msg.ID) != fmt.Sprint(s.next) {
				t.Fatalf("the call ended in %+v", unknown.msg)
			}
			if got := s.tool("order", fmt.Sprintf(`{%s}`, tc.key)); got != "ordered" {
				t.Error(got)
			}
			if got, want := s.tool("book", `{}`), fmt.Sprintf("{Orders:%d Runs:0 Effects:0}", tc.orders); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

type task struct {
	ID     string `json:"taskId"`
	Status string `json:"status"`
	Result struct{ Content []struct{ Text string } }
	Error  *struct{ Message string }
}

func (p *process) task(method, name, params string) (out task) {
	p.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
		`"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`, method, params)
	resp, err := p.do("POST", body, map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name})
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var got struct{ Result *task }
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil || got.Result == nil {
		p.t.Fatalf("%s: %v %s %s", method, err, resp.Status, b)
	}
	return *got.Result
}

func (p *process) until(id string, statuses string) task {
	p.t.Helper()
	for range 3000 {
		if got := p.task("tasks/get", id, fmt.Sprintf(`"taskId":%q`, id)); strings.Contains(statuses, got.Status) {
			return got
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatal("the task never ended")
	panic("unreachable")
}

// The process is killed in each run but the last: the task goes on by itself, what it
// did under Once was done once, and a task that kills every process is given up.
func TestATaskGoesOnAfterKillMinusNine(t *testing.T) {
	for _, tc := range []struct {
		name       string
		runs, book int
		status     string
	}{{"killed once", 2, 2, "completed"}, {"killed three times", 4, 4, "completed"}, {"killed each time", 99, 4, "failed"}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			id := p.task("tools/call", "long", fmt.Sprintf(`"name":"long","arguments":{"Runs":%d}`, tc.runs)).ID
			for n := 1; n < min(tc.runs, 5); n++ {
				waitForRuns(p, n)
				p.kill()
				p.start() // nobody asks for the task: it must run by itself
			}
			got := p.until(id, "completed failed")
			if got.Status != tc.status {
				t.Errorf("%+v %+v", got, got.Error)
			}
			if tc.status == "failed" && !strings.Contains(got.Error.Message, "gone") {
				t.Errorf("it does not say why: %+v", got.Error)
			}
			if book, want := open(p).tool("book", `{}`), fmt.Sprintf("{Orders:0 Runs:%d Effects:1}", tc.book); book != want {
				t.Errorf("%s, want %s", book, want)
			}
		})
	}
}

// A deploy in each run but the last: the task goes on, more often than one whose process
// dies, and a client that asks in between finds it working.
func TestATaskGoesOnAfterADeploy(t *testing.T) {
	for _, tc := range []struct {
		tool   string
		runs   int
		status string
	}{{"long", 2, "completed"}, {"long", 7, "completed"}, {"once", 2, "failed"}} {
		t.Run(fmt.Sprint(tc.tool, " in run ", tc.runs), func(t *testing.T) {
			t.Parallel()
			p := start(t)
			id := p.task("tools/call", tc.tool, fmt.Sprintf(`"name":%q,"arguments":{"Runs":%d}`, tc.tool, tc.runs)).ID
			for n := 1; n < tc.runs; n++ {
				waitForRuns(p, n)
				if got := p.task("tasks/get", id, fmt.Sprintf(`"taskId":%q`, id)); got.Status != "working" {
					t.Fatalf("before deploy %d: %+v %+v", n, got, got.Error)
				}
				p.stop()
				p.start()
			}
			got := p.until(id, "completed failed")
			if got.Status != tc.status {
				t.Errorf("%+v %+v", got, got.Error)
			}
			want := fmt.Sprintf("{Orders:0 Runs:%d Effects:1}", tc.runs)
			if tc.status == "failed" {
				want = "{Orders:0 Runs:1 Effects:1}"
				if !strings.Contains(got.Error.Message, "shut down") || !strings.Contains(got.Error.Message, "OneRun") {
					t.Errorf("it does not say why: %+v", got.Error)
				}
			}
			if book := open(p).tool("book", `{}`); book != want {
				t.Errorf("%s, want %s", book, want)
			}
		})
	}
}

func waitForRuns(p *process, n int) {
	p.t.Helper()
	s := open(p)
	for range 3000 {
		if strings.Contains(s.tool("book", `{}`), fmt.Sprintf("Runs:%d ", n)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("run %d never began", n)
}

// The process is killed in three migrations of an object, and at any moment: each of them happens once, wholly, in order.
func TestKillsBetweenMigrationsLeaveEachDoneOnce(t *testing.T) {
	const count = 30
	p := start(t)
	if got := open(p).tool("album", `{"Begin":true}`); got != "begun" {
		t.Fatal(got)
	}
	with := func(env ...any) {
		p.kill()
		p.env = []string{fmt.Sprint(env...)}
		p.start()
	}
	ask := func() (answered chan bool) {
		answered = make(chan bool)
		go func() {
			defer close(answered)
			if resp, err := p.do("POST", modernCall("album"), modernHeaders("album")); err == nil {
				resp.Body.Close()
			}
		}()
		return answered
	}
	had := func() (n int) { // a program that knows none says how many there were
		with(countMigrations, "=0")
		m := open(p).call("tools/call", `"name":"album","arguments":{}`)
		if i := strings.Index(m.text(), "has had "); m.Result.IsError && i >= 0 {
			if _, err := fmt.Sscanf(m.text()[i:], "has had %d migrations", &n); err != nil {
				t.Fatal(err, m.text())
			}
		}
		return n
	}
	for _, number := range []int{2, 3, 20} {
		p.kill()
		p.env = []string{fmt.Sprint(countMigrations, "=", count), fmt.Sprint(killMigration, "=", number)}
		p.start()
		<-ask() // it kills itself
		if n := had(); n != number-1 {
			t.Errorf("killed in migration %d, it has had %d", number, n)
		}
	}
	for round := range 5 {
		with(countMigrations, "=", count)
		answered := ask()
		time.Sleep(time.Duration(round) * 3 * time.Millisecond)
		p.kill()
		<-answered
	}
	with(countMigrations, "=", count)
	var numbers []string
	for n := 1; n <= count; n++ {
		numbers = append(numbers, fmt.Sprint(n))
	}
	want := fmt.Sprintf("[0 %[1]s] [%[1]s] %[2]d", strings.Join(numbers, " "), count)
	if got := open(p).tool("album", `{}`); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := had(); n != count {
		t.Errorf("it has had %d", n)
	}
}

// Every change is told of exactly once, those too that were made in the moment of the
// kill, whose makers never got an answer.
func TestEveryChangeIsToldOnceAcrossKills(t *testing.T) {
	rounds := 10
	if s := os.Getenv("CAUSEWAY_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	p := start(t)
	s := open(p)
	s.last = s.get.next().id
	s.call("resources/subscribe", `"uri":"test://book"`)
	told := 0
	for round := range rounds {
		acked, stop := 0, make(chan bool)
		go func() {
			defer close(stop)
			for {
				resp, err := p.do("POST", modernCall("order"), modernHeaders("order"))
				if err != nil {
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 {
					return
				}
				acked++
			}
		}()
		time.Sleep(time.Duration(20+7*(round%10)) * time.Millisecond)
		p.kill()
		<-stop
		for ev := range s.get.events { // what came before the kill
			if ev.id != "" {
				s.last = ev.id
			}
			if ev.msg != nil {
				told++
			}
		}
		p.start()
		s.listen()
		var orders int
		if _, err := fmt.Sscanf(s.tool("book", `{}`), "{Orders:%d", &orders); err != nil {
			t.Fatal(err)
		}
		for told < orders {
			s.hear()
			told++
		}
		select {
		case ev := <-s.get.events:
			if ev.msg != nil {
				t.Fatalf("round %d: told of more than %d changes: %+v", round, orders, ev.msg)
			}
		case <-time.After(50 * time.Millisecond):
		}
		if acked > orders {
			t.Fatalf("round %d: %d orders, %d were acknowledged in this round alone", round, orders, acked)
		}
	}
	t.Logf("%d kills, %d changes, each told once", rounds, told)
}

func modernCall(tool string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
		`"io.modelcontextprotocol/clientCapabilities":{}}}}`, tool)
}

func modernHeaders(tool string) map[string]string {
	return map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
}
