package mcphttp

import (
	"net/http"

	"github.com/causeway-mcp/causeway/internal/paramheader"
)

// A paramBinding says which Mcp-Param header mirrors which argument of a tool.
type paramBinding = paramheader.Binding

// paramBindings reads the x-mcp-header annotations of a tool's input schema. It
// is work for once per tool, not per call.
func paramBindings(schema any) ([]paramBinding, error) { return paramheader.Bindings(schema) }

// checkParamHeaders holds the headers of a tools/call against its arguments,
// checked JSON or nil. Its error, safe to show, is a -32020.
func checkParamHeaders(bindings []paramBinding, header http.Header, arguments []byte) error {
	return paramheader.Check(bindings, header, arguments)
}

// decodeHeaderValue returns the text that the value of an Mcp-Name or Mcp-Param
// header stands for.
func decodeHeaderValue(value string) (string, error) { return paramheader.Decode(value) }
