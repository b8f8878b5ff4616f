package main

import (
	"bufio"
	"context"
	"errors"
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

The flags are those of "causeway connect", and -no-browser. Give login and connect the same
ones: those that say how to sign in decide which tokens are used.

Flags:
`

const logoutUsage = `Revokes the tokens for remote MCP servers and forgets them.

Usage: causeway logout URL… [flags]
       causeway logout --all

Flags:
`

// runLogin signs in, with the settings that connect would have.
func runLogin(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := newFlags("login", loginUsage, stderr)
	noBrowser := f.Bool("no-browser", false, "open no browser: the address is printed; if the browser that opens it cannot reach this computer, paste here the address that it ends at")
	set, err := parseConnect(f, args)
	if err != nil {
		return err
	}
	options := set.signIn
	if *noBrowser {
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
			if explained := explainPrivate(err); explained != err {
				return explained
			}
			return fmt.Errorf("%w (%s says more)", err, strings.Replace(loginCommand(server.URL, false), "login", "doctor", 1))
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
	f := newFlags("logout", logoutUsage, stderr)
	all := f.Bool("all", false, "sign out of all servers")
	var privateHosts []string
	f.Func("allow-private", "a `host` on a private network, as for \"causeway connect\"; may be repeated", list(&privateHosts))
	servers, err := f.parse(args)
	if err != nil {
		return err
	}
	if *all == (len(servers) > 0) {
		return f.wrong("want the URLs of servers, or -all (causeway tokens lists them)")
	}
	c, _, err := tokenClient(stderr, privateHosts...)
	if err != nil {
		return err
	}
	defer c.Close()
	if *all {
		if servers, err = signedIn(ctx, c); err != nil {
			return err
		}
	}
	if len(servers) == 0 {
		fmt.Fprintln(stdout, "There was nothing to sign out of")
	}
	var errs []error
	for _, server := range servers {
		before, err := signedIn(ctx, c)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		err = c.Logout(ctx, server)
		after, listed := signedIn(ctx, c)
		cancel()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", server, explainPrivate(err)))
		case listed == nil && len(after) == len(before):
			fmt.Fprintf(stdout, "There was nothing to sign out of at %s%s\n", server, didYouMean(server, slices.Values(before)))
		default:
			fmt.Fprintln(stdout, "Signed out of "+server)
		}
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
