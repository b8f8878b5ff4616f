package mcphttp

import (
	"encoding/json"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Protocol versions, oldest first. Versions compare as strings.
const (
	version20241105 = "2024-11-05"
	version20250326 = "2025-03-26"
	version20250618 = "2025-06-18"
	version20251125 = "2025-11-25"
	version20260728 = "2026-07-28"
)

// Method names of the MCP specification.
const (
	methodCallTool      = "tools/call"
	methodListTools     = "tools/list"
	methodComplete      = "completion/complete"
	methodGetPrompt     = "prompts/get"
	methodListPrompts   = "prompts/list"
	methodReadResource  = "resources/read"
	methodListResources = "resources/list"
	methodListTemplates = "resources/templates/list"
	methodDiscover      = "server/discover"
	methodListen        = "subscriptions/listen"
	methodInitialize    = "initialize"
	methodPing          = "ping"
	methodSetLevel      = "logging/setLevel"
	methodSubscribe     = "resources/subscribe"
	methodUnsubscribe   = "resources/unsubscribe"
	methodElicit        = "elicitation/create"
	methodCreateMessage = "sampling/createMessage"
	methodListRoots     = "roots/list"
	methodGetTask       = "tasks/get"
	methodUpdateTask    = "tasks/update"
	methodCancelTask    = "tasks/cancel"

	noteInitialized         = "notifications/initialized"
	noteCancelled           = "notifications/cancelled"
	noteProgress            = "notifications/progress"
	noteMessage             = "notifications/message"
	noteRootsListChanged    = "notifications/roots/list_changed"
	noteToolListChanged     = "notifications/tools/list_changed"
	notePromptListChanged   = "notifications/prompts/list_changed"
	noteResourceListChanged = "notifications/resources/list_changed"
	noteResourceUpdated     = "notifications/resources/updated"
	noteListenAcknowledged  = "notifications/subscriptions/acknowledged"
)

// eras says on which wires a method exists.
type eras uint8

const (
	legacyEra eras = 1 << iota // 2024-11-05 to 2025-11-25
	modernEra                  // 2026-07-28
	bothEras  = legacyEra | modernEra
)

// A method is how one method of the protocol becomes a request the SDK knows.
type method struct {
	eras         eras
	notification bool
	// optionalParams: the method may come without params.
	optionalParams bool
	// nameOf names the member of params that Mcp-Name mirrors, "" for none.
	named string
	// request decodes params and builds the SDK's request.
	request func(ss *mcp.ServerSession, params []byte, extra *mcp.RequestExtra) (mcp.Request, error)
}

var methods = map[string]method{
	methodCallTool:      {eras: bothEras, named: "name"}, // decoded by call.go itself: the hot path
	methodListTools:     {eras: bothEras, optionalParams: true, request: decode[mcp.ListToolsParams]},
	methodComplete:      {eras: bothEras, request: decode[mcp.CompleteParams]},
	methodGetPrompt:     {eras: bothEras, named: "name", request: decode[mcp.GetPromptParams]},
	methodListPrompts:   {eras: bothEras, optionalParams: true, request: decode[mcp.ListPromptsParams]},
	methodReadResource:  {eras: bothEras, named: "uri", request: decode[mcp.ReadResourceParams]},
	methodListResources: {eras: bothEras, optionalParams: true, request: decode[mcp.ListResourcesParams]},
	methodListTemplates: {eras: bothEras, optionalParams: true, request: decode[mcp.ListResourceTemplatesParams]},

	methodDiscover:   {eras: modernEra, optionalParams: true, request: decode[mcp.DiscoverParams]},
	methodListen:     {eras: modernEra, request: decode[mcp.SubscriptionsListenParams]},
	methodGetTask:    {eras: modernEra, named: "taskId"},
	methodUpdateTask: {eras: modernEra, named: "taskId"},
	methodCancelTask: {eras: modernEra, named: "taskId"},

	methodInitialize:  {eras: legacyEra}, // initialize.go
	methodPing:        {eras: legacyEra, optionalParams: true, request: decode[mcp.PingParams]},
	methodSetLevel:    {eras: legacyEra, request: decode[mcp.SetLoggingLevelParams]},
	methodSubscribe:   {eras: legacyEra, request: decode[mcp.SubscribeParams]},
	methodUnsubscribe: {eras: legacyEra, request: decode[mcp.UnsubscribeParams]},

	noteInitialized:      {eras: legacyEra, notification: true, optionalParams: true, request: decode[mcp.InitializedParams]},
	noteCancelled:        {eras: bothEras, notification: true, optionalParams: true},
	noteProgress:         {eras: legacyEra, notification: true, request: decode[mcp.ProgressNotificationParams]},
	noteRootsListChanged: {eras: legacyEra, notification: true, optionalParams: true, request: decode[mcp.RootsListChangedParams]},
}

// paramsOf is the constraint under which a params type makes an SDK request.
type paramsOf[T any] interface {
	*T
	mcp.Params
}

// lenientText lets escaped lone surrogates pass, as U+FFFD: JavaScript clients
// emit them for text that was cut within a character. Raw bytes that are not
// UTF-8 never get here.
var lenientText = jsontext.AllowInvalidUTF8(true)

// decode reads params strictly (names are case-sensitive, duplicates refused)
// and wraps them in the SDK's request type.
func decode[T any, P paramsOf[T]](ss *mcp.ServerSession, params []byte, extra *mcp.RequestExtra) (mcp.Request, error) {
	p := P(new(T))
	if len(params) > 0 {
		if err := jsonv2.Unmarshal(params, p, lenientText); err != nil {
			return nil, invalidParams("params: %s", plainDecodeError(err))
		}
	}
	return &mcp.ServerRequest[P]{Session: ss, Params: p, Extra: extra}, nil
}

// plainDecodeError says where a value does not fit, without naming Go's types.
func plainDecodeError(err error) string {
	var sem *jsonv2.SemanticError
	if errors.As(err, &sem) {
		where := string(sem.JSONPointer)
		if where == "" {
			where = "the value"
		}
		if sem.JSONKind != 0 {
			return fmt.Sprintf("%s has the wrong type (%s)", where, kindName(byte(sem.JSONKind)))
		}
		if sem.Err != nil {
			return fmt.Sprintf("%s: %v", where, sem.Err)
		}
		return where + " does not fit"
	}
	return err.Error()
}

func kindName(k byte) string {
	switch k {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case '0':
		return "number"
	case 't', 'f':
		return "boolean"
	default:
		return "null"
	}
}

// decodeInitialize reads the params of initialize. The SDK's own type loses the
// roots capability on the way (its wire name is held by another field), so it is
// set by hand.
func decodeInitialize(params []byte) (*mcp.InitializeParams, error) {
	if len(params) == 0 {
		return nil, invalidParams("initialize: params are missing")
	}
	p := new(mcp.InitializeParams)
	if err := jsonv2.Unmarshal(params, p, lenientText); err != nil {
		return nil, invalidParams("initialize: params: %s", plainDecodeError(err))
	}
	var caps struct {
		Capabilities json.RawMessage `json:"capabilities"`
	}
	if err := jsonv2.Unmarshal(params, &caps, lenientText); err != nil {
		return nil, invalidParams("initialize: params: %s", plainDecodeError(err))
	}
	if len(caps.Capabilities) > 0 {
		c, err := decodeCapabilities(caps.Capabilities)
		if err != nil {
			return nil, err
		}
		p.Capabilities = c
	}
	if p.Capabilities == nil {
		p.Capabilities = &mcp.ClientCapabilities{}
	}
	return p, nil
}

func decodeCapabilities(raw []byte) (*mcp.ClientCapabilities, error) {
	c := new(mcp.ClientCapabilities)
	if len(raw) == 0 || raw[0] != '{' {
		return nil, invalidParams("client capabilities: must be an object")
	}
	if err := jsonv2.Unmarshal(raw, c, lenientText); err != nil {
		return nil, invalidParams("client capabilities: %s", plainDecodeError(err))
	}
	var wire struct {
		Roots *mcp.RootCapabilities `json:"roots"`
	}
	if err := jsonv2.Unmarshal(raw, &wire, lenientText); err != nil {
		return nil, invalidParams("client capabilities: %s", plainDecodeError(err))
	}
	c.RootsV2 = wire.Roots
	return c, nil
}

// wireError is a JSON-RPC error with the code and text for the wire.
func wireError(code int64, format string, args ...any) *jsonrpc.Error {
	return &jsonrpc.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalidParams(format string, args ...any) *jsonrpc.Error {
	return wireError(jsonrpc.CodeInvalidParams, format, args...)
}
