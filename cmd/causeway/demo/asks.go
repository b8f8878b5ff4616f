package demo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/causeway-mcp/causeway"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addAsks adds the tools that ask the client something while they work.
func (d *demo) addAsks(s *mcp.Server) {
	causeway.AddTool(s, &mcp.Tool{
		Name: "book_table", Description: "Books a table (not really). It asks you for day and company, and again if you are many.",
	}, bookTable)
	causeway.AddTool(s, &mcp.Tool{
		Name: "haiku", Description: "Has your own model write a haiku, by sampling.", Annotations: readOnly,
	}, haiku)
	causeway.AddTool(s, &mcp.Tool{
		Name: "roots", Description: "Lists the folders your client works on.", Annotations: readOnly,
	}, roots)
}

type bookInput struct {
	Restaurant string `json:"restaurant"`
}

type booking struct {
	Day     string  `json:"day"`
	People  float64 `json:"people"`
	Outside bool    `json:"outside"`
}

// manyPeople is from when on a booking is confirmed.
const manyPeople = 8

func bookTable(ctx context.Context, _ *mcp.CallToolRequest, in bookInput) (*mcp.CallToolResult, any, error) {
	answer, err := causeway.Elicit(ctx, &mcp.ElicitParams{
		Message: fmt.Sprintf("A table at %s: when, and for how many?", in.Restaurant),
		RequestedSchema: &jsonschema.Schema{
			Type: "object",
			Properties: map[string]*jsonschema.Schema{
				"day":     {Type: "string", Format: "date", Title: "Day"},
				"people":  {Type: "integer", Title: "People", Minimum: jsonschema.Ptr(1.0), Maximum: jsonschema.Ptr(20.0)},
				"outside": {Type: "boolean", Title: "Outside", Default: json.RawMessage("false")},
			},
			Required: []string{"day", "people"},
		},
	})
	if err != nil {
		return nil, nil, err
	}
	if answer.Action != "accept" {
		return text("No table was booked."), nil, nil
	}
	b, err := decodeBooking(answer.Content)
	if err != nil {
		return nil, nil, err
	}
	if b.People >= manyPeople {
		sure, err := causeway.Elicit(ctx, &mcp.ElicitParams{
			Message:         fmt.Sprintf("Really %g people on %s?", b.People, b.Day),
			RequestedSchema: &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}},
		})
		if err != nil {
			return nil, nil, err
		}
		if sure.Action != "accept" {
			return text("No table was booked."), nil, nil
		}
	}
	where := "inside"
	if b.Outside {
		where = "outside"
	}
	return text("Booked at %s: %s, %g people, %s.", in.Restaurant, b.Day, b.People, where), nil, nil
}

func decodeBooking(content map[string]any) (booking, error) {
	var b booking
	data, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil {
		return b, fmt.Errorf("reading the answer to the form: %w", err)
	}
	return b, nil
}

type haikuInput struct {
	Topic string `json:"topic"`
}

func haiku(ctx context.Context, _ *mcp.CallToolRequest, in haikuInput) (*mcp.CallToolResult, any, error) {
	answer, err := causeway.Sample(ctx, &mcp.CreateMessageParams{
		MaxTokens:    100,
		SystemPrompt: "You write haiku. Answer with the three lines and nothing else.",
		Messages: []*mcp.SamplingMessage{{
			Role: "user", Content: &mcp.TextContent{Text: "Write a haiku about " + in.Topic + "."},
		}},
	})
	if err != nil {
		return nil, nil, err
	}
	poem, ok := answer.Content.(*mcp.TextContent)
	if !ok {
		return nil, nil, fmt.Errorf("the model %s answered with something that is not text", answer.Model)
	}
	return text("%s\n\n(by %s)", poem.Text, answer.Model), nil, nil
}

func roots(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	answer, err := causeway.ListRoots(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := fmt.Sprintf("Your client works on %d folders.", len(answer.Roots))
	for _, r := range answer.Roots {
		out += fmt.Sprintf("\n%s (%s)", r.URI, r.Name)
	}
	return causeway.Text(out), nil, nil
}
