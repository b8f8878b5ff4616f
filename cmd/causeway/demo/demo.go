// Package demo is the server behind `causeway demo`: something worth trying for
// every feature of the protocol, in every era, without an account or a network.
package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const instructions = `This is Causeway's demo server. Good first tries: add two numbers, count a few times,
draw a picture, book a table (it asks back), bake a cake (it reports progress and can be cancelled).`

// NewServer returns a demo server with state of its own. Counters, notes and ovens
// live in memory and are bounded: the demo is open to whoever reaches it.
func NewServer(version string) *mcp.Server {
	d := &demo{counters: newCounters(10_000), board: new(board), kitchen: new(kitchen)}
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
	d.addAsks(s)
	d.addResources(s)
	addPrompts(s)
	return s
}

// demo is what the tools of one server share.
type demo struct {
	counters *counters
	board    *board
	kitchen  *kitchen
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
