// Command client is the fixture client that the official MCP conformance suite
// drives against its mock servers: a program on the go-sdk's client that signs in
// with oauth/client.
//
// The suite starts it once for each scenario, with the URL of the mock server
// as the last argument and these environment variables:
//
//	MCP_CONFORMANCE_SCENARIO          what to do
//	MCP_CONFORMANCE_PROTOCOL_VERSION  the revision to speak
//	MCP_CONFORMANCE_CONTEXT           what the scenario gives, as a JSON object
//
// It exits with status 0 if it could do all of it, else with 1.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	job, err := readJob(os.Args, os.Getenv)
	if err == nil {
		err = job.run(ctx)
	}
	if err != nil {
		slog.Error("conformance client failed", "scenario", job.scenario, "err", err)
		os.Exit(1)
	}
}

// job is one scenario to play.
type job struct {
	scenario string
	version  string // the protocol revision to speak; empty: the SDK's newest
	url      string // of the server
	given    given
}

// given is what a scenario hands to the client.
type given struct {
	ToolCalls []struct {
		Name      string         `json:"name"`
		Arguments map[string]any `json:"arguments"`
	} `json:"toolCalls"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	PrivateKey   string `json:"private_key_pem"`
	Algorithm    string `json:"signing_algorithm"`
	ValidJWT     string `json:"valid_jwt"` // of a workload

	// Of the company's identity provider.
	ProviderClientID string `json:"idp_client_id"`
	ProviderTokens   string `json:"idp_token_endpoint"`
	IDToken          string `json:"idp_id_token"`
}

// readJob reads the job from the command line and the environment.
func readJob(args []string, env func(string) string) (job, error) {
	j := job{scenario: env("MCP_CONFORMANCE_SCENARIO"), version: env("MCP_CONFORMANCE_PROTOCOL_VERSION")}
	if len(args) < 2 {
		return j, fmt.Errorf("the URL of the server is missing")
	}
	j.url = args[len(args)-1]
	if context := env("MCP_CONFORMANCE_CONTEXT"); context != "" {
		if err := json.Unmarshal([]byte(context), &j.given); err != nil {
			return j, fmt.Errorf("reading MCP_CONFORMANCE_CONTEXT: %w", err)
		}
	}
	return j, nil
}
