package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The programs of the tests are this test binary, started again: causeway as the guard of
// expose and as itself, and what is exposed.
func TestMain(m *testing.M) {
	switch os.Getenv("CAUSEWAY_TEST_PROGRAM") {
	case "causeway":
		main()
		os.Exit(0)
	case "exposed":
		serveExposed()
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "expose-guard" {
		os.Exit(exitCode(runExposeGuard(), os.Stderr))
	}
	os.Exit(m.Run())
}

func TestExposeRefusesWhatMakesNoSense(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tc := range []struct{ name, args, says string }{
		{"no program", "expose", "after --"},
		{"a scope that does not exist", "expose -scope everyone -- x", "session"},
		{"an era that does not exist", "expose -era old -- x", "legacy"},
		{"a sign-in that does not exist", "expose -sign-in facebook -- x", "github"},
		{"GitHub without an id", "expose -sign-in github -- x", "CAUSEWAY_CLIENT_SECRET"},
		{"GitHub for nobody in particular", "expose -sign-in github -client-id a -- x", "-allow-user"},
		{"everyone and somebody", "expose -sign-in github -client-id a -allow-user *,ada -- x", "alone"},
		{"OIDC without an issuer", "expose -sign-in oidc -client-id a -allow-user * -- x", "-oidc-issuer"},
		{"a limit of nothing", "expose -max-memory 0 -- x", "above zero"},
		{"an environment without a value", "expose -env A -- x", "NAME=VALUE"},
		{"a template that does not parse", "expose -- x {{.Dir", "argument 1"},
		{"what a person has, for a shared program", "expose -scope shared -env A={{.Props.access_token}} -- x", "access_token"},
		{"a public address without sign-in", "expose -addr 0.0.0.0:0 -- go", "without sign-in"},
		{"a program that there is not", "expose -- no-such-program-1", "\"no-such-program-1\""},
		{"a template of what there is not", "expose -env A={{.Dirr}} -- go", "Dirr"},
		{"an unknown flag", "expose -scop user -- x", "-scop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, _, errs := cli(t, strings.Fields(tc.args)...)
			if status == 0 || !strings.Contains(errs, tc.says) {
				t.Errorf("status %d: %s", status, errs)
			}
		})
	}
}

func TestWhoMaySignIn(t *testing.T) {
	some, err := allowList("Ada, grace@example.com ,")
	if err != nil || !some("ada") || !some("GRACE@example.com") || some("") || some("eve") {
		t.Errorf("%v", err)
	}
	all, err := allowList(" * ")
	if err != nil || !all("") || !all("eve") {
		t.Errorf("%v", err)
	}
}

// serveExposed is a program for causeway expose.
func serveExposed() {
	s := mcp.NewServer(&mcp.Implementation{Name: "exposed", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "who"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: os.Getenv("WHO")}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "files"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: openFiles("self")}}}, nil, nil
	})
	_ = s.Run(context.Background(), &mcp.StdioTransport{})
}

// openFiles are what the descriptors of a process lead to, on Linux.
func openFiles(pid string) string {
	var all []string
	links, _ := filepath.Glob("/proc/" + pid + "/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil {
			all = append(all, to)
		}
	}
	return strings.Join(all, "\n")
}

// What causeway was started with stays with it: neither the program nor the guard has it.
func TestExposeKeepsInheritedDescriptorsToItself(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0], "expose", "-addr", "127.0.0.1:0", "-data", t.TempDir(), "-env", "CAUSEWAY_TEST_PROGRAM=exposed", "--", os.Args[0])
	cmd.Env = append(os.Environ(), "CAUSEWAY_TEST_PROGRAM=causeway")
	cmd.ExtraFiles = []*os.File{file, file}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, lines)
	if own := openFiles(strconv.Itoa(cmd.Process.Pid)); !strings.Contains(own, secret) {
		t.Fatalf("it has not inherited it itself:\n%s", own)
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: regexp.MustCompile(`http://\S+/mcp`).FindString(first)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if got := person.Text(t, session, "files", nil); strings.Contains(got, secret) || !strings.Contains(got, "pipe:") {
		t.Errorf("the program has\n%s", got)
	}
	for _, pid := range childrenOf(t, cmd.Process.Pid) {
		if got := openFiles(pid); strings.Contains(got, secret) {
			t.Errorf("the process %s has\n%s", pid, got)
		}
	}
}

// childrenOf are the processes that a process has started; here the program and the guard.
func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err == nil {
			all = append(all, strings.Fields(string(text))...)
		}
	}
	if len(all) < 2 {
		t.Errorf("the children of %d are %v, want the program and the guard", pid, all)
	}
	return all
}
