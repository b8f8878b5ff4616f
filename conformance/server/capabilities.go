//lint:file-ignore SA1019 the suite tests sampling, roots and logging in the revisions that have them

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addCapabilityTools adds the tools that depend on what the client declared it
// can do.
func addCapabilityTools(server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "test_missing_capability", Description: "Works only for clients that can sample"}, demandSampling)
	mcp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_capabilities", Description: "Asks only for what the client can do"}, askWhatIsDeclared)
}

// demandSampling refuses, as the SDK's documentation shows, a client that did
// not declare sampling.
func demandSampling(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if declared := req.ClientCapabilities(); declared != nil && declared.Sampling != nil {
		return text("The client can sample."), nil, nil
	}
	data, err := json.Marshal(mcp.MissingRequiredClientCapabilityData{
		RequiredCapabilities: &mcp.ClientCapabilities{Sampling: &mcp.SamplingCapabilities{}},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the required capabilities: %w", err)
	}
	return nil, nil, &jsonrpc.Error{
		Code:    mcp.CodeMissingRequiredClientCapabilities,
		Message: "this tool needs the client capability sampling",
		Data:    data,
	}
}

func askWhatIsDeclared(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if len(req.Params.InputResponses) > 0 {
		return text("Every question was answered."), nil, nil
	}
	asks := declaredAsks(req.ClientCapabilities())
	if len(asks) == 0 {
		return text("The client declared nothing that could be asked of it."), nil, nil
	}
	return &mcp.CallToolResult{InputRequests: asks}, nil, nil
}

// declaredAsks is one ask for each capability in declared.
func declaredAsks(declared *mcp.ClientCapabilities) mcp.InputRequestMap {
	asks := mcp.InputRequestMap{}
	if declared == nil {
		return asks
	}
	if declared.Elicitation != nil {
		asks["user_name"] = askName()
	}
	if declared.Sampling != nil {
		asks["greeting"] = askModel("Write a short greeting.")
	}
	if declared.RootsV2 != nil {
		asks["client_roots"] = &mcp.ListRootsParams{}
	}
	return asks
}
