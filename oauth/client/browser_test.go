package client

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The browser is a real process here: it says what its arguments were.
func TestAnAddressIsOneArgumentOfOneProcess(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the program that opens addresses has a fixed place here")
	}
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := "#!/bin/sh\n{ echo $#; for a in \"$@\"; do echo \"$a\"; done; } > " + said + ".new && mv " + said + ".new " + said + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":0")
	const address = "https://as.example/authorize?state=$(touch%20x);`id`&a=b|c&redirect_uri=http%3A%2F%2F127.0.0.1"
	if err := OpenBrowser(t.Context(), strings.ReplaceAll(address, "`", "%60")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	waitFor(t, "the browser", func() bool { got, _ = os.ReadFile(said); return got != nil })
	if want := "1\n" + strings.ReplaceAll(address, "`", "%60") + "\n"; string(got) != want {
		t.Errorf("the browser got %q, want %q", got, want)
	}
}

func TestABrowserOpensNothingElse(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, bad := range []string{
		"", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "ms-msdt:/id", "https://a.example/\" & calc & \"", "https://a.example/`id`", "https://a.example/\n",
		"https://a.example/a b", "--help", "https://u:p@a.example/", "https:a", `\\host\share`, "https://a.example/<x>", "vbscript:x", "search-ms:query=x",
	} {
		if err := OpenBrowser(t.Context(), bad); err == nil || !strings.Contains(err.Error(), ErrForbiddenAddress.Error()) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestWhatOpensABrowser(t *testing.T) {
	none := func(string) string { return "" }
	display := func(name string) string { return map[string]string{"DISPLAY": ":0"}[name] }
	for _, test := range []struct {
		goos string
		env  func(string) string
		want string
	}{
		{"windows", none, "rundll32 url.dll,FileProtocolHandler"}, {"darwin", none, "/usr/bin/open"}, {"linux", display, "xdg-open"}, {"linux", none, ""},
	} {
		got, err := browserCommand(test.goos, test.env)
		if strings.Join(got, " ") != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q (%v), want %q", test.goos, got, err, test.want)
		}
	}
}
