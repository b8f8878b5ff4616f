package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

var program = regexp.MustCompile("(?s)```go\n(package main\n.*?)```")

// What a guide prints as a whole program is one.
func TestProgramsInTheGuidesOfTheBridgeCompile(t *testing.T) {
	for _, guide := range []string{"bridge.md", "connect.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", guide))
		if err != nil {
			t.Fatal(err)
		}
		all := program.FindAllSubmatch(text, -1)
		if len(all) == 0 {
			t.Errorf("%s has no program", guide)
		}
		for _, m := range all {
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, m[1], 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", guide, err, out)
			}
		}
	}
}
