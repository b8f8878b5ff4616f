package causeway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// handleArgument is the name of the argument, and of the query parameter of
// resource URIs, in which clients give a handle back.
const handleArgument = "handle"

const handleHelp = "Goes on with what an earlier call began: the handle that its result gave. Leave it out to start anew."

// A slot holds the handle of one request: the one that came with it, or the one
// that was made because the handler asked for its object without.
type slot struct {
	mu     sync.Mutex
	id     string // the object's; "" while there is none
	handle string // made here, "" if it came with the request
}

type slotKey struct{ st *storage }

type handledKey struct{ agent any }

// handleOf is the object id behind the request's handle, which is made if there is
// none.
func (st *storage) handleOf(ctx context.Context) string {
	s, _ := ctx.Value(slotKey{st}).(*slot)
	if s == nil {
		// Not a tool, resource or prompt that has handles: nobody could be told it, so
		// the object is for this request alone.
		return rand.Text()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == "" {
		s.id = rand.Text()
		s.handle = st.signHandle(s.id)
	}
	return s.id
}

// A handle is an object id of 130 random bits with a signature of 130 bits.
func (st *storage) signHandle(id string) string {
	mac := hmac.New(sha256.New, st.secret)
	fmt.Fprintf(mac, "handle\x00%s", id)
	return id + "." + base32.StdEncoding.EncodeToString(mac.Sum(nil))[:26]
}

// openHandle checks a handle that came from outside.
func (st *storage) openHandle(handle string) (id string, err error) {
	id, _, ok := strings.Cut(handle, ".")
	if !ok || len(handle) > 100 || !hmac.Equal([]byte(st.signHandle(id)), []byte(handle)) {
		return "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams,
			Message: "handle: not one of this server's; leave it out to start anew, and use the one the answer gives"}
	}
	return id, nil
}

// handles is receiving middleware that takes handles out of requests and puts new
// ones into results. It does nothing for requests that need none.
func (a *Agent[State]) handles(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		st, kind := a.kind(ctx)
		if kind == nil || !needsHandle(ctx, a.Scope) || ctx.Value(handledKey{a}) != nil {
			return next(ctx, method, req)
		}
		// A server that is mounted twice has this middleware twice.
		ctx = context.WithValue(ctx, handledKey{a}, true)
		switch r := req.(type) {
		case *mcp.ListToolsRequest:
			res, err := next(ctx, method, req)
			if list, ok := res.(*mcp.ListToolsResult); ok && err == nil {
				return st.withHandleArgument(list, a.Tools)
			}
			return res, err
		case *mcp.CallToolRequest:
			if a.Tools != nil && !slices.Contains(a.Tools, r.Params.Name) {
				return next(ctx, method, req)
			}
			return st.callWithHandle(ctx, next, r)
		case *mcp.ReadResourceRequest:
			return st.readWithHandle(ctx, next, r)
		case *mcp.ListPromptsRequest:
			res, err := next(ctx, method, req)
			if list, ok := res.(*mcp.ListPromptsResult); ok && err == nil {
				return withHandlePrompts(list, a.promptTakesHandle)
			}
			return res, err
		case *mcp.GetPromptRequest:
			if !a.promptTakesHandle(r.Params.Name) {
				return next(ctx, method, req)
			}
			return st.promptWithHandle(ctx, next, r)
		}
		return next(ctx, method, req)
	}
}

func (st *storage) callWithHandle(ctx context.Context, next mcp.MethodHandler, r *mcp.CallToolRequest) (mcp.Result, error) {
	s := new(slot)
	if len(r.Params.Arguments) > 0 {
		var args map[string]json.RawMessage
		if err := json.Unmarshal(r.Params.Arguments, &args); err == nil {
			if raw, ok := args[handleArgument]; ok {
				var handle string
				if err := json.Unmarshal(raw, &handle); err != nil {
					return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "handle: must be a string"}
				}
				var err error
				if handle != "" {
					if s.id, err = st.openHandle(handle); err != nil {
						return nil, err
					}
				}
				p := *r.Params
				if p.Arguments, err = withoutHandle(r.Params.Arguments, args); err != nil {
					return nil, err
				}
				r = &mcp.CallToolRequest{Session: r.Session, Params: &p, Extra: r.Extra}
			}
		}
	}
	res, err := next(context.WithValue(ctx, slotKey{st}, s), "tools/call", r)
	out, ok := res.(*mcp.CallToolResult)
	if err != nil || !ok || out == nil || out.InputRequests != nil {
		return res, err
	}
	s.mu.Lock()
	handle := s.handle
	s.mu.Unlock()
	if handle == "" {
		return res, nil
	}
	told := *out // the handler may keep its own
	told.Content = append(slices.Clone(out.Content), handleText(handle))
	told.Meta = withHandle(out.Meta, handle)
	return &told, nil
}

// handleText tells a model of a handle.
func handleText(handle string) *mcp.TextContent {
	return &mcp.TextContent{Text: fmt.Sprintf("handle: %s\n(Give it as the argument %q in further calls to go on from here.)", handle, handleArgument)}
}

// withoutHandle writes the arguments again without the handle. Members keep their
// text; their order has no meaning.
func withoutHandle(raw json.RawMessage, args map[string]json.RawMessage) (json.RawMessage, error) {
	delete(args, handleArgument)
	if len(args) == 0 {
		return json.RawMessage(`{}`), nil
	}
	return json.Marshal(args)
}

// promptTakesHandle tells whether the prompt is one of those that use the object. Agents
// that name their tools may share a server, whose prompts cannot be everybody's.
func (a *Agent[State]) promptTakesHandle(name string) bool {
	if a.Prompts == nil {
		return a.Tools == nil
	}
	return slices.Contains(a.Prompts, name)
}

// promptWithHandle is callWithHandle for prompts. What it answers goes to a model that may
// not have seen the handle yet, so it is told of it also when it came with the request;
// before everything else, for the last word is the author's.
func (st *storage) promptWithHandle(ctx context.Context, next mcp.MethodHandler, r *mcp.GetPromptRequest) (mcp.Result, error) {
	s := new(slot)
	handle, given := r.Params.Arguments[handleArgument]
	if given {
		if handle != "" {
			var err error
			if s.id, err = st.openHandle(handle); err != nil {
				return nil, err
			}
		}
		p := *r.Params
		p.Arguments = maps.Clone(p.Arguments)
		delete(p.Arguments, handleArgument)
		r = &mcp.GetPromptRequest{Session: r.Session, Params: &p, Extra: r.Extra}
	}
	res, err := next(context.WithValue(ctx, slotKey{st}, s), "prompts/get", r)
	out, ok := res.(*mcp.GetPromptResult)
	if err != nil || !ok || out == nil || out.InputRequests != nil {
		return res, err
	}
	s.mu.Lock()
	if s.handle != "" {
		handle = s.handle
	}
	s.mu.Unlock()
	if handle == "" {
		return res, nil
	}
	told := *out
	told.Messages = append([]*mcp.PromptMessage{{Role: "user", Content: handleText(handle)}}, out.Messages...)
	told.Meta = withHandle(out.Meta, handle)
	return &told, nil
}

// withHandlePrompts shows the prompts that take one with the optional argument.
func withHandlePrompts(list *mcp.ListPromptsResult, takes func(name string) bool) (mcp.Result, error) {
	out := *list
	out.Prompts = slices.Clone(list.Prompts)
	for i, prompt := range out.Prompts {
		if !takes(prompt.Name) {
			continue
		}
		if slices.ContainsFunc(prompt.Arguments, func(a *mcp.PromptArgument) bool { return a.Name == handleArgument }) {
			return nil, fmt.Errorf("prompt %q: it has an argument called %q itself, which this agent's Scope needs", prompt.Name, handleArgument)
		}
		with := *prompt
		with.Arguments = append(slices.Clone(prompt.Arguments), &mcp.PromptArgument{Name: handleArgument, Description: handleHelp})
		out.Prompts[i] = &with
	}
	return &out, nil
}

func (st *storage) readWithHandle(ctx context.Context, next mcp.MethodHandler, r *mcp.ReadResourceRequest) (mcp.Result, error) {
	s := new(slot)
	asked := r.Params.URI
	plain, handle, err := cutHandle(asked)
	if err != nil {
		return nil, err
	}
	if handle != "" {
		if s.id, err = st.openHandle(handle); err != nil {
			return nil, err
		}
	}
	if plain != asked {
		p := *r.Params
		p.URI = plain
		r = &mcp.ReadResourceRequest{Session: r.Session, Params: &p, Extra: r.Extra}
	}
	res, err := next(context.WithValue(ctx, slotKey{st}, s), "resources/read", r)
	out, ok := res.(*mcp.ReadResourceResult)
	if err != nil || !ok || out == nil || out.InputRequests != nil {
		return res, err
	}
	told := *out
	told.Contents = make([]*mcp.ResourceContents, len(out.Contents))
	for i, c := range out.Contents {
		if c != nil && c.URI == plain {
			as := *c
			as.URI = asked
			c = &as
		}
		told.Contents[i] = c
	}
	told.CacheScope = "private"
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != "" {
		told.Meta = withHandle(out.Meta, s.handle)
	}
	return &told, nil
}

// cutHandle takes the handle out of a resource URI.
func cutHandle(uri string) (plain, handle string, err error) {
	base, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri, "", nil
	}
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name != handleArgument {
			rest = append(rest, part)
			continue
		}
		if handle, err = url.QueryUnescape(value); err != nil {
			return "", "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "uri: the handle is not properly escaped"}
		}
	}
	if len(rest) == 0 {
		return base, handle, nil
	}
	return base + "?" + strings.Join(rest, "&"), handle, nil
}

// metaHandle is where a new handle stands in the _meta of a result, for programs.
const metaHandle = "causeway/handle"

func withHandle(m mcp.Meta, handle string) mcp.Meta {
	m = maps.Clone(m)
	if m == nil {
		m = mcp.Meta{}
	}
	m[metaHandle] = handle
	return m
}

// withHandleArgument shows each tool, or those named only, with the optional argument. Tools are shared
// with every other reader of the list, so they are copied.
func (st *storage) withHandleArgument(list *mcp.ListToolsResult, only []string) (mcp.Result, error) {
	out := *list
	out.Tools = make([]*mcp.Tool, len(list.Tools))
	for i, tool := range list.Tools {
		if only != nil && !slices.Contains(only, tool.Name) {
			out.Tools[i] = tool
			continue
		}
		if seen, ok := st.handleTools.Load(tool); ok {
			out.Tools[i] = seen.(*mcp.Tool)
			continue
		}
		with, err := withHandleProperty(tool)
		if err != nil {
			return nil, fmt.Errorf("tool %q: %w", tool.Name, err)
		}
		st.handleTools.Store(tool, with)
		out.Tools[i] = with
	}
	return &out, nil
}

func withHandleProperty(tool *mcp.Tool) (*mcp.Tool, error) {
	raw, err := json.Marshal(tool.InputSchema)
	if err != nil {
		return nil, err
	}
	var schema map[string]json.RawMessage
	if err := json.Unmarshal(raw, &schema); err != nil {
		return nil, err
	}
	properties := map[string]json.RawMessage{}
	if p, ok := schema["properties"]; ok {
		if err := json.Unmarshal(p, &properties); err != nil {
			return nil, err
		}
	}
	if _, taken := properties[handleArgument]; taken {
		return nil, fmt.Errorf("it has an argument called %q itself, which this agent's Scope needs", handleArgument)
	}
	properties[handleArgument] = json.RawMessage(`{"type":"string","description":"` + handleHelp + `"}`)
	if schema["properties"], err = json.Marshal(properties); err != nil {
		return nil, err
	}
	out := *tool
	if out.InputSchema, err = json.Marshal(schema); err != nil {
		return nil, err
	}
	out.InputSchema = json.RawMessage(out.InputSchema.([]byte))
	return &out, nil
}
