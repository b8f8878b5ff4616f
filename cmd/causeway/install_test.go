package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstallUninstallImport(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("CODEX_HOME", "")
	do := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		err := run(t.Context(), args, &out, &errs)
		return out.String() + errs.String(), err
	}
	must := func(says string, args ...string) string {
		t.Helper()
		out, err := do(args...)
		if err != nil || !strings.Contains(out, says) {
			t.Fatalf("causeway %q: %v\n%s", args, err, out)
		}
		return out
	}
	cursor := filepath.Join(home, ".cursor", "mcp.json")

	must("Nothing was written", "install", "cursor", "https://mcp.linear.app/mcp", "--dry-run")
	if _, err := os.Stat(cursor); err == nil {
		t.Fatal("a dry run wrote")
	}
	must(`+    "linear"`, "install", "cursor", "https://mcp.linear.app/mcp", "http://localhost:8787/mcp")
	must("nothing to change", "install", "cursor", "https://mcp.linear.app/mcp")
	must("As it was:", "install", "-name", "keyed", "-header", "Authorization: Bearer s3cret", "cursor", "https://k.example/mcp?key=s3cret")
	if out := must("https://mcp.linear.app/mcp", "import", "cursor"); strings.Contains(out, "s3cret") {
		t.Errorf("the list tells:\n%s", out)
	}
	must("local-8787", "import")
	must("Quit Claude Desktop", "import", "cursor", "-to", "claude-desktop")
	must("linear", "import", "claude-desktop")
	must("[mcp_servers.linear]", "import", "claude-desktop", "linear", "-to", "codex") // a URL again
	codex, err := os.ReadFile(filepath.Join(home, ".codex", "config.toml"))
	if err != nil || string(codex) != "[mcp_servers.linear]\nurl = \"https://mcp.linear.app/mcp\"\n" {
		t.Errorf("codex: %q %v", codex, err)
	}
	must("-", "uninstall", "claude-desktop", "https://mcp.linear.app/mcp", "keyed", "local-8787")
	must("nothing to change", "uninstall", "claude-desktop", "linear")

	for _, tc := range []struct {
		says string
		args []string
	}{
		{"claude-code", []string{"install", "emacs", "https://x.example"}},
		{"want a client", []string{"install", "cursor"}},
		{"http", []string{"install", "cursor", "file:///x"}},
		{"…@x.example", []string{"install", "cursor", "https://u:pass@x.example"}},
		{"did you mean cursor?", []string{"install", "cursr", "https://x.example/mcp"}},
		{"from 1 to 65535", []string{"install", "cursor", "http://127.0.0.1:99999/mcp"}},
		{"Did you mean --dry-run?", []string{"install", "cursor", "https://x.example", "--dry"}},
		{"2 URLs", []string{"install", "cursor", "https://x.example", "https://y.example", "-name", "a"}},
		{"Name: value", []string{"install", "cursor", "https://x.example", "-header", "nothing"}},
		{"want a client", []string{"uninstall", "cursor"}},
	} {
		out, err := do(tc.args...)
		if !errors.Is(err, errUsage) || !strings.Contains(out, tc.says) || strings.Contains(out, "pass@") {
			t.Errorf("causeway %q: %v\n%s", tc.args, err, out)
		}
	}
	if err := os.WriteFile(cursor, []byte("{\n  \"mcpServers\": {\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := do("install", "cursor", "https://x.example/mcp"); err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "mcp.json") {
		t.Errorf("malformed settings: %v", err)
	}
}

func TestUninstallSaysWhatIsNotThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcp.json")
	if err := os.WriteFile(file, []byte(`{"mcpServers": {"linear": {"url": "https://mcp.linear.app/mcp"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := cli(t, "uninstall", "cursor", "linar", "-config", file)
	if status != 0 || !strings.Contains(out, "nothing to change") || errs != "causeway uninstall: Cursor has no server \"linar\". Did you mean \"linear\"?\n" {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}
