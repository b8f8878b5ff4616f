package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startOpen runs the demo without sign-in, and a folder of tokens that is empty.
func startOpen(t *testing.T) string {
	t.Helper()
	t.Setenv("CAUSEWAY_AUTH_DIR", t.TempDir())
	t.Setenv("MCP_REMOTE_CONFIG_DIR", t.TempDir())
	base, _ := startDemo(t, "-no-auth", "-addr", "127.0.0.1:0")
	return base + "/mcp"
}

// cli runs causeway and returns the exit status and what it printed.
func cli(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), args, &out, &errs)
	return exitCode(err, &errs), out.String(), errs.String()
}

func TestCallAndLists(t *testing.T) {
	url := startOpen(t)
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer locked.Close()
	file := filepath.Join(t.TempDir(), "args.json")
	if err := os.WriteFile(file, []byte(`{"a": 2, "b": 40}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pictures := t.TempDir()
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		says   string // on standard output, or on standard error if it failed
	}{
		{"a tool", []string{"call", url, "add", `{"a": 2, "b": 40}`}, 0, "42"},
		{"flags at the end, and an older version", []string{"call", url, "add", `{"a": 2, "b": 40}`, "-protocol-version", "2025-06-18"}, 0, "42"},
		{"arguments in a file", []string{"call", url, "add", "@" + file}, 0, "42"},
		{"JSON", []string{"call", "-json", url, "add", "@" + file}, 0, `"42"`},
		{"a form that is answered", []string{"call", url, "book_table", `{"restaurant": "x"}`, "-answer", `{"day": "2026-12-24", "people": 9, "outside": true}`}, 0, ""},
		{"arguments that the tool refuses", []string{"call", url, "add", `{"a": "x"}`}, 1, ""},
		{"a tool that is not there", []string{"call", url, "nothing"}, 1, "refuses"},
		{"arguments that are no JSON", []string{"call", url, "add", "{a:1}"}, 2, "no JSON"},
		{"no tool", []string{"call", url}, 2, "want a URL"},
		{"an unknown flag", []string{"call", url, "add", "--jsn"}, 2, "jsn"},
		{"a server that wants a sign-in", []string{"call", locked.URL, "add"}, 3, "causeway login " + locked.URL + " first"},
		{"a secret in the URL is not repeated", []string{"call", locked.URL + "?key=hush", "add"}, 3, "causeway login URL first"},
		{"a server without a scheme", []string{"call", strings.TrimPrefix(url, "http://"), "add"}, 2, "begins with https:// or http://"},
		{"nothing there", []string{"call", "http://127.0.0.1:1/mcp", "add"}, 4, "causeway doctor http://127.0.0.1:1/mcp says more"},
		{"tools", []string{"tools", url}, 0, "add"},
		{"resources", []string{"resources", url}, 0, "demo://"},
		{"a picture", []string{"call", url, "picture", "-out", pictures}, 0, "picture-"},
		{"a resource", []string{"resources", url, "demo://board"}, 0, ""},
		{"a resource that is not there", []string{"resources", url, "demo://nothing"}, 1, "refuses"},
		{"prompts", []string{"prompts", url}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, errs := cli(t, tc.args...)
			text := out
			if tc.status != 0 {
				text = errs + out
			}
			if status != tc.status || !strings.Contains(text, tc.says) {
				t.Errorf("status %d, want %d\n%s\n%s", status, tc.status, out, errs)
			}
		})
	}
	if files, err := filepath.Glob(filepath.Join(pictures, "*.png")); err != nil || len(files) != 1 {
		t.Errorf("pictures %v %v", files, err)
	}
	_, out, _ := cli(t, "tools", "-json", url)
	var list struct {
		Tools []struct {
			InputSchema json.RawMessage `json:"inputSchema"`
		} `json:"tools"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Tools) == 0 || len(list.Tools[0].InputSchema) == 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDoctor(t *testing.T) {
	url := startOpen(t)
	status, out, _ := cli(t, "doctor", url)
	if status != 0 || !strings.Contains(out, "Clients can use it") || strings.Contains(out, "FAIL") {
		t.Errorf("status %d\n%s", status, out)
	}
	status, out, _ = cli(t, "doctor", "http://127.0.0.1:1/mcp", "--json")
	var report struct {
		Works bool `json:"works"`
		Steps []struct {
			Name, Verdict, Fix string
		} `json:"steps"`
	}
	if err := json.Unmarshal([]byte(out), &report); status != 1 || err != nil || report.Works || len(report.Steps) < 3 || report.Steps[2].Fix == "" {
		t.Errorf("status %d, %v\n%s", status, err, out)
	}
	if status, _, errs := cli(t, "doctor"); status != 2 || !strings.Contains(errs, "want one URL") {
		t.Errorf("status %d\n%s", status, errs)
	}
}
