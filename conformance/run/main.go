// Command run scores the conformance fixtures with the official MCP
// conformance suite.
//
// Usage, anywhere in the module:
//
//	go run ./conformance/run            # the server and sign-in, every set of scenarios
//	go run ./conformance/run -client    # the client as well
//
// It installs the suite and its Node from conformance/package-lock.json when
// they are missing, starts conformance/server once on a free loopback port,
// runs every set against it, then conformance/authserver for the sets about
// authorization, prints one line per set and what did not pass, and exits with
// status 1 unless every set holds what it must.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	withClient := flag.Bool("client", false, "score the fixture client too")
	address := flag.String("url", "", "score the server at this `URL` instead of conformance/server")
	out := flag.String("out", "", "keep results and logs in this `directory` instead of a temporary one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	held, err := score(ctx, *address, *out, *withClient)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
	if !held {
		os.Exit(1)
	}
}

// score runs all sets and reports whether each held.
func score(ctx context.Context, address, out string, withClient bool) (bool, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return false, err
	}
	if out == "" {
		if out, err = os.MkdirTemp("", "conformance-"); err != nil {
			return false, fmt.Errorf("making a directory for results: %w", err)
		}
		defer os.RemoveAll(out)
	}
	suite, err := openSuite(ctx, filepath.Join(root, "conformance"), out)
	if err != nil {
		return false, err
	}
	held, err := scoreServer(ctx, suite, root, address)
	if err == nil && address == "" {
		var authorizes bool
		authorizes, err = scoreAuthorization(ctx, suite, root)
		held = held && authorizes
	}
	if err != nil || !withClient {
		return held, err
	}
	clientHeld, err := scoreClient(ctx, suite, root)
	return held && clientHeld, err
}

// scoreServer runs the server sets against the server at address, or against
// one process of the fixture if address is empty.
func scoreServer(ctx context.Context, suite *suite, root, address string) (held bool, err error) {
	if address == "" {
		fixture, err := startFixture(ctx, root, "./conformance/server", suite.out)
		if err != nil {
			return false, err
		}
		address = fixture.url
		defer func() {
			if stopErr := fixture.stop(); stopErr != nil && err == nil {
				held, err = false, stopErr
			}
		}()
	}
	if err := reachable(ctx, address); err != nil {
		return false, err
	}
	return scoreSets(ctx, suite, serverSets, "--url", address)
}

// reachable reports why nothing listens at url, so that a server that is not
// there is one error and not one for each check.
func reachable(ctx context.Context, address string) error {
	parsed, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("reading the URL of the server: %w", err)
	}
	host := parsed.Host
	if parsed.Port() == "" {
		host = net.JoinHostPort(parsed.Hostname(), "80")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("reaching the server at %s: %w", address, err)
	}
	return conn.Close()
}

// scoreClient runs the client sets; the suite starts the client itself, once
// for each scenario.
func scoreClient(ctx context.Context, suite *suite, root string) (bool, error) {
	binary, err := buildFixture(ctx, root, "./conformance/client", suite.out)
	if err != nil {
		return false, err
	}
	return scoreSets(ctx, suite, clientSets, "--command", binary)
}

func scoreSets(ctx context.Context, suite *suite, sets []set, target ...string) (bool, error) {
	held := true
	for _, set := range sets {
		results, err := suite.run(ctx, set, target...)
		if err != nil {
			return false, err
		}
		verdict := set.judge(results)
		fmt.Println(verdict)
		held = held && verdict.held()
	}
	return held, nil
}

// moduleRoot is the directory of the go.mod that the working directory
// belongs to.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for the module: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", fmt.Errorf("the working directory is in no Go module")
	}
	return filepath.Dir(file), nil
}
