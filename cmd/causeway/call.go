package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	neturl "net/url"
	"os"
	"slices"
	"strconv"
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
sense, 3 a sign-in is needed (causeway login URL), 4 no MCP server answers at URL, or not
in time.

Flags:
`

const toolsUsage = `Usage: causeway tools URL [flags]

Lists the tools of a server. Exit statuses are those of causeway call.

Flags:
`

const resourcesUsage = `Usage: causeway resources URL [URI] [flags]

Lists the resources of a server, templates included, or reads one.
Exit statuses are those of causeway call.

Flags:
`

const promptsUsage = `Usage: causeway prompts URL [NAME [ARGUMENTS]] [flags]

Lists the prompts of a server, or gets one. ARGUMENTS is a JSON object of strings, @FILE
for one in a file, or - for standard input. Exit statuses are those of causeway call.

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
	if err := checkPort(url); err != nil {
		return u.wrong("%v", err)
	}
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
		return u.explain(ctx, u.misdirected(ctx, err), exitUnreachable)
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

// checkPort says what ports there are, which nothing else on the way to a request does.
func checkPort(server string) error {
	u, err := neturl.Parse(server)
	if err != nil || u.Port() == "" {
		return nil // what is wrong with it is said elsewhere
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("the port %s is none: from 1 to 65535", u.Port())
	}
	return nil
}

// A wrongPath is the error that there is no MCP server at a URL.
type wrongPath struct {
	text string
	err  error
}

func (e wrongPath) Error() string { return e.text }
func (e wrongPath) Unwrap() error { return e.err }

// misdirected says where the endpoint is, if err is that it is not at the URL.
func (u *use) misdirected(ctx context.Context, err error) error {
	var answer *caller.AnswerError
	if !errors.As(err, &answer) || !answer.NoEndpoint() {
		return err
	}
	if caller.SpeaksTLS(ctx, u.options.URL) {
		return wrongPath{"what answers there speaks TLS: begin the URL with https://", err}
	}
	server, elsewhere, secret := u.server(), caller.Endpoint(ctx, u.options.URL), u.server() == "URL"
	if secret {
		server = "the URL"
	}
	said := server + " is no MCP endpoint: " + strings.Replace(answer.Error(), "the server", "it", 1) + ". "
	parsed, _ := neturl.Parse(u.options.URL)
	switch {
	case elsewhere != "" && secret:
		found, _ := neturl.Parse(elsewhere)
		said += found.Path + " of the same server is one: use that"
	case elsewhere != "":
		said += elsewhere + " is one: use that"
	case parsed != nil && strings.HasSuffix(strings.TrimRight(parsed.Path, "/"), "/mcp"):
		said += "Check the path"
	default:
		said += "Most are at /mcp, and nothing of the kind is there"
	}
	return wrongPath{said, err}
}

// explain says what went wrong and gives it an exit status.
func (u *use) explain(ctx context.Context, err error, status exitStatus) error {
	var said exitStatus
	var path wrongPath
	var answer *caller.AnswerError
	var record tls.RecordHeaderError
	switch refused, ok := caller.Refused(err); {
	case errors.As(err, &said), errors.Is(err, errUsage):
		return err
	case errors.Is(err, client.ErrSignInNeeded):
		fmt.Fprintf(u.Output(), "%s: the server wants a sign-in: run causeway login %s first, or give -sign-in\n", u.Name(), u.server())
		return exitSignIn
	case ctx.Err() != nil:
		fmt.Fprintf(u.Output(), "%s: %v\n", u.Name(), context.Cause(ctx))
		return status
	case errors.As(err, &path):
	case errors.As(err, &answer) && answer.Status == http.StatusForbidden:
		status = exitRefused
	case errors.As(err, &answer):
	case ok:
		fmt.Fprintf(u.Output(), "%s: %v\n", u.Name(), refused)
		return exitRefused
	case errors.As(err, &record):
		err = fmt.Errorf("what answers there does not speak TLS: use http://, if it is on this machine")
	}
	fmt.Fprintf(u.Output(), "%s: %v (causeway doctor %s says more)\n", u.Name(), err, u.server())
	return status
}

// arguments reads an argument that is JSON, a file of it, or standard input.
func arguments(text string, stdin io.Reader) (json.RawMessage, error) {
	where := "the arguments"
	switch {
	case text == "-":
		where = "standard input"
		raw, err := io.ReadAll(io.LimitReader(stdin, maxArguments+1))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", where, err)
		}
		text = string(raw)
	case strings.HasPrefix(text, "@"):
		where = text[1:]
		raw, err := readFile(where)
		if err != nil {
			return nil, err
		}
		text = string(raw)
	case strings.HasPrefix(text, "'"):
		return nil, errors.New(`the arguments begin with a single quote: this shell takes none for quotes; write "{\"a\": 1}", or put them in a file and give @FILE`)
	}
	if len(text) > maxArguments {
		return nil, fmt.Errorf("%s: more than %d MiB", where, maxArguments>>20)
	}
	raw, err := caller.Arguments(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if raw == nil && where != "the arguments" {
		return nil, fmt.Errorf(`%s is empty; no arguments are {}`, where)
	}
	return raw, nil
}

// maxArguments bounds the arguments of a call, in bytes.
const maxArguments = 64 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxArguments+1))
}

// maxSuggested is how many names are looked through for the one that was meant.
const maxSuggested = 1000

// suggest adds to err, which is about a name, the name that was probably meant, if that
// one is not among the names there are.
func (u *use) suggest(err error, name, command string, names iter.Seq2[string, error]) error {
	refused, ok := caller.Refused(err)
	if !ok {
		return err
	}
	hint := u.meant(name, command, names)
	if hint == "" {
		return err
	}
	fmt.Fprintf(u.Output(), "%s: %v%s\n", u.Name(), refused, hint)
	return exitRefused
}

// meant is what a name that the server does not list may have been meant for, and what
// lists them; "" if it lists it, or does not say.
func (u *use) meant(name, command string, names iter.Seq2[string, error]) string {
	var all []string
	for have, err := range names {
		if err != nil || have == name {
			return ""
		}
		if all = append(all, have); len(all) == maxSuggested {
			break
		}
	}
	return fmt.Sprintf("%s Run causeway %s %s for all", ending(didYouMean(name, slices.Values(all))), command, u.server())
}

// namesOf are the names of what a server lists.
func namesOf[T any](items iter.Seq2[T, error], name func(T) string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for item, err := range items {
			if err != nil {
				yield("", err)
				return
			}
			if !yield(name(item), nil) {
				return
			}
		}
	}
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
		tools := namesOf(s.Tools(ctx, nil), func(t *mcp.Tool) string { return t.Name })
		res, err := s.Call(ctx, rest[1], given)
		if err != nil {
			return u.suggest(err, rest[1], "tools", tools)
		}
		if err := u.printer.Tool(rest[1], res); err != nil {
			return err
		}
		if !res.IsError {
			return nil
		}
		if mentions(res, rest[1]) { // many servers answer so to a name that they do not know
			if hint := u.meant(rest[1], "tools", tools); hint != "" {
				fmt.Fprintf(u.Output(), "%s: there is no tool %q%s\n", u.Name(), rest[1], hint)
			}
		}
		return exitRefused
	})
}

// mentions reports whether the text of a result has a name in it.
func mentions(res *mcp.CallToolResult, name string) bool {
	return slices.ContainsFunc(res.Content, func(c mcp.Content) bool {
		text, ok := c.(*mcp.TextContent)
		return ok && strings.Contains(text.Text, name)
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
				return u.suggest(err, rest[1], "resources", namesOf(s.Resources(ctx, nil), func(r *mcp.Resource) string { return r.URI }))
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
				return u.suggest(err, rest[1], "prompts", namesOf(s.Prompts(ctx, nil), func(p *mcp.Prompt) string { return p.Name }))
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
