// Package serve is the main of a server under test: a program of its own, so that it
// carries nothing but what it serves (what others' packages hold from their start
// would be scanned by every collection of its small heap).
//
// The server listens on a port of loopback that it chooses. It answers orders, one a
// line, on its standard input with a line of JSON on its standard output, so that
// measuring it costs it no HTTP. It ends when its standard input does.
package serve

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// Usage is what a server has used since it started.
type Usage struct {
	CPU     time.Duration // user and system
	Bytes   uint64        // allocated on the heap
	Objects uint64
}

// Footprint is what a server holds after garbage collection.
type Footprint struct {
	Heap, Stacks uint64 // bytes
	Goroutines   int
}

// A Report is the answer to an order.
type Report struct {
	Addr      string     `json:",omitempty"`
	Token     string     `json:",omitempty"` // that requests must carry
	Usage     *Usage     `json:",omitempty"`
	Footprint *Footprint `json:",omitempty"`
	Error     string     `json:",omitempty"`
}

// Main parses the flags, which the caller has defined, serves the handler and exits
// the process.
func Main(handler func() http.Handler) {
	os.Exit(MainSignedIn(func() (http.Handler, string, error) { return handler(), "", nil }))
}

// MainSignedIn is Main for a server that wants a bearer token, which the function returns
// with the handler. It returns the status to exit with.
func MainSignedIn(handler func() (http.Handler, string, error)) int {
	flag.Parse()
	// Nothing is worth a line while measuring but what went wrong.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	h, token, err := handler()
	if err == nil {
		err = serve(h, token)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(handler http.Handler, token string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler}
	go func() { _ = srv.Serve(l) }()
	return obey(os.Stdin, os.Stdout, Report{Addr: l.Addr().String(), Token: token})
}

// FreeAddr is a loopback address with a port that was free a moment ago.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Beside is Main for a program that serves by itself: it waits until addr is listened on,
// answers orders on out, and exits the process.
func Beside(addr string, out io.Writer) {
	for range 1000 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = c.Close()
		if err := obey(os.Stdin, out, Report{Addr: addr}); err != nil {
			break
		}
		os.Exit(0)
	}
	os.Exit(1)
}

func obey(in io.Reader, out io.Writer, hello Report) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(hello); err != nil {
		return err
	}
	orders := bufio.NewScanner(in)
	for orders.Scan() {
		order, file, _ := strings.Cut(orders.Text(), " ")
		var r Report
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

func readUsage() *Usage {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/allocs:objects"}}
	metrics.Read(m)
	return &Usage{
		CPU:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		Bytes:   m[0].Value.Uint64(),
		Objects: m[1].Value.Uint64(),
	}
}

// readFootprint collects until finalizers, and what they released, are done with.
func readFootprint() *Footprint {
	for range 4 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &Footprint{Heap: m.HeapAlloc, Stacks: m.StackInuse, Goroutines: runtime.NumGoroutine()}
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
