//go:build linux

package expose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestPeopleAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{Env: []string{"WHO={{.Props.name}}", "TOKEN={{.Props.secret}}", "FILE={{.Dir}}/data.json"}})
	ann, bob := w.connect(t, "ann", clientKind{version: "2025-11-25"}), w.connect(t, "bob", clientKind{version: "2026-07-28"})
	again := w.connect(t, "ann", clientKind{version: "2026-07-28"})

	ann.want("remember", "a secret of ann", "")
	bob.want("remember", "", "")
	again.want("remember", "", "a secret of ann")
	if a, b := ann.call("pid", ""), bob.call("pid", ""); a == b {
		t.Error("two people share a process")
	}
	ann.want("env", "WHO", "ann")
	bob.want("env", "WHO", "bob")
	ann.want("env", "TOKEN", "token-of-ann")
	home := ann.call("env", "HOME")
	if home == bob.call("env", "HOME") || ann.call("env", "FILE") != home+"/data.json" {
		t.Error("two people share a home")
	}
	if info, err := os.Stat(home); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the home: %v %v", info, err)
	}
	if args := ann.call("args", ""); !strings.HasSuffix(args, " in "+home) {
		t.Errorf("started as %s, want in %s", args, home)
	}
	if ann.call("env", "EXPOSE_PLANTED") != "" {
		t.Error("the child has our environment")
	}
	if err := again.Subscribe(soon(t), &mcp.SubscribeParams{URI: "test://board"}); err != nil {
		t.Fatal(err)
	}
	bob.call("touch", "test://board")
	bob.call("change", "")
	ann.call("touch", "test://board")
	next(t, "ann's own update", again.updated)
	ann.want("echo", "x", "x")
	for what, n := range map[string]int{"updates": len(again.updated), "list changes": len(ann.changed) + len(again.changed)} {
		if n > 0 {
			t.Errorf("ann hears of bob's %s", what)
		}
	}
	if _, err := ann.try("new", ""); err == nil {
		t.Error("ann can call bob's new tool")
	}
}

// Another person's session id is of no use, neither to call nor to end anything.
func TestASessionOfAnotherPersonIsOutOfReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{Scope: PerSession})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	ann.want("remember", "hers", "")
	pid := ann.call("pid", "")
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodGet} {
		req, _ := http.NewRequest(method, w.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"remember","arguments":{}}}`))
		for k, v := range map[string]string{"Authorization": "Bearer bob", "Mcp-Session-Id": ann.ID(), "Content-Type": "application/json",
			"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s with the session of somebody else: status %d, want 404", method, resp.StatusCode)
		}
	}
	ann.want("remember", "", "hers")
	ann.want("pid", "", pid)
}

func TestASessionHasAChildOfItsOwnThatEndsWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{Scope: PerSession})
	one, two := w.connect(t, "ann", clientKind{version: "2025-11-25"}), w.connect(t, "ann", clientKind{version: "2025-11-25"})
	one.want("remember", "one", "")
	two.want("remember", "two", "")
	one.want("remember", "", "one")
	pid, _ := strconv.Atoi(one.call("pid", ""))
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the first child", func() bool { return !alive(pid) })
	two.want("remember", "", "two")
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func TestASharedChildSaysNothingToTheWrongPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{Scope: Shared})
	ann, bob := w.connect(t, "ann", clientKind{version: "2025-11-25"}), w.connect(t, "bob", clientKind{version: "2026-07-28"})
	ann.want("remember", "for all", "")
	bob.want("remember", "", "for all")
	// Alone, a call may ask.
	ann.want("ask", "", "hello ann")
	bob.want("ask", "", "hello bob")
	// While two people's calls are at work, nobody knows whose question it is.
	file := filepath.Join(t.TempDir(), "wait")
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	go func() {
		_, _ = bob.CallTool(ctx, &mcp.CallToolParams{Name: "wait", Arguments: map[string]any{"text": file}})
	}()
	eventually(t, "bob's call", func() bool { return exists(file + ".began") })
	if got, err := ann.try("ask", ""); err == nil {
		t.Errorf("asked while two could be meant: %q", got)
	}
}

func TestWhatOnlyAPersonHasIsMissingForASharedChild(t *testing.T) {
	_, err := New(Options{Command: []string{"x"}, Env: []string{"T={{.Props.access_token}}"}, Scope: Shared, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "access_token") {
		t.Errorf("error %v", err)
	}
}

func TestRecipes(t *testing.T) {
	t.Setenv("EXPOSE_SET", "operator's")
	person := Data{User: "u", Dir: "/d", Props: map[string]any{"name": "--evil", "nul": "a\x00b", "quote": `"; rm -rf / #`, "token": "tok-123456"}}
	for _, tc := range []struct {
		name    string
		o       Options
		says    string // of the error
		argv    string
		env     string
		secrets int
	}{
		{"a plain command", Options{Command: []string{"prog", "-x", "", "a b"}}, "", `["prog" "-x" "" "a b"]`, "", 0},
		{"a value is one argument whatever it holds", Options{Command: []string{"prog", "--q={{.Props.quote}}"}}, "", `["prog" "--q=\"; rm -rf / #"]`, "", 0},
		{"a value that looks like an option", Options{Command: []string{"prog", "{{.Props.name}}"}}, "dash", "", "", 0},
		{"a value behind text of the operator's", Options{Command: []string{"prog", "name={{.Props.name}}"}}, "", `["prog" "name=--evil"]`, "", 0},
		{"a value with a NUL", Options{Command: []string{"prog"}, Env: []string{"A={{.Props.nul}}"}}, "NUL", "", "", 0},
		{"a missing value", Options{Command: []string{"prog"}, Env: []string{"A={{.Props.nothing}}"}}, "nothing", "", "", 0},
		{"a secret", Options{Command: []string{"prog"}, Env: []string{"A={{.Props.token}}"}}, "", `["prog"]`, "A=tok-123456", 1},
		{"a variable of ours", Options{Command: []string{"prog"}, Env: []string{`A={{env "EXPOSE_SET"}}`}}, "", `["prog"]`, "A=operator's", 1},
		{"a variable that is not set", Options{Command: []string{"prog"}, Env: []string{`A={{env "EXPOSE_UNSET"}}`}}, "EXPOSE_UNSET", "", "", 0},
		{"a path is no secret", Options{Command: []string{"prog"}, Env: []string{"A={{.Dir}}/file"}}, "", `["prog"]`, "A=/d/file", 0},
		{"a template as the program", Options{Command: []string{"{{.Props.token}}"}}, "program", "", "", 0},
		{"no command", Options{}, "no command", "", "", 0},
		{"an environment without a value", Options{Command: []string{"prog"}, Env: []string{"A"}}, "NAME=VALUE", "", "", 0},
		{"a template that does not parse", Options{Command: []string{"prog", "{{.Dir"}}, "argument 1", "", "", 0},
		{"a template of what there is not", Options{Command: []string{"prog"}, Env: []string{"A={{.Dirr}}"}}, ".Dir, .Session", "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := parseRecipe(&tc.o)
			var l *launch
			if err == nil {
				l, err = r.prepare(person)
			}
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("error %v, want one about %q", err, tc.says)
				}
				if strings.Contains(err.Error(), "tok-123456") || strings.Contains(err.Error(), "--evil") {
					t.Errorf("the error quotes a value: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%q", l.argv); got != tc.argv {
				t.Errorf("argv %s, want %s", got, tc.argv)
			}
			if tc.env != "" && l.env[0] != tc.env {
				t.Errorf("environment %q, want %q first", l.env, tc.env)
			}
			if len(l.secrets) != tc.secrets {
				t.Errorf("secrets %q, want %d", l.secrets, tc.secrets)
			}
		})
	}
}

func TestSecretsDoNotReachTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{Env: []string{"TOKEN={{.Props.secret}}"}})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	ann.call("log", "my token is token-of-ann, do not tell")
	eventually(t, "the line on standard error", func() bool { return strings.Contains(w.log.String(), "my token is") })
	if log := w.log.String(); strings.Contains(log, "token-of-ann") || !strings.Contains(log, "[redacted]") {
		t.Errorf("the log tells:\n%s", log)
	}
}

// A file server takes the client's roots for the folders it may serve.
func TestRootsAreNotCarriedUnlessWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{})
	for _, k := range eras {
		ann := w.connect(t, "ann", k)
		if got, err := ann.try("roots", ""); err == nil {
			t.Errorf("%s: the program got roots: %s", k.version, got)
		}
	}
}

func TestAClientThatCannotBeAskedIsNot(t *testing.T) {
	t.Parallel()
	for _, k := range eras {
		w := newWorld(t, "sdk", Options{})
		k.plain = true
		ann := w.connect(t, "ann", k)
		if got, err := ann.try("ask", ""); err == nil {
			t.Errorf("%s: asked: %s", k.version, got)
		}
		if got, err := ann.try("sample", ""); err == nil {
			t.Errorf("%s: sampled: %s", k.version, got)
		}
		ann.want("echo", "still here", "still here")
	}
}

func TestAChildThatEndsIsStartedAgain(t *testing.T) {
	t.Parallel()
	for _, k := range eras {
		w := newWorld(t, "sdk", Options{})
		ann := w.connect(t, "ann", k)
		bob := w.connect(t, "bob", k)
		pid := bob.call("pid", "")
		ann.want("remember", "before", "")
		if _, err := ann.try("crash", ""); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("%s: a crash during a call: %v", k.version, err)
		}
		ann.want("remember", "", "")
		bob.want("pid", "", pid)
	}
}

func TestAChildThatEndsAgainAndAgainIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	var err error
	for range 4 {
		_, err = ann.try("crash", "")
	}
	if err == nil || !strings.Contains(err.Error(), "started again in") {
		t.Errorf("after four crashes: %v", err)
	}
	w.connect(t, "bob", clientKind{version: "2025-11-25"}).want("echo", "x", "x")
	eventually(t, "another start", func() bool { got, _ := ann.try("echo", "back"); return got == "back" })
}

// What a client subscribed to, and the log level it wants, outlast the child.
func TestANewChildKnowsWhatTheOldOneDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	if err := ann.Subscribe(soon(t), &mcp.SubscribeParams{URI: "test://board"}); err != nil {
		t.Fatal(err)
	}
	if err := ann.SetLoggingLevel(soon(t), &mcp.SetLoggingLevelParams{Level: "info"}); err != nil {
		t.Fatal(err)
	}
	_, _ = ann.try("crash", "")
	ann.call("log", "after")
	next(t, "a log message", ann.logs)
	ann.call("touch", "test://board")
	next(t, "an update", ann.updated)
}

func TestAnIdleChildSleepsAndWakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{IdleAfter: 300 * time.Millisecond})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	pid, _ := strconv.Atoi(ann.call("pid", ""))
	eventually(t, "sleep", func() bool { return !alive(pid) })
	if log := w.log.String(); !strings.Contains(log, "goes to sleep") {
		t.Errorf("it ended in another way:\n%s", log)
	}
	ann.want("echo", "awake", "awake")
}

func TestTheLeastUsedChildMakesRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{MaxChildren: 2})
	people := []string{"ann", "bob", "cat", "ann"}
	for _, name := range people {
		w.connect(t, name, clientKind{version: "2025-11-25"}).want("echo", name, name)
	}
	if n := len(w.running.list()); n > 2 {
		t.Errorf("%d children, want at most 2", n)
	}
	// Busy ones do not.
	file := filepath.Join(t.TempDir(), "wait")
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	for _, name := range []string{"ann", "bob"} {
		p := w.connect(t, name, clientKind{version: "2025-11-25"})
		go func() {
			_, _ = p.CallTool(ctx, &mcp.CallToolParams{Name: "wait", Arguments: map[string]any{"text": file + name}})
		}()
		eventually(t, name+"'s call", func() bool { return exists(file + name + ".began") })
	}
	if _, err := w.tryConnect(t, "dan", clientKind{version: "2025-11-25"}); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a third child while two are busy: %v", err)
	}
}

func TestManyAtOnceStartOneChild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{})
	var wg sync.WaitGroup
	pids := make(chan string, 20)
	for i := range 20 {
		p := w.connect(t, "ann", eras[i%len(eras)])
		wg.Go(func() {
			got, err := p.try("pid", "")
			if err != nil {
				got = err.Error()
			}
			pids <- got
		})
	}
	wg.Wait()
	first := <-pids
	for len(pids) > 0 {
		if got := <-pids; got != first {
			t.Errorf("pids %s and %s", first, got)
		}
	}
}

// A parked question is answered once, by the person it was put to.
func TestAQuestionThatNobodyAnswersEndsTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{AnswerTimeout: 200 * time.Millisecond})
	body := func(method, extra string) *http.Request {
		req, _ := http.NewRequest(http.MethodPost, w.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{},`+extra+
			`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}}`))
		for k, v := range map[string]string{"Authorization": "Bearer ann", "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": "ask"} {
			req.Header.Set(k, v)
		}
		return req
	}
	resp, err := http.DefaultClient.Do(body("tools/call", ""))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	_, state, ok := strings.Cut(string(raw), `"requestState":"`)
	if !ok {
		t.Fatalf("no round: %s", raw)
	}
	state, _, _ = strings.Cut(state, `"`)
	sl := w.tenants["ann"].slots[""]
	eventually(t, "the call is given up", func() bool {
		sl.mu.Lock()
		defer sl.mu.Unlock()
		return len(sl.parked)+len(sl.calls)+len(sl.asks)+sl.busy == 0
	})
	resp, err = http.DefaultClient.Do(body("tools/call", `"requestState":"`+state+`","inputResponses":{"1":{"action":"accept","content":{"name":"late"}}},`))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(raw), "no longer waits") {
		t.Errorf("a late answer: %s", raw)
	}
}

func TestHostilePrograms(t *testing.T) {
	for _, tc := range []struct {
		kind    string
		connect bool   // clients can connect
		says    string // of the error
		o       Options
	}{
		{"exits", false, "exit status 4", Options{}},
		{"silent", false, "did not answer", Options{StartTimeout: 300 * time.Millisecond}},
		{"endless line", false, "larger than", Options{MaxMessage: 1 << 20}},
		{"endless junk", false, "no MCP message", Options{}},
		{"wrong version", false, "2999-01-01", Options{Era: EraLegacy}},
		{"huge message", true, "larger than", Options{MaxMessage: 1 << 20}},
		{"wrong result", true, "no result", Options{}},
		{"closes its output", true, "closed its output", Options{}},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.kind, tc.o)
			ann, err := w.tryConnect(t, "ann", clientKind{version: "2025-11-25"})
			if tc.connect && err != nil {
				t.Fatal(err)
			}
			if tc.connect {
				_, err = ann.try("echo", "x")
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one about %q", err, tc.says)
			}
		})
	}
}

func TestProgramsThatTalkTooMuchAreForgiven(t *testing.T) {
	for _, kind := range []string{"greets and babbles", "notification flood", "question flood"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kind, Options{})
			w.connect(t, "ann", clientKind{version: "2025-11-25"}).want("echo", "x", "fine")
		})
	}
}

func TestAProgramThatTakesTooMuchMemoryIsEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{MaxMemory: 256 << 20})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	if _, err := ann.try("grow", ""); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("error %v", err)
	}
	ann.want("echo", "x", "x")
}

func TestAForkBombIsEnded(t *testing.T) {
	t.Parallel()
	// With the race detector so many of them may take more memory than a program may before they are counted.
	w := newWorld(t, "fork bomb", Options{MaxProcesses: 40, MaxMemory: 1 << 40})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	if _, err := ann.try("echo", ""); err == nil || !strings.Contains(err.Error(), "processes") {
		t.Errorf("error %v", err)
	}
	eventually(t, "nothing is left", func() bool { return len(w.running.list()) == 0 })
}

func TestAProgramThatIgnoresSignalsIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stubborn server", Options{StopGrace: 100 * time.Millisecond})
	w.connect(t, "ann", clientKind{version: "2025-11-25"})
	if err := w.Close(soon(t)); err != nil {
		t.Error(err)
	}
	if n := len(w.running.list()); n > 0 {
		t.Errorf("%d are left", n)
	}
}

func TestAProgramThatDoesNotReadIsEnded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	w := newWorld(t, "deaf", Options{})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	if _, err := ann.try("echo", strings.Repeat("x", 2<<20)); err == nil || !strings.Contains(err.Error(), "does not read") {
		t.Errorf("error %v", err)
	}
	eventually(t, "its end", func() bool { return len(w.running.list()) == 0 })
}

// With a child ends what it started, even what left its process group.
func TestNothingOfAChildIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sdk", Options{})
	ann := w.connect(t, "ann", clientKind{version: "2025-11-25"})
	stray, err := strconv.Atoi(ann.call("stray", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(stray) {
		t.Fatal("the stray is not there")
	}
	_, _ = ann.try("crash", "")
	eventually(t, "the end of the stray", func() bool { return !alive(stray) })
}

// supervise is a process that exposes a program and prints the numbers of what runs.
func supervise() {
	s, err := New(Options{Command: []string{os.Args[0]}, Env: []string{"EXPOSE_CHILD=sdk"}, Dir: os.Getenv("EXPOSE_DIR"),
		Guard: []string{"/usr/bin/env", "EXPOSE_CHILD=guard", os.Args[0]}})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	t := s.tenant("ann")
	sl := newSlot(t, "")
	p, err := sl.launch(context.Background(), nil)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	raw, err := p.call(context.Background(), "tools/call", []byte(`{"name":"stray","arguments":{}}`))
	_, pid, _ := strings.Cut(string(raw), `"text":"`)
	pid, _, _ = strings.Cut(pid, `"`)
	fmt.Println(p.group.pid, pid, err)
	select {}
}

func TestNothingIsLeftWhenWeAreKilled(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EXPOSE_CHILD=supervisor", "EXPOSE_DIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child, stray int
	var failed string
	if _, err := fmt.Fscan(out, &child, &stray, &failed); err != nil || failed != "<nil>" {
		t.Fatalf("the supervisor says %v %s", err, failed)
	}
	if !alive(child) || !alive(stray) {
		t.Fatal("child and stray are not there")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the end of the child", func() bool { return !alive(child) })
	eventually(t, "the end of the stray", func() bool { return !alive(stray) })
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stubborn server", Options{StopGrace: time.Hour})
	w.connect(t, "ann", clientKind{version: "2025-11-25"})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestWithoutADirectoryThereIsOneUntilClose(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s, err := New(Options{Command: []string{os.Args[0]}})
	if err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(tmp, "causeway-expose-*"))
	if len(found) != 1 {
		t.Fatalf("directories %v", found)
	}
	if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	if err := s.Close(t.Context()); err != nil || exists(found[0]) {
		t.Errorf("after Close: %v, there: %t", err, exists(found[0]))
	}
}

// What this process was started with, the socket of a service manager or the key of a vault, say,
// is no business of programs that others call.
func TestChildrenInheritNoDescriptors(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inherited, err := syscall.Dup(int(f.Fd())) // unlike those of package os, it stays open in children
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	if !slices.Contains(openDescriptors(), inherited) {
		t.Errorf("%d is not among %v", inherited, openDescriptors()) // the way without close_range
	}
	w := newWorld(t, "sdk", Options{})
	got := w.connect(t, "ann", eras[0]).call("files", "")
	if strings.Contains(got, secret) {
		t.Errorf("the child has\n%s", got)
	}
	if !strings.Contains(got, "pipe:") {
		t.Errorf("the child does not see its own:\n%s", got)
	}
}
