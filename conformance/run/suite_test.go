package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestServersOfTheSuiteStayOnLoopback(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node to try it with")
	}
	preload, err := filepath.Abs(filepath.Join("..", "bind-local.cjs"))
	if err != nil {
		t.Fatal(err)
	}
	for name, listen := range map[string]string{
		"a port alone":           "s.listen(0)",
		"a port and a backlog":   "s.listen(0, 5)",
		"an object with a port":  "s.listen({port: 0})",
		"a host of all IPv6":     "s.listen(0, '::')",
		"a host of all IPv4":     "s.listen({port: 0, host: '0.0.0.0'})",
		"a loopback host itself": "s.listen(0, '127.0.0.1')",
	} {
		t.Run(name, func(t *testing.T) {
			script := "const s = require('http').createServer();" + listen +
				";s.on('listening', () => { console.log(s.address().address); s.close(); })"
			out, err := exec.Command(node, "--require", preload, "-e", script).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := strings.TrimSpace(string(out)); got != "127.0.0.1" {
				t.Errorf("the server listens on %s", got)
			}
		})
	}
}

func TestAServersAddressIsKnownAtOnce(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node to try it with")
	}
	preload, err := filepath.Abs(filepath.Join("..", "bind-local.cjs"))
	if err != nil {
		t.Fatal(err)
	}
	script := "const s = require('http').createServer().listen(0); console.log(s.address() !== null); s.close()"
	out, err := exec.Command(node, "--require", preload, "-e", script).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "true" {
		t.Errorf("the address is not there in the same tick: %v\n%s", err, out)
	}
}
