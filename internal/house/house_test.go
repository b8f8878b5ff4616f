package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestNoImportRunsUpTheHouse(t *testing.T) {
	for _, v := range Violations(Plan, allPackages(t)) {
		t.Error(v)
	}
}

// Every module that a package of ours imports has its reason in the papers.
func TestEveryDependencyIsNamedWithItsReason(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mod), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") || strings.Contains(string(reasons), "`"+fields[0]+"`") {
			continue
		}
		for _, p := range allPackages(t) {
			for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
				if imp == fields[0] || strings.HasPrefix(imp, fields[0]+"/") {
					t.Errorf("%s imports %s, and docs/dependencies.md does not say why", p.ImportPath, fields[0])
				}
			}
		}
	}
}

func allPackages(t *testing.T) []Package {
	t.Helper()
	packages, err := listOnce()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

var listOnce = sync.OnceValues(func() (packages []Package, err error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", Module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list says: %w", err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 5 {
		return nil, fmt.Errorf("go list found %d packages", len(packages))
	}
	return packages, nil
})

// The check itself: it must find each kind of bad edge, and leave good ones alone.
func TestBadImportsAreFound(t *testing.T) {
	m := func(path string) string { return Module + "/" + path }
	for _, tc := range []struct {
		name string
		pkg  Package
		want string // in the violation; none if empty
	}{
		{"down the house", Package{ImportPath: Module, Imports: []string{m("mcphttp"), "net/http"}}, ""},
		{"within a room", Package{ImportPath: m("store/local"), Imports: []string{m("store")}}, ""},
		{"a library", Package{ImportPath: m("mcphttp"), Imports: []string{mcpSDK + "go-sdk/mcp"}}, ""},
		{"up the house", Package{ImportPath: m("mcphttp"), Imports: []string{Module}}, "no arrow from mcphttp to ."},
		{"from the wire to sign-in", Package{ImportPath: m("mcphttp"), Imports: []string{m("oauth")}}, "no arrow from mcphttp to oauth"},
		{"from objects to the wire", Package{ImportPath: m("object"), Imports: []string{m("mcphttp")}}, "no arrow from object to mcphttp"},
		{"from objects to MCP", Package{ImportPath: m("object"), Imports: []string{mcpSDK + "go-sdk/mcp"}}, "must not know"},
		{"from a store to MCP", Package{ImportPath: m("store/local"), Imports: []string{mcpSDK + "go-sdk/jsonrpc"}}, "must not know"},
		{"of the bridge by the face", Package{ImportPath: Module, Imports: []string{m("bridge")}}, "no arrow from . to bridge"},
		{"of the playground by an example", Package{ImportPath: m("examples/x"), Imports: []string{m("playground")}}, "no arrow"},
		{"of the command", Package{ImportPath: m("bridge"), Imports: []string{m("cmd/causeway/demo")}}, "no arrow from bridge to cmd"},
		{"of an example", Package{ImportPath: m("bridge"), Imports: []string{m("examples/minimal")}}, "no arrow"},
		{"of an opt-in store by the face", Package{ImportPath: Module, Imports: []string{m("store/nats")}}, "no arrow from . to store/nats"},
		{"in a test", Package{ImportPath: m("store"), TestImports: []string{m("object")}}, "no arrow from store to object"},
		{"of its user, in an external test", Package{ImportPath: m("store"), XTestImports: []string{m("object")}}, ""},
		{"of a stranger, in an external test", Package{ImportPath: m("mcphttp"), XTestImports: []string{m("oauth")}}, "no arrow from mcphttp to oauth"},
		{"of a room that is not there", Package{ImportPath: m("mcphttp"), Imports: []string{m("util")}}, "no room of the plan"},
		{"in a room that is not there", Package{ImportPath: m("util")}, "in no room of the plan"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found := strings.Join(Violations(Plan, []Package{tc.pkg}), "\n")
			if tc.want == "" && found != "" {
				t.Errorf("found %s", found)
			}
			if tc.want != "" && !strings.Contains(found, tc.want) {
				t.Errorf("found %q, want one that says %q", found, tc.want)
			}
		})
	}
}

// Arrows go one way: no two rooms may import each other, by whatever way round.
func TestThePlanHasNoCircle(t *testing.T) {
	arrows := map[string][]string{}
	for _, r := range Plan {
		arrows[r.Path] = r.Imports
	}
	var visit func(path string, on []string)
	visit = func(path string, on []string) {
		for _, p := range on {
			if p == path {
				t.Fatalf("a circle: %v → %s", on, path)
			}
		}
		for _, to := range arrows[path] {
			if _, ok := arrows[to]; !ok {
				t.Errorf("%s may import %s, which is no room", path, to)
			}
			visit(to, append(on[:len(on):len(on)], path))
		}
	}
	for path := range arrows {
		visit(path, nil)
	}
}
