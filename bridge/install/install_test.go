package install

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// For every client: testdata/CLIENT.in is a settings file as people have it, and .out
// what becomes of it.
func TestEveryClient(t *testing.T) {
	remote := &Server{Name: "linear", URL: "https://mcp.linear.app/mcp"}
	keyed := &Server{Name: "keyed", URL: "https://keyed.example/mcp?a=1&b=2", Headers: map[string]string{"Authorization": "Bearer t0k\"en", "X-Two": "2"}}
	local := &Server{Name: "files", Command: "/usr/bin/mcp-files", Args: []string{"--dir", `/a "b"\c`}, Env: map[string]string{"A_B": "true", "Z": "ä"}}
	for _, c := range Clients() {
		t.Run(c.ID, func(t *testing.T) {
			servers := []*Server{remote, keyed, local}
			if c.OnlyCommands {
				servers = []*Server{remote.ThroughBridge("/opt/causeway"), keyed.ThroughBridge("/opt/causeway"), local}
			}
			in, err := os.ReadFile(filepath.Join("testdata", c.ID+".in"))
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Install(in, servers...)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.ID+".out", out)
			again, err := c.Install(out, servers...)
			if err != nil || !bytes.Equal(again, out) {
				t.Errorf("installing twice is not installing once: %v\n%s", err, Diff(out, again))
			}
			fromNothing, err := c.Install(nil, servers...)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.ID+".new", fromNothing)

			got, err := c.Servers(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range servers {
				found := false
				for _, s := range got {
					if s.Name == want.Name {
						found = true
						if fmt.Sprintf("%+v", *s) != fmt.Sprintf("%+v", *want) {
							t.Errorf("read as %+v, written as %+v", *s, *want)
						}
					}
				}
				if !found {
					t.Errorf("%s is not read again", want.Name)
				}
			}
			gone, removed, err := c.Uninstall(out, remote.URL, "keyed", "files", "never-there")
			if err != nil || len(removed) != 3 {
				t.Fatalf("removed %q, %v", removed, err)
			}
			golden(t, c.ID+".gone", gone)
			before, _ := c.format.decode(in)
			after, err := c.format.decode(gone)
			drop(before, c.table, "")
			drop(after, c.table, "")
			if err != nil || canonical(before) != canonical(after) {
				t.Errorf("uninstalling leaves something else than there was: %v\n%s", err, Diff(in, gone))
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s", name, Diff(want, got))
	}
}

func TestWhereSettingsAre(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, tc := range []struct {
		client string
		place  Place
		want   string
	}{
		{"claude-desktop", Place{OS: "darwin", Home: "/Users/a", Env: env(nil)}, "/Users/a/Library/Application Support/Claude/claude_desktop_config.json"},
		{"claude-desktop", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.config/Claude/claude_desktop_config.json"},
		{"claude-desktop", Place{OS: "windows", Home: "/C/a", Env: env(map[string]string{"APPDATA": "/C/a/Roaming"})}, "/C/a/Roaming/Claude/claude_desktop_config.json"},
		{"claude-code", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.claude.json"},
		{"cursor", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.cursor/mcp.json"},
		{"windsurf", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.codeium/windsurf/mcp_config.json"},
		{"vscode", Place{OS: "linux", Home: "/home/a", Env: env(map[string]string{"XDG_CONFIG_HOME": "/x"})}, "/x/Code/User/mcp.json"},
		{"vscode", Place{OS: "darwin", Home: "/Users/a", Env: env(nil)}, "/Users/a/Library/Application Support/Code/User/mcp.json"},
		{"zed", Place{OS: "darwin", Home: "/Users/a", Env: env(nil)}, "/Users/a/.config/zed/settings.json"},
		{"gemini", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.gemini/settings.json"},
		{"codex", Place{OS: "linux", Home: "/home/a", Env: env(map[string]string{"CODEX_HOME": "/c"})}, "/c/config.toml"},
		{"codex", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.codex/config.toml"},
		{"goose", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.config/goose/config.yaml"},
		{"lm-studio", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.lmstudio/mcp.json"},
		{"cline", Place{OS: "linux", Home: "/home/a", Env: env(nil)}, "/home/a/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"},
	} {
		c, err := ClientByID(tc.client)
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.ToSlash(c.UserFile(tc.place)); got != tc.want {
			t.Errorf("%s on %s: %s, want %s", tc.client, tc.place.OS, got, tc.want)
		}
	}
	if _, err := ClientByID("emacs"); err == nil || !strings.Contains(err.Error(), "claude-code") {
		t.Errorf("error %v", err)
	}
}

func TestEditsOfJSON(t *testing.T) {
	s := &Server{Name: "x", URL: "https://x.example/mcp"}
	cursor, _ := ClientByID("cursor")
	const entry = `"x": {` + "\n      " + `"url": "https://x.example/mcp"` + "\n    }"
	for _, tc := range []struct{ name, in, out string }{
		{"nothing", "", "{\n  \"mcpServers\": {\n    " + entry + "\n  }\n}\n"},
		{"an empty object", "{}", "{\n  \"mcpServers\": {\n    " + entry + "\n  }\n}"},
		{"one line", `{"a":1}`, "{\"a\":1,\n  \"mcpServers\": {\n    " + entry + "\n  }\n}"},
		{"an empty table", "{\n  \"mcpServers\": {}\n}\n", "{\n  \"mcpServers\": {\n    " + entry + "\n  }\n}\n"},
		{"comments in the table", "{\n  \"mcpServers\": {\n    // none yet\n  }\n}\n", "{\n  \"mcpServers\": {\n    " + entry + "\n    // none yet\n  }\n}\n"},
		{"a comment behind the last", "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"} // mine\n  }\n}\n",
			"{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"}, // mine\n    " + entry + "\n  }\n}\n"},
		{"a comma behind the last", "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"}, // mine\n  },\n}\n",
			"{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"}, // mine\n    " + entry + ",\n  },\n}\n"},
		{"tabs", "{\n\t\"mcpServers\": {\n\t\t\"a\": {}\n\t}\n}", "{\n\t\"mcpServers\": {\n\t\t\"a\": {},\n\t\t\"x\": {\n\t\t\t\"url\": \"https://x.example/mcp\"\n\t\t}\n\t}\n}"},
		{"a line end of Windows", "{\r\n  \"mcpServers\": {\r\n    \"a\": {} // c\r\n  }\r\n}\r\n",
			"{\r\n  \"mcpServers\": {\r\n    \"a\": {}, // c\r\n    \"x\": {\r\n      \"url\": \"https://x.example/mcp\"\r\n    }\r\n  }\r\n}\r\n"},
		{"another one of that name", "{\n  \"mcpServers\": {\n    \"x\": { \"command\": \"old\" /* was */ }, // it\n    \"y\": {}\n  }\n}",
			"{\n  \"mcpServers\": {\n    " + entry + ", // it\n    \"y\": {}\n  }\n}"},
		{"a byte order mark", "\ufeff{}", "\ufeff{\n  \"mcpServers\": {\n    " + entry + "\n  }\n}"},
		{"the same in another shape", `{"mcpServers":{"x":{"url":"https:\/\/x.example\/mcp"}}}`, `{"mcpServers":{"x":{"url":"https:\/\/x.example\/mcp"}}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := cursor.Install([]byte(tc.in), s)
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != tc.out {
				t.Errorf("got\n%s\nwant\n%s", out, tc.out)
			}
		})
	}
}

func TestMalformedSettingsAreRefusedWithTheirPlace(t *testing.T) {
	s := &Server{Name: "x", URL: "https://x.example/mcp"}
	for _, tc := range []struct{ name, client, in, says string }{
		{"a missing comma", "cursor", "{\n  \"a\": 1\n  \"b\": 2\n}", "line 3, column 3"},
		{"no end", "cursor", "{\n  \"a\": [1, 2", "line 2"},
		{"two documents", "cursor", "{} {}", "line 1, column 4"},
		{"a word", "cursor", `{"a": hello}`, "line 1, column 7"},
		{"a list", "cursor", "[]", "want an object"},
		{"not UTF-8", "cursor", "{\"a\": \"\xff\"}", "UTF-8"},
		{"servers that are a list", "cursor", `{"mcpServers": []}`, "mcpServers"},
		{"servers that are there twice", "cursor", `{"mcpServers": {}, "mcpServers": {"a": {}}}`, "twice"},
		{"a comment without an end", "cursor", "{} /* ", "comment"},
		{"a nesting too deep", "cursor", strings.Repeat(`{"a":`, 1000), "too deep"},
		{"TOML without an end", "codex", "a = 1\nb = [1, 2", "line 2"},
		{"TOML with a name twice", "codex", "a = 1\na = 2\n", "line 2"},
		{"TOML servers in one line", "codex", "mcp_servers = { a = { url = \"u\" } }\n", "by hand"},
		{"TOML servers that are a text", "codex", "mcp_servers = 'x'\n", "mcp_servers"},
		{"YAML with a tab", "goose", "extensions:\n\ta: 1\n", "line"},
		{"YAML in one line", "goose", "extensions: {a: {type: builtin}}\n", "by hand"},
		{"YAML of two documents", "goose", "a: 1\n---\nb: 2\n", "second document"},
		{"YAML that is a list", "goose", "- a\n", "mapping"},
		{"a file that is far too large", "cursor", strings.Repeat(" ", maxFile+1), "8 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := ClientByID(tc.client)
			out, err := c.Install([]byte(tc.in), s)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one about %q; text\n%s", err, tc.says, out)
			}
		})
	}
}

func TestShapesOfTOML(t *testing.T) {
	codex, _ := ClientByID("codex")
	s := &Server{Name: "x", URL: "https://x.example/mcp"}
	const entry = "[mcp_servers.x]\nurl = \"https://x.example/mcp\"\n"
	for _, tc := range []struct{ name, in, out string }{
		{"nothing", "", entry},
		{"settings", "model = \"o\" # mine\n", "model = \"o\" # mine\n\n" + entry},
		{"no line end", "model = \"o\"", "model = \"o\"\n\n" + entry},
		{"others", "[mcp_servers.a]\nurl = \"u\"\n\n# the end\n[tui]\nt = 1\n", "[mcp_servers.a]\nurl = \"u\"\n\n" + entry + "\n# the end\n[tui]\nt = 1\n"},
		{"another of that name", "[mcp_servers.x]\n# old\ncommand = \"c\"\n[mcp_servers.x.env]\nA = \"\"\"\n[mcp_servers.no]\n\"\"\"\n\n[tui]\nt = [\n  \"#\", # c\n]\n", entry + "\n[tui]\nt = [\n  \"#\", # c\n]\n"},
		{"dotted", "mcp_servers.x.command = 'c'\nmcp_servers.y.command = 'd'\n[tui]\n", "mcp_servers.y.command = 'd'\n[tui]\n\n" + entry},
		{"in the table", "[mcp_servers]\nx = { command = \"c\" }\n", "[mcp_servers]\n\n" + entry},
		{"quoted", "[mcp_servers.\"x\"]\ncommand = \"c\"\n", entry},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := codex.Install([]byte(tc.in), s)
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != tc.out {
				t.Errorf("got\n%s\nwant\n%s", out, tc.out)
			}
		})
	}
}

func TestShapesOfYAML(t *testing.T) {
	goose, _ := ClientByID("goose")
	s := &Server{Name: "x", URL: "https://x.example/mcp"}
	entry := func(in string) string {
		return in + "x:\n" + in + "  enabled: true\n" + in + "  name: x\n" + in + "  type: streamable_http\n" + in + "  uri: \"https://x.example/mcp\"\n" + in + "  timeout: 300\n"
	}
	for _, tc := range []struct{ name, in, out string }{
		{"nothing", "", "extensions:\n" + entry("  ")},
		{"a comment", "# mine", "# mine\nextensions:\n" + entry("  ")},
		{"settings", "MODEL: o # mine\n", "MODEL: o # mine\nextensions:\n" + entry("  ")},
		{"no extensions yet", "extensions:\nMODEL: o\n", "extensions:\n" + entry("  ") + "MODEL: o\n"},
		{"an empty table", "extensions: {} # none\nMODEL: o\n", "extensions: # none\n" + entry("  ") + "MODEL: o\n"},
		{"others", "extensions:\n    a:\n        type: builtin\n\n# the end\nMODEL: o\n", "extensions:\n    a:\n        type: builtin\n" + entry("    ") + "\n# the end\nMODEL: o\n"},
		{"another of that name", "extensions:\n  x:\n    type: stdio\n    # old\n    cmd: c\n  # about b\n  b:\n    type: builtin\n", "extensions:\n" + entry("  ") + "  # about b\n  b:\n    type: builtin\n"},
		{"no line end", "extensions:\n  a:\n    type: builtin", "extensions:\n  a:\n    type: builtin\n" + entry("  ")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := goose.Install([]byte(tc.in), s)
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != tc.out {
				t.Errorf("got\n%s\nwant\n%s", out, tc.out)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for url, want := range map[string]string{
		"https://mcp.linear.app/mcp": "linear", "https://example.com/mcp": "example", "http://127.0.0.1:8787/mcp": "local-8787",
		"http://localhost:1/mcp": "local-1", "https://a.b.example.com/x": "example", "https://mcp.example": "mcp", "http://[::1]:9/": "local-9",
	} {
		if got := NameFor(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		if err := checkName(NameFor(url)); err != nil {
			t.Error(err)
		}
	}
}

func TestServersThatMakeNoSenseAreRefused(t *testing.T) {
	cursor, _ := ClientByID("cursor")
	for name, s := range map[string]*Server{
		"neither":           {Name: "a"},
		"both":              {Name: "a", URL: "https://x", Command: "c"},
		"a file":            {Name: "a", URL: "file:///etc/passwd"},
		"javascript":        {Name: "a", URL: "javascript:alert(1)"},
		"a password":        {Name: "a", URL: "https://user:secret@x.example/mcp"},
		"a newline":         {Name: "a", URL: "https://x.example/\nmcp"},
		"a command of two":  {Name: "a", Command: "c\nd"},
		"a name with a dot": {Name: "a.b", URL: "https://x"},
		"no name":           {URL: "https://x"},
		"a long name":       {Name: strings.Repeat("a", 65), URL: "https://x"},
	} {
		out, err := cursor.Install(nil, s)
		if err == nil {
			t.Errorf("%s: installed:\n%s", name, out)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes a secret: %v", name, err)
		}
	}
	desktop, _ := ClientByID("claude-desktop")
	if _, err := desktop.Install(nil, &Server{Name: "a", URL: "https://x"}); err == nil {
		t.Error("Claude Desktop got a URL")
	}
}

func TestBridgesAreSeenThrough(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   Server
		want string // URL and headers, "" for none
	}{
		{"ours", Server{Command: "/usr/local/bin/causeway", Args: []string{"connect", "https://x.example/mcp"}}, "https://x.example/mcp map[]"},
		{"mcp-remote through npx", Server{Command: "npx", Args: []string{"-y", "mcp-remote@latest", "https://x.example/mcp", "--header", "Authorization:${AUTH}"}, Env: map[string]string{"AUTH": "Bearer t"}}, "https://x.example/mcp map[Authorization:Bearer t]"},
		{"mcp-remote on Windows", Server{Command: `C:\node\npx.cmd`, Args: []string{"mcp-remote", "https://x.example/mcp", "--transport", "sse-only"}}, "https://x.example/mcp map[]"},
		{"a flag that means more", Server{Command: "npx", Args: []string{"mcp-remote", "https://x.example/mcp", "--static-oauth-client-info", "{}"}}, ""},
		{"any other program", Server{Command: "npx", Args: []string{"-y", "@modelcontextprotocol/server-memory"}}, ""},
		{"another command of ours", Server{Command: "causeway", Args: []string{"demo"}}, ""},
	} {
		r, ok := tc.in.Behind()
		got := ""
		if ok {
			got = fmt.Sprint(r.URL, " ", r.Headers)
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	s := &Server{Name: "k", URL: "https://x.example/mcp", Headers: map[string]string{"A": "b: c"}, SSE: true}
	if r, ok := s.ThroughBridge("/causeway").Behind(); !ok || fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", s) {
		t.Errorf("there and back: %+v", r)
	}
}

func TestFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits to look at")
	}
	t.Run("a new file is for its owner alone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new", "dir", "c.json")
		f, err := Read(path)
		if err != nil || f.Exists {
			t.Fatal(f, err)
		}
		backup, err := f.Write([]byte("{}"))
		if err != nil || backup != "" {
			t.Fatal(backup, err)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		if info, _ := os.Stat(filepath.Dir(path)); info.Mode().Perm() != 0o700 {
			t.Errorf("mode of the folder %v", info.Mode())
		}
	})
	t.Run("permissions stay, and a copy is kept with them", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.json")
		write(t, path, "old", 0o640)
		f, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		backup, err := f.Write([]byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		for file, want := range map[string]string{path: "new", backup: "old"} {
			text, err := os.ReadFile(file)
			info, _ := os.Stat(file)
			if err != nil || string(text) != want || info.Mode().Perm() != 0o640 {
				t.Errorf("%s: %q %v %v", file, text, info.Mode(), err)
			}
		}
		f, _ = Read(path)
		second, err := f.Write([]byte("newer"))
		if err != nil || second == backup {
			t.Errorf("a second copy: %s %v", second, err)
		}
	})
	t.Run("a link stays a link", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "dotfiles.json"), "old", 0o600)
		link := filepath.Join(dir, "c.json")
		if err := os.Symlink("dotfiles.json", link); err != nil {
			t.Fatal(err)
		}
		f, err := Read(link)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
			t.Error("the link is gone")
		}
		if text, _ := os.ReadFile(filepath.Join(dir, "dotfiles.json")); string(text) != "new" {
			t.Errorf("the file holds %q", text)
		}
	})
	t.Run("a link that leads nowhere, and what is no file", func(t *testing.T) {
		dir := t.TempDir()
		link := filepath.Join(dir, "c.json")
		_ = os.Symlink("gone", link)
		for _, path := range []string{link, dir} {
			if _, err := Read(path); err == nil {
				t.Errorf("%s was read", path)
			}
		}
	})
	t.Run("what somebody else wrote meanwhile is not overwritten", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.json")
		write(t, path, "old", 0o600)
		f, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "theirs", 0o600)
		if _, err := f.Write([]byte("mine")); !errors.Is(err, ErrChanged) {
			t.Errorf("error %v", err)
		}
		if text, _ := os.ReadFile(path); string(text) != "theirs" {
			t.Errorf("the file holds %q", text)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".causeway*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("nothing is left of a write that fails", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "c.json")
		f, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil { // no file any more
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("written over a folder")
		}
	})
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestTheDiffShowsNobodyElsesSecrets(t *testing.T) {
	before := "{\n  \"mcpServers\": {\n    \"a\": {\"env\": {\"T\": \"s3cret\"}},\n    \"b\": {}\n  }\n}\n"
	cursor, _ := ClientByID("cursor")
	after, err := cursor.Install([]byte(before), &Server{Name: "x", URL: "https://x.example/mcp"})
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff([]byte(before), after); strings.Contains(d, "s3cret") || !strings.Contains(d, "+") || !strings.Contains(d, "x.example") {
		t.Errorf("diff:\n%s", d)
	}
	if d := Diff(after, after); d != "" {
		t.Errorf("diff of the same: %q", d)
	}
}
