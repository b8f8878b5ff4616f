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
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
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
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.As(err, &status):
		return int(status)
	default:
		fmt.Fprintf(stderr, "causeway: %v\n", err)
		return 1
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := "help"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case "demo":
		return runDemo(ctx, args, stdout, stderr)
	case "connect":
		return runConnect(ctx, args, os.Stdin, stdout, stderr)
	case "expose":
		return runExpose(ctx, args, stdout, stderr)
	case "expose-guard":
		return runExposeGuard()
	case "install":
		return runInstall(ctx, args, stdout, stderr)
	case "uninstall":
		return runUninstall(ctx, args, stdout, stderr)
	case "import":
		return runImport(ctx, args, stdout, stderr)
	case "doctor":
		return runDoctor(ctx, args, stdout, stderr)
	case "call":
		return runCall(ctx, args, os.Stdin, stdout, stderr)
	case "tools":
		return runTools(ctx, args, stdout, stderr)
	case "resources":
		return runResources(ctx, args, stdout, stderr)
	case "prompts":
		return runPrompts(ctx, args, os.Stdin, stdout, stderr)
	case "data":
		return runData(ctx, args, os.Stdin, stdout, stderr)
	case "login":
		return runLogin(ctx, args, os.Stdin, stdout, stderr)
	case "logout":
		return runLogout(ctx, args, stdout, stderr)
	case "tokens":
		return runTokens(ctx, args, stdout, stderr)
	case "version", "-version", "--version":
		fmt.Fprintf(stdout, "causeway %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return nil
	default:
		fmt.Fprintf(stderr, "causeway: there is no command %q\n\n%s", command, usage)
		return errUsage
	}
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
