package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	link     = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	code     = regexp.MustCompile("(?s)```.*?```")
	testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+\b`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)\(`)
)

func TestLinksInThePapersLeadSomewhere(t *testing.T) {
	for _, paper := range papers(t) {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(paper.text, ""), -1) {
			to := m[1]
			if strings.Contains(to, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(paper.path), filepath.FromSlash(to))); err != nil {
				t.Errorf("%s links to %s, which is not there", paper.path, to)
			}
		}
	}
}

// A paper that names a test promises that it exists.
func TestTestsThatThePapersNameExist(t *testing.T) {
	exists := map[string]bool{}
	walk(t, func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(text, -1) {
				exists[m[1]] = true
			}
		}
	})
	for _, paper := range papers(t) {
		for _, name := range testName.FindAllString(paper.text, -1) {
			if !exists[name] {
				t.Errorf("%s names %s, which does not exist", paper.path, name)
			}
		}
	}
}

type paper struct{ path, text string }

func papers(t *testing.T) (found []paper) {
	walk(t, func(path, text string) {
		if strings.HasSuffix(path, ".md") && !strings.Contains(path, "/testdata/") {
			found = append(found, paper{path, text})
		}
	})
	if len(found) < 5 {
		t.Fatalf("found %d papers", len(found))
	}
	return found
}

// walk visits the papers and the Go tests of the repository.
func walk(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "results") {
			return filepath.SkipDir
		}
		if d.IsDir() || !(strings.HasSuffix(path, ".md") || strings.HasSuffix(path, "_test.go")) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			visit(filepath.ToSlash(path), string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
