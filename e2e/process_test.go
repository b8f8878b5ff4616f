package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	for _, tc := range []struct {
		name string
		args string
		code int
		says []string
	}{
		{"help", "help", 0, []string{"demo", "version"}},
		{"no command", "", 0, []string{"demo", "version"}},
		{"version", "version", 0, []string{"causeway ", "go1."}},
		{"an unknown command", "dmeo", 2, []string{`"dmeo"`, "demo"}},
		{"the flags of demo", "demo -h", 0, []string{"-addr", "-no-auth", "-allow-anonymous"}},
		{"an unknown flag", "demo -adr x", 1, []string{"-adr", "-h"}},
		{"an argument too many", "demo now", 1, []string{`"now"`}},
		{"an address in use", "demo -addr " + strings.TrimPrefix(s.url, "http://"), 1, []string{strings.TrimPrefix(s.url, "http://"), "another program", "-addr"}},
		{"a public address without sign-in", "demo -no-auth -addr 0.0.0.0:0", 1, []string{"sign-in", "-allow-anonymous"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command(causeway, strings.Fields(tc.args)...)
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tc.code {
				t.Errorf("exit status %d, want %d\n%s", got, tc.code, out)
			}
			for _, want := range tc.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// What the demo prints is meant to be copied.
func TestDemoSaysHowToConnect(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	banner := s.stdout.String()
	for _, want := range []string{
		"claude mcp add --transport http causeway-demo " + s.url + "/mcp",
		`code --add-mcp '{"name":"causeway-demo","type":"http","url":"` + s.url + `/mcp"}'`,
		`{"mcpServers":{"causeway-demo":{"url":"` + s.url + `/mcp"}}}`,
		"npx @modelcontextprotocol/inspector --server-url " + s.url + "/mcp",
		"npx mcp-remote " + s.url + "/mcp",
	} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
}
