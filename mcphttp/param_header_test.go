package mcphttp

import (
	"net/http"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// The rules are tested in internal/paramheader; this shows that they are wired.
func TestParamHeadersMirrorArguments(t *testing.T) {
	bindings, err := paramBindings(&jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{
		"region": {Type: "string", Extra: map[string]any{"x-mcp-header": "Region"}},
	}})
	if err != nil || len(bindings) != 1 {
		t.Fatalf("got %v, %v", bindings, err)
	}
	h := http.Header{}
	h.Set("mcp-param-region", "=?base64?ZXU=?=")
	if err := checkParamHeaders(bindings, h, []byte(`{"region":"eu"}`)); err != nil {
		t.Error(err)
	}
	if err := checkParamHeaders(bindings, h, []byte(`{"region":"us"}`)); err == nil {
		t.Error("another region passes")
	}
	if text, err := decodeHeaderValue("=?base64?ZXU=?="); err != nil || text != "eu" {
		t.Errorf("got %q, %v", text, err)
	}
}
