//lint:file-ignore SA1019 the suite tests sampling, roots and logging in the revisions that have them

package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addRoundTools adds the input-required tools in the SDK's own form: they
// return InputRequests and read InputResponses when they are called again.
// Their keys and states are their own, as in a server that is not Causeway's.
func addRoundTools(server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_elicitation", Description: "Asks the user's name and greets"}, greetByRounds)
	mcp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_sampling", Description: "Asks the client's model a question"}, sampleByRounds)
	mcp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_list_roots", Description: "Asks for the client's roots"}, listRootsByRounds)
	rounds := &signedRounds{key: newKey()}
	mcp.AddTool(server, &mcp.Tool{Name: "test_input_required_result_multiple_inputs", Description: "Asks three things in one round"}, rounds.askThreeThings)
}

// askName asks for an object with a name.
func askName() *mcp.ElicitParams {
	return &mcp.ElicitParams{Message: "What is your name?", RequestedSchema: requireString("name")}
}

// askModel asks the client's model one question.
func askModel(question string) *mcp.CreateMessageParams {
	return &mcp.CreateMessageParams{
		MaxTokens: 100,
		Messages:  []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: question}}},
	}
}

// requireString is the schema of an object that has the string property name.
func requireString(name string) json.RawMessage {
	return require(name, "string")
}

// require is the schema of an object that has the property name of type kind.
func require(name, kind string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"type":"object","properties":{%q:{"type":%q}},"required":[%q]}`, name, kind, name))
}

func greetByRounds(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if name, ok := acceptedString(req.Params.InputResponses["user_name"], "name"); ok {
		return text("Hello, " + name + "!"), nil, nil
	}
	return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"user_name": askName()}}, nil, nil
}

func sampleByRounds(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if answer, ok := sampledText(req.Params.InputResponses["capital_question"]); ok {
		return text("The model says: " + answer), nil, nil
	}
	return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{
		"capital_question": askModel("What is the capital of France?"),
	}}, nil, nil
}

func listRootsByRounds(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	answer, ok := req.Params.InputResponses["client_roots"].(*mcp.ListRootsResult)
	if !ok {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"client_roots": &mcp.ListRootsParams{}}}, nil, nil
	}
	return text("The client's roots: " + strings.Join(rootURIs(answer), ", ")), nil, nil
}

// signedRounds is a tool that carries its own request state, and signs it:
// the state comes back through the client, which could have made it up.
type signedRounds struct{ key []byte }

func newKey() []byte {
	key := make([]byte, sha256.Size)
	// Read never fails; see its documentation.
	_, _ = rand.Read(key)
	return key
}

const threeThings = "three things"

func (r *signedRounds) askThreeThings(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	responses := req.Params.InputResponses
	name, hasName := acceptedString(responses["user_name"], "name")
	greeting, hasGreeting := sampledText(responses["greeting"])
	roots, hasRoots := responses["client_roots"].(*mcp.ListRootsResult)
	if !hasName || !hasGreeting || !hasRoots {
		return &mcp.CallToolResult{
			InputRequests: mcp.InputRequestMap{
				"user_name":    askName(),
				"greeting":     askModel("Write a greeting."),
				"client_roots": &mcp.ListRootsParams{},
			},
			RequestState: r.sign(threeThings),
		}, nil, nil
	}
	if !hmac.Equal([]byte(req.Params.RequestState), []byte(r.sign(threeThings))) {
		return nil, nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "requestState was not issued by this server"}
	}
	return text(fmt.Sprintf("%s %s, you have %d roots.", greeting, name, len(roots.Roots))), nil, nil
}

// sign returns a request state that says state and that only the owner of the
// key can make.
func (r *signedRounds) sign(state string) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(state))
	return state + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// acceptedString is the property name of an accepted elicitation, if it is a
// non-empty string.
func acceptedString(response mcp.InputResponse, name string) (string, bool) {
	answer, ok := response.(*mcp.ElicitResult)
	if !ok || answer.Action != "accept" {
		return "", false
	}
	value, _ := answer.Content[name].(string)
	return value, value != ""
}

// sampledText is the text of a model's answer.
func sampledText(response mcp.InputResponse) (string, bool) {
	// The SDK decodes every answer with a role as the larger of its two types.
	answer, ok := response.(*mcp.CreateMessageWithToolsResult)
	if !ok {
		return "", false
	}
	for _, content := range answer.Content {
		if block, ok := content.(*mcp.TextContent); ok {
			return block.Text, true
		}
	}
	return "", false
}

func rootURIs(roots *mcp.ListRootsResult) []string {
	uris := make([]string, 0, len(roots.Roots))
	for _, root := range roots.Roots {
		uris = append(uris, root.URI)
	}
	return uris
}
