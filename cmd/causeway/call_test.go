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
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte("{\n  \"ä\": 2,\n  b: 40\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	marked := filepath.Join(t.TempDir(), "marked.json")
	if err := os.WriteFile(marked, []byte("\ufeff{\"a\": 2, \"b\": 40}\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(url, "/mcp")
	page := answering(t, http.StatusOK, "text/html", "<h1>Welcome</h1>")
	gone := answering(t, http.StatusNotFound, "text/plain", "no")
	ill := answering(t, http.StatusInternalServerError, "text/plain", "ill")
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	shut := answering(t, http.StatusForbidden, "text/plain", "shut")
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
		{"a tool that is not there", []string{"call", url, "nothing"}, 1, "refuses: unknown tool \"nothing\" (-32602). Run causeway tools " + url + " for all"},
		{"a tool that is misspelt", []string{"call", url, "book-tabel"}, 1, "Did you mean \"book_table\"? Run causeway tools " + url + " for all"},
		{"a prompt that is misspelt", []string{"prompts", url, "tripp"}, 1, "Did you mean \"trip\"? Run causeway prompts " + url + " for all"},
		{"a resource that is misspelt", []string{"resources", url, "demo://bord"}, 1, "Did you mean \"demo://board\"? Run causeway resources " + url + " for all"},
		{"the root of a server", []string{"call", base, "add"}, 4, base + " is no MCP endpoint: it answers 404 Not Found. " + base + "/mcp is one"},
		{"another path of a server", []string{"tools", base + "/nowhere/"}, 4, "404 Not Found. " + base + "/mcp is one"},
		{"the root of a server, with a secret", []string{"call", base + "?key=hush", "add"}, 4, "the URL is no MCP endpoint: it answers 404 Not Found. /mcp of the same server is one"},
		{"a web page", []string{"call", page, "add"}, 4, "it answers with text/html. Most are at /mcp, and nothing of the kind is there"},
		{"a web page at /mcp", []string{"call", page + "/mcp", "add"}, 4, "it answers with text/html. Check the path (causeway doctor " + page + "/mcp says more)"},
		{"nothing but 404", []string{"call", gone + "/mcp", "add"}, 4, "it answers 404 Not Found"},
		{"a server that is ill", []string{"call", ill + "/mcp", "add"}, 4, "the server answers 500 Internal Server Error"},
		{"a server that forbids it", []string{"call", shut + "/mcp", "add"}, 1, "the server answers 403 Forbidden"},
		{"https where there is none", []string{"call", "https" + strings.TrimPrefix(url, "http"), "add"}, 4, "does not speak TLS: use http://"},
		{"http where there is TLS", []string{"call", "http" + strings.TrimPrefix(secure.URL, "https") + "/mcp", "add"}, 4, "speaks TLS: begin the URL with https://"},
		{"a port that is none", []string{"call", "http://127.0.0.1:99999/mcp", "add"}, 2, "port 99999 is none: from 1 to 65535"},
		{"no host", []string{"call", "http:///mcp", "add"}, 2, "no host"},
		{"a file that is not there", []string{"call", url, "add", "@" + bad + "x"}, 2, bad + "x"},
		{"a file that is no JSON", []string{"call", url, "add", "@" + bad}, 2, bad + ": no JSON: line 3, character 3: invalid character 'b'"},
		{"a file with a byte order mark", []string{"call", url, "add", "@" + marked}, 0, "42"},
		{"arguments that are no object", []string{"call", url, "add", "[1]"}, 2, "must be one JSON object"},
		{"two values", []string{"call", url, "add", "{} {}"}, 2, "line 1, character 4: invalid character '{' after"},
		{"arguments that are cut", []string{"call", url, "add", `{"a": `}, 2, "line 1, character 6: unexpected end"},
		{"quotes that the shell kept", []string{"call", url, "add", `'{"a":`}, 2, "begin with a single quote"},
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

// answering is a server that answers everything alike.
func answering(t *testing.T, status int, kind, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestArgumentsFromStandardInput(t *testing.T) {
	url := startOpen(t)
	for _, tc := range []struct {
		name, in string
		status   int
		says     string
	}{
		{"an object", "{\"a\": 2,\n\"b\": 40}\n", 0, "42"},
		{"nothing", " \n", 2, "standard input is empty"},
		{"no JSON", "{\"a\": 2,\n}", 2, "standard input: no JSON: line 2, character 1: invalid character '}'"},
		{"no object", "42", 2, "must be one JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			status := exitCode(runCall(t.Context(), []string{url, "add", "-"}, strings.NewReader(tc.in), &out, &errs), &errs)
			if text := out.String() + errs.String(); status != tc.status || !strings.Contains(text, tc.says) {
				t.Errorf("status %d\n%s", status, text)
			}
		})
	}
}

// A tool that fails is no tool that is missing: nothing is suggested.
func TestOnlyWhatIsNotListedIsMisspelt(t *testing.T) {
	url := startOpen(t)
	if status, _, errs := cli(t, "call", url, "add", `{"a": "x"}`); status != 1 || strings.Contains(errs, "mean") || strings.Contains(errs, "causeway tools") {
		t.Errorf("status %d\n%s", status, errs)
	}
}

func TestHelpOfCallNamesItsExitStatuses(t *testing.T) {
	_, _, errs := cli(t, "call", "-h")
	for _, want := range []string{"0 it worked", "1 the tool", "2 the command line", "3 a sign-in", "4 "} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is not in\n%s", want, errs)
		}
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
