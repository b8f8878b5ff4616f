package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/causeway-mcp/causeway/oauth/client"
)

const tokensUsage = `Lists the tokens that are kept for remote MCP servers, without the tokens.

Usage: causeway tokens [flags]

Flags:
`

// tokensReport is the JSON that tokens prints.
type tokensReport struct {
	Store  string             `json:"store"`
	Tokens []client.TokenInfo `json:"tokens"`
}

func runTokens(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags("tokens", tokensUsage, stderr)
	asJSON := f.Bool("json", false, "print them as JSON")
	rest, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return f.wrong("want no arguments; it lists all servers")
	}
	c, store, err := tokenClient(stderr)
	if err != nil {
		return err
	}
	defer c.Close()
	report := tokensReport{Tokens: []client.TokenInfo{}}
	if report.Store, err = store.Where(ctx); err != nil {
		return err
	}
	all, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	report.Tokens = append(report.Tokens, all...)
	if *asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		return out.Encode(report)
	}
	return report.print(stdout, time.Now())
}

func (r tokensReport) print(stdout io.Writer, now time.Time) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	if len(r.Tokens) > 0 {
		fmt.Fprintln(table, "SERVER\tISSUER\tSCOPES\tGOOD FOR")
	}
	for _, t := range r.Tokens {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", t.Server, t.Issuer, strings.Join(t.Scopes, " "), goodFor(t, now))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, r.Store)
	return err
}

// goodFor says how long a token lasts, and what then.
func goodFor(t client.TokenInfo, now time.Time) string {
	then := "then sign in again"
	if t.Refreshable {
		then = "then renewed"
	}
	switch left := t.Expires.Sub(now).Round(time.Second); {
	case t.Expires.IsZero():
		return "unknown, " + then
	case left <= 0 && t.Refreshable:
		return "ended; renewed when used"
	case left <= 0:
		return "ended; sign in again"
	default:
		return fmt.Sprintf("%s, %s", left, then)
	}
}
