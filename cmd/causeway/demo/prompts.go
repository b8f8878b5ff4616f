package demo

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	tripPrompt   = "trip"
	reviewPrompt = "review"
)

var (
	cities    = []string{"Berlin", "Bern", "Bogotá", "Lagos", "Lima", "Lisbon", "Paris", "Tokyo"}
	languages = []string{"go", "java", "javascript", "python", "rust", "typescript"}
)

func addPrompts(s *mcp.Server) {
	s.AddPrompt(&mcp.Prompt{
		Name: tripPrompt, Title: "Plan a trip", Description: "A day by day plan for a city.",
		Arguments: []*mcp.PromptArgument{
			{Name: "city", Required: true},
			{Name: "days", Description: "how many; 3 if left out"},
		},
	}, planTrip)
	s.AddPrompt(&mcp.Prompt{
		Name: reviewPrompt, Title: "Review code", Description: "A review with the guide at hand.",
		Arguments: []*mcp.PromptArgument{
			{Name: "code", Required: true},
			{Name: "language"},
		},
	}, review)
}

func planTrip(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	city, days := req.Params.Arguments["city"], req.Params.Arguments["days"]
	if city == "" {
		return nil, invalidParams("prompt %s needs the argument city", tripPrompt)
	}
	if days == "" {
		days = "3"
	}
	return &mcp.GetPromptResult{
		Description: "A trip to " + city,
		Messages:    []*mcp.PromptMessage{said("Plan a trip of %s days to %s, day by day.", days, city)},
	}, nil
}

func review(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	code, language := req.Params.Arguments["code"], req.Params.Arguments["language"]
	if code == "" {
		return nil, invalidParams("prompt %s needs the argument code", reviewPrompt)
	}
	return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{
		said("Review this code. Be brief; name what is wrong, where, and what to do.\n\n```%s\n%s\n```", language, code),
		{Role: "user", Content: &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: guideURI, MIMEType: "text/markdown", Text: guide}}},
	}}, nil
}

func said(format string, args ...any) *mcp.PromptMessage {
	return &mcp.PromptMessage{Role: "user", Content: &mcp.TextContent{Text: fmt.Sprintf(format, args...)}}
}
