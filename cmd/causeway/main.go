// Causeway serves, and helps to run, remote MCP servers.
//
//	causeway demo      a server worth trying, on http://127.0.0.1:8787/mcp
//	causeway connect   a remote server for hosts that start local ones only
//	causeway data      what is stored: look at it, check it, take it along
//	causeway version   what this is
//	causeway help      what else there is
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

const usage = `Causeway builds and serves remote MCP servers.

Usage: causeway COMMAND [flags]

  demo      serve something worth trying on http://127.0.0.1:8787/mcp
  connect   stand on stdio for a remote server, in place of mcp-remote
  expose    serve a program that speaks stdio to signed-in people
  install   write a server into a client's settings; uninstall and import belong to it
  doctor    find out why a server does not work, any server
  call      call a tool of a server; tools, resources and prompts list and read
  data      list, inspect, export, import, verify or compact stored data
  login     sign in to a remote server ahead of time; logout revokes and forgets
  tokens    list what is kept for remote servers
  version   print the version
  help      print this; "causeway COMMAND -h" lists the flags of a command

https://github.com/causeway-mcp/causeway
`

// errUsage is a mistake on the command line; it has been explained.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr))
}

func exitCode(err error, stderr io.Writer) int {
	var status exitStatus
	var setting interface{ ExitCode() int }
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &setting): // of an App
		fmt.Fprintf(stderr, "causeway: %v\n", err)
		return setting.ExitCode()
	default:
		fmt.Fprintf(stderr, "causeway: %v\n", err)
		return 1
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := "help"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	std := stdio{os.Stdin, stdout, stderr}
	if do, ok := commands[name]; ok {
		return do(ctx, args, std)
	}
	switch name {
	case "version", "-version", "--version":
		fmt.Fprintf(stdout, "causeway %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "help", "-h", "-help", "--help":
		return help(ctx, args, std)
	}
	fmt.Fprintf(stderr, "causeway: there is no command %q%s Run causeway help for all\n", name, ending(didYouMean(name, maps.Keys(commands))))
	return errUsage
}

// stdio are the streams of a command.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

type command func(ctx context.Context, args []string, std stdio) error

var commands = map[string]command{
	"demo":      func(ctx context.Context, a []string, s stdio) error { return runDemo(ctx, a, s.out, s.err) },
	"connect":   func(ctx context.Context, a []string, s stdio) error { return runConnect(ctx, a, s.in, s.out, s.err) },
	"expose":    func(ctx context.Context, a []string, s stdio) error { return runExpose(ctx, a, s.out, s.err) },
	"install":   func(ctx context.Context, a []string, s stdio) error { return runInstall(ctx, a, s.out, s.err) },
	"uninstall": func(ctx context.Context, a []string, s stdio) error { return runUninstall(ctx, a, s.out, s.err) },
	"import":    func(ctx context.Context, a []string, s stdio) error { return runImport(ctx, a, s.out, s.err) },
	"doctor":    func(ctx context.Context, a []string, s stdio) error { return runDoctor(ctx, a, s.out, s.err) },
	"call":      func(ctx context.Context, a []string, s stdio) error { return runCall(ctx, a, s.in, s.out, s.err) },
	"tools":     func(ctx context.Context, a []string, s stdio) error { return runTools(ctx, a, s.out, s.err) },
	"resources": func(ctx context.Context, a []string, s stdio) error { return runResources(ctx, a, s.out, s.err) },
	"prompts":   func(ctx context.Context, a []string, s stdio) error { return runPrompts(ctx, a, s.in, s.out, s.err) },
	"data":      func(ctx context.Context, a []string, s stdio) error { return runData(ctx, a, s.in, s.out, s.err) },
	"login":     func(ctx context.Context, a []string, s stdio) error { return runLogin(ctx, a, s.in, s.out, s.err) },
	"logout":    func(ctx context.Context, a []string, s stdio) error { return runLogout(ctx, a, s.out, s.err) },
	"tokens":    func(ctx context.Context, a []string, s stdio) error { return runTokens(ctx, a, s.out, s.err) },
	// What causeway expose starts, for itself.
	"expose-guard": func(context.Context, []string, stdio) error { return runExposeGuard() },
}

// help prints what commands there are, or the help of one.
func help(ctx context.Context, args []string, std stdio) error {
	if len(args) > 0 && args[0] != "expose-guard" {
		if do, ok := commands[args[0]]; ok {
			return do(ctx, []string{"-h"}, std)
		}
	}
	fmt.Fprint(std.out, usage)
	return nil
}

// ending ends a sentence, unless it has an end.
func ending(sentence string) string {
	if strings.HasSuffix(sentence, "?") {
		return sentence
	}
	return sentence + "."
}

// version is the module's version in a released binary, else what the build knows
// of the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
