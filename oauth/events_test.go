package oauth

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What may be beside a message in the log. None of it is ever a secret, a person or what a
// person wrote: ids of grants and clients, addresses of requests, counts, constant words.
var loggable = []string{
	"grant", "client", "resource", "reason", "kind", "path", "address", "err", "issuer", "used", "registered", "limit", "redirects", "type",
	"orphans", "listed", "unlisted", "renewed", "unreadable", "id", "document", "url", "status", "key", "age", "what", "holding", "redirect", "host", "all", "last_good",
}

// TestEveryEventIsInTheDocument keeps docs/security-events.md complete, messages constant
// and attributes few.
func TestEveryEventIsInTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/security-events.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllSubmatch(doc, -1) {
		listed[string(m[1])] = true
	}
	found := map[string]bool{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			collectEvents(t, e.Name(), found)
		}
	}
	if len(found) < 50 {
		t.Errorf("only %d events were found: this test looks for them in the wrong way", len(found))
	}
	for message := range found {
		if !listed[message] {
			t.Errorf("docs/security-events.md does not have %q", message)
		}
	}
	for message := range listed {
		if !found[message] {
			t.Errorf("docs/security-events.md has %q, which is never logged", message)
		}
	}
}

func collectEvents(t *testing.T, name string, found map[string]bool) {
	set := gotoken.NewFileSet()
	file, err := parser.ParseFile(set, name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			collectCall(t, set, n, found)
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == "event" && len(n.Rhs) > i {
					found["oauth: "+constant(t, set, n.Rhs[i])] = true
				}
			}
		}
		return true
	})
}

func collectCall(t *testing.T, set *gotoken.FileSet, call *ast.CallExpr, found map[string]bool) {
	if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "refused" {
		if event := constant(t, set, call.Args[1]); event != "" {
			found["oauth: "+event] = true
		}
		return
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"InfoContext", "WarnContext", "ErrorContext", "DebugContext", "Info", "Warn", "Error", "Debug"}, f.Sel.Name) {
		return
	}
	if x, ok := f.X.(*ast.SelectorExpr); (!ok || x.Sel.Name != "log") && !isIdent(f.X, "log") {
		return
	}
	args := call.Args
	if strings.HasSuffix(f.Sel.Name, "Context") {
		args = args[1:]
	}
	if sum, ok := args[0].(*ast.BinaryExpr); ok {
		if constant(t, set, sum.X) != "oauth: " || !strings.HasSuffix(source(sum.Y), ".event") {
			t.Errorf("%s: the message is not constant", set.Position(call.Pos()))
		}
	} else {
		found[constant(t, set, args[0])] = true
	}
	for i := 1; i < len(args); i += 2 {
		if key := constant(t, set, args[i]); !slices.Contains(loggable, key) {
			t.Errorf("%s: %q beside a message is not known to be harmless", set.Position(call.Pos()), key)
		}
	}
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func source(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return source(s.X) + "." + s.Sel.Name
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func constant(t *testing.T, set *gotoken.FileSet, e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != gotoken.STRING {
		t.Errorf("%s: want a constant text", set.Position(e.Pos()))
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
