package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	caller "github.com/causeway-mcp/causeway/bridge/call"
	"github.com/causeway-mcp/causeway/oauth/client"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const callUsage = `Usage: causeway call URL TOOL [ARGUMENTS] [flags]

Calls a tool. ARGUMENTS is a JSON object, @FILE for one in a file, or - for standard
input. Progress, messages and questions of the server go to standard error.

  causeway call http://127.0.0.1:8787/mcp add '{"a": 2, "b": 40}'

Exit status: 0 it worked, 1 the tool or the server says no, 2 the command line makes no
sense, 3 a sign-in is needed (causeway login URL), 4 the server cannot be reached.

Flags:
`

const toolsUsage = `Usage: causeway tools URL [flags]

Lists the tools of a server.

Flags:
`

const resourcesUsage = `Usage: causeway resources URL [URI] [flags]

Lists the resources of a server, templates included, or reads one.

Flags:
`

const promptsUsage = `Usage: causeway prompts URL [NAME [ARGUMENTS]] [flags]

Lists the prompts of a server, or gets one. ARGUMENTS is a JSON object of strings.

Flags:
`

// Exit statuses of the commands that use a server.
const (
	exitRefused     exitStatus = 1
	exitSignIn      exitStatus = 3
	exitUnreachable exitStatus = 4
)

// remoteFlags are what commands that use a remote server have in common.
type remoteFlags struct {
	stderr  io.Writer
	headers []string
	signIn  bool
}

func (r *remoteFlags) define(f *flags) {
	f.Func("header", "a `header` for every request, \"Name: value\"; may be repeated", func(v string) error {
		r.headers = append(r.headers, v)
		return nil
	})
	f.BoolVar(&r.signIn, "sign-in", false, "sign in with a browser if it is needed, instead of failing")
}

func (r *remoteFlags) header() (http.Header, error) {
	h := http.Header{}
	for _, line := range r.headers {
		name, value, ok := strings.Cut(line, ":")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || strings.ContainsAny(line, "\r\n") {
			return nil, errors.New(`-header: want "Name: value"`)
		}
		h.Add(name, value)
	}
	return h, nil
}

func (r *remoteFlags) client() (*client.Client, error) {
	h, err := r.header()
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{NonInteractive: !r.signIn, Headers: h, Prompt: func(p client.Prompt) { prompt(r.stderr, p) }})
}

// A use is one use of a server from the command line.
type use struct {
	*flags
	remote  remoteFlags
	options caller.Options
	printer caller.Printer
	timeout time.Duration
	answer  string
	verbose bool
}

func newUse(name, usage string, stdout, stderr io.Writer) *use {
	u := &use{flags: newFlags(name, usage, stderr), remote: remoteFlags{stderr: stderr}}
	u.printer.Out, u.printer.Terminal = stdout, isTerminal(stdout)
	u.remote.define(u.flags)
	u.BoolVar(&u.printer.JSON, "json", false, "print the result as JSON")
	u.BoolVar(&u.options.SSE, "sse", false, "use the HTTP+SSE transport of 2024-11-05")
	u.StringVar(&u.options.Version, "protocol-version", "", "the protocol `version` to ask for; the newest if it is left out")
	u.DurationVar(&u.timeout, "timeout", 5*time.Minute, "how long all of it may take")
	u.BoolVar(&u.verbose, "verbose", false, "show the server's log messages")
	return u
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// with connects to a server and does something with it.
func (u *use) with(ctx context.Context, url string, do func(context.Context, *caller.Session) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, u.timeout, fmt.Errorf("it took longer than %v (-timeout)", u.timeout))
	defer cancel()
	if lower := strings.ToLower(url); !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "http://") {
		return u.wrong("the server must be a URL that begins with https:// or http://, such as http://127.0.0.1:8787/mcp")
	}
	signIn, err := u.remote.client()
	if err != nil {
		return u.wrong("%v", err)
	}
	defer signIn.Close()
	if u.options.Transport, err = signIn.Transport(url, nil); err != nil {
		return u.wrong("%v", err)
	}
	u.options.URL, u.options.Progress = url, u.Output()
	if u.verbose {
		u.options.LogLevel = "debug"
	}
	if u.answer != "" {
		raw, err := caller.Arguments(u.answer)
		if err != nil {
			return u.wrong("-answer: %v", err)
		}
		if err := json.Unmarshal(raw, &u.options.Answer); err != nil {
			return u.wrong("-answer: %v", err)
		}
	}
	s, err := caller.Dial(ctx, u.options)
	if err != nil {
		return u.explain(ctx, err, exitUnreachable)
	}
	err = do(ctx, s)
	closed := s.Close()
	if err != nil {
		return u.explain(ctx, err, exitUnreachable)
	}
	if closed != nil && u.verbose {
		fmt.Fprintf(u.Output(), "closing: %v\n", closed)
	}
	return nil
}

// server is the URL to repeat in advice, unless it may hold a secret.
func (u *use) server() string {
	if strings.ContainsAny(u.options.URL, "?@#'") {
		return "URL"
	}
	return u.options.URL
}

// explain says what went wrong and gives it an exit status.
func (u *use) explain(ctx context.Context, err error, status exitStatus) error {
	var said exitStatus
	switch refused, ok := caller.Refused(err); {
	case errors.As(err, &said), errors.Is(err, errUsage):
		return err
	case errors.Is(err, client.ErrSignInNeeded):
		fmt.Fprintf(u.Output(), "%s: the server wants a sign-in: run causeway login %s first, or give -sign-in\n", u.Name(), u.server())
		return exitSignIn
	case ctx.Err() != nil:
		fmt.Fprintf(u.Output(), "%s: %v\n", u.Name(), context.Cause(ctx))
		return status
	case ok:
		fmt.Fprintf(u.Output(), "%s: %v\n", u.Name(), refused)
		return exitRefused
	}
	fmt.Fprintf(u.Output(), "%s: %v (causeway doctor %s says more)\n", u.Name(), err, u.server())
	return status
}

// arguments reads an argument that is JSON, a file of it, or standard input.
func arguments(text string, stdin io.Reader) (json.RawMessage, error) {
	switch {
	case text == "-":
		raw, err := io.ReadAll(io.LimitReader(stdin, 64<<20))
		if err != nil {
			return nil, err
		}
		text = string(raw)
	case strings.HasPrefix(text, "@"):
		raw, err := os.ReadFile(text[1:])
		if err != nil {
			return nil, err
		}
		text = string(raw)
	}
	return caller.Arguments(text)
}

func runCall(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	u := newUse("call", callUsage, stdout, stderr)
	u.StringVar(&u.printer.Dir, "out", "", "the `folder` for images, sounds and other bytes, which become files")
	u.StringVar(&u.answer, "answer", "", "a JSON `object` to answer forms with; they are declined otherwise")
	rest, err := u.parse(args)
	if err != nil {
		return err
	}
	if len(rest) < 2 || len(rest) > 3 {
		return u.wrong("want a URL, a tool, and perhaps its arguments")
	}
	var given json.RawMessage
	if len(rest) == 3 {
		if given, err = arguments(rest[2], stdin); err != nil {
			return u.wrong("%v", err)
		}
	}
	return u.with(ctx, rest[0], func(ctx context.Context, s *caller.Session) error {
		res, err := s.Call(ctx, rest[1], given)
		if err != nil {
			return err
		}
		if err := u.printer.Tool(rest[1], res); err != nil {
			return err
		}
		if res.IsError {
			return exitRefused
		}
		return nil
	})
}

func runTools(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	u := newUse("tools", toolsUsage, stdout, stderr)
	rest, err := u.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return u.wrong("want one URL")
	}
	return u.with(ctx, rest[0], func(ctx context.Context, s *caller.Session) error {
		all := []*mcp.Tool{}
		var rows []caller.Row
		for t, err := range s.Tools(ctx, nil) {
			if err != nil {
				return err
			}
			all = append(all, t)
			rows = append(rows, caller.Row{Name: t.Name, About: t.Description})
		}
		return u.printer.List(map[string]any{"tools": all}, rows)
	})
}

func runResources(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	u := newUse("resources", resourcesUsage, stdout, stderr)
	u.StringVar(&u.printer.Dir, "out", "", "the `folder` for resources that are no text, which become files")
	rest, err := u.parse(args)
	if err != nil {
		return err
	}
	if len(rest) < 1 || len(rest) > 2 {
		return u.wrong("want a URL, and perhaps the URI of a resource")
	}
	return u.with(ctx, rest[0], func(ctx context.Context, s *caller.Session) error {
		if len(rest) == 2 {
			res, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: rest[1]})
			if err != nil {
				return err
			}
			return u.printer.Resource(res)
		}
		all, templates := []*mcp.Resource{}, []*mcp.ResourceTemplate{}
		var rows []caller.Row
		for r, err := range s.Resources(ctx, nil) {
			if err != nil {
				return err
			}
			all = append(all, r)
			rows = append(rows, caller.Row{Name: r.URI, About: r.Name + " " + r.Description})
		}
		for r, err := range s.ResourceTemplates(ctx, nil) {
			if err != nil {
				return err
			}
			templates = append(templates, r)
			rows = append(rows, caller.Row{Name: r.URITemplate, About: r.Name + " " + r.Description})
		}
		return u.printer.List(map[string]any{"resources": all, "resourceTemplates": templates}, rows)
	})
}

func runPrompts(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	u := newUse("prompts", promptsUsage, stdout, stderr)
	u.StringVar(&u.printer.Dir, "out", "", "the `folder` for images and sounds, which become files")
	rest, err := u.parse(args)
	if err != nil {
		return err
	}
	if len(rest) < 1 || len(rest) > 3 {
		return u.wrong("want a URL, and perhaps the name of a prompt and its arguments")
	}
	var given map[string]string
	if len(rest) == 3 {
		raw, err := arguments(rest[2], stdin)
		if err == nil && raw != nil {
			err = json.Unmarshal(raw, &given)
		}
		if err != nil {
			return u.wrong("the arguments must be a JSON object of strings: %v", err)
		}
	}
	return u.with(ctx, rest[0], func(ctx context.Context, s *caller.Session) error {
		if len(rest) > 1 {
			res, err := s.GetPrompt(ctx, &mcp.GetPromptParams{Name: rest[1], Arguments: given})
			if err != nil {
				return err
			}
			return u.printer.Prompt(rest[1], res)
		}
		all := []*mcp.Prompt{}
		var rows []caller.Row
		for p, err := range s.Prompts(ctx, nil) {
			if err != nil {
				return err
			}
			all = append(all, p)
			rows = append(rows, caller.Row{Name: p.Name, About: p.Description})
		}
		return u.printer.List(map[string]any{"prompts": all}, rows)
	})
}
