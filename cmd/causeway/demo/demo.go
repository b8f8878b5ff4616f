// Package demo is the server behind `causeway demo`: something worth trying for
// every feature of the protocol, in every era, without an account or a network.
package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/cart/shop"
	"github.com/causeway-mcp/causeway/examples/knowledge-graph/graph"
	"github.com/causeway-mcp/causeway/examples/reminders/reminder"
	"github.com/causeway-mcp/causeway/examples/tictactoe/game"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const instructions = `This is Causeway's demo server. Good first tries: add two numbers, count a few times,
draw a picture, book a table (it asks back), bake a cake (it reports progress and can be cancelled).`

// Mount puts the demo's servers into app: the one with a bit of everything at /mcp, and
// for clients of 2024 at /sse, and examples of servers that remember beside it.
func Mount(app *causeway.App, version string) {
	m := counters.Handler(newServer(version))
	m.SSEPath = "/sse"
	app.Mount("/mcp", m)
	for _, x := range Examples {
		app.Mount(x.Path, x.Handler())
	}
}

// An Example is a server of the examples folder, as the demo serves it.
type Example struct {
	Path, What string
	Handler    func() causeway.MountHandler
}

// Examples are what the demo serves besides /mcp.
var Examples = []Example{
	{"/cart", "a shopping cart; checkout asks you first", shop.Handler},
	{"/tictactoe", "a game, with its board to subscribe to", game.Handler},
	{"/reminders", "alarms that go off whoever is connected", reminder.Handler},
	{"/knowledge-graph", "a memory for models, in SQL", graph.Handler},
}

// newServer returns a server with a notice board and a kitchen of its own, which live in
// memory, are bounded and for everybody. What people count is durable: see counters.
func newServer(version string) *mcp.Server {
	d := &demo{board: new(board), kitchen: new(kitchen)}
	s := mcp.NewServer(&mcp.Implementation{
		Name:       "causeway-demo",
		Title:      "Causeway demo",
		Version:    version,
		WebsiteURL: "https://github.com/causeway-mcp/causeway",
	}, &mcp.ServerOptions{
		Instructions:       instructions,
		CompletionHandler:  complete,
		SubscribeHandler:   acceptSubscription,
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	d.addTools(s)
	addWhoami(s)
	d.addAsks(s)
	d.addResources(s)
	addPrompts(s)
	return s
}

// demo is what the tools of one server share.
type demo struct {
	board   *board
	kitchen *kitchen
}

// acceptSubscription takes subscriptions to the one resource that changes.
func acceptSubscription(_ context.Context, req *mcp.SubscribeRequest) error {
	if req.Params.URI != boardURI {
		return invalidParams("%s never changes; the resource to subscribe to is %s", req.Params.URI, boardURI)
	}
	return nil
}

func complete(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	ref, arg := req.Params.Ref, req.Params.Argument
	var from []string
	switch {
	case ref == nil:
		return nil, invalidParams("completion/complete: ref is missing")
	case ref.Type == "ref/prompt" && ref.Name == tripPrompt && arg.Name == "city":
		from = cities
	case ref.Type == "ref/prompt" && ref.Name == reviewPrompt && arg.Name == "language":
		from = languages
	case ref.Type == "ref/resource" && ref.URI == colorTemplate && arg.Name == "name":
		from = colorNames()
	}
	values := []string{}
	for _, v := range from {
		if strings.HasPrefix(strings.ToLower(v), strings.ToLower(arg.Value)) {
			values = append(values, v)
		}
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: len(values)}}, nil
}

func invalidParams(format string, args ...any) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf(format, args...)}
}

// readOnly marks tools that change nothing, so that hosts need not ask before they
// are called.
var readOnly = &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: new(bool)}

// text is short for the result most tools give.
var text = causeway.Textf
