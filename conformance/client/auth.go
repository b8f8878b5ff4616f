package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/causeway-mcp/causeway/oauth/client"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// clientMetadata is the client's name where client ID metadata documents
// are supported; the suite knows it and fetches nothing.
const clientMetadata = "https://conformance-test.local/client-metadata.json"

// playAuthorized does what a signed-in client does: oauth/client below the
// SDK's transport.
func (j job) playAuthorized(ctx context.Context) error {
	options, err := j.authorization()
	if err != nil {
		return err
	}
	signIn, err := client.New(options)
	if err != nil {
		return err
	}
	defer signIn.Close()
	signedIn, err := signIn.Transport(j.url, nil)
	if err != nil {
		return err
	}
	transport := &mcp.StreamableClientTransport{Endpoint: j.url, HTTPClient: &http.Client{Transport: signedIn}}
	return j.playOver(ctx, transport, nil, call("test-tool", map[string]any{}))
}

// authorization is how the scenario wants the client to sign in.
func (j job) authorization() (client.Options, error) {
	options := client.Options{
		Store: client.Memory(), Open: consent, ImportFrom: client.NoImport, ClientMetadataURL: clientMetadata,
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
		ClientID: j.given.ClientID, ClientSecret: client.NewSecret(j.given.ClientSecret),
	}
	switch {
	case strings.HasPrefix(j.scenario, "auth/client-credentials-"):
		options.Grant = client.ClientCredentials{}
		if j.given.PrivateKey != "" {
			key, err := privateKey(j.given.PrivateKey)
			if err != nil {
				return options, err
			}
			options.PrivateKey, options.Algorithm = key, j.given.Algorithm
		}
	case j.scenario == "auth/wif-jwt-bearer":
		options.Grant = client.WorkloadIdentity{Assertion: func(context.Context, string) (client.Secret, error) {
			return client.NewSecret(j.given.ValidJWT), nil
		}}
	case j.scenario == "auth/enterprise-managed-authorization":
		options.Grant = client.EnterpriseManaged{
			TokenEndpoint: j.given.ProviderTokens, ClientID: j.given.ProviderClientID,
			Subject: func(context.Context) (client.Secret, error) { return client.NewSecret(j.given.IDToken), nil },
		}
	}
	return options, nil
}

func privateKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the private key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", parsed)
	}
	return key, nil
}

// consent stands for the person at a browser: the mock servers answer the
// authorization request with the redirect that would follow a consent, and the
// browser follows it to the client's callback.
func consent(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("building the authorization request: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking for authorization: %w", err)
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
