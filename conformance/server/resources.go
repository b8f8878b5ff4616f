package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func addResources(server *mcp.Server) {
	addResource := func(name, uri, description string, contents mcp.ResourceContents) {
		contents.URI = uri
		server.AddResource(&mcp.Resource{Name: name, URI: uri, Description: description, MIMEType: contents.MIMEType},
			func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
				return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{&contents}}, nil
			})
	}
	addResource("static-text", "test://static-text", "A text that never changes",
		mcp.ResourceContents{MIMEType: "text/plain", Text: "The text of the static resource."})
	addResource("static-binary", "test://static-binary", "A picture that never changes",
		mcp.ResourceContents{MIMEType: "image/png", Blob: redPixel()})
	addResource("watched-resource", "test://watched-resource", "A text that can be subscribed to",
		mcp.ResourceContents{MIMEType: "text/plain", Text: "The text of the watched resource."})

	server.AddResourceTemplate(&mcp.ResourceTemplate{
		Name:        "data-by-id",
		URITemplate: templatePrefix + "{id}" + templateSuffix,
		Description: "The data with a given id",
		MIMEType:    "application/json",
	}, readTemplate)
}

const (
	templatePrefix = "test://template/"
	templateSuffix = "/data"
)

func readTemplate(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	uri := req.Params.URI
	id, ok := strings.CutPrefix(uri, templatePrefix)
	if ok {
		id, ok = strings.CutSuffix(id, templateSuffix)
	}
	if !ok {
		return nil, mcp.ResourceNotFoundError(uri)
	}
	data, err := json.Marshal(map[string]string{"id": id, "data": "The data of " + id + "."})
	if err != nil {
		return nil, fmt.Errorf("encoding the data of %s: %w", id, err)
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{
		{URI: uri, MIMEType: "application/json", Text: string(data)},
	}}, nil
}
