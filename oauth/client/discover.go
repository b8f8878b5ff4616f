package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A discovery is what is known of the way in to a server.
type discovery struct {
	challenge []challenge
	resource  *resourceMetadata // nil: a server of 2025-03-26, without any
	as        *serverMetadata
}

// discover finds the authorization server of a MCP server: protected resource metadata from
// the challenge, else from the well-known places, then the authorization server's own; and
// for servers of 2025-03-26 that have neither, the server's origin. Of several authorization
// servers it is the known one, if that is among them.
func (s *session) discover(ctx context.Context, all []challenge, known string) (*discovery, error) {
	found := &discovery{challenge: all}
	resource, err := s.resourceMetadata(ctx, param(all, "resource_metadata"))
	if err != nil {
		return nil, fmt.Errorf("finding the authorization server: %w", err)
	}
	found.resource = resource
	if endpoint := s.c.options.TokenEndpoint; endpoint != "" {
		found.as = &serverMetadata{Issuer: s.c.options.Issuer, Token: endpoint}
		return found, nil
	}
	if resource == nil {
		found.as, err = s.originServer(ctx)
	} else {
		found.as, err = s.listedServer(ctx, resource.AuthorizationServers, known)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the authorization server about itself: %w", err)
	}
	return found, nil
}

// resourceMetadata fetches the document of RFC 9728: where the challenge says, then with the
// server's path, then at the root. Nil: there is none.
func (s *session) resourceMetadata(ctx context.Context, named string) (*resourceMetadata, error) {
	if named != "" {
		u, err := s.fetch.endpoint("resource_metadata of the challenge", named)
		if err != nil {
			return nil, err
		}
		if m, err := s.resourceDocument(ctx, u); m != nil || err != nil {
			return m, err
		}
	}
	for _, u := range wellKnown(s.server, "oauth-protected-resource") {
		if m, err := s.resourceDocument(ctx, u); m != nil || err != nil {
			return m, err
		}
	}
	return nil, nil
}

// wellKnown are the places of a well-known document: before the path (RFC 8615, RFC 9728
// §3.1), and at the root.
func wellKnown(u *url.URL, name string) []*url.URL {
	root := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/.well-known/" + name}
	if u.Path == "" || u.Path == "/" {
		return []*url.URL{root}
	}
	inserted := *root
	inserted.Path += u.Path
	if u.RawPath != "" {
		inserted.RawPath = root.Path + u.RawPath
	}
	inserted.RawQuery = u.RawQuery
	return []*url.URL{&inserted, root}
}

// resourceDocument fetches one document; nil if there is none at u. One that is for
// another resource ends the attempt: going on would end at a guess.
func (s *session) resourceDocument(ctx context.Context, u *url.URL) (*resourceMetadata, error) {
	content, err := s.fetch.get(ctx, u, s.ownHeaders)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := parseResourceMetadata(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", withoutQuery(u), err)
	}
	if !isResourceOf(m.Resource, s.server) {
		return nil, fmt.Errorf("%w: %s is about the resource %q, not %s", ErrMismatch, withoutQuery(u), clean(m.Resource, 200), withoutQuery(s.server))
	}
	if len(m.AuthorizationServers) == 0 {
		return nil, fmt.Errorf("%w: %s names no authorization server", ErrBadAnswer, withoutQuery(u))
	}
	return m, nil
}

// ownHeaders adds the configured headers to requests to the server's own origin.
func (s *session) ownHeaders(r *http.Request) {
	if sameOrigin(r.URL, s.server) {
		s.addHeaders(r)
	}
}

// isAbsent reports whether an error says that a document is not there. Servers that have no
// such documents answer with all kinds of refusals.
func isAbsent(err error) bool {
	var status statusError
	return errors.As(err, &status) && status >= 400 && status < 500 && status != http.StatusTooManyRequests
}

// isResourceOf reports whether a published resource is that of the server: its URL, or one
// of the same origin whose path contains it.
func isResourceOf(resource string, server *url.URL) bool {
	u, err := parseURL(resource)
	if err != nil || !sameOrigin(u, server) || u.Fragment != "" {
		return false
	}
	if u.RawQuery != "" && u.RawQuery != server.RawQuery {
		return false
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return path == "" || server.EscapedPath() == path || strings.HasPrefix(server.EscapedPath(), path+"/")
}

// listedServer fetches the metadata of the authorization server to use: the configured one, the one
// that was used before, else the first that answers.
func (s *session) listedServer(ctx context.Context, issuers []string, known string) (*serverMetadata, error) {
	if slices.Contains(issuers, known) {
		issuers = []string{known} // that it is down is no reason to go elsewhere
	}
	if own := s.c.options.Issuer; own != "" {
		if !slices.Contains(issuers, own) {
			return nil, fmt.Errorf("%w: the server does not name %s, where this client is registered", ErrMismatch, own)
		}
		issuers = []string{own}
	}
	var errs []error
	for _, issuer := range issuers {
		m, err := s.serverMetadata(ctx, issuer)
		if err == nil {
			return m, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", clean(issuer, 200), err))
	}
	return nil, errors.Join(errs...)
}

// serverMetadata fetches the metadata of an issuer from the first of its places that has any.
func (s *session) serverMetadata(ctx context.Context, issuer string) (*serverMetadata, error) {
	base, err := s.fetch.endpoint("issuer", issuer)
	if err != nil {
		return nil, err
	}
	if base.RawQuery != "" {
		return nil, fmt.Errorf("%w: the issuer has a query", ErrForbiddenAddress)
	}
	for _, u := range metadataPlaces(base) {
		content, err := s.fetch.get(ctx, u, s.ownHeaders)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err := parseServerMetadata(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", withoutQuery(u), err)
		}
		if m.Issuer != issuer {
			return nil, fmt.Errorf("%w: %s says it is %q", ErrMismatch, withoutQuery(u), clean(m.Issuer, 200))
		}
		return m, s.checkEndpoints(m)
	}
	return nil, fmt.Errorf("%w: no metadata at any of its well-known places", ErrBadAnswer)
}

// metadataPlaces are where an issuer's metadata may be, in the order of the MCP
// specification: RFC 8414, OpenID Connect with the path inserted, then appended.
func metadataPlaces(issuer *url.URL) []*url.URL {
	base := *issuer
	base.Path, base.RawPath = strings.TrimSuffix(base.Path, "/"), strings.TrimSuffix(base.RawPath, "/")
	places := []*url.URL{wellKnown(&base, "oauth-authorization-server")[0], wellKnown(&base, "openid-configuration")[0]}
	if base.Path != "" {
		places = append(places, base.JoinPath(".well-known", "openid-configuration"))
	}
	return places
}

// checkEndpoints refuses metadata that leads where the policy does not allow.
func (s *session) checkEndpoints(m *serverMetadata) error {
	if m.Token == "" {
		return fmt.Errorf("%w: no token_endpoint", ErrBadAnswer)
	}
	for name, endpoint := range map[string]string{
		"token_endpoint": m.Token, "authorization_endpoint": m.Authorization, "registration_endpoint": m.Registration,
		"revocation_endpoint": m.Revocation, "device_authorization_endpoint": m.DeviceAuthorization,
	} {
		if endpoint == "" {
			continue
		}
		if _, err := s.fetch.endpoint(name, endpoint); err != nil {
			return err
		}
	}
	return nil
}

// originServer is the authorization server of a MCP server of 2025-03-26: itself, by its
// metadata or by the paths that revision falls back to.
func (s *session) originServer(ctx context.Context) (*serverMetadata, error) {
	origin := &url.URL{Scheme: s.server.Scheme, Host: s.server.Host}
	if own := s.c.options.Issuer; own != "" && own != origin.String() {
		return s.serverMetadata(ctx, own) // the server names none, the configuration does
	}
	content, err := s.fetch.get(ctx, wellKnown(origin, "oauth-authorization-server")[0], s.ownHeaders)
	if isAbsent(err) {
		base := origin.String()
		return &serverMetadata{
			Issuer: base, Authorization: base + "/authorize", Token: base + "/token", Registration: base + "/register", guessed: true,
		}, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := parseServerMetadata(content)
	if err != nil {
		return nil, err
	}
	if m.Issuer != origin.String() && m.Issuer != origin.String()+"/" {
		return nil, fmt.Errorf("%w: the metadata of %s says it is %q", ErrMismatch, origin, clean(m.Issuer, 200))
	}
	return m, s.checkEndpoints(m)
}
