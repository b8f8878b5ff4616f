// Bearer is a server that takes the access tokens of an authorization server elsewhere, as
// JWTs (RFC 9068), and API keys that its owner handed out. Nobody signs in here.
//
//	ISSUER=https://auth.example.com RESOURCE=https://mcp.example.com/mcp API_KEYS=keys.json go run ./examples/bearer
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// keys are API keys: the SHA-256 of each, in hexadecimal, and whose it is. Keys must be
// random (openssl rand -hex 32), so that their hashes tell nothing.
type keys map[string]string

// Validate implements oauth.Validator.
func (k keys) Validate(_ context.Context, resource, token string) (*oauth.Validation, error) {
	sum := sha256.Sum256([]byte(token))
	user, ok := k[hex.EncodeToString(sum[:])]
	if !ok {
		return nil, nil
	}
	return &oauth.Validation{User: user, Client: "api-key", Resource: resource, Expires: time.Now().Add(time.Hour)}, nil
}

// either asks one after the other.
type either []oauth.Validator

// Validate implements oauth.Validator.
func (e either) Validate(ctx context.Context, resource, token string) (*oauth.Validation, error) {
	for _, v := range e {
		if found, err := v.Validate(ctx, resource, token); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

func readKeys(name string) (k keys, err error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return nil, fmt.Errorf("reading API_KEYS: %w", err)
	}
	return k, nil
}

func newServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "Bearer", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "whoami"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		t := auth.TokenInfoFromContext(ctx)
		return causeway.Textf("You are %s, by way of %v.", t.UserID, t.Extra[oauth.ExtraClient]), nil, nil
	})
	return s
}

func main() {
	app := &causeway.App{}
	app.Prepare = func() error {
		k, err := readKeys(os.Getenv("API_KEYS"))
		if err != nil {
			return err
		}
		issuer := os.Getenv("ISSUER")
		guard := &oauth.ResourceServer{
			Issuer: issuer, Validator: either{k, &oauth.JWTVerifier{Issuer: issuer}},
			Resources: []oauth.Resource{{Path: "/mcp", ID: os.Getenv("RESOURCE")}},
		}
		app.Guard = guard.Protect
		return nil
	}
	app.Mount("/mcp", causeway.Server(newServer()))
	app.Main()
}
