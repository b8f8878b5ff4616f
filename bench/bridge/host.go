package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A host starts a bridge and speaks with it line by line.
type host struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	calls int
}

// open starts a bridge and goes as far as the first tools/list.
func open(s subject, url string) (*host, error) {
	argv := make([]string, len(s.argv))
	for i, arg := range s.argv {
		if argv[i] = arg; arg == "URL" {
			argv[i] = url
		}
	}
	h := &host{cmd: exec.Command(argv[0], argv[1:]...)}
	h.cmd.Env = s.env
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewReaderSize(out, 1<<20)
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	if err := h.handshake(); err != nil {
		h.terminate()
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return h, nil
}

func (h *host) handshake() error {
	if _, err := h.ask(`{"jsonrpc":"2.0","id":-1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`, -1); err != nil {
		return err
	}
	_, err := io.WriteString(h.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n")
	if err == nil {
		_, err = h.ask(`{"jsonrpc":"2.0","id":-2,"method":"tools/list","params":{}}`, -2)
	}
	return err
}

// ask sends a line and waits for the answer to id.
func (h *host) ask(line string, id int) ([]byte, error) {
	if _, err := io.WriteString(h.in, line+"\n"); err != nil {
		return nil, err
	}
	want := []byte(`"id":` + strconv.Itoa(id))
	for {
		got, err := h.out.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if bytes.Contains(got, want) {
			if bytes.Contains(got, []byte(`"error"`)) {
				return nil, fmt.Errorf("it answered %.300s", got)
			}
			return got, nil
		}
	}
}

// call calls a tool and says how long that took.
func (h *host) call(tool string) (time.Duration, error) {
	h.calls++
	began := time.Now()
	_, err := h.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"text":"hello"}}}`, h.calls, tool), h.calls)
	return time.Since(began), err
}

// memory returns what is resident of the bridge, and its share of it, in KiB.
func (h *host) memory() (resident, shared int) {
	return field(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid), "VmRSS:"), field(fmt.Sprintf("/proc/%d/smaps_rollup", h.cmd.Process.Pid), "Pss:")
}

func field(path, name string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return n
		}
	}
	return 0
}

// close ends the bridge as hosts do: by closing its stdin.
func (h *host) close() error {
	h.in.Close()
	return h.wait()
}

// terminate ends it with SIGTERM.
func (h *host) terminate() error {
	h.cmd.Process.Signal(syscall.SIGTERM)
	err := h.wait()
	h.in.Close()
	return err
}

func (h *host) wait() error {
	ended := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, h.out)
		ended <- h.cmd.Wait()
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(5 * time.Second):
		h.cmd.Process.Kill()
		return errors.New("it had to be killed")
	}
}

// start measures from the start of the process to the answer to tools/list.
func start(s subject, url string) (time.Duration, error) {
	began := time.Now()
	h, err := open(s, url)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	h.close()
	return took, nil
}
