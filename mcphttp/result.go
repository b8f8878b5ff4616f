package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/verbatim"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// marshal encodes as the SDK does: encoding/json without HTML escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// encode turns what the chain returned into the result on the wire, with what the
// era adds to it.
//
// Encoding runs the application's code too (MarshalJSON), so it is contained as
// handlers are.
func (c *call) encode(res mcp.Result) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(p)
			body, err = nil, c.panicError()
		}
	}()
	if stored, ok := res.(*storedResult); ok {
		return stored.raw, nil
	}
	if c.modern {
		asks, state := needed(res)
		in, err := c.inputRequired(asks, state)
		if err != nil {
			return nil, err
		}
		if in != nil {
			return c.encodeInputRequired(in)
		}
	}
	if c.created != nil {
		return c.encodeTask(res)
	}
	if v := reflect.ValueOf(res); res == nil || (v.Kind() == reflect.Pointer && v.IsNil()) {
		return nil, errors.New("the handler returned neither result nor error")
	}
	if ready, ok := res.(*verbatim.Result); ok {
		return c.encodeVerbatim(ready)
	}
	if tool, ok := res.(*mcp.CallToolResult); ok && tool != nil {
		if b, ok := c.encodeToolResult(tool); ok {
			return b, nil
		}
	}
	if c.user != "" {
		res = private(res)
	}
	if !c.modern {
		return marshal(res)
	}
	return c.encodeModern(res)
}

// private is what a signed-in caller gets of a result whose author did not say who may
// keep it. The SDK calls that "public", with no time to live; what was answered to somebody
// known may be theirs alone. A scope that comes with a time to live is the author's.
func private(res mcp.Result) mcp.Result {
	switch r := res.(type) {
	case *mcp.ReadResourceResult:
		return keptPrivate(r, func(r *mcp.ReadResourceResult) *mcp.Cacheable { return &r.Cacheable })
	case *mcp.ListToolsResult:
		return keptPrivate(r, func(r *mcp.ListToolsResult) *mcp.Cacheable { return &r.Cacheable })
	case *mcp.ListPromptsResult:
		return keptPrivate(r, func(r *mcp.ListPromptsResult) *mcp.Cacheable { return &r.Cacheable })
	case *mcp.ListResourcesResult:
		return keptPrivate(r, func(r *mcp.ListResourcesResult) *mcp.Cacheable { return &r.Cacheable })
	case *mcp.ListResourceTemplatesResult:
		return keptPrivate(r, func(r *mcp.ListResourceTemplatesResult) *mcp.Cacheable { return &r.Cacheable })
	}
	return res
}

// keptPrivate changes a copy: the handler may hand its result out again.
func keptPrivate[R any, P interface {
	*R
	mcp.Result
}](r P, of func(P) *mcp.Cacheable) mcp.Result {
	if of(r).TTLMs != 0 {
		return r
	}
	own := *r
	of(&own).CacheScope = "private"
	return P(&own)
}

// encodeToolResult is the fast path: text blocks and ready-made structured
// content.
func (c *call) encodeToolResult(r *mcp.CallToolResult) ([]byte, bool) {
	if len(r.Meta) > 0 || r.InputRequests != nil || r.RequestState != "" {
		return nil, false
	}
	var structured []byte
	switch v := r.StructuredContent.(type) {
	case nil:
	case json.RawMessage:
		if structured = v; jsonrpc.Valid(v, 0) != nil {
			return nil, false
		}
	default:
		return nil, false
	}
	size := 96 + len(structured) + len(c.host.infoMember)
	for _, block := range r.Content {
		t, ok := block.(*mcp.TextContent)
		if !ok || t == nil || len(t.Meta) > 0 || t.Annotations != nil {
			return nil, false
		}
		size += len(t.Text) + 32
	}
	b := append(make([]byte, 0, size), '{')
	if c.modern {
		b = append(b, `"resultType":"complete","_meta":{`...)
		b = append(append(b, c.host.infoMember...), "},"...)
	}
	b = append(b, `"content":[`...)
	for i, block := range r.Content {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"type":"text","text":`...)
		b = jsonrpc.AppendString(b, block.(*mcp.TextContent).Text)
		b = append(b, '}')
	}
	b = append(b, ']')
	if structured != nil {
		b = append(append(b, `,"structuredContent":`...), structured...)
	}
	if r.IsError {
		b = append(b, `,"isError":true`...)
	}
	return append(b, '}'), true
}

// encodeModern adds to a result what 2026-07-28 wants on every one: its type, and
// who made it.
func (c *call) encodeModern(res mcp.Result) ([]byte, error) {
	meta := map[string]any{}
	if res != c.host.sdk.empty {
		meta = maps.Clone(res.GetMeta())
	}
	raw, err := marshal(res)
	if err != nil {
		return nil, err
	}
	if d, ok := res.(*mcp.DiscoverResult); ok {
		if raw, err = c.withTasks(raw, d); err != nil {
			return nil, err
		}
	}
	hasType := false
	if err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
		hasType = hasType || (string(name) == "resultType" && string(value) != `""`)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("the handler's result is not a proper object: %w", err)
	}
	drop := []string{"_meta"}
	if !hasType {
		drop = append(drop, "resultType")
	}
	rest := jsonrpc.Without(raw, drop...)
	b := append(make([]byte, 0, len(rest)+len(c.host.infoMember)+64), '{')
	if !hasType {
		b = append(b, `"resultType":"complete",`...)
	}
	b = append(b, `"_meta":{`...)
	if _, ok := meta[mcp.MetaKeyServerInfo]; !ok {
		b = append(b, c.host.infoMember...)
		if len(meta) > 0 {
			b = append(b, ',')
		}
	}
	if len(meta) > 0 {
		m, err := marshal(meta)
		if err != nil {
			return nil, err
		}
		b = append(b, m[1:len(m)-1]...)
	}
	b = append(b, '}')
	if len(rest) > 2 {
		b = append(append(b, ','), rest[1:]...)
		return b, nil
	}
	return append(b, '}'), nil
}

// encodeVerbatim is encodeModern for a result that is JSON already, of which no byte is
// encoded again. The session eras have nothing to add.
func (c *call) encodeVerbatim(r *verbatim.Result) ([]byte, error) {
	if !c.modern {
		return r.JSON, nil
	}
	info := c.host.info
	if r.Server != nil {
		info = r.Server
	}
	var meta, kind []byte
	rest := make([]byte, 0, len(r.JSON))
	if err := jsonrpc.ScanObject(r.JSON, func(name, value []byte) error {
		switch string(name) {
		case "_meta":
			meta = value
		case "resultType":
			kind = value
		default:
			rest = append(appendName(append(rest, ','), name), value...)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("the handler's result is not a proper object: %w", err)
	}
	if kind == nil || jsonrpc.StringEquals(kind, "") {
		kind = []byte(`"complete"`)
	}
	b := append(make([]byte, 0, len(r.JSON)+len(info)+96), `{"resultType":`...)
	b = append(append(b, kind...), `,"_meta":{`...)
	b, err := appendMeta(b, meta, info)
	if err != nil {
		return nil, err
	}
	return append(append(append(b, '}'), rest...), '}'), nil
}

// appendMeta appends the members of a result's `_meta`, and who made it if they do
// not say so.
func appendMeta(b, meta, info []byte) ([]byte, error) {
	start, said := len(b), false
	if jsonrpc.IsObject(meta) {
		if err := jsonrpc.ScanObject(meta, func(name, value []byte) error {
			said = said || string(name) == mcp.MetaKeyServerInfo
			if len(b) > start {
				b = append(b, ',')
			}
			b = append(appendName(b, name), value...)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("the handler's result: _meta: %w", err)
		}
	}
	if said {
		return b, nil
	}
	if len(b) > start {
		b = append(b, ',')
	}
	return append(appendName(b, []byte(mcp.MetaKeyServerInfo)), info...), nil
}

func appendName(b, name []byte) []byte {
	return append(jsonrpc.AppendString(b, string(name)), ':')
}

func (c *call) encodeInputRequired(in *inputRequiredResult) ([]byte, error) {
	b := []byte(`{"resultType":"input_required","_meta":{`)
	b = append(append(b, c.host.infoMember...), '}')
	if in.requests != nil {
		asks, err := marshal(in.requests)
		if err != nil {
			return nil, fmt.Errorf("encoding the questions: %w", err)
		}
		b = append(append(b, `,"inputRequests":`...), asks...)
	}
	b = append(b, `,"requestState":`...)
	b = jsonrpc.AppendString(b, in.state)
	return append(b, '}'), nil
}

// wireErrorOf is the error as the client gets to see it. An error that says
// ErrAsked is the end of a round and becomes no error at all.
func (c *call) wireErrorOf(err error) *sdkrpc.Error {
	if cause := causeOf(c); cause != nil {
		switch {
		case errors.Is(cause, errCancelled):
			return wireError(codeCancelled, "%v", errCancelled)
		case errors.Is(cause, errSessionEnded):
			return wireError(sdkrpc.CodeInvalidRequest, "%v", errSessionEnded)
		}
	}
	var werr *sdkrpc.Error
	if errors.As(err, &werr) {
		if werr == err {
			return werr
		}
		return &sdkrpc.Error{Code: werr.Code, Message: err.Error(), Data: werr.Data}
	}
	return wireError(sdkrpc.CodeInternalError, "%v", err)
}

func causeOf(c *call) error {
	if c.Err() == nil {
		return nil
	}
	return context.Cause(c)
}

func encodeError(id []byte, err *sdkrpc.Error) []byte {
	return jsonrpc.AppendError(nil, id, err.Code, err.Message, err.Data)
}

// statusOf is the HTTP status of an error. The session eras answer requests with
// 200 whatever comes of them; 2026-07-28 names some.
func statusOf(err *sdkrpc.Error, modern bool) int {
	if !modern {
		return http.StatusOK
	}
	switch err.Code {
	case sdkrpc.CodeMethodNotFound:
		return http.StatusNotFound
	case sdkrpc.CodeParseError, sdkrpc.CodeInvalidRequest, mcp.CodeHeaderMismatch,
		mcp.CodeMissingRequiredClientCapabilities, mcp.CodeUnsupportedProtocolVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// writeError answers a POST that is refused before any request of it is carried
// out.
func writeError(w http.ResponseWriter, status int, id []byte, err error) {
	var werr *sdkrpc.Error
	if !errors.As(err, &werr) {
		var perr *jsonrpc.Error
		if errors.As(err, &perr) {
			werr = wireError(int64(perr.Code), "%s", perr.Message)
			if id == nil {
				id = perr.ID
			}
		} else {
			werr = wireError(sdkrpc.CodeInternalError, "internal error")
		}
	}
	writeJSON(w, status, encodeError(id, werr))
}
