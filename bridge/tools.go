package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/paramheader"
)

// A toolFilter says which tools a host may see and call.
type toolFilter struct {
	allow, ignore []string // patterns: * stands for any text, case does not matter
	readOnly      bool
}

func (f *toolFilter) any() bool { return f.readOnly || len(f.allow)+len(f.ignore) > 0 }

// named reports whether a tool's name passes; a read-only filter looks at the tool as well.
// With several servers the patterns may be of the name with its prefix or without.
func (f *toolFilter) named(server, name string) bool {
	return (len(f.allow) == 0 || matchesAny(f.allow, server, name)) && !matchesAny(f.ignore, server, name)
}

func matchesAny(patterns []string, server, name string) bool {
	for _, p := range patterns {
		p := strings.ToLower(p)
		if matches(p, strings.ToLower(name)) || server != "" && matches(p, strings.ToLower(server+separator+name)) {
			return true
		}
	}
	return false
}

// matches holds a name against a pattern in which only * is special.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return true
}

// CheckPattern says what is wrong with a pattern for tools; nil if nothing.
func CheckPattern(pattern string) error {
	if pattern == "" || strings.ContainsAny(pattern, "?[]{}\\") {
		return fmt.Errorf("the pattern %q: only * stands for any text, all else is meant as it is", pattern)
	}
	return nil
}

// A tool is what the bridge has to know of one.
type tool struct {
	mirrored  []paramheader.Binding
	invalid   error // why clients of 2026-07-28 must not see it
	readOnly  bool
	resending bool // may be called twice
}

// toolIndex remembers the tools that a server listed.
type toolIndex struct {
	mu    sync.Mutex
	tools map[string]tool
	// whole says that all pages were seen since the last change.
	whole bool
}

const mostTools = 20_000

func (x *toolIndex) forget() {
	x.mu.Lock()
	x.tools, x.whole = nil, false
	x.mu.Unlock()
}

func (x *toolIndex) get(name string) (t tool, known, whole bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t, known = x.tools[name]
	return t, known, x.whole
}

// listed reads a result of tools/list and returns it without the tools that keep refuses.
// The bytes of those that stay are not touched.
func (x *toolIndex) listed(result []byte, keep func(name string, t tool) bool) ([]byte, error) {
	raw := member(result, "tools")
	if raw == nil {
		return nil, errors.New("the answer to tools/list has no tools")
	}
	list, err := elements(raw)
	if err != nil {
		return nil, fmt.Errorf("the tools in the answer to tools/list: %w", err)
	}
	found := make(map[string]tool, len(list))
	kept := list[:0:0]
	for _, element := range list {
		name, t, err := parseTool(element)
		if err != nil {
			return nil, err
		}
		found[name] = t
		if keep(name, t) {
			kept = append(kept, element)
		}
	}
	x.add(found)
	if len(kept) == len(list) {
		return result, nil
	}
	return with(result, pair{"tools", array(kept)}), nil
}

func (x *toolIndex) add(found map[string]tool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tools == nil || len(x.tools)+len(found) > mostTools {
		x.tools = found
		return
	}
	for name, t := range found {
		x.tools[name] = t
	}
}

func parseTool(raw []byte) (string, tool, error) {
	var t tool
	var name string
	var named bool
	if !jsonrpc.IsObject(raw) {
		return "", t, errors.New("the answer to tools/list has a tool that is not an object")
	}
	err := jsonrpc.ScanObject(raw, func(n, value []byte) error {
		switch string(n) {
		case "name":
			name, named = jsonrpc.String(value)
		case "annotations":
			t.readOnly = isTrue(member(value, "readOnlyHint"))
			t.resending = t.readOnly || isTrue(member(value, "idempotentHint"))
		case "inputSchema":
			if strings.Contains(string(value), paramheader.Keyword) {
				t.mirrored, t.invalid = paramheader.Bindings(json.RawMessage(value))
			}
		}
		return nil
	})
	if err == nil && !named {
		err = errors.New("the answer to tools/list has a tool without a name")
	}
	return name, t, err
}

// fetchTools lists all tools of a server for the bridge's own use.
func (r *remote) fetchTools(ctx context.Context, l link) error {
	var cursor []byte
	for range 200 { // pages; a server that never ends them is left after that
		params := with(nil, pair{"cursor", cursor})
		if l.modern() {
			params = r.stamped(params)
		}
		d, err := l.call(ctx, newOutgoing(r.b.nextID(), "tools/list", params, nil))
		if err != nil {
			return err
		}
		if d.msg.Error != nil {
			return rejected(d.msg.Error)
		}
		if _, err := r.tools.listed(d.msg.Result, func(string, tool) bool { return true }); err != nil {
			return err
		}
		if cursor = member(d.msg.Result, "nextCursor"); jsonrpc.IsNull(cursor) {
			break
		}
	}
	r.tools.mu.Lock()
	r.tools.whole = true
	r.tools.mu.Unlock()
	return nil
}

// tool finds what is known of a tool, asking the server if nothing is.
func (r *remote) tool(ctx context.Context, l link, name string) (tool, error) {
	t, known, whole := r.tools.get(name)
	if known || whole {
		return t, nil
	}
	if err := r.fetchTools(ctx, l); err != nil {
		return tool{}, fmt.Errorf("learning of the tool before its first call: %w", err)
	}
	t, _, _ = r.tools.get(name)
	return t, nil
}
