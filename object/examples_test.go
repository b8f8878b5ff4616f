package object_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// shownWith are those that are shown by the example of another.
var shownWith = map[string]string{
	"Object_Kind": "Object_ID", "At": "Cron", "In": "Cron", "Every": "Cron",
	"Alarm_Decode": "Object_Alarms", "Job_Decode": "Object_Enqueue",
	"Tx_ExecContext": "Tx", "Tx_QueryContext": "Tx", "Tx_QueryRowContext": "Tx",
	"TooLargeError_Error": "Object_Update",
	"MigrateSQL":          "MigrateState", "MigrationError_Error": "MigrationError", "MigrationError_Unwrap": "MigrationError",
}

// Every exported function and method has a runnable example.
func TestEveryAPIHasAnExample(t *testing.T) {
	files, err := os.ReadDir(".")
	must(t, err)
	api, examples := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.SkipObjectResolution)
		must(t, err)
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case strings.HasSuffix(f.Name(), "_test.go"):
				if name, ok := strings.CutPrefix(fn.Name.Name, "Example"); ok {
					examples[name] = true
				}
			case fn.Name.IsExported() && fn.Recv == nil:
				api[fn.Name.Name] = true
			case fn.Name.IsExported():
				if on := receiver(fn.Recv.List[0].Type); ast.IsExported(on) {
					api[on+"_"+fn.Name.Name] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(api)) {
		if with, ok := shownWith[name]; ok && examples[with] {
			continue
		}
		if !examples[name] {
			t.Errorf("there is no Example%s", name)
		}
	}
	if len(api) < 30 {
		t.Errorf("only %d functions and methods were found", len(api))
	}
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
