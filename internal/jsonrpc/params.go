package jsonrpc

import "strings"

// Params are the parameters that MCP's methods share, each a raw part of the
// message, nil if absent. Which of them a method has is not checked.
type Params struct {
	Meta           []byte // _meta
	Name           []byte // tools/call, prompts/get
	Arguments      []byte // tools/call, prompts/get
	URI            []byte // resources/read, subscribe, unsubscribe
	InputResponses []byte // a retry after input_required
	RequestState   []byte // a retry after input_required
	TaskID         []byte // tasks/get, update, cancel
	Cursor         []byte // the lists
	RequestID      []byte // notifications/cancelled
	ProgressToken  []byte // notifications/progress
	Notifications  []byte // subscriptions/listen
	Level          []byte // logging/setLevel
}

// ParseParams reads checked params; nil params have no members. Any name that
// occurs twice is refused, and so is one that differs by letter case only from
// a name above.
func ParseParams(raw []byte) (Params, error) {
	var p Params
	if len(raw) == 0 {
		return p, nil
	}
	err := ScanObject(raw, func(name, value []byte) error {
		if field := p.field(name); field != nil {
			*field = value
			return nil
		}
		return refuseVariant(name)
	})
	return p, err
}

func (p *Params) field(name []byte) *[]byte {
	switch string(name) {
	case "_meta":
		return &p.Meta
	case "name":
		return &p.Name
	case "arguments":
		return &p.Arguments
	case "uri":
		return &p.URI
	case "inputResponses":
		return &p.InputResponses
	case "requestState":
		return &p.RequestState
	case "taskId":
		return &p.TaskID
	case "cursor":
		return &p.Cursor
	case "requestId":
		return &p.RequestID
	case "progressToken":
		return &p.ProgressToken
	case "notifications":
		return &p.Notifications
	case "level":
		return &p.Level
	}
	return nil
}

func refuseVariant(name []byte) error {
	for _, known := range [...]string{"_meta", "name", "arguments", "uri", "inputResponses", "requestState",
		"taskId", "cursor", "requestId", "progressToken", "notifications", "level"} {
		// Of letters, not of bytes: "\u017f" is an "s" to those who fold case.
		if strings.EqualFold(string(name), known) {
			return invalidParams("%q differs from %q by letter case only", name, known)
		}
	}
	return nil
}

// The names in _meta that MCP defines.
const (
	MetaProtocolVersion    = "io.modelcontextprotocol/protocolVersion"
	MetaClientInfo         = "io.modelcontextprotocol/clientInfo"
	MetaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaLogLevel           = "io.modelcontextprotocol/logLevel"
	MetaServerInfo         = "io.modelcontextprotocol/serverInfo"
	MetaSubscriptionID     = "io.modelcontextprotocol/subscriptionId"
	MetaRelatedTask        = "io.modelcontextprotocol/related-task"
	MetaProgressToken      = "progressToken"
)

// Meta is what MCP defines of a request's _meta, each a raw part of the message,
// nil if absent. Values are not checked beyond their syntax.
type Meta struct {
	ProtocolVersion    []byte
	ClientInfo         []byte
	ClientCapabilities []byte
	LogLevel           []byte
	RelatedTask        []byte
	ProgressToken      []byte
	TraceParent        []byte // W3C Trace Context
	TraceState         []byte
	Baggage            []byte
}

// ParseMeta reads a checked _meta; nil has no members. Any name that occurs
// twice is refused.
func ParseMeta(raw []byte) (Meta, error) {
	var m Meta
	if len(raw) == 0 {
		return m, nil
	}
	if !IsObject(raw) {
		return m, invalidParams(`"_meta" must be an object`)
	}
	err := ScanObject(raw, func(name, value []byte) error {
		if field := m.field(name); field != nil {
			*field = value
		}
		return nil
	})
	return m, err
}

func (m *Meta) field(name []byte) *[]byte {
	switch string(name) {
	case MetaProtocolVersion:
		return &m.ProtocolVersion
	case MetaClientInfo:
		return &m.ClientInfo
	case MetaClientCapabilities:
		return &m.ClientCapabilities
	case MetaLogLevel:
		return &m.LogLevel
	case MetaRelatedTask:
		return &m.RelatedTask
	case MetaProgressToken:
		return &m.ProgressToken
	case "traceparent":
		return &m.TraceParent
	case "tracestate":
		return &m.TraceState
	case "baggage":
		return &m.Baggage
	}
	return nil
}
