package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/causeway-mcp/causeway/bench/internal/serve"
)

// servers are the programs under test, built.
type servers struct{ dir string }

// buildServers builds the programs under server/ with the go command. The caller
// removes them.
func buildServers() (servers, error) {
	dir, err := os.MkdirTemp("", "causeway-bench-")
	if err != nil {
		return servers{}, err
	}
	s := servers{dir}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./server/...")
	if out, err := build.CombinedOutput(); err != nil {
		return s, errors.Join(fmt.Errorf("building the servers (run this in the bench directory): %w\n%s", err, out), s.remove())
	}
	return s, nil
}

func (s servers) remove() error { return os.RemoveAll(s.dir) }

// A child is a running server, seen from the parent. Its methods are not safe for
// concurrent use.
type child struct {
	name    string
	addr    string
	token   string // that requests must carry, or ""
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

// start runs a program with its arguments. name is for messages, env is added to the
// environment.
func (s servers) start(name string, p program, env ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(filepath.Join(s.dir, p.name), p.args...)}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	hello, err := c.answer()
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	c.addr, c.token = hello.Addr, hello.Token
	return c, nil
}

func (c *child) answer() (serve.Report, error) {
	line, err := c.answers.ReadBytes('\n')
	if err != nil {
		return serve.Report{}, fmt.Errorf("%s has ended: %w", c.name, err)
	}
	var r serve.Report
	if err := json.Unmarshal(line, &r); err != nil {
		return serve.Report{}, fmt.Errorf("%s said %q: %w", c.name, line, err)
	}
	if r.Error != "" {
		return serve.Report{}, fmt.Errorf("%s: %s", c.name, r.Error)
	}
	return r, nil
}

func (c *child) order(words ...string) (serve.Report, error) {
	if _, err := io.WriteString(c.orders, strings.Join(words, " ")+"\n"); err != nil {
		return serve.Report{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return c.answer()
}

func (c *child) usage() (serve.Usage, error) {
	r, err := c.order("usage")
	if err != nil {
		return serve.Usage{}, err
	}
	return *r.Usage, nil
}

func (c *child) footprint() (serve.Footprint, error) {
	r, err := c.order("footprint")
	if err != nil {
		return serve.Footprint{}, err
	}
	return *r.Footprint, nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	if err := c.orders.Close(); err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}
