package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func addPrompts(server *mcp.Server) {
	server.AddPrompt(&mcp.Prompt{Name: "test_simple_prompt", Description: "One message without arguments"},
		func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return userSays(&mcp.TextContent{Text: "This is a simple prompt."}), nil
		})

	server.AddPrompt(&mcp.Prompt{
		Name:        "test_prompt_with_arguments",
		Description: "One message made of two arguments",
		Arguments: []*mcp.PromptArgument{
			{Name: "arg1", Description: "the first word", Required: true},
			{Name: "arg2", Description: "the second word", Required: true},
		},
	}, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		first, second := req.Params.Arguments["arg1"], req.Params.Arguments["arg2"]
		return userSays(&mcp.TextContent{Text: fmt.Sprintf("The arguments are %q and %q.", first, second)}), nil
	})

	server.AddPrompt(&mcp.Prompt{
		Name:        "test_prompt_with_embedded_resource",
		Description: "A message that carries a resource",
		Arguments:   []*mcp.PromptArgument{{Name: "resourceUri", Description: "the resource to carry", Required: true}},
	}, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return userSays(&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{
			URI:      req.Params.Arguments["resourceUri"],
			MIMEType: "text/plain",
			Text:     "The text of the carried resource.",
		}}, &mcp.TextContent{Text: "Please read the resource."}), nil
	})

	server.AddPrompt(&mcp.Prompt{Name: "test_prompt_with_image", Description: "A message that carries a picture"},
		func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return userSays(&mcp.ImageContent{Data: redPixel(), MIMEType: "image/png"}, &mcp.TextContent{Text: "Please look at the picture."}), nil
		})

	server.AddPrompt(&mcp.Prompt{Name: "test_input_required_result_prompt", Description: "Asks the user for context before it answers"}, promptByRounds)
}

// promptByRounds asks in the SDK's own form; see addRoundTools.
func promptByRounds(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	if given, ok := acceptedString(req.Params.InputResponses["user_context"], "context"); ok {
		return userSays(&mcp.TextContent{Text: "Keep in mind: " + given}), nil
	}
	return &mcp.GetPromptResult{InputRequests: mcp.InputRequestMap{
		"user_context": &mcp.ElicitParams{Message: "What should the prompt keep in mind?", RequestedSchema: requireString("context")},
	}}, nil
}

// userSays is a prompt in which the user sends each content as one message.
func userSays(contents ...mcp.Content) *mcp.GetPromptResult {
	var messages []*mcp.PromptMessage
	for _, content := range contents {
		messages = append(messages, &mcp.PromptMessage{Role: "user", Content: content})
	}
	return &mcp.GetPromptResult{Messages: messages}
}

// complete suggests the words it knows that begin with what was typed.
func complete(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	matches := []string{}
	for _, word := range []string{"paris", "park", "party"} {
		if strings.HasPrefix(word, req.Params.Argument.Value) {
			matches = append(matches, word)
		}
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: matches, Total: len(matches)}}, nil
}
