package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

const (
	// callback is only compared by the mock authorization servers: nothing
	// listens there, because consent reads the redirect instead of following it.
	callback = "http://localhost:3000/callback"
	// clientMetadata is the client's name where client ID metadata documents
	// are supported; the suite knows it and fetches nothing.
	clientMetadata = "https://conformance-test.local/client-metadata.json"
)

// playAuthorized does what a signed-in client does, with the SDK's own
// authorization code flow.
func (j job) playAuthorized(ctx context.Context) error {
	handler, err := auth.NewAuthorizationCodeHandler(j.authorization())
	if err != nil {
		return fmt.Errorf("setting up authorization: %w", err)
	}
	transport := &mcp.StreamableClientTransport{Endpoint: j.url, OAuthHandler: handler}
	return j.playOver(ctx, transport, nil, call("test-tool", map[string]any{}))
}

func (j job) authorization() *auth.AuthorizationCodeHandlerConfig {
	config := &auth.AuthorizationCodeHandlerConfig{
		RedirectURL:                    callback,
		AuthorizationCodeFetcher:       consent,
		ClientIDMetadataDocumentConfig: &auth.ClientIDMetadataDocumentConfig{URL: clientMetadata},
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{RedirectURIs: []string{callback}},
		},
	}
	if j.given.ClientID != "" && j.given.ClientSecret != "" {
		config.PreregisteredClient = &oauthex.ClientCredentials{
			ClientID:         j.given.ClientID,
			ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: j.given.ClientSecret},
		}
	}
	return config
}

// consent stands for the person at a browser: the mock servers answer the
// authorization request with the redirect that would follow a consent.
func consent(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, args.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("building the authorization request: %w", err)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := browser.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for authorization: %w", err)
	}
	defer response.Body.Close()
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("reading where authorization redirects to: %w", err)
	}
	answer := location.Query()
	return &auth.AuthorizationResult{Code: answer.Get("code"), State: answer.Get("state"), Iss: answer.Get("iss")}, nil
}
