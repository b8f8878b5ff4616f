package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/bench/internal/promise"
	"github.com/causeway-mcp/causeway/bench/internal/spread"
)

// leastCounter is what examples/counter must reach of a bare handler that keeps nothing.
const leastCounter = 0.43

const counterSessions = 32

// counterOverHTTP loads examples/counter as it is: each session adds to its own count, which
// is on disk before the answer. Beside it is the bare handler, which adds two numbers.
func counterOverHTTP(s settings) (gates []promise.Gate, err error) {
	for dir, program := range map[string]string{".": "./server/bare", "..": "./examples/counter"} {
		build := exec.Command("go", "build", "-o", s.dir+string(filepath.Separator), program)
		build.Dir = dir
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building %s (run this in the bench directory): %w\n%s", program, err, out)
		}
	}
	bare, err := startBare(filepath.Join(s.dir, "bare"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	counter, err := startCounter(filepath.Join(s.dir, "counter"), filepath.Join(s.dir, "counter-data"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, counter.stop()) }()
	sites := []*webSite{bare, counter}
	tallies := make([][]tally, len(sites))
	rounds := max(s.rounds, 9)
	for _, site := range sites {
		if err := site.connect(); err != nil {
			return nil, err
		}
		if _, err := site.run(counterSessions, s.length/2); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "\rcounter: round %d of %d ", round+1, rounds)
		for turn := range sites {
			i := (round + turn) % len(sites)
			t, err := sites[i].run(counterSessions, s.length/2)
			if err != nil {
				return nil, err
			}
			tallies[i] = append(tallies[i], t)
		}
	}
	fmt.Fprintln(os.Stderr)
	fmt.Printf("\n%s, %d CPUs shared with the clients (net/http); examples/counter, %d sessions, the state durable before each answer; %d alternating rounds.\n\n",
		runtime.Version(), runtime.NumCPU(), counterSessions, rounds)
	for i, site := range sites {
		var perSecond, p50, p99 []float64
		for _, t := range tallies[i] {
			perSecond, p50, p99 = append(perSecond, t.perSecond), append(p50, ms(t.p50)), append(p99, ms(t.p99))
		}
		fmt.Printf("  %-20s %6.0f req/s   %s of bare   p50 %.2f ms   p99 %.2f ms\n", site.name,
			spread.Of(perSecond).Median, ratio(tallies[i], tallies[0], rate), spread.Of(p50).Median, spread.Of(p99).Median)
	}
	return []promise.Gate{promise.AtLeast("examples/counter: req/s of bare", leastCounter*s.slack, ratio(tallies[1], tallies[0], rate).Median)}, nil
}

// A webSite is a running server and its clients.
type webSite struct {
	contender
	url  string
	cmd  *exec.Cmd
	end  func() error // asks it to end
	call func(session string, i int) (body string, want string)
	open bool // it has sessions

	http    *http.Client
	clients []string // the sessions' ids
}

func (w *webSite) stop() error {
	err := w.end()
	done := make(chan error, 1)
	go func() { done <- w.cmd.Wait() }()
	select {
	case e := <-done:
		return errors.Join(err, e)
	case <-time.After(20 * time.Second):
		return errors.Join(err, w.cmd.Process.Kill(), <-done)
	}
}

func startBare(program string) (*webSite, error) {
	cmd := exec.Command(program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &webSite{contender: contender{name: "bare"}, cmd: cmd, end: in.Close}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var hello struct{ Addr string }
	if err == nil {
		err = json.Unmarshal(line, &hello)
	}
	if err != nil {
		return nil, errors.Join(err, w.stop())
	}
	w.url = "http://" + hello.Addr + "/mcp"
	w.call = func(_ string, i int) (string, string) { return fmt.Sprintf(`{"a":%d,"b":1}`, i), fmt.Sprint(i + 1) }
	return w, nil
}

func startCounter(program, data string) (*webSite, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-addr", addr, "-data", data) // its log goes nowhere
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &webSite{contender: contender{name: "examples/counter"}, cmd: cmd, open: true, url: "http://" + addr + "/mcp",
		end: func() error { return cmd.Process.Signal(os.Interrupt) }}
	w.call = func(string, int) (string, string) { return `{"a":1}`, "Added 1, total is now " }
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return w, c.Close()
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("examples/counter does not listen"), w.stop())
		}
	}
}

// connect opens the sessions.
func (w *webSite) connect() error {
	w.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * counterSessions, DisableCompression: true}}
	for range counterSessions {
		id := ""
		if w.open {
			resp, _, err := w.post("", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`)
			if err != nil {
				return err
			}
			id = resp.Header.Get("Mcp-Session-Id")
			if _, _, err := w.post(id, `{"jsonrpc":"2.0","method":"notifications/initialized"}`); err != nil {
				return err
			}
		}
		w.clients = append(w.clients, id)
	}
	totals := make([]atomic.Int64, counterSessions)
	w.write = func(o, i int) error {
		args, want := w.call(w.clients[o], i)
		_, body, err := w.post(w.clients[o], fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"add","arguments":%s}}`, i, args))
		if err != nil {
			return err
		}
		if w.open { // each count goes up by one and nobody else's additions are in it
			want += fmt.Sprint(totals[o].Add(1)+1) + `"`
		}
		if !strings.Contains(body, want) {
			return fmt.Errorf("no %q in %.300s", want, body)
		}
		return nil
	}
	return nil
}

func (w *webSite) post(session, body string) (*http.Response, string, error) {
	req, err := http.NewRequest(http.MethodPost, w.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("status %d: %.300s", resp.StatusCode, b)
	}
	return resp, string(b), err
}
