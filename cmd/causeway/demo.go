package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"text/template"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/cmd/causeway/demo"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
)

// connecting says how the usual clients reach the demo.
var connecting = template.Must(template.New("connecting").Parse(`
Causeway demo, {{if .SignIn}}for whoever signs in, under any name you like{{else}}open to everyone who reaches it{{end}}:

  {{.Base}}/mcp    Streamable HTTP (2025-03-26 to 2026-07-28), HTTP+SSE and WebSocket
  {{.Base}}/sse    HTTP+SSE for clients of 2024
{{range .Examples}}  {{$.Base}}{{.Path}}    {{.What}}
{{end}}{{if .SignIn}}  {{.Base}}/account    what you allowed to whom, and taking it back
{{end}}
Connect a client:

  Claude Code  claude mcp add --transport http causeway-demo {{.Base}}/mcp
  VS Code      code --add-mcp '{"name":"causeway-demo","type":"http","url":"{{.Base}}/mcp"}'
  Cursor       in ~/.cursor/mcp.json: {"mcpServers":{"causeway-demo":{"url":"{{.Base}}/mcp"}}}
  Inspector    npx @modelcontextprotocol/inspector --server-url {{.Base}}/mcp --transport http --protocol-era auto
  stdio only   causeway connect {{.Base}}/mcp, or npx mcp-remote {{.Base}}/mcp
{{if .SignIn}}
Without sign-in, for curl: causeway demo -no-auth
{{else}}
Or by hand:

  curl {{.Base}}/mcp -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: add' \
    -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":2,"b":40},
    "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
{{end}}
Ctrl-C ends it.
`))

// demoData gives every demo on a machine its own directory, so that one can be
// started beside another without a thought. On a port that nobody chose it
// remembers nothing.
func demoData(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil || port == "0":
		return ""
	case addr == causeway.DefaultAddr:
		return filepath.Join(".causeway", "demo")
	default:
		return filepath.Join(".causeway", "demo-"+port)
	}
}

func runDemo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("causeway demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	noAuth := flags.Bool("no-auth", false, "serve without sign-in")
	app := &causeway.App{Flags: flags, DefaultData: demoData}
	app.Prepare = func() error {
		if *noAuth {
			return nil
		}
		if !isLoopback(app.Addr) {
			return fmt.Errorf("-addr %s: the demo believes everyone who signs in, so it does that on loopback only (such as %s); -no-auth -allow-anonymous opens it to everyone", app.Addr, causeway.DefaultAddr)
		}
		app.SignIn = &oauth.Provider{Login: login.Dev(), Name: "Causeway demo",
			Limits: oauth.Limits{Register: 60}} // one host with all the mounts registers five times at once
		return nil
	}
	app.Ready = func(base string) {
		err := connecting.Execute(stdout, map[string]any{"Base": base, "SignIn": app.SignIn != nil, "Examples": demo.Examples})
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			fmt.Fprintln(stderr, "causeway demo:", err)
		}
	}
	demo.Mount(app, version())
	return app.Run(ctx, args)
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // Run says what is wrong with it
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
