package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway/bridge/install"
)

const installUsage = `Usage: causeway install CLIENT URL... [flags]

Writes MCP servers into the settings of a client: %s.
Comments and order stay, the file as it was is kept next to it, and what changes is
shown. A client that cannot reach a URL by itself gets causeway connect as a bridge.

Flags:
`

const uninstallUsage = `Usage: causeway uninstall CLIENT NAME|URL... [flags]

Takes MCP servers out of the settings of a client.

Flags:
`

const importUsage = `Usage: causeway import [CLIENT [NAME...]] [-to CLIENT] [flags]

Lists the MCP servers in the settings of a client, or of all clients, and with -to
writes them into those of another. What only went through mcp-remote or causeway
connect is written as the URL it stands for, where the other client can use one.

Flags:
`

// settingsFlags are the flags that commands about settings have in common.
type settingsFlags struct {
	*flags
	dryRun  bool
	config  string
	project bool
}

func newSettingsFlags(name, usage string, stderr io.Writer) *settingsFlags {
	f := &settingsFlags{flags: newFlags(name, usage, stderr)}
	f.StringVar(&f.config, "config", "", "the settings `file`, if not the client's usual one")
	f.BoolVar(&f.project, "project", false, "the settings of the project in the working directory instead of yours")
	return f
}

// file is the settings file of a client.
func (f *settingsFlags) file(c *install.Client) (string, error) {
	if f.config != "" {
		return f.config, nil
	}
	if f.project {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path := c.ProjectFile(dir)
		if path == "" {
			return "", fmt.Errorf("%s has no settings for projects", c.Title)
		}
		return path, nil
	}
	here, err := install.Here()
	if err != nil {
		return "", err
	}
	return c.UserFile(here), nil
}

// rewrite shows what an edit changes, and does it unless it is a dry run.
func (f *settingsFlags) rewrite(c *install.Client, stdout io.Writer, edit func([]byte) ([]byte, error)) error {
	path, err := f.file(c)
	if err != nil {
		return err
	}
	file, err := install.Read(path)
	if err != nil {
		return err
	}
	after, err := edit(file.Text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	diff := install.Diff(file.Text, after)
	if diff == "" {
		fmt.Fprintf(stdout, "%s: nothing to change\n", path)
		return nil
	}
	fmt.Fprintf(stdout, "%s\n%s", path, diff)
	if f.dryRun {
		fmt.Fprintln(stdout, "Nothing was written (-dry-run).")
		return nil
	}
	backup, err := file.Write(after)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if backup != "" {
		fmt.Fprintf(stdout, "As it was: %s\n", backup)
	}
	if c.Note != "" {
		fmt.Fprintln(stdout, c.Note)
	}
	return nil
}

func clientIDs() string {
	var ids []string
	for _, c := range install.Clients() {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, ", ")
}

func runInstall(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := newSettingsFlags("install", fmt.Sprintf(installUsage, clientIDs()), stderr)
	var name string
	var headers []string
	var sse, bridge bool
	f.BoolVar(&f.dryRun, "dry-run", false, "show what would change and write nothing")
	f.StringVar(&name, "name", "", "the `name` of the server in the client; one is made of the URL if it is left out")
	f.Func("header", "a `header` for every request, \"Name: value\"; may be repeated", func(v string) error {
		headers = append(headers, v)
		return nil
	})
	f.BoolVar(&sse, "sse", false, "the URL is of the HTTP+SSE transport of 2024-11-05")
	f.BoolVar(&bridge, "bridge", false, "let causeway connect stand for the server even if the client could reach it itself")
	rest, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(rest) < 2 {
		return f.wrong("want a client and a URL")
	}
	c, err := install.ClientByID(rest[0])
	if err != nil {
		return f.wrong("%v", err)
	}
	if name != "" && len(rest) > 2 {
		return f.wrong("-name names one server, and there are %d URLs", len(rest)-1)
	}
	servers, err := serversOf(rest[1:], name, headers, sse)
	if err != nil {
		return f.wrong("%v", err)
	}
	if bridge || c.OnlyCommands {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		for i := range servers {
			servers[i] = servers[i].ThroughBridge(self)
		}
	}
	return f.rewrite(&c, stdout, func(src []byte) ([]byte, error) { return c.Install(src, servers...) })
}

// serversOf makes servers of URLs, with names that differ.
func serversOf(urls []string, name string, headers []string, sse bool) ([]*install.Server, error) {
	var servers []*install.Server
	taken := map[string]bool{}
	for _, u := range urls {
		if err := install.CheckURL(u); err != nil {
			return nil, fmt.Errorf("%q: %w", withoutPassword(u), err)
		}
		s := &install.Server{Name: name, URL: u, SSE: sse}
		if name == "" {
			base := install.NameFor(u)
			s.Name = base
			for n := 2; taken[s.Name]; n++ {
				s.Name = fmt.Sprintf("%s-%d", base, n)
			}
		}
		taken[s.Name] = true
		for _, h := range headers {
			k, v, ok := strings.Cut(h, ":")
			if k, v = strings.TrimSpace(k), strings.TrimSpace(v); !ok || k == "" || v == "" || strings.ContainsAny(h, "\r\n") {
				return nil, errors.New(`-header: want "Name: value"`)
			}
			if s.Headers == nil {
				s.Headers = map[string]string{}
			}
			s.Headers[k] = v
		}
		if err := s.Check(); err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// withoutPassword is a URL as it may be shown.
func withoutPassword(u string) string {
	if i := strings.LastIndex(u, "@"); i >= 0 {
		scheme, _, _ := strings.Cut(u, "//")
		return scheme + "//…" + u[i:]
	}
	return u
}

func runUninstall(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := newSettingsFlags("uninstall", uninstallUsage, stderr)
	f.BoolVar(&f.dryRun, "dry-run", false, "show what would change and write nothing")
	rest, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(rest) < 2 {
		return f.wrong("want a client and the name or URL of a server")
	}
	c, err := install.ClientByID(rest[0])
	if err != nil {
		return f.wrong("%v", err)
	}
	return f.rewrite(&c, stdout, func(src []byte) ([]byte, error) {
		f.sayMissing(&c, src, rest[1:])
		out, _, err := c.Uninstall(src, rest[1:]...)
		return out, err
	})
}

// sayMissing says which servers the settings do not have. It is no error: they are gone.
func (f *settingsFlags) sayMissing(c *install.Client, src []byte, which []string) {
	servers, err := c.Servers(src)
	if err != nil {
		return // Uninstall says it
	}
	var names []string
	for _, s := range servers {
		names = append(names, s.Name)
	}
	for _, w := range which {
		if _, removed, err := c.Uninstall(src, w); err == nil && len(removed) == 0 {
			fmt.Fprintf(f.Output(), "%s: %s has no server %q%s\n", f.Name(), c.Title, withoutPassword(w), didYouMean(w, slices.Values(names)))
		}
	}
}

func runImport(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := newSettingsFlags("import", importUsage, stderr)
	var to string
	f.BoolVar(&f.dryRun, "dry-run", false, "with -to: show what would change and write nothing")
	f.StringVar(&to, "to", "", "the `client` to write them to")
	rest, err := f.parse(args)
	if err != nil {
		return err
	}
	clients := install.Clients()
	if len(rest) > 0 {
		c, err := install.ClientByID(rest[0])
		if err != nil {
			return f.wrong("%v", err)
		}
		clients = []install.Client{c}
	} else if to != "" || f.config != "" {
		return f.wrong("-to and -config want the name of the client to read")
	}
	var found []*install.Server
	for _, c := range clients {
		path, err := f.file(&c)
		if err != nil {
			if len(rest) > 0 {
				return err
			}
			continue
		}
		servers, err := readServers(&c, path)
		if err != nil {
			if len(rest) > 0 {
				return err
			}
			fmt.Fprintln(stderr, err)
			continue
		}
		if len(rest) > 1 {
			servers = slices.DeleteFunc(servers, func(s *install.Server) bool { return !slices.Contains(rest[1:], s.Name) })
			if len(servers) < len(rest)-1 {
				return fmt.Errorf("%s: not all of %s are there", path, strings.Join(rest[1:], ", "))
			}
		}
		if to == "" && (len(servers) > 0 || len(rest) > 0) {
			fmt.Fprintf(stdout, "%s (%s)\n", c.Title, path)
			for _, s := range servers {
				fmt.Fprintf(stdout, "  %-20s %s\n", s.Name, describe(s))
			}
		}
		found = append(found, servers...)
	}
	if to == "" {
		return nil
	}
	target, err := install.ClientByID(to)
	if err != nil {
		return f.wrong("%v", err)
	}
	return f.convert(&target, found, stdout)
}

func readServers(c *install.Client, path string) ([]*install.Server, error) {
	file, err := install.Read(path)
	if err != nil {
		return nil, err
	}
	servers, err := c.Servers(file.Text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return servers, nil
}

// convert writes servers of one client into the settings of another.
func (f *settingsFlags) convert(c *install.Client, servers []*install.Server, stdout io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	f.config = "" // was the file to read
	var converted []*install.Server
	for _, s := range servers {
		if remote, ok := s.Behind(); ok {
			s = remote
		}
		if c.OnlyCommands && s.URL != "" {
			s = s.ThroughBridge(self)
		}
		if err := s.Check(); err != nil {
			fmt.Fprintf(stdout, "left out: %v\n", err)
			continue
		}
		converted = append(converted, s)
	}
	return f.rewrite(c, stdout, func(src []byte) ([]byte, error) { return c.Install(src, converted...) })
}

// describe says what a server is, without the values of its environment and headers.
func describe(s *install.Server) string {
	if remote, ok := s.Behind(); ok {
		return remote.URL + " through " + filepath.Base(s.Command)
	}
	if s.URL != "" {
		if i := strings.IndexAny(s.URL, "?"); i >= 0 {
			return withoutPassword(s.URL[:i]) + "?…" // often holds a key
		}
		return withoutPassword(s.URL)
	}
	return strings.TrimSpace(filepath.Base(s.Command) + " " + firstPlain(s.Args))
}

// firstPlain is the argument that says what runs, as far as one does: others may be
// secrets.
func firstPlain(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}
