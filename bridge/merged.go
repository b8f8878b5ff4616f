package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// merged makes several servers look like one. Tools and prompts get a prefix; resources
// keep their URIs, and whoever listed one first is asked for it.
type merged struct {
	b       *Bridge
	remotes []*remote

	mu        sync.Mutex
	uris      map[string]*remote
	templates []template
}

type template struct {
	prefix string // what stands before the first variable
	of     *remote
}

// separator stands between a server's name and that of its tool.
const separator = "__"

// mostMerged bounds what is gathered of one list.
const (
	mostMerged    = 20_000
	mostTemplates = 5_000
)

func newMerged(b *Bridge, remotes []*remote) (*merged, error) {
	seen := map[string]bool{}
	for i, r := range remotes {
		name := r.server.Name
		if name == "" {
			name = nameOf(r.w.url)
			for n := 2; seen[name]; n++ {
				name = fmt.Sprintf("%s%d", nameOf(r.w.url), n)
			}
		}
		switch {
		case seen[name]:
			return nil, fmt.Errorf("two servers are named %q", name)
		case !isPrefix(name):
			return nil, fmt.Errorf("the server's name %q: letters, digits, - and single _ can be put before a tool's name", clip(name, 60))
		}
		seen[name] = true
		remotes[i].name = name
	}
	return &merged{b: b, remotes: remotes, uris: map[string]*remote{}}, nil
}

// nameOf makes a name of a host: of mcp.example.com, example.
func nameOf(u *url.URL) string {
	host := u.Hostname()
	parts := strings.Split(host, ".")
	name := parts[0]
	if len(parts) > 1 && !isLoopback(host) {
		name = parts[len(parts)-2]
	}
	name = strings.Map(func(r rune) rune {
		if isPrefix(string(r)) {
			return r
		}
		return '-'
	}, name)
	if strings.Trim(name, "-") == "" || isLoopback(host) {
		name = "local"
	}
	return name
}

func isPrefix(name string) bool {
	if name == "" || len(name) > 40 || strings.Contains(name, separator) || strings.HasSuffix(name, "_") {
		return name == "_"
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// handle answers a request of the host.
func (m *merged) handle(c *call) {
	line, err := m.answer(c.ctx, c)
	switch {
	case err != nil:
		c.fail(err)
	case line != nil:
		c.answer(line)
	}
}

func (m *merged) answer(ctx context.Context, c *call) ([]byte, error) {
	switch c.method {
	case "tools/list":
		return m.list(ctx, c, "tools")
	case "prompts/list":
		return m.list(ctx, c, "prompts")
	case "resources/list":
		return m.list(ctx, c, "resources")
	case "resources/templates/list":
		return m.list(ctx, c, "resourceTemplates")
	case "tools/call", "prompts/get":
		return m.named(ctx, c)
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		uri, _ := jsonrpc.String(c.p.URI)
		return m.owned(ctx, c, uri)
	case "completion/complete":
		return m.complete(ctx, c)
	case "logging/setLevel":
		return m.everywhere(ctx, c)
	case "subscriptions/listen":
		return nil, m.listen(ctx, c)
	default:
		return nil, refusal(jsonrpc.CodeMethodNotFound, clip(c.method, 60)+" cannot be asked of several servers at once")
	}
}

// to derives the call that goes to one server: the same, with other params.
func (c *call) to(params []byte) *call {
	sub := &call{id: c.id, method: c.method, params: params, line: jsonrpc.AppendRequest(nil, c.id, c.method, params),
		meta: c.meta, modern: c.modern, ctx: c.ctx, cancel: c.cancel, write: c.write, outer: c}
	sub.p, _ = jsonrpc.ParseParams(params)
	return sub
}

// named passes on a call of a tool or prompt whose name tells the server.
func (m *merged) named(ctx context.Context, c *call) ([]byte, error) {
	full, _ := jsonrpc.String(c.p.Name)
	prefix, name, ok := strings.Cut(full, separator)
	if ok {
		for _, r := range m.remotes {
			if r.name == prefix {
				return r.answer(ctx, c.to(with(c.params, pair{"name", quoted(name)})))
			}
		}
	}
	return nil, refusal(jsonrpc.CodeInvalidParams, fmt.Sprintf("unknown name %q: it must begin with that of a server and %s", clip(full, 100), separator))
}

// owned passes on a request about a resource.
func (m *merged) owned(ctx context.Context, c *call, uri string) ([]byte, error) {
	if r := m.owner(uri); r != nil {
		return r.answer(ctx, c)
	}
	var line []byte
	var err error
	for _, r := range m.remotes { // nobody listed it: the first that knows it
		if line, err = r.answer(ctx, c); err == nil && !isError(line) {
			return line, nil
		}
	}
	return line, err
}

func (m *merged) owner(uri string) *remote {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.uris[uri]; r != nil {
		return r
	}
	var found template
	for _, t := range m.templates {
		if strings.HasPrefix(uri, t.prefix) && len(t.prefix) > len(found.prefix) {
			found = t
		}
	}
	return found.of
}

func isError(line []byte) bool {
	msg, err := jsonrpc.Parse(line, jsonrpc.Limits{})
	return err != nil || msg.Error != nil
}

func (m *merged) complete(ctx context.Context, c *call) ([]byte, error) {
	ref := member(c.params, "ref")
	if uri, ok := jsonrpc.String(member(ref, "uri")); ok {
		return m.owned(ctx, c, uri)
	}
	full, _ := jsonrpc.String(member(ref, "name"))
	prefix, name, _ := strings.Cut(full, separator)
	for _, r := range m.remotes {
		if r.name == prefix {
			return r.answer(ctx, c.to(with(c.params, pair{"ref", with(ref, pair{"name", quoted(name)})})))
		}
	}
	return nil, refusal(jsonrpc.CodeInvalidParams, fmt.Sprintf("unknown prompt %q", clip(full, 100)))
}

// everywhere passes a request on to all servers that are there.
func (m *merged) everywhere(ctx context.Context, c *call) ([]byte, error) {
	m.each(ctx, func(ctx context.Context, r *remote) {
		if _, err := r.answer(ctx, c); err != nil {
			m.b.log.Debug("a server did not take a request for all", "server", r.w.url.Host, "error", err)
		}
	})
	return jsonrpc.AppendResult(nil, c.id, []byte(`{}`)), nil
}

// each runs f for every server at once, and waits. One that waits for a sign-in must not
// keep the others from being useful: it gets as long as initialize would.
func (m *merged) each(ctx context.Context, f func(context.Context, *remote)) {
	var wg sync.WaitGroup
	for _, r := range m.remotes {
		wg.Go(func() {
			short, cancel := context.WithTimeout(ctx, m.b.opts.InitializeWait)
			_, err := r.open(short)
			cancel()
			if err == nil {
				f(ctx, r)
			}
		})
	}
	wg.Wait()
}

// list gathers all pages of a list from all servers into one page.
func (m *merged) list(ctx context.Context, c *call, field string) ([]byte, error) {
	gathered := make([][][]byte, len(m.remotes))
	errs := make([]error, len(m.remotes))
	m.each(ctx, func(ctx context.Context, r *remote) {
		for i, other := range m.remotes {
			if other == r {
				gathered[i], errs[i] = m.pages(ctx, r, c, field)
			}
		}
	})
	var all [][]byte
	for i, r := range m.remotes {
		if errs[i] != nil {
			m.b.log.Warn("a server's list is left out", "server", r.w.url.Host, "list", field, "error", errs[i])
			continue
		}
		for _, element := range gathered[i] {
			if len(all) < mostMerged {
				all = append(all, m.renamed(r, field, element))
			}
		}
	}
	result := with(nil, pair{field, array(all)})
	if c.modern {
		result = completed(c.method, result)
	}
	return jsonrpc.AppendResult(nil, c.id, result), nil
}

func (m *merged) pages(ctx context.Context, r *remote, c *call, field string) ([][]byte, error) {
	var all [][]byte
	var cursor []byte
	for range 200 {
		line, err := r.answer(ctx, c.to(with(c.params, pair{"cursor", cursor})))
		if err != nil {
			return nil, err
		}
		msg, err := jsonrpc.Parse(line, jsonrpc.Limits{})
		if err != nil {
			return nil, err
		}
		if msg.Error != nil {
			if e, _ := jsonrpc.ParseErrorObject(msg.Error); e.Code == jsonrpc.CodeMethodNotFound {
				return nil, nil // it has none
			}
			return nil, rejected(msg.Error)
		}
		list, err := elements(member(msg.Result, field))
		if err != nil {
			return nil, fmt.Errorf("the answer to %s: %w", c.method, err)
		}
		all = append(all, list...)
		if cursor = member(msg.Result, "nextCursor"); jsonrpc.IsNull(cursor) {
			return all, nil
		}
		if len(all) > mostMerged {
			break
		}
	}
	return nil, errors.New("the list does not end")
}

// renamed is an element of a list as the host sees it.
func (m *merged) renamed(r *remote, field string, element []byte) []byte {
	switch field {
	case "tools", "prompts":
		name, _ := jsonrpc.String(member(element, "name"))
		return with(element, pair{"name", quoted(r.name + separator + name)})
	case "resources":
		if uri, ok := jsonrpc.String(member(element, "uri")); ok {
			m.mu.Lock()
			if m.uris[uri] == nil && len(m.uris) < mostMerged {
				m.uris[uri] = r
			}
			m.mu.Unlock()
		}
	case "resourceTemplates":
		if uri, ok := jsonrpc.String(member(element, "uriTemplate")); ok {
			prefix, _, _ := strings.Cut(uri, "{")
			m.mu.Lock()
			if t := (template{prefix, r}); len(m.templates) < mostTemplates && !m.knows(t) {
				m.templates = append(m.templates, t)
			}
			m.mu.Unlock()
		}
	}
	return element
}

func (m *merged) knows(t template) bool {
	for _, known := range m.templates {
		if known == t {
			return true
		}
	}
	return false
}

// listen serves a subscription of a 2026-07-28 host from all servers.
func (m *merged) listen(ctx context.Context, c *call) error {
	want, err := parseListen(c)
	if err != nil {
		return err
	}
	held := map[string]*remote{}
	for uri := range want.uris {
		r := m.owner(uri)
		if r == nil || !m.subscribe(ctx, r, uri, true) {
			delete(want.uris, uri)
			continue
		}
		held[uri] = r
	}
	m.b.listeners.add(want)
	c.write(want.acknowledgement())
	m.b.opened(c)
	<-ctx.Done()
	m.b.listeners.remove(want)
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTime)
	defer cancel()
	for uri, r := range held {
		m.subscribe(short, r, uri, false)
	}
	return context.Cause(ctx)
}

func (m *merged) subscribe(ctx context.Context, r *remote, uri string, on bool) bool {
	l, err := r.open(ctx)
	switch {
	case err != nil || m.b.life.Err() != nil:
		return false
	case l.modern():
		return r.subscribe(ctx, l, uri, on) == nil
	case on:
		return r.refer(ctx, l, uri)
	}
	r.release(l, uri)
	return true
}

// about is what the servers are together, as far as it is known by now.
func (m *merged) about(attempts []*attempt) about {
	kinds := []string{"tools", "prompts", "resources", "logging", "completions"}
	found := map[string]bool{}
	var instructions []string
	for i, r := range m.remotes {
		var a about
		if l, _ := attempts[i].state(); l != nil {
			a = l.about()
		} else if known, ok := m.b.cache.about(r.server.URL); ok {
			a = known
		} else {
			a = guessed(r)
		}
		for _, kind := range kinds {
			found[kind] = found[kind] || has(a.capabilities, kind)
		}
		found["subscribe"] = found["subscribe"] || isTrue(at(a.capabilities, "resources", "subscribe"))
		if text, ok := jsonrpc.String(a.instructions); ok && text != "" {
			instructions = append(instructions, "About the tools that begin with "+r.name+separator+":\n"+text)
		}
	}
	var caps []pair
	for _, kind := range kinds {
		value := `{}`
		switch {
		case !found[kind]:
			continue
		case kind == "resources" && found["subscribe"]:
			value = `{"listChanged":true,"subscribe":true}`
		case kind == "tools" || kind == "prompts" || kind == "resources":
			value = `{"listChanged":true}`
		}
		caps = append(caps, pair{kind, []byte(value)})
	}
	a := about{version: v20251125, capabilities: with(nil, caps...),
		info: []byte(`{"name":"causeway-connect","title":"Several servers through Causeway","version":"1"}`)}
	if instructions != nil {
		a.instructions = quoted(strings.Join(instructions, "\n\n"))
	}
	return a
}

func (m *merged) initialized(in *intro, attempts []*attempt) []byte {
	return initializeResult(in, m.about(attempts))
}

func (m *merged) discovered(attempts []*attempt) []byte { return discoverResult(m.about(attempts)) }
