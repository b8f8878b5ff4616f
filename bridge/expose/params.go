package expose

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/causeway-mcp/causeway/internal/verbatim"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// paramsFor are the params of a call as the child should see them: those of the
// client as they came, members that nobody here knows among them, with a progress
// token of ours and without what is between client and wire.
func (sl *slot) paramsFor(ctx context.Context, c *call, params mcp.Params) ([]byte, error) {
	raw := verbatim.Params(ctx)
	if raw == nil {
		var err error
		if raw, err = marshal(params); err != nil {
			return nil, fmt.Errorf("encoding params: %w", err)
		}
	}
	out := append(make([]byte, 0, len(raw)+128), '{')
	var meta []byte
	if jsonrpc.IsObject(raw) {
		if err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
			switch {
			case string(name) == "_meta":
				meta = value
			case jsonrpc.IsNull(value): // absent to the wire; a child may not see it so
			case !isWires(name):
				out = appendMember(out, name, value)
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("reading params: %w", err)
		}
	}
	out, err := appendRound(out, c, params)
	if err != nil {
		return nil, err
	}
	members, err := sl.metaFor(c, meta)
	if err != nil {
		return nil, err
	}
	if len(members) > 2 {
		out = appendMember(out, []byte("_meta"), members)
	}
	return append(out, '}'), nil
}

// appendRound adds to params what a child of 2026-07-28 asked to be told in the next
// round: its own state, of what the wire has opened, and the answers.
func appendRound(out []byte, c *call, params mcp.Params) ([]byte, error) {
	state, answers := roundOf(params)
	if !c.p.hello.modern {
		return out, nil
	}
	if len(answers) > 0 {
		b, err := marshal(answers)
		if err != nil {
			return nil, fmt.Errorf("encoding answers: %w", err)
		}
		out = appendMember(out, []byte("inputResponses"), b)
	}
	if own, ok := strings.CutPrefix(state, childState); ok && own != "" {
		out = appendMember(out, []byte("requestState"), jsonrpc.AppendString(nil, own))
	}
	return out, nil
}

// isWires reports that a member is between client and wire: rounds, which have
// another state at the child, and a kind of task that is not carried. Many programs
// do not mind the case of letters.
func isWires(name []byte) bool {
	for _, theirs := range [...]string{"task", "requestState", "inputResponses"} {
		if strings.EqualFold(string(name), theirs) {
			return true
		}
	}
	return false
}

// metaFor is the _meta of a call as the child should see it.
func (sl *slot) metaFor(c *call, meta []byte) ([]byte, error) {
	modern := c.p.hello.modern
	out := append(make([]byte, 0, len(meta)+64), '{')
	var level []byte
	if jsonrpc.IsObject(meta) {
		if err := jsonrpc.ScanObject(meta, func(name, value []byte) error {
			switch string(name) {
			case jsonrpc.MetaProgressToken, jsonrpc.MetaProtocolVersion, jsonrpc.MetaClientInfo, jsonrpc.MetaClientCapabilities:
			case jsonrpc.MetaLogLevel:
				level = value
			default:
				out = appendMember(out, name, value)
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("reading _meta: %w", err)
		}
	}
	if c.token != nil {
		out = appendMember(out, []byte(jsonrpc.MetaProgressToken), strconv.AppendInt(nil, c.x.id, 10))
	}
	if !modern {
		return append(out, '}'), nil
	}
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(out, saysOf(c.ss.InitializeParams(), sl.t.s.opts.Roots).meta(c.p.hello.version)...)
	if text, ok := sl.levelFor(c, level); ok {
		out = appendMember(out, []byte(jsonrpc.MetaLogLevel), jsonrpc.AppendString(nil, text))
	}
	return append(out, '}'), nil
}

// levelFor is the level of the log messages that the client of a call wants: of the
// call itself, else of its session.
func (sl *slot) levelFor(c *call, said []byte) (string, bool) {
	if text, ok := jsonrpc.String(said); ok {
		return text, text != ""
	}
	level := sl.levelOf(c.ss)
	if level == nil {
		return "", false
	}
	text := fmt.Sprint(level)
	return text, text != ""
}

// appendMember adds a member to an object that is not closed yet. name is unquoted.
func appendMember(object, name, value []byte) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	return append(append(jsonrpc.AppendString(object, string(name)), ':'), value...)
}
