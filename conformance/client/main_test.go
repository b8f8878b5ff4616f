package main

import (
	"strings"
	"testing"
)

func env(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestAJobComesFromArgumentsAndEnvironment(t *testing.T) {
	got, err := readJob([]string{"client", "-flag", "http://127.0.0.1:9/mcp"}, env(map[string]string{
		"MCP_CONFORMANCE_SCENARIO":         "http-custom-headers",
		"MCP_CONFORMANCE_PROTOCOL_VERSION": "2026-07-28",
		"MCP_CONFORMANCE_CONTEXT":          `{"name":"x","client_id":"me","toolCalls":[{"name":"add","arguments":{"a":1}}]}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.url != "http://127.0.0.1:9/mcp" || got.scenario != "http-custom-headers" || got.version != "2026-07-28" {
		t.Errorf("the job is %+v", got)
	}
	if len(got.given.ToolCalls) != 1 || got.given.ToolCalls[0].Name != "add" || got.given.ToolCalls[0].Arguments["a"] != 1.0 || got.given.ClientID != "me" {
		t.Errorf("what is given is %+v", got.given)
	}
}

func TestABadJobIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, mentions string
		args           []string
		variables      map[string]string
	}{
		{"without a URL", "URL", []string{"client"}, nil},
		{"with a context that is not JSON", "MCP_CONFORMANCE_CONTEXT", []string{"client", "http://x"}, map[string]string{"MCP_CONFORMANCE_CONTEXT": "{"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := readJob(test.args, env(test.variables)); err == nil || !strings.Contains(err.Error(), test.mentions) {
				t.Errorf("error %v does not mention %s", err, test.mentions)
			}
		})
	}
}

func TestAnUnknownScenarioIsRefused(t *testing.T) {
	err := job{scenario: "no-such-thing", url: "http://127.0.0.1:9/mcp"}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no-such-thing") {
		t.Errorf("error %v does not name the scenario", err)
	}
}
