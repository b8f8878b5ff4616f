package client

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const (
	bearerGrant   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	idJAG         = "urn:ietf:params:oauth:token-type:id-jag"
	idTokenType   = "urn:ietf:params:oauth:token-type:id_token"
)

// form is a token request of a grant without a person.
func (g *granting) form(grant string) url.Values {
	form := url.Values{"grant_type": {grant}}
	if len(g.scopes) > 0 {
		form.Set("scope", strings.Join(g.scopes, " "))
	}
	return g.session.withResource(form, g.resource)
}

// asItself is the client credentials grant.
func (g *granting) asItself(ctx context.Context) (*tokenAnswer, error) {
	if err := g.configured(); err != nil {
		return nil, err
	}
	return g.session.send(ctx, g.tokenRequest(g.form("client_credentials")))
}

// asWorkload is the JWT bearer grant with an assertion of the platform. What the server
// refuses is not tried again or otherwise.
func (g *granting) asWorkload(ctx context.Context, grant WorkloadIdentity) (*tokenAnswer, error) {
	if err := g.configured(); err != nil {
		return nil, err
	}
	assertion, err := grant.Assertion(ctx, g.found.as.Issuer)
	if err != nil {
		return nil, fmt.Errorf("getting the workload's identity: %w", err)
	}
	form := g.form(bearerGrant)
	form.Set("assertion", assertion.Reveal())
	return g.session.send(ctx, g.tokenRequest(form))
}

// asEmployee exchanges the person's ID token at the identity provider for an ID-JAG, and
// that at the MCP authorization server for a token.
func (g *granting) asEmployee(ctx context.Context, grant EnterpriseManaged) (*tokenAnswer, error) {
	if err := g.configured(); err != nil {
		return nil, err
	}
	subject, err := grant.Subject(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting the person's identity: %w", err)
	}
	form := g.form(exchangeGrant)
	form.Set("requested_token_type", idJAG)
	form.Set("audience", g.found.as.Issuer)
	form.Set("resource", g.resource)
	form.Set("subject_token", subject.Reveal())
	form.Set("subject_token_type", grant.SubjectType)
	if grant.SubjectType == "" {
		form.Set("subject_token_type", idTokenType)
	}
	provider, err := g.session.fetcherOf(grant.TokenEndpoint)
	if err != nil {
		return nil, err
	}
	answer, err := g.session.send(ctx, tokenRequest{
		where: "identity provider's token", endpoint: grant.TokenEndpoint, form: form, fetch: provider,
		client: &registration{id: grant.ClientID, secret: grant.ClientSecret, method: providerMethod(grant), dynamic: true},
	})
	if err != nil {
		return nil, err
	}
	if answer.issuedType != idJAG {
		return nil, fmt.Errorf("%w: the identity provider gave a %q, not an ID-JAG", ErrBadAnswer, clean(answer.issuedType, 100))
	}
	form = g.form(bearerGrant)
	form.Set("assertion", answer.access)
	return g.session.send(ctx, g.tokenRequest(form))
}

func providerMethod(grant EnterpriseManaged) string {
	if grant.ClientSecret.IsZero() {
		return authNone
	}
	return authBasic
}

// configured takes the client of the options: machines do not register themselves. A server that
// lists the methods it takes is not shown a secret that it does not ask for.
func (g *granting) configured() error {
	s := g.session
	g.client = s.configured(g.found.as.Issuer)
	if g.client == nil {
		return fmt.Errorf("%w: this grant needs a ClientID", ErrRegistration)
	}
	methods := g.found.as.AuthMethods
	if method := s.authMethod(g.tokenRequest(nil)); len(methods) > 0 && !slices.Contains(methods, method) && method != authNone {
		return fmt.Errorf("%w: %s takes %s, and the client has %s", ErrRegistration, clean(g.found.as.Issuer, 200), clean(strings.Join(methods, ", "), 200), method)
	}
	return nil
}

// fetcherOf reaches an endpoint that the configuration names, which may be anywhere.
func (s *session) fetcherOf(endpoint string) (*fetcher, error) {
	u, err := parseURL(endpoint)
	if err != nil {
		return nil, err
	}
	return newFetcher(s.c.options.Policy, u, s.c.options.HTTP), nil
}
