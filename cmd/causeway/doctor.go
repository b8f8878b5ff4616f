package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/bridge/doctor"
	"github.com/causeway-mcp/causeway/oauth/client"
)

const doctorUsage = `Usage: causeway doctor URL [flags]

Goes through every step that a client takes to reach an MCP server, any server, and
says what is wrong, what the specification says, and how to fix it. If the server wants
a sign-in, tokens that "causeway login" got are used, or -sign-in gets them now.
Exit status 1 means that clients will not get through.

Flags:
`

// An exitStatus is how the process ends; it has been explained.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func runDoctor(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags("doctor", doctorUsage, stderr)
	var asJSON, verbose bool
	remote := remoteFlags{stderr: stderr}
	f.BoolVar(&asJSON, "json", false, "print everything as JSON")
	f.BoolVar(&verbose, "verbose", false, "show what was sent and came back at every step, not only where something is wrong")
	timeout := f.Duration("timeout", 10*time.Second, "how long to wait for each answer")
	remote.define(f)
	rest, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return f.wrong("want one URL")
	}
	header, err := remote.header()
	if err != nil {
		return f.wrong("%v", err)
	}
	o := doctor.Options{URL: rest[0], Header: header, Timeout: *timeout}
	if signIn, err := remote.client(); err == nil {
		defer signIn.Close()
		o.SignedIn = tokensFor(ctx, signIn, rest[0], remote.signIn)
	}
	report := doctor.Examine(ctx, o)
	if asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else {
		printReport(stdout, report, verbose)
	}
	if !report.Works {
		return exitStatus(1)
	}
	return nil
}

// tokensFor makes requests with the tokens for a server, nil if there are none and
// nobody is to sign in.
func tokensFor(ctx context.Context, c *client.Client, server string, signIn bool) http.RoundTripper {
	have := signIn
	if all, err := c.Tokens(ctx); err == nil {
		for _, t := range all {
			have = have || strings.TrimSuffix(t.Server, "/") == strings.TrimSuffix(server, "/")
		}
	}
	if !have {
		return nil
	}
	t, err := c.Transport(server, nil)
	if err != nil {
		return nil
	}
	return t
}

var marks = map[doctor.Verdict]string{doctor.OK: "ok  ", doctor.Warning: "warn", doctor.Failure: "FAIL", doctor.Skipped: "skip"}

func printReport(w io.Writer, r *doctor.Report, verbose bool) {
	for _, s := range r.Steps {
		fmt.Fprintf(w, "%s  %-20s %s\n", marks[s.Verdict], s.Name, indent(s.Summary, "      "))
		bad := s.Verdict == doctor.Warning || s.Verdict == doctor.Failure
		for _, part := range []struct {
			title, text string
			show        bool
		}{{"sent", s.Sent, bad || verbose}, {"got", s.Got, bad || verbose}, {"spec", s.Spec, bad}, {"fix", s.Fix, bad}} {
			if part.show && part.text != "" {
				fmt.Fprintf(w, "      %s: %s\n", part.title, indent(part.text, "            "))
			}
		}
	}
	fmt.Fprintln(w)
	switch {
	case r.Works && r.NeedsSignIn:
		fmt.Fprintf(w, "Clients can use it, once they have signed in. Versions: %s\n", versionsOf(r))
	case r.Works:
		fmt.Fprintf(w, "Clients can use it. Versions: %s\n", versionsOf(r))
	default:
		fmt.Fprintln(w, "Clients will not get through: see FAIL above.")
	}
}

func versionsOf(r *doctor.Report) string {
	if len(r.Eras) == 0 {
		return "not seen"
	}
	return strings.Join(r.Eras, ", ")
}

func indent(text, by string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by)
}
