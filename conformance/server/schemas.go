package main

import (
	"context"
	"encoding/json"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/causeway-mcp/causeway/mcphttp"
)

// contactSchema uses the 2020-12 keywords the suite looks for in tools/list:
// they must arrive there as they stand here.
const contactSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "$defs": {
    "address": {
      "$anchor": "addressDef",
      "type": "object",
      "properties": {
        "street": {"type": "string"},
        "city": {"type": "string"}
      }
    }
  },
  "properties": {
    "name": {"type": "string"},
    "address": {"$ref": "#/$defs/address"},
    "contactMethod": {"type": "string", "enum": ["phone", "email"]},
    "phone": {"type": "string"},
    "email": {"type": "string"}
  },
  "allOf": [
    {"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}
  ],
  "if": {
    "properties": {"contactMethod": {"const": "phone"}},
    "required": ["contactMethod"]
  },
  "then": {"required": ["phone"]},
  "else": {"required": ["email"]},
  "additionalProperties": false
}`

// regionSchema mirrors its one argument into the header Mcp-Param-Region
// (2026-07-28, "custom headers"). The argument is optional because the suite
// also calls tools with no arguments at all.
const regionSchema = `{
  "type": "object",
  "properties": {
    "region": {
      "type": "string",
      "description": "where the work is to be done",
      "x-mcp-header": "Region"
    }
  }
}`

type contact struct {
	Name          string `json:"name,omitempty"`
	ContactMethod string `json:"contactMethod,omitempty"`
	Phone         string `json:"phone,omitempty"`
	Email         string `json:"email,omitempty"`
	Address       struct {
		Street string `json:"street,omitempty"`
		City   string `json:"city,omitempty"`
	} `json:"address,omitzero"`
}

type place struct {
	Region string `json:"region,omitempty"`
}

// addSchemaTools adds the tools whose input schema is what is tested. Both are
// added by mcphttp.AddTool: it must publish a given schema as it is, and check
// arguments and header parameters by it.
func addSchemaTools(server *mcp.Server) {
	mcphttp.AddTool(server, &mcp.Tool{
		Name:        "json_schema_2020_12_tool",
		Description: "Takes a contact described with the JSON Schema 2020-12 vocabulary",
		InputSchema: json.RawMessage(contactSchema),
	}, func(_ context.Context, _ *mcp.CallToolRequest, in contact) (*mcp.CallToolResult, any, error) {
		return text("The contact of " + in.Name + " is valid."), nil, nil
	})

	mcphttp.AddTool(server, &mcp.Tool{
		Name:        "test_x_mcp_header",
		Description: "Takes an argument that clients repeat in the header Mcp-Param-Region",
		InputSchema: json.RawMessage(regionSchema),
	}, func(_ context.Context, _ *mcp.CallToolRequest, in place) (*mcp.CallToolResult, any, error) {
		return text("The region is " + in.Region + "."), nil, nil
	})
}
