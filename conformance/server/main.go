// Command server is the fixture that the official MCP conformance suite is run
// against: an ordinary go-sdk server with the tools, resources and prompts the
// suite's scenarios name, hosted by mcphttp.
//
// Usage:
//
//	go run ./conformance/server -addr 127.0.0.1:8080
//
// It serves http://HOST:PORT/mcp and prints that URL as its only line on
// standard output. With port 0 the system chooses a free port.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/causeway-mcp/causeway/mcphttp"
)

// drainTime bounds how long open calls and streams may take to end once the
// process was told to stop.
const drainTime = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on; port 0 chooses a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *addr); err != nil {
		slog.Error("conformance fixture stopped", "err", err)
		os.Exit(1)
	}
}

// serve runs the fixture on addr until ctx ends, then drains it.
func serve(ctx context.Context, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	server := newServer()
	// The suite sends no credentials, and the fixture guards nothing, so it
	// may also be put on an address that is not loopback.
	handler := mcphttp.NewHandler(func(*http.Request) *mcp.Server { return server }, &mcphttp.Options{AllowAnonymous: true})
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	httpServer := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(listener) }()
	fmt.Printf("http://%s/mcp\n", listener.Addr())

	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	// Streams end first: http.Server.Shutdown waits for them otherwise.
	return errors.Join(handler.Shutdown(drain), httpServer.Shutdown(drain))
}
