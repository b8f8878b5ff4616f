// Package house knows the plan of this repository: which room may import which. Its
// test fails when an import runs up the house, or when a room is not on the plan.
// The plan in words is docs/architecture.md.
package house

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the import path of the repository.
const Module = "github.com/causeway-mcp/causeway"

// A Room is a folder and what is under it, except for rooms of their own in there.
type Room struct {
	// Path is relative to the module; "." is the face, the root package alone.
	Path string
	// Imports are the rooms it may import, besides itself.
	Imports []string
	// Never are prefixes of import paths outside the module that it must not know.
	Never []string
}

const (
	mcpSDK    = "github.com/modelcontextprotocol/"
	websocket = "github.com/coder/websocket"
)

// Plan lists the rooms from the top of the house to its foundation. Whatever is not
// allowed here is forbidden.
var Plan = []Room{
	// Nothing imports these.
	{Path: "cmd", Imports: []string{"playground", "bridge", "examples", ".", "internal/person", "acme", "otel", "oauth", "oauth/login", "oauth/client", "mcphttp", "object", "store", "store/nats", "store/postgres", "internal"}},
	{Path: "examples", Imports: []string{".", "internal/person", "acme", "otel", "oauth", "oauth/login", "mcphttp", "object", "store", "store/nats", "store/postgres"}},
	{Path: "conformance", Imports: []string{".", "oauth", "oauth/login", "oauth/client", "mcphttp", "object", "store"}},

	// Only cmd imports these.
	{Path: "playground", Imports: []string{".", "bridge", "oauth/client", "mcphttp", "store", "internal"}},
	{Path: "bridge", Imports: []string{".", "oauth", "oauth/client", "mcphttp", "object", "store", "internal"}},

	{Path: ".", Imports: []string{"oauth", "oauth/login", "mcphttp", "object", "store", "internal", "internal/person"}},

	// Opt-in: who does not import them does not pay for them.
	{Path: "acme", Imports: []string{"store", "internal"}},
	{Path: "otel", Imports: []string{"oauth", "mcphttp", "object", "store", "internal"}},

	{Path: "oauth/login", Imports: []string{"oauth", "internal"}},
	{Path: "oauth", Imports: []string{"oauth/internal/outward", "store", "internal"}},
	{Path: "oauth/client", Imports: []string{"oauth/internal/outward", "store", "internal"}},
	{Path: "oauth/internal/outward"},
	// The seam between the wire and sign-in is auth.TokenInfo in the context.
	{Path: "mcphttp", Imports: []string{"store", "internal"}},

	// These know nothing of MCP.
	{Path: "object", Imports: []string{"store", "internal"}, Never: []string{mcpSDK, websocket}},
	{Path: "store/nats", Imports: []string{"store", "internal"}, Never: []string{mcpSDK, websocket}},
	{Path: "store/postgres", Imports: []string{"store", "internal"}, Never: []string{mcpSDK, websocket}},
	{Path: "store", Imports: []string{"internal"}, Never: []string{mcpSDK, websocket}},

	// A person with a browser, for tests.
	{Path: "internal/person"},
	{Path: "internal"},
}

// A Package is what `go list` says of one.
type Package struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// Violations says which imports break the plan.
func Violations(plan []Room, packages []Package) []string {
	var found []string
	for _, p := range packages {
		room, ok := roomOf(plan, p.ImportPath)
		if !ok {
			found = append(found, fmt.Sprintf("%s is in no room of the plan", p.ImportPath))
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports) {
			if why := room.forbids(plan, imp); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imp, why))
			}
		}
		for _, imp := range p.XTestImports {
			// An external test shows a room in the hands of those who may use it.
			if user, ok := roomOf(plan, imp); ok && inModule(imp) && slices.Contains(user.Imports, room.Path) {
				continue
			}
			if why := room.forbids(plan, imp); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imp, why))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (r Room) forbids(plan []Room, imp string) string {
	for _, never := range r.Never {
		if strings.HasPrefix(imp, never) {
			return fmt.Sprintf("%s must not know it", r.Path)
		}
	}
	if !inModule(imp) {
		return ""
	}
	to, ok := roomOf(plan, imp)
	if !ok {
		return "no room of the plan"
	}
	if to.Path == r.Path || slices.Contains(r.Imports, to.Path) {
		return ""
	}
	return fmt.Sprintf("the plan has no arrow from %s to %s", r.Path, to.Path)
}

// roomOf finds the innermost room of a package.
func roomOf(plan []Room, importPath string) (room Room, ok bool) {
	path := "."
	if importPath != Module {
		path = strings.TrimPrefix(importPath, Module+"/")
	}
	for _, r := range plan {
		if (path == r.Path || strings.HasPrefix(path, r.Path+"/")) && len(r.Path) > len(room.Path) {
			room, ok = r, true
		}
	}
	return room, ok
}

func inModule(importPath string) bool {
	return importPath == Module || strings.HasPrefix(importPath, Module+"/")
}
