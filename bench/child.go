package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// A server under test runs in a child process: this same program, started with
// childCommand. It serves on a port of loopback that it chooses, and answers orders,
// one a line, on its standard input with a line of JSON on its standard output, so
// that measuring it costs it no HTTP. It ends when its standard input does.
const childCommand = "serve-child"

// usage is what a server has used since it started.
type usage struct {
	CPU     time.Duration // user and system
	Bytes   uint64        // allocated on the heap
	Objects uint64
}

// footprint is what a server holds after garbage collection.
type footprint struct {
	Heap, Stacks uint64 // bytes
	Goroutines   int
}

type report struct {
	Addr      string     `json:",omitempty"`
	Usage     *usage     `json:",omitempty"`
	Footprint *footprint `json:",omitempty"`
	Error     string     `json:",omitempty"`
}

// serveChild is the main of a child process. args are the server's key and the
// sleep time of sessions.
func serveChild(args []string) error {
	if len(args) != 2 {
		return errors.New("a child needs the key of a server and a sleep time")
	}
	sleep, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	handle := handlerFor(args[0], sleep)
	if handle == nil {
		return fmt.Errorf("no server is called %q", args[0])
	}
	// Nothing is worth a line while measuring but what went wrong.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handle()}
	go func() { _ = srv.Serve(l) }()
	return obey(os.Stdin, os.Stdout, l.Addr().String())
}

func obey(in io.Reader, out io.Writer, addr string) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(report{Addr: addr}); err != nil {
		return err
	}
	orders := bufio.NewScanner(in)
	for orders.Scan() {
		order, file, _ := strings.Cut(orders.Text(), " ")
		var r report
		var err error
		switch order {
		case "usage":
			r.Usage = readUsage()
		case "footprint":
			r.Footprint = readFootprint()
		case "profile":
			err = startProfile(file)
		case "profiled":
			pprof.StopCPUProfile()
		case "allocs":
			err = writeProfile("allocs", file)
		case "heap":
			runtime.GC()
			err = writeProfile("heap", file)
		default:
			err = fmt.Errorf("unknown order %q", order)
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return orders.Err()
}

func readUsage() *usage {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/allocs:objects"}}
	metrics.Read(m)
	return &usage{
		CPU:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		Bytes:   m[0].Value.Uint64(),
		Objects: m[1].Value.Uint64(),
	}
}

// readFootprint collects until finalizers, and what they released, are done with.
func readFootprint() *footprint {
	for range 4 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &footprint{Heap: m.HeapAlloc, Stacks: m.StackInuse, Goroutines: runtime.NumGoroutine()}
}

func startProfile(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func writeProfile(kind, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.Lookup(kind).WriteTo(f, 0); err != nil {
		return err
	}
	return f.Close()
}

// A child is a running server, seen from the parent. Its methods are not safe for
// concurrent use.
type child struct {
	key     string
	addr    string
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

// startChild starts the server of key, with env added to its environment.
func startChild(key string, sleep time.Duration, env ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{key: key, cmd: exec.Command(self, childCommand, key, sleep.String())}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", key, err)
	}
	hello, err := c.answer()
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	c.addr = hello.Addr
	return c, nil
}

func (c *child) answer() (report, error) {
	line, err := c.answers.ReadBytes('\n')
	if err != nil {
		return report{}, fmt.Errorf("%s has ended: %w", c.key, err)
	}
	var r report
	if err := json.Unmarshal(line, &r); err != nil {
		return report{}, fmt.Errorf("%s said %q: %w", c.key, line, err)
	}
	if r.Error != "" {
		return report{}, fmt.Errorf("%s: %s", c.key, r.Error)
	}
	return r, nil
}

func (c *child) order(words ...string) (report, error) {
	if _, err := io.WriteString(c.orders, strings.Join(words, " ")+"\n"); err != nil {
		return report{}, fmt.Errorf("%s: %w", c.key, err)
	}
	return c.answer()
}

func (c *child) usage() (usage, error) {
	r, err := c.order("usage")
	if err != nil {
		return usage{}, err
	}
	return *r.Usage, nil
}

func (c *child) footprint() (footprint, error) {
	r, err := c.order("footprint")
	if err != nil {
		return footprint{}, err
	}
	return *r.Footprint, nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	if err := c.orders.Close(); err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.key, err)
	}
	return nil
}

// Keys name servers across the border of the process.
func callKey(g group, v variant) string { return g.name + "/" + v.name }
func memoryKey(t tenant) string         { return "memory/" + t.name }

func handlerFor(key string, sleep time.Duration) func() http.Handler {
	for _, g := range groups() {
		for _, v := range g.variants {
			if callKey(g, v) == key {
				return v.handle
			}
		}
	}
	for _, t := range tenants(sleep) {
		if memoryKey(t) == key {
			return t.handle
		}
	}
	return nil
}
