package expose

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// paramsFor are the params of a call as the child should see them: those of the
// client as they came, members that nobody here knows among them, with a progress
// token of ours and without what is between client and wire.
func (sl *slot) paramsFor(ctx context.Context, c *call, params mcp.Params) ([]byte, error) {
	state, answers := roundOf(params)
	inRound := state != "" || answers != nil
	raw, _ := ctx.Value(jsonrpc.ParamsKey{}).([]byte)
	if inRound || len(raw) == 0 {
		// In a round of the child's own, the wire has opened what the client sent.
		var err error
		if raw, err = marshal(params); err != nil {
			return nil, fmt.Errorf("encoding params: %w", err)
		}
	}
	keepsRounds := inRound && c.p.hello.modern
	out := append(make([]byte, 0, len(raw)+128), '{')
	var meta []byte
	if jsonrpc.IsObject(raw) {
		if err := jsonrpc.ScanObject(raw, func(name, value []byte) error {
			if jsonrpc.IsNull(value) {
				return nil // absent to the wire; a child may not see it so
			}
			switch string(name) {
			case "_meta":
				meta = value
				return nil
			case "task": // a kind of task that is not carried
				return nil
			case "inputResponses":
				if !keepsRounds {
					return nil
				}
			case "requestState":
				own, marked := strings.CutPrefix(state, childState)
				if !keepsRounds || marked && own == "" {
					return nil
				}
				if marked {
					value = jsonrpc.AppendString(nil, own)
				}
			}
			out = appendMember(out, name, value)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("reading params: %w", err)
		}
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
