package install

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Server is an MCP server as settings describe it: one that is reached by URL, or
// one that is started by a command.
type Server struct {
	// Name is what the client calls it.
	Name string
	// URL is where a remote server is, http or https.
	URL string
	// Headers go with every request to URL.
	Headers map[string]string
	// SSE says that URL is of the 2024-11-05 transport.
	SSE bool

	// Command starts a local server, with Args and Env.
	Command string
	Args    []string
	Env     map[string]string
}

// Check says what is wrong with a server.
func (s *Server) Check() error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	switch {
	case s.URL != "" && s.Command != "":
		return errors.New("a server has either a URL or a command")
	case s.URL == "" && s.Command == "":
		return errors.New("a server needs a URL or a command")
	case s.URL != "":
		return CheckURL(s.URL)
	}
	for _, v := range append([]string{s.Command}, s.Args...) {
		if strings.ContainsAny(v, "\x00\n\r") {
			return errors.New("a command must be of one line")
		}
	}
	return nil
}

// maxName is the length of a name that every client takes.
const maxName = 64

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// checkName allows what every client takes as the name of a server: several put it in
// front of the names of tools.
func checkName(name string) error {
	if len(name) > maxName || !goodName.MatchString(name) {
		return fmt.Errorf("name %q: want letters, digits, - and _, at most %d, the first no sign", clip(name), maxName)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// CheckURL says whether text can be the URL of an MCP server.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("no URL of a server: want all of it, such as https://mcp.example.com/mcp") // the error would quote all of it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("want a URL that begins with https:// or http://")
	case !isPort(u.Port()):
		return fmt.Errorf("the port %s is none: from 1 to 65535", clip(u.Port()))
	case u.User != nil:
		return errors.New("a URL must not hold a password: settings files are read by many; use a header")
	case u.Fragment != "":
		return errors.New("the URL has a fragment, which servers never see")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("the URL has spaces or control characters in it")
	}
	return nil
}

// isPort reports whether a URL may have such a port; it may have none.
func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return text == "" || err == nil && n >= 1 && n <= 65535
}

// NameFor makes a name of a URL: "linear" of https://mcp.linear.app/mcp.
func NameFor(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "server"
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil || host == "localhost" {
		return sanitize("local-" + u.Port())
	}
	labels := strings.Split(host, ".")
	generic := []string{"mcp", "www", "api", "server"}
	if len(labels) > 1 {
		labels = labels[:len(labels)-1]
	}
	for len(labels) > 1 && slices.Contains(generic, labels[0]) {
		labels = labels[1:]
	}
	return sanitize(labels[len(labels)-1])
}

func sanitize(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
	name = strings.Trim(name, "-_")
	if name == "" {
		return "server"
	}
	return name[:min(len(name), maxName)]
}

// ThroughBridge is the server as a client sees it that only starts programs: causeway
// connect stands for it. Program is the path of causeway.
func (s *Server) ThroughBridge(program string) *Server {
	b := &Server{Name: s.Name, Command: program, Args: []string{"connect", s.URL}}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		b.Args = append(b.Args, "--header", name+": "+s.Headers[name])
	}
	if s.SSE {
		b.Args = append(b.Args, "--transport", "sse-only")
	}
	return b
}

// Behind returns the remote server that a bridge's command line stands for: that of
// causeway connect, or of mcp-remote, however it is started. Ok is false for any other
// program, and for one whose flags mean more than a URL and headers.
func (s *Server) Behind() (remote *Server, ok bool) {
	args := s.Args
	program := s.Command[strings.LastIndexAny(s.Command, `/\`)+1:]
	program = strings.TrimSuffix(strings.TrimSuffix(program, ".exe"), ".cmd")
	switch {
	case strings.HasPrefix(program, "causeway"): // released binaries are called causeway-OS-ARCH
		if len(args) == 0 || args[0] != "connect" {
			return nil, false
		}
		args = args[1:]
	case program == "mcp-remote":
	case program == "npx", program == "bunx", program == "pnpx":
		i := slices.IndexFunc(args, func(a string) bool { return a == "mcp-remote" || strings.HasPrefix(a, "mcp-remote@") })
		if i < 0 {
			return nil, false
		}
		args = args[i+1:]
	default:
		return nil, false
	}
	r := &Server{Name: s.Name}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--header" && i+1 < len(args):
			i++
			name, value, ok := strings.Cut(args[i], ":")
			if !ok {
				return nil, false
			}
			if r.Headers == nil {
				r.Headers = make(map[string]string)
			}
			r.Headers[strings.TrimSpace(name)] = strings.TrimSpace(expand(value, s.Env))
		case arg == "--transport" && i+1 < len(args):
			i++
			r.SSE = args[i] == "sse-only"
		case arg == "--allow-http", arg == "--debug", arg == "--silent":
		case !strings.HasPrefix(arg, "-") && r.URL == "" && CheckURL(arg) == nil:
			r.URL = arg
		default:
			return nil, false
		}
	}
	return r, r.URL != ""
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts in what the entry itself sets, as mcp-remote would.
func expand(text string, env map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		if value, ok := env[v[2:len(v)-1]]; ok {
			return value
		}
		return v
	})
}
