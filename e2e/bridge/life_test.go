package bridge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/e2e/internal/gohost"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A pipe is a bridge at whose other end the test itself writes and reads lines.
type pipe struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan map[string]json.RawMessage
	log   bytes.Buffer
	kept  []map[string]json.RawMessage // notifications that came before an answer
}

func startPipe(t *testing.T, env []string, args ...string) *pipe {
	t.Helper()
	p := &pipe{t: t, lines: make(chan map[string]json.RawMessage, 1000)}
	p.cmd = exec.Command(causeway, append([]string{"connect"}, args...)...)
	p.cmd.Env = append(append(os.Environ(), "GORACE=halt_on_error=1 atexit_sleep_ms=0"), env...)
	p.cmd.Stderr = &p.log
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			m := map[string]json.RawMessage{}
			if json.Unmarshal(line, &m) == nil {
				p.lines <- m
			}
		}
	}()
	t.Cleanup(func() {
		p.in.Close()
		<-read
		p.cmd.Wait()
		if t.Failed() {
			t.Logf("log of a bridge:\n%s", p.log.String())
		}
	})
	return p
}

// home is an environment in which bridges share what they keep.
func home(t *testing.T) []string {
	dir := t.TempDir()
	return []string{"HOME=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "XDG_DATA_HOME=" + filepath.Join(dir, "data")}
}

func (p *pipe) send(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipe) request(id int, method, params string) map[string]json.RawMessage {
	p.t.Helper()
	p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params))
	return p.answer(id)
}

func (p *pipe) answer(id int) map[string]json.RawMessage {
	p.t.Helper()
	for {
		m := gohost.Next(p.t, p.lines)
		if string(m["id"]) == fmt.Sprint(id) {
			return m
		}
		p.kept = append(p.kept, m)
	}
}

// notified waits for a notification.
func (p *pipe) notified(method string) {
	p.t.Helper()
	for _, m := range p.kept {
		if string(m["method"]) == `"`+method+`"` {
			p.kept = nil
			return
		}
	}
	for string(gohost.Next(p.t, p.lines)["method"]) != `"`+method+`"` {
	}
}

func (p *pipe) initialize() map[string]json.RawMessage {
	p.t.Helper()
	m := p.request(0, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"pipe","version":"1"}}`)
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return m
}

func (p *pipe) add(id int) {
	p.t.Helper()
	if m := p.request(id, "tools/call", `{"name":"add","arguments":{"a":2,"b":40}}`); !strings.Contains(string(m["result"]), "42") {
		p.t.Errorf("add: %s %s", m["result"], m["error"])
	}
}

func sessionsOf(s *oldServer) (n int) {
	for range s.Sessions() {
		n++
	}
	return n
}

func serveSessions(t *testing.T) (string, *oldServer) {
	s := newOldServer()
	return serve(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.Server }, nil)) + "/mcp", s
}

// However a host ends the bridge, no session stays behind at the server.
func TestNoSessionIsLeftBehind(t *testing.T) {
	url, s := serveSessions(t)
	env := home(t)
	for i := range 8 {
		p := startPipe(t, env, url)
		p.initialize()
		p.add(1)
		if got := sessionsOf(s); got != 1 {
			t.Errorf("start %d: %d sessions are open, want 1", i+1, got)
		}
		if i%2 == 0 {
			p.in.Close()
		} else if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("start %d: the bridge ended with %v\n%s", i+1, err, p.log.String())
		}
		if got := sessionsOf(s); got != 0 {
			t.Errorf("start %d: %d sessions are left behind", i+1, got)
		}
	}
}

// A bridge that is killed cannot say goodbye. The next one of the same host goes on with
// its session; the next one of another host ends it.
func TestTheSessionOfAKilledBridge(t *testing.T) {
	url, s := serveSessions(t)
	env := home(t)
	p := startPipe(t, env, url)
	p.initialize()
	p.add(1)
	var first string
	for session := range s.Sessions() {
		first = session.ID()
	}
	waitForNote(t, env)
	p.cmd.Process.Kill()
	p.cmd.Wait()

	p = startPipe(t, env, url)
	p.initialize()
	p.add(1)
	for session := range s.Sessions() {
		if session.ID() != first {
			t.Error("the second bridge opened a session of its own")
		}
	}
	waitForNote(t, env)
	p.cmd.Process.Kill()
	p.cmd.Wait()

	p = startPipe(t, env, url)
	p.request(0, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}},"clientInfo":{"name":"another","version":"1"}}`)
	p.add(1)
	for deadline := time.Now().Add(gohost.Patience); sessionsOf(s) > 1 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	for session := range s.Sessions() {
		if session.ID() == first {
			t.Error("the session of the first host is still open")
		}
	}
	p.in.Close()
	p.cmd.Wait()
	if got := sessionsOf(s); got != 0 {
		t.Errorf("%d sessions are left behind", got)
	}
}

// waitForNote waits until the bridge has written down that it has a session.
func waitForNote(t *testing.T, env []string) {
	t.Helper()
	dir := strings.TrimPrefix(env[1], "XDG_CACHE_HOME=")
	for deadline := time.Now().Add(gohost.Patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found, _ := filepath.Glob(filepath.Join(dir, "causeway", "connect", "sessions", "*")); len(found) > 0 {
			for _, path := range found {
				if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 {
					t.Errorf("the note can be read by others: %v", info.Mode())
				}
			}
			return
		}
	}
	t.Fatal("no note was written")
}

// The server is started anew and has forgotten all sessions: the host does not notice, but
// for being told that the lists may have changed.
func TestAServerThatForgets(t *testing.T) {
	var mu sync.Mutex
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return newOldServer().Server }, nil)
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handler
		mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	p := startPipe(t, home(t), url+"/mcp")
	p.initialize()
	p.add(1)
	mu.Lock()
	handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return newOldServer().Server }, nil)
	mu.Unlock()
	p.add(2)
}

// A call is under way when the network goes, in both directions, and comes back: its answer
// still arrives. Causeway keeps what it sent, and the bridge takes the stream up again.
func TestACallOutlivesTheNetwork(t *testing.T) {
	target, err := url.Parse(serveCauseway(t))
	if err != nil {
		t.Fatal(err)
	}
	cable := newCable(t, target.Host)
	p := startPipe(t, home(t), "http://"+cable.addr+"/mcp")
	p.initialize()
	p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bake","arguments":{"steps":10,"milliseconds":100},"_meta":{"progressToken":"p"}}}`)
	p.notified("notifications/progress")
	cable.pull()
	m := p.answer(1)
	if !strings.Contains(string(m["result"]), "after 10 steps") {
		t.Errorf("%s %s", m["result"], m["error"])
	}
	if cable.pulled() == 0 {
		t.Error("no connection was cut")
	}
}

// A cable carries connections to a server until it is pulled.
type cable struct {
	addr string
	mu   sync.Mutex
	open []net.Conn
	cut  int
}

func newCable(t *testing.T, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close(); c.pull() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.open = append(c.open, in, out)
			c.mu.Unlock()
			go func() { io.Copy(in, out); in.Close() }()
			go func() { io.Copy(out, in); out.Close() }()
		}
	}()
	return c
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		c.cut++
	}
	c.open = nil
}

func (c *cable) pulled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// Two servers are one to the host.
func TestSeveralServersAreOne(t *testing.T) {
	old, modern := serveOld(t), serveModern(t)
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			c := connect(t, version, "old="+old, "new="+modern)
			list, err := c.Session.ListTools(gohost.Soon(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			names := ""
			for _, tool := range list.Tools {
				names += " " + tool.Name
			}
			for _, name := range []string{"old__add", "new__add", "old__bake", "new__bake"} {
				if !strings.Contains(names, " "+name) {
					t.Errorf("no tool %s in%s", name, names)
				}
			}
			want(t, c.call(t, "old__add", map[string]any{"a": 1, "b": 2}), "3")
			want(t, c.call(t, "new__add", map[string]any{"a": 1, "b": 3}), "4")
			want(t, c.call(t, "old__haiku", map[string]any{"topic": "rain"}), "rain on the causeway\n\n(by e2e-model)")
			want(t, c.call(t, "new__haiku", map[string]any{"topic": "rain"}), "rain on the causeway\n\n(by e2e-model)")
			if got := c.call(t, "new__weather", map[string]any{"region": "eu", "city": "Bern"}); !strings.Contains(got, "Bern") {
				t.Errorf("weather: %q", got)
			}
			if _, err := c.Session.CallTool(gohost.Soon(t), &mcp.CallToolParams{Name: "add"}); err == nil {
				t.Error("a name without a server: no error")
			}
			if err := c.Session.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A batch of 2025-03-26 is answered as one.
func TestABatch(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			cmd := bridgeCommand(t, server.serve(t))
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			lines.Buffer(nil, 4<<20)
			fmt.Fprintln(in, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"b","version":"1"}}}`)
			lines.Scan()
			fmt.Fprintln(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
			fmt.Fprintln(in, `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":1}}},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":2,"method":"ping"},5]`)
			var answers []map[string]json.RawMessage
			for len(answers) == 0 && lines.Scan() {
				json.Unmarshal(lines.Bytes(), &answers)
			}
			found := map[string]string{}
			for _, a := range answers {
				found[string(a["id"])] = string(a["result"]) + string(a["error"])
			}
			if len(answers) != 3 || !strings.Contains(found["1"], `"2"`) || !strings.HasPrefix(found["2"], "{}") || !strings.Contains(found["null"], "-32600") {
				t.Errorf("answers %v", found)
			}
			in.Close()
			for lines.Scan() {
			}
			cmd.Wait()
		})
	}
}

// startSignIn starts a server that wants a sign-in, behind a proxy that counts what it is
// asked for.
func startSignIn(t *testing.T) (mcpURL string, count func(request string) int) {
	var mu sync.Mutex
	seen := map[string]int{}
	var proxy *httputil.ReverseProxy
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.Method+" "+r.URL.Path]++
		mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	cmd := exec.Command(authserver, "-addr", "127.0.0.1:0", "-data", t.TempDir(), "-issuer", base)
	target, err := url.Parse(startProcess(t, cmd, func(line string) string { return line }))
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	proxy = &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	return base + "/mcp", func(request string) int {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for key, times := range seen {
			if strings.HasPrefix(key, request) {
				n += times
			}
		}
		return n
	}
}

// Ten bridges start at once against a server that nobody has signed in at: one of them
// registers, one browser opens, one code is redeemed.
func TestTenBridgesSignInOnce(t *testing.T) {
	registrations, browsers, tokens := tenBridges(t, func(all []*pipe) []*pipe { return all })
	if registrations != 1 || browsers != 1 || tokens != 1 {
		t.Errorf("%d registrations, %d browsers, %d token requests; want one of each", registrations, browsers, tokens)
	}
}

// Three of the ten are killed while the sign-in goes on, whichever of them does it: the
// others come through. What the dead had begun is begun once more at most.
func TestTenBridgesOfWhichThreeAreKilled(t *testing.T) {
	registrations, browsers, tokens := tenBridges(t, func(all []*pipe) []*pipe {
		for _, p := range all[:3] {
			p.cmd.Process.Kill()
		}
		return all[3:]
	})
	if registrations > 4 || browsers > 4 || tokens > 4 {
		t.Errorf("%d registrations, %d browsers, %d token requests", registrations, browsers, tokens)
	}
}

func tenBridges(t *testing.T, meanwhile func([]*pipe) []*pipe) (registrations, browsers, tokens int) {
	url, count := startSignIn(t)
	browser, opened := fakeBrowser(t)
	env := append(home(t), browser...)
	pipes := make([]*pipe, 10)
	for i := range pipes {
		pipes[i] = startPipe(t, env, url)
	}
	for _, p := range pipes {
		p.send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"pipe","version":"1"}}}`)
	}
	for count("POST /mcp") == 0 { // somebody has begun
		time.Sleep(time.Millisecond)
	}
	alive := meanwhile(pipes)
	for _, p := range alive {
		p.answer(0)
		p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	for i, p := range alive {
		if m := p.request(1, "tools/call", `{"name":"whoami","arguments":{}}`); !strings.Contains(string(m["result"]), "You are ada") {
			t.Errorf("bridge %d: %s %s", i, m["result"], m["error"])
		}
	}
	for i, p := range pipes {
		p.in.Close()
		p.cmd.Wait()
		if text := p.log.String(); strings.Contains(text, "Bearer") || strings.Contains(text, "code=") {
			t.Errorf("bridge %d logged a token or a code:\n%s", i, text)
		}
	}
	log, err := os.ReadFile(opened)
	if err != nil {
		t.Fatal(err)
	}
	registrations, browsers, tokens = count("POST /register"), strings.Count(string(log), "opened"), count("POST /token")
	t.Logf("%d registrations, %d browsers, %d token requests", registrations, browsers, tokens)
	return registrations, browsers, tokens
}
