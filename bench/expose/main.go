// Expose measures causeway expose beside supergateway, the usual way to put a stdio
// server on the network: the time to start, what a call costs on top of the program's
// own, and the memory of eleven sessions beyond the programs. Both expose the same
// programs: a small one of Go, which costs little of its own, and server-everything
// from npm. A third, the bare relay, does nothing but pass bytes on: what it costs is
// the way itself, below which nothing written with net/http can get. Run npm ci in e2e first.
//
//	go run ./expose [-rounds 5] [-calls 500] [-gate]
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	rounds := flag.Int("rounds", 5, "starts of each")
	calls := flag.Int("calls", 500, "calls, one after the other, of each round")
	gate := flag.Bool("gate", false, "fail if an aim is missed")
	child := flag.Bool("child", false, "be the small program")
	relayAt := flag.String("relay", "", "be the bare relay at this `address`, for the program named by the arguments")
	flag.Parse()
	if *relayAt != "" {
		fail(beRelay(*relayAt, flag.Args()))
	}
	if *child {
		if err := beChild(); err != nil {
			fail(err)
		}
		return
	}
	ok, err := compare(*rounds, *calls)
	if err != nil {
		fail(err)
	}
	if *gate && !ok {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "expose:", err)
	os.Exit(1)
}

func beChild() error {
	s := mcp.NewServer(&mcp.Implementation{Name: "small", Version: "1"}, nil)
	type in struct {
		Message string `json:"message"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Echo: " + in.Message}}}, nil, nil
	})
	return s.Run(context.Background(), &mcp.StdioTransport{})
}

// A gateway is one of the two programs under test, and how it is told what to expose.
type gateway struct {
	name    string
	command func(port int, program []string) []string
}

// A run is what one start of a gateway showed.
type run struct {
	listening, listed time.Duration // after the start of the process
	call              time.Duration // median
	cpu               time.Duration // of the gateway alone, a call
	memory            int64         // of the gateway alone, with eleven sessions
	programs          int           // processes that are not the gateway's
}

func compare(rounds, calls int) (bool, error) {
	dir, err := os.MkdirTemp("", "causeway-bench-expose-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	causeway := filepath.Join(dir, "causeway")
	if out, err := exec.Command("go", "build", "-C", "..", "-ldflags=-s -w", "-o", causeway, "./cmd/causeway").CombinedOutput(); err != nil {
		return false, fmt.Errorf("building causeway (run this in the bench directory): %w\n%s", err, out)
	}
	modules, err := filepath.Abs(filepath.Join("..", "e2e", "node_modules"))
	if err != nil {
		return false, err
	}
	node := filepath.Join(modules, "node", "bin", "node")
	super := filepath.Join(modules, "supergateway", "dist", "index.js")
	everything := filepath.Join(modules, "@modelcontextprotocol", "server-everything", "dist", "index.js")
	for _, f := range []string{node, super, everything} {
		if _, err := os.Stat(f); err != nil {
			return false, fmt.Errorf("%w; run npm ci in e2e", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	gateways := []gateway{
		{"causeway expose", func(port int, p []string) []string {
			return append([]string{causeway, "expose", "-addr", "127.0.0.1:" + strconv.Itoa(port), "-store", "memory", "-scope", "session", "-max-programs-per-user", "100", "--"}, p...)
		}},
		{"supergateway 4 stateful", func(port int, p []string) []string {
			return []string{node, super, "--stdio", strings.Join(p, " "), "--outputTransport", "streamableHttp", "--stateful", "--logLevel", "none",
				"--port", strconv.Itoa(port)}
		}},
		{"a bare relay", func(port int, p []string) []string {
			return append([]string{self, "-relay", "127.0.0.1:" + strconv.Itoa(port), "--"}, p...)
		}},
	}
	met := true
	for _, program := range []struct {
		name string
		argv []string
	}{{"a small program of Go", []string{self, "-child"}}, {"server-everything of npm", []string{node, everything}}} {
		results := make([][]run, len(gateways))
		var alone []time.Duration
		for range rounds { // in turn, so that what else the machine does hits all
			d, err := directCall(program.argv, calls)
			if err != nil {
				return false, fmt.Errorf("%s alone: %w", program.name, err)
			}
			alone = append(alone, d)
			for i, g := range gateways {
				r, err := measure(dir, g, program.argv, calls)
				if err != nil {
					return false, fmt.Errorf("%s with %s: %w", g.name, program.name, err)
				}
				results[i] = append(results[i], r)
			}
		}
		slices.Sort(alone)
		direct := alone[len(alone)/2]
		fmt.Printf("%s (%d rounds, medians; a call on its own stdio takes %v)\n\n", program.name, rounds, direct.Round(time.Microsecond))
		fmt.Printf("  %-26s %14s %14s %14s %14s %14s %16s\n", "", "listening", "tools listed", "call", "added by it", "CPU a call", "11 sessions")
		var m []run
		for i, g := range gateways {
			r := run{
				listening: median(results[i], func(r run) time.Duration { return r.listening }),
				listed:    median(results[i], func(r run) time.Duration { return r.listed }),
				call:      median(results[i], func(r run) time.Duration { return r.call }),
				cpu:       median(results[i], func(r run) time.Duration { return r.cpu }),
				memory:    median(results[i], func(r run) int64 { return r.memory }),
			}
			m = append(m, r)
			fmt.Printf("  %-26s %14v %14v %14v %14v %14v %12.1f MiB\n", g.name, r.listening.Round(100*time.Microsecond), r.listed.Round(100*time.Microsecond),
				r.call.Round(time.Microsecond), (r.call - direct).Round(time.Microsecond), r.cpu.Round(time.Microsecond), float64(r.memory)/(1<<20))
		}
		share := func(a, b float64) string { return fmt.Sprintf("1/%.1f", b/a) }
		fmt.Printf("  %-26s %14s %14s %14s %14s %14s %16s\n\n", "causeway of supergateway", share(float64(m[0].listening), float64(m[1].listening)), share(float64(m[0].listed), float64(m[1].listed)),
			share(float64(m[0].call), float64(m[1].call)), share(float64(m[0].call-direct), float64(m[1].call-direct)),
			share(float64(m[0].cpu), float64(m[1].cpu)), share(float64(m[0].memory), float64(m[1].memory)))
		for _, aim := range []struct {
			what string
			most float64
			have float64
		}{
			{"start (until it listens)", 0.1, float64(m[0].listening) / float64(m[1].listening)},
			{"what a call costs on top of the program's own", 0.25, float64(m[0].call-direct) / float64(m[1].call-direct)},
			{"memory of eleven sessions beyond the programs", 0.25, float64(m[0].memory) / float64(m[1].memory)},
		} {
			verdict := "met"
			if aim.have > aim.most {
				verdict, met = "MISSED", false
			}
			fmt.Printf("  %-48s at most %.2f: %.3f, %s\n", aim.what, aim.most, aim.have, verdict)
		}
		fmt.Println()
	}
	return met, nil
}

func median[V int64 | time.Duration](runs []run, of func(run) V) V {
	var all []V
	for _, r := range runs {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// directCall is the median of calls over the program's own stdio.
func directCall(argv []string, calls int) (time.Duration, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { in.Close(); cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewReader(out)
	ask := func(id int, method, params string) error {
		fmt.Fprintf(in, `{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}`+"\n", id, method, params)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return err
			}
			if bytes.Contains(line, fmt.Appendf(nil, `"id":%d`, id)) && bytes.Contains(line, []byte(`"result"`)) {
				return nil
			}
		}
	}
	if err := ask(1, "initialize", initializeParams); err != nil {
		return 0, err
	}
	fmt.Fprintln(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	var took []time.Duration
	for i := range calls {
		t := time.Now()
		if err := ask(i+2, "tools/call", callParams); err != nil {
			return 0, err
		}
		took = append(took, time.Since(t))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

const (
	initializeParams = `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`
	callParams       = `{"name":"echo","arguments":{"message":"hello"}}`
	sessions         = 11
)

func measure(dir string, g gateway, program []string, calls int) (r run, err error) {
	port, err := freePort()
	if err != nil {
		return r, err
	}
	argv := g.command(port, program)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, said.Bytes())
		}
	}()
	addr := "127.0.0.1:" + strconv.Itoa(port)
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(start) > 30*time.Second {
			return r, errors.New("it does not listen")
		}
		time.Sleep(500 * time.Microsecond)
	}
	r.listening = time.Since(start)
	first, err := open(addr)
	if err != nil {
		return r, err
	}
	if err := first.ask(2, "tools/list", "{}"); err != nil {
		return r, err
	}
	r.listed = time.Since(start)
	for i := range sessions - 1 {
		s, err := open(addr)
		if err == nil {
			err = s.ask(2, "tools/call", callParams)
		}
		if err != nil {
			return r, fmt.Errorf("session %d: %w", i+2, err)
		}
	}
	var took []time.Duration
	before := cpuOf(cmd.Process.Pid)
	for i := range calls {
		t := time.Now()
		if err := first.ask(i+3, "tools/call", callParams); err != nil {
			return r, err
		}
		took = append(took, time.Since(t))
	}
	r.cpu = (cpuOf(cmd.Process.Pid) - before) / time.Duration(calls)
	slices.Sort(took)
	r.call = took[len(took)/2]
	r.memory, r.programs, err = memoryOf(cmd.Process.Pid, program)
	if err == nil && r.programs != sessions {
		err = fmt.Errorf("%d programs run for %d sessions", r.programs, sessions)
	}
	return r, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// A session is a client of the session eras.
type session struct {
	addr, id string
}

func open(addr string) (*session, error) {
	s := &session{addr: addr}
	if err := s.ask(1, "initialize", initializeParams); err != nil {
		return nil, err
	}
	return s, s.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil)
}

func (s *session) ask(id int, method, params string) error {
	want := fmt.Appendf(nil, `"id":%d`, id)
	return s.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}`, id, method, params), want)
}

func (s *session) post(body string, want []byte) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/mcp", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if s.id != "" {
		req.Header.Set("Mcp-Session-Id", s.id)
		req.Header.Set("MCP-Protocol-Version", "2025-06-18")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" && s.id == "" {
		s.id = id
	}
	if resp.StatusCode/100 != 2 || (want != nil && (!bytes.Contains(raw, want) || !bytes.Contains(raw, []byte(`"result"`)))) {
		return fmt.Errorf("status %d: %.300s", resp.StatusCode, raw)
	}
	return nil
}

// cpuOf is the time that the threads of a process have had on a processor.
func cpuOf(pid int) time.Duration {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var sum time.Duration
	for _, f := range threads {
		raw, _ := os.ReadFile(f)
		if ns, _, ok := strings.Cut(string(raw), " "); ok {
			n, _ := strconv.ParseInt(ns, 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// memoryOf is the resident memory of a process and all below it, without those that
// run the program itself; those are counted.
func memoryOf(root int, program []string) (int64, int, error) {
	parents := map[int]int{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, 0, err
	}
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		parents[pid], _ = strconv.Atoi(f[1])
	}
	var memory int64
	programs := 0
	for pid := range parents {
		below := false
		for p := pid; p > 1; p = parents[p] {
			below = below || p == root
		}
		if !below {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if slices.Equal(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), program) {
			programs++
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(l, "VmRSS:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				memory += kb << 10
			}
		}
	}
	if memory == 0 {
		return 0, 0, errors.New("no process was found")
	}
	return memory, programs, nil
}
