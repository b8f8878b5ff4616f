package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/oauth/client"
)

const loginUsage = `Signs in to remote MCP servers ahead of time, so that "causeway connect" finds the tokens
there and no host has to wait.

Usage: causeway login URL… [flags]

The flags are those of "causeway connect" that say how to sign in (--device-code,
--static-oauth-client-info, --header …): give login and connect the same ones. Besides:

  --no-browser   open no browser. Open the printed address anywhere; if that browser
                 cannot reach this computer, paste the address that it ends at here.
`

const logoutUsage = `Revokes the tokens for remote MCP servers and forgets them.

Usage: causeway logout URL…
       causeway logout --all

  --allow-private HOST   as for "causeway connect", where the tokens are from a private network
`

// runLogin signs in, with the settings that connect would have.
func runLogin(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	noBrowser, help := false, len(args) == 0
	var rest []string
	for _, arg := range args {
		switch arg {
		case "--no-browser", "-no-browser":
			noBrowser = true
		case "-h", "-help", "--help":
			help = true
		default:
			rest = append(rest, arg)
		}
	}
	if help {
		fmt.Fprint(stderr, loginUsage)
		if len(args) == 0 {
			return errUsage
		}
		return flag.ErrHelp
	}
	set, err := parseConnect(rest, stderr)
	if err != nil {
		return err
	}
	options := set.signIn
	if noBrowser {
		options.Open = func(context.Context, string) error { return nil }
	}
	c, err := client.New(options)
	if err != nil {
		return fmt.Errorf("setting up the sign-in: %w", err)
	}
	defer c.Close()
	go paste(c, stdin, stderr)
	for _, server := range set.bridge.Servers {
		if err := c.Login(ctx, server.URL); err != nil {
			return explainPrivate(err)
		}
		if err := sayLogin(ctx, c, server.URL, stdout); err != nil {
			return err
		}
	}
	return nil
}

// paste hands over what a person copies from a browser on another machine.
func paste(c *client.Client, stdin io.Reader, stderr io.Writer) {
	lines := bufio.NewScanner(io.LimitReader(stdin, 1<<20))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !c.Complete(line) {
			fmt.Fprintln(stderr, "That is not the address that this sign-in ends at.")
		}
	}
}

func sayLogin(ctx context.Context, c *client.Client, server string, stdout io.Writer) error {
	all, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	said := "Signed in to " + server
	for _, one := range all {
		if one.Server == strings.TrimSuffix(server, "/") && len(one.Scopes) > 0 {
			said += " for " + strings.Join(one.Scopes, " ")
		}
	}
	if where, err := client.DefaultFolder(); err == nil {
		if place, err := where.Where(ctx); err == nil {
			said += "\nKept as " + place
		}
	}
	fmt.Fprintln(stdout, said)
	return nil
}

// tokenClient is a client that only looks at what is kept, and where that is.
func tokenClient(stderr io.Writer, privateHosts ...string) (*client.Client, *client.Folder, error) {
	store, err := client.DefaultFolder()
	if err != nil {
		return nil, nil, err
	}
	store.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := client.New(client.Options{Store: store, NonInteractive: true, ImportFrom: client.NoImport, Policy: client.Policy{AllowHTTP: true, PrivateHosts: privateHosts}})
	return c, store, err
}

func runLogout(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("causeway logout", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, logoutUsage) }
	all := flags.Bool("all", false, "")
	var privateHosts []string
	flags.Func("allow-private", "", list(&privateHosts))
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	if *all == (flags.NArg() > 0) {
		flags.Usage()
		return errUsage
	}
	c, _, err := tokenClient(stderr, privateHosts...)
	if err != nil {
		return err
	}
	defer c.Close()
	servers := flags.Args()
	if *all {
		if servers, err = signedIn(ctx, c); err != nil {
			return err
		}
	}
	var errs []error
	for _, server := range servers {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		err := c.Logout(ctx, server)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", server, explainPrivate(err)))
			continue
		}
		fmt.Fprintln(stdout, "Signed out of "+server)
	}
	return errors.Join(errs...)
}

// signedIn lists the servers that there are tokens for.
func signedIn(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	var servers []string
	for _, one := range all {
		servers = append(servers, one.Server)
	}
	return slices.Compact(servers), nil
}
