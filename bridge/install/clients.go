package install

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway/internal/cmdline"
)

// A Client is a program that uses MCP servers.
type Client struct {
	// ID is what the command line calls it: "claude-desktop".
	ID string
	// Title is what people call it.
	Title string
	// OnlyCommands: its settings cannot name a URL, so a bridge must stand for it.
	OnlyCommands bool
	// Note is what a person must do after a change.
	Note string

	format  format
	table   []string // where the servers are
	user    func(Place) string
	project string // below a project's folder; "" if it has no such settings
	write   func(*Server) object
	read    func(name string, v map[string]any) *Server
}

// A Place is a machine, as far as settings are concerned.
type Place struct {
	OS   string // as runtime.GOOS
	Home string
	Env  func(string) string
}

// Here is this machine.
func Here() (Place, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return Place{}, fmt.Errorf("finding the home directory: %w", err)
	}
	return Place{OS: runtime.GOOS, Home: home, Env: os.Getenv}, nil
}

func (p Place) home(elements ...string) string {
	return filepath.Join(append([]string{p.Home}, elements...)...)
}

// appData is where desktop programs keep settings.
func (p Place) appData(elements ...string) string {
	switch p.OS {
	case "darwin":
		return p.home(append([]string{"Library", "Application Support"}, elements...)...)
	case "windows":
		if dir := p.Env("APPDATA"); dir != "" {
			return filepath.Join(append([]string{dir}, elements...)...)
		}
		return p.home(append([]string{"AppData", "Roaming"}, elements...)...)
	}
	return p.config(elements...)
}

// config is where programs of the XDG convention keep settings.
func (p Place) config(elements ...string) string {
	if dir := p.Env("XDG_CONFIG_HOME"); dir != "" && filepath.IsAbs(dir) {
		return filepath.Join(append([]string{dir}, elements...)...)
	}
	return p.home(append([]string{".config"}, elements...)...)
}

// Clients are all that this package knows, in the order of their names.
func Clients() []Client {
	jsonServers := []string{"mcpServers"}
	all := []Client{
		{ID: "claude-code", Title: "Claude Code", format: jsonFormat{}, table: jsonServers, project: ".mcp.json",
			user:  func(p Place) string { return p.home(".claude.json") },
			write: typed("type", "stdio", "http", "sse", "url"), read: readCommon,
			Note: "Type /mcp in Claude Code to sign in."},
		{ID: "claude-desktop", Title: "Claude Desktop", format: jsonFormat{}, table: jsonServers, OnlyCommands: true,
			user:  func(p Place) string { return p.appData("Claude", "claude_desktop_config.json") },
			write: commandOnly, read: readCommon, Note: "Quit Claude Desktop and open it again."},
		{ID: "cline", Title: "Cline", format: jsonFormat{}, table: jsonServers,
			user: func(p Place) string {
				return p.appData("Code", "User", "globalStorage", "saoudrizwan.claude-dev", "settings", "cline_mcp_settings.json")
			},
			write: typed("type", "stdio", "streamableHttp", "sse", "url"), read: readCommon},
		{ID: "codex", Title: "Codex", format: tomlFormat{}, table: []string{"mcp_servers"}, project: filepath.Join(".codex", "config.toml"),
			user: func(p Place) string {
				if dir := p.Env("CODEX_HOME"); dir != "" {
					return filepath.Join(dir, "config.toml")
				}
				return p.home(".codex", "config.toml")
			},
			write: writeCodex, read: readCommon, Note: "Sign in with: codex mcp login NAME"},
		{ID: "cursor", Title: "Cursor", format: jsonFormat{}, table: jsonServers, project: filepath.Join(".cursor", "mcp.json"),
			user:  func(p Place) string { return p.home(".cursor", "mcp.json") },
			write: plain("url"), read: readCommon},
		{ID: "gemini", Title: "Gemini CLI", format: jsonFormat{}, table: jsonServers, project: filepath.Join(".gemini", "settings.json"),
			user:  func(p Place) string { return p.home(".gemini", "settings.json") },
			write: writeGemini, read: readGemini},
		{ID: "goose", Title: "Goose", format: yamlFormat{}, table: []string{"extensions"},
			user: func(p Place) string {
				if p.OS == "windows" {
					return p.appData("Block", "goose", "config", "config.yaml")
				}
				return p.config("goose", "config.yaml")
			},
			write: writeGoose, read: readGoose},
		{ID: "lm-studio", Title: "LM Studio", format: jsonFormat{}, table: jsonServers,
			user:  func(p Place) string { return p.home(".lmstudio", "mcp.json") },
			write: plain("url"), read: readCommon},
		{ID: "vscode", Title: "VS Code", format: jsonFormat{}, table: []string{"servers"}, project: filepath.Join(".vscode", "mcp.json"),
			user:  func(p Place) string { return p.appData("Code", "User", "mcp.json") },
			write: typed("type", "stdio", "http", "sse", "url"), read: readCommon},
		{ID: "windsurf", Title: "Windsurf", format: jsonFormat{}, table: jsonServers,
			user:  func(p Place) string { return p.home(".codeium", "windsurf", "mcp_config.json") },
			write: plain("serverUrl"), read: readCommon},
		{ID: "zed", Title: "Zed", format: jsonFormat{}, table: []string{"context_servers"}, project: filepath.Join(".zed", "settings.json"),
			user: func(p Place) string {
				if p.OS == "windows" {
					return p.appData("Zed", "settings.json")
				}
				return p.config("zed", "settings.json")
			},
			write: plain("url"), read: readCommon},
	}
	return all
}

// ClientByID finds a client. Its error lists all.
func ClientByID(id string) (Client, error) {
	all := Clients()
	for _, c := range all {
		if c.ID == strings.ToLower(id) {
			return c, nil
		}
	}
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	if near := cmdline.Nearest(id, slices.Values(ids)); near != "" {
		return Client{}, fmt.Errorf("there is no client %q: did you mean %s? There are %s", clip(id), near, strings.Join(ids, ", "))
	}
	return Client{}, fmt.Errorf("there is no client %q: want one of %s", clip(id), strings.Join(ids, ", "))
}

// UserFile is where the client keeps a person's settings.
func (c *Client) UserFile(p Place) string { return c.user(p) }

// ProjectFile is where the client keeps those of a project, "" if it has none.
func (c *Client) ProjectFile(folder string) string {
	if c.project == "" {
		return ""
	}
	return filepath.Join(folder, c.project)
}

// An object is what is written, in this order. Values are string, bool, int, []string
// and object.
type object []member

type member struct {
	name  string
	value any
}

func strs(m map[string]string) object {
	var o object
	for name, v := range m {
		o = append(o, member{name, v})
	}
	slices.SortFunc(o, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return o
}

func (o object) with(name string, v any) object {
	switch v := v.(type) {
	case []string:
		if len(v) == 0 {
			return o
		}
	case object:
		if len(v) == 0 {
			return o
		}
	}
	return append(o, member{name, v})
}

func command(o object, s *Server) object {
	return o.with("command", s.Command).with("args", s.Args).with("env", strs(s.Env))
}

func commandOnly(s *Server) object { return command(nil, s) }

// plain is the shape of clients that tell by the members what a server is.
func plain(url string) func(*Server) object {
	return func(s *Server) object {
		if s.Command != "" {
			return command(nil, s)
		}
		return object{{url, s.URL}}.with("headers", strs(s.Headers))
	}
}

// typed is the shape of clients that want to be told.
func typed(kind, stdio, http, sse, url string) func(*Server) object {
	return func(s *Server) object {
		switch {
		case s.Command != "":
			return command(object{{kind, stdio}}, s)
		case s.SSE:
			return object{{kind, sse}, {url, s.URL}}.with("headers", strs(s.Headers))
		default:
			return object{{kind, http}, {url, s.URL}}.with("headers", strs(s.Headers))
		}
	}
}

// Gemini CLI means HTTP+SSE by "url".
func writeGemini(s *Server) object {
	switch {
	case s.Command != "":
		return command(nil, s)
	case s.SSE:
		return object{{"url", s.URL}}.with("headers", strs(s.Headers))
	default:
		return object{{"httpUrl", s.URL}}.with("headers", strs(s.Headers))
	}
}

func writeCodex(s *Server) object {
	if s.Command != "" {
		return command(nil, s)
	}
	return object{{"url", s.URL}}.with("http_headers", strs(s.Headers))
}

// gooseTimeout is what Goose writes itself, in seconds.
const gooseTimeout = 300

func writeGoose(s *Server) object {
	o := object{{"enabled", true}, {"name", s.Name}}
	switch {
	case s.Command != "":
		return o.with("type", "stdio").with("cmd", s.Command).with("args", orEmpty(s.Args)).with("envs", strs(s.Env)).with("timeout", gooseTimeout)
	case s.SSE:
		return o.with("type", "sse").with("uri", s.URL).with("timeout", gooseTimeout)
	default:
		return o.with("type", "streamable_http").with("uri", s.URL).with("headers", strs(s.Headers)).with("timeout", gooseTimeout)
	}
}

// orEmpty: Goose wants args even when there are none.
func orEmpty(args []string) any {
	if len(args) == 0 {
		return emptyList{}
	}
	return args
}

type emptyList struct{}

// readCommon reads all shapes but Goose's: they differ in names that do not collide.
func readCommon(name string, v map[string]any) *Server {
	s := &Server{Name: name}
	kind := text(v["type"])
	for _, key := range []string{"httpUrl", "serverUrl", "url"} {
		if s.URL == "" {
			s.URL = text(v[key])
			s.SSE = kind == "sse"
		}
	}
	for _, key := range []string{"headers", "http_headers"} {
		if h := texts(v[key]); len(h) > 0 {
			s.Headers = h
		}
	}
	s.Command = text(v["command"])
	if nested, ok := v["command"].(map[string]any); ok { // Zed's older shape
		s.Command, s.Args, s.Env = text(nested["path"]), list(nested["args"]), texts(nested["env"])
	} else {
		s.Args, s.Env = list(v["args"]), texts(v["env"])
	}
	if s.Command != "" {
		s.URL, s.Headers = "", nil
	}
	if s.Command == "" && s.URL == "" {
		return nil
	}
	return s
}

func readGemini(name string, v map[string]any) *Server {
	s := readCommon(name, v)
	if s != nil && s.URL != "" && text(v["httpUrl"]) == "" && text(v["type"]) != "http" {
		s.SSE = true
	}
	return s
}

func readGoose(name string, v map[string]any) *Server {
	switch text(v["type"]) {
	case "stdio":
		return &Server{Name: name, Command: text(v["cmd"]), Args: list(v["args"]), Env: texts(v["envs"])}
	case "streamable_http", "sse":
		return &Server{Name: name, URL: text(v["uri"]), SSE: text(v["type"]) == "sse", Headers: texts(v["headers"])}
	}
	return nil // built in
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func list(v any) []string {
	items, _ := v.([]any)
	var out []string
	for _, i := range items {
		if s, ok := i.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func texts(v any) map[string]string {
	m, _ := v.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = fmt.Sprint(v)
	}
	return out
}
