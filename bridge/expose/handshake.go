package expose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Protocol versions. They compare as strings.
const (
	newestLegacy = "2025-11-25"
	modern       = "2026-07-28"
)

// A greeting is what a child said of itself when it was started.
type greeting struct {
	modern       bool
	version      string
	capabilities *mcp.ServerCapabilities
	info         *mcp.Implementation
	about        []byte // info as JSON, nil if it said nothing
	instructions string
}

// greet opens the conversation with a child. Nearly all programs that speak stdio
// are of the session eras, and some of those end when they are sent anything before
// initialize; so that comes first, and server/discover when it was refused, for
// whatever reason.
func greet(ctx context.Context, c *conn, era Era, caps clientSays) (*greeting, error) {
	var refused error
	if era != EraModern {
		g, err := initialize(ctx, c, caps)
		var answered *sdkrpc.Error
		if err == nil || !errors.As(err, &answered) || era == EraLegacy {
			return g, err
		}
		refused = err
	}
	g, err := discover(ctx, c, caps)
	if err != nil && refused != nil {
		return nil, fmt.Errorf("the program refuses initialize (%w) and server/discover (%w)", refused, err)
	}
	return g, err
}

func initialize(ctx context.Context, c *conn, caps clientSays) (*greeting, error) {
	params := append([]byte(`{"protocolVersion":"`+newestLegacy+`","capabilities":`), caps.capabilities...)
	params = append(append(append(params, `,"clientInfo":`...), caps.info...), '}')
	raw, err := c.call(ctx, "initialize", params)
	if err != nil {
		return nil, fmt.Errorf("initialize: %w", err)
	}
	var res mcp.InitializeResult
	if err := decode(raw, &res); err != nil {
		return nil, fmt.Errorf("initialize: the answer makes no sense: %w", err)
	}
	if res.ProtocolVersion == "" || res.ProtocolVersion >= modern {
		return nil, fmt.Errorf("initialize: the program wants to speak version %q", res.ProtocolVersion)
	}
	if err := c.notify("notifications/initialized", nil); err != nil {
		return nil, err
	}
	g := &greeting{version: res.ProtocolVersion, capabilities: res.Capabilities, info: res.ServerInfo, instructions: res.Instructions}
	return g.filled(), nil
}

func discover(ctx context.Context, c *conn, caps clientSays) (*greeting, error) {
	raw, err := c.call(ctx, "server/discover", append(append([]byte(`{"_meta":{`), caps.meta(modern)...), "}}"...))
	if err != nil {
		return nil, fmt.Errorf("server/discover: %w", err)
	}
	var res mcp.DiscoverResult
	if err := decode(raw, &res); err != nil {
		return nil, fmt.Errorf("server/discover: the answer makes no sense: %w", err)
	}
	if !slices.Contains(res.SupportedVersions, modern) {
		return nil, fmt.Errorf("the program speaks versions %q, of which we know none", res.SupportedVersions)
	}
	g := &greeting{modern: true, version: modern, capabilities: res.Capabilities, instructions: res.Instructions}
	if v, ok := res.Meta[mcp.MetaKeyServerInfo]; ok {
		b, err := json.Marshal(v)
		if err == nil {
			g.info = new(mcp.Implementation)
			if json.Unmarshal(b, g.info) != nil || g.info.Name == "" {
				g.info = nil
			}
		}
	}
	return g.filled(), nil
}

func decode(raw []byte, v any) error {
	if !jsonrpc.IsObject(raw) {
		return errors.New("it is not an object")
	}
	return json.Unmarshal(raw, v)
}

func (g *greeting) filled() *greeting {
	if g.capabilities == nil {
		g.capabilities = &mcp.ServerCapabilities{}
	}
	if g.info != nil {
		g.about, _ = marshal(g.info) // it was JSON, so it is again
	}
	return g
}

// clientSays is what a child is told of the client: raw JSON objects.
type clientSays struct {
	capabilities, info []byte
}

// meta are the members that every request to a modern child carries.
func (c clientSays) meta(version string) []byte {
	b := append([]byte(`"`+jsonrpc.MetaProtocolVersion+`":"`+version+`","`+jsonrpc.MetaClientInfo+`":`), c.info...)
	return append(append(b, `,"`+jsonrpc.MetaClientCapabilities+`":`...), c.capabilities...)
}

// tasksExtension is what the wire of this house speaks for itself; see mcphttp. A
// child that made tasks of calls would make them where nobody can ask for them.
const tasksExtension = "io.modelcontextprotocol/tasks"

// saysOf is what a child is told of the client behind ss. Roots are left out unless
// the operator wants them: a file server takes them for the folders it may serve.
func saysOf(p *mcp.InitializeParams, roots bool) clientSays {
	var caps struct {
		Elicitation *mcp.ElicitationCapabilities `json:"elicitation,omitempty"`
		Sampling    *mcp.SamplingCapabilities    `json:"sampling,omitempty"`
		Roots       *mcp.RootCapabilities        `json:"roots,omitempty"`
		Extensions  map[string]any               `json:"extensions,omitempty"`
	}
	info := []byte(`{"name":"causeway","version":"1"}`)
	if p != nil {
		if c := p.Capabilities; c != nil {
			caps.Elicitation, caps.Sampling = c.Elicitation, c.Sampling
			if roots {
				caps.Roots = c.RootsV2
			}
			for name, v := range c.Extensions {
				if name != tasksExtension {
					if caps.Extensions == nil {
						caps.Extensions = make(map[string]any)
					}
					caps.Extensions[name] = v
				}
			}
		}
		if p.ClientInfo != nil {
			if b, err := json.Marshal(p.ClientInfo); err == nil {
				info = b
			}
		}
	}
	b, err := json.Marshal(caps)
	if err != nil {
		b = []byte("{}")
	}
	return clientSays{capabilities: b, info: info}
}
