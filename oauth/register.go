package oauth

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

const maxClientName = 200

// clientMetadata is what a client says of itself (RFC 7591 §2). It is also the form of
// a client id metadata document.
type clientMetadata struct {
	ClientID        string   `json:"client_id,omitzero"`
	RedirectURIs    []string `json:"redirect_uris"`
	AuthMethod      string   `json:"token_endpoint_auth_method,omitzero"`
	GrantTypes      []string `json:"grant_types,omitzero"`
	ResponseTypes   []string `json:"response_types,omitzero"`
	ClientName      string   `json:"client_name,omitzero"`
	ClientURI       string   `json:"client_uri,omitzero"`
	LogoURI         string   `json:"logo_uri,omitzero"`
	TosURI          string   `json:"tos_uri,omitzero"`
	PolicyURI       string   `json:"policy_uri,omitzero"`
	Scope           string   `json:"scope,omitzero"`
	ApplicationType string   `json:"application_type,omitzero"`
	DPoPBound       bool     `json:"dpop_bound_access_tokens,omitzero"`
}

// registered is the answer of RFC 7591 §3.2.1.
type registered struct {
	clientMetadata `json:",inline"`
	IssuedAt       int64  `json:"client_id_issued_at"`
	Secret         string `json:"client_secret,omitzero"`
	SecretExpires  *int64 `json:"client_secret_expires_at,omitzero"`
}

// register is the endpoint of RFC 7591 §3.
func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return errInvalidRequest("want application/json")
	}
	body, werr := readBody(w, r)
	if werr != nil {
		return werr
	}
	m, werr := parseClientMetadata(body, s.provider.CustomSchemes)
	if werr != nil {
		return werr
	}
	// Who did not say how it authenticates may use Basic and post alike.
	method := m.AuthMethod
	if werr := m.negotiate(); werr != nil {
		return werr
	}
	if err := s.countUnused(r); err != nil {
		return err
	}
	answer, err := s.keepClient(r, m, method)
	if err != nil {
		return err
	}
	s.log.InfoContext(r.Context(), "oauth: client registered", "client", answer.ClientID, "redirects", len(m.RedirectURIs))
	writeJSON(w, http.StatusCreated, answer)
	return nil
}

func badMetadata(d string) *wireError {
	return wire(http.StatusBadRequest, "invalid_client_metadata", d)
}

// parseClientMetadata reads and checks what is common to registrations and documents.
func parseClientMetadata(body []byte, custom bool) (*clientMetadata, *wireError) {
	m := new(clientMetadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, badMetadata("want a JSON object of client metadata")
	}
	if len(m.RedirectURIs) == 0 || len(m.RedirectURIs) > maxRedirects {
		return nil, wire(http.StatusBadRequest, "invalid_redirect_uri", fmt.Sprintf("want 1 to %d redirect_uris", maxRedirects))
	}
	for _, uri := range m.RedirectURIs {
		if !safeRedirect(uri, custom) {
			return nil, wire(http.StatusBadRequest, "invalid_redirect_uri", "redirect_uris: want https, or http on loopback, without fragment or user")
		}
	}
	if len(m.ClientName) > maxClientName || !isText(m.ClientName) || m.ClientName != "" && !showsSomething(m.ClientName) {
		return nil, badMetadata("client_name is too long, has control characters or shows nothing")
	}
	for _, uri := range []string{m.ClientURI, m.LogoURI, m.TosURI, m.PolicyURI} {
		if uri != "" && !isWebURL(uri) {
			return nil, badMetadata("client_uri, logo_uri, tos_uri and policy_uri: want http or https URLs")
		}
	}
	if t := m.ApplicationType; t != "" && t != "web" && t != "native" {
		return nil, badMetadata("application_type: want web or native")
	}
	return m, nil
}

// isText reports whether a name can be shown: without control characters, and without
// those that turn the direction of what follows.
func isText(s string) bool {
	for _, c := range s {
		if c == unicode.ReplacementChar || unicode.IsControl(c) || unicode.In(c, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return false
		}
	}
	return true
}

// showsSomething reports whether a name leaves a mark on a page.
func showsSomething(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsGraphic(c) && !unicode.IsSpace(c) && !unicode.In(c, unicode.Other_Default_Ignorable_Code_Point)
	})
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxRedirectURI && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// negotiate fills in the defaults of RFC 7591 §2 and refuses what is not offered.
func (m *clientMetadata) negotiate() *wireError {
	switch m.AuthMethod {
	case "":
		m.AuthMethod = authBasic
	case authNone, authBasic, authPost:
	default:
		return badMetadata("token_endpoint_auth_method: want none, client_secret_basic or client_secret_post")
	}
	if len(m.GrantTypes) == 0 {
		m.GrantTypes = []string{"authorization_code"}
	}
	m.GrantTypes = slices.DeleteFunc(m.GrantTypes, func(t string) bool { return t != "authorization_code" && t != "refresh_token" })
	if !slices.Contains(m.GrantTypes, "authorization_code") {
		return badMetadata("grant_types: authorization_code is what is offered, with refresh_token")
	}
	if len(m.ResponseTypes) == 0 {
		m.ResponseTypes = []string{"code"}
	}
	if !slices.Equal(m.ResponseTypes, []string{"code"}) {
		return badMetadata("response_types: want code")
	}
	m.ClientID = ""
	return nil
}

// countUnused refuses registrations while too many wait for their first use, so that
// nobody can fill the store.
func (s *Server) countUnused(r *http.Request) error {
	if s.limits.unused < 0 {
		return nil
	}
	n := 0
	for _, err := range s.records.List(r.Context(), unusedPrefix) {
		if err != nil {
			return fmt.Errorf("%w: counting clients: %w", ErrUnavailable, err)
		}
		if n++; n >= s.limits.unused {
			s.log.WarnContext(r.Context(), "oauth: registration refused: too many clients that nobody has used", "limit", s.limits.unused)
			return errTooMany("too many registrations wait for their first use; try again later")
		}
	}
	return nil
}

func (s *Server) keepClient(r *http.Request, m *clientMetadata, method string) (*registered, error) {
	now := time.Now()
	id := newID()
	c := client{ID: id, Name: m.ClientName, URI: m.ClientURI, Redirects: m.RedirectURIs, Method: method, DPoPBound: m.DPoPBound, Created: now}
	answer := &registered{clientMetadata: *m, IssuedAt: now.Unix()}
	answer.ClientID = id
	if m.AuthMethod != authNone {
		secret := s.mint.issue(kindSecret, id)
		c.SecretMAC = secret.mac()
		answer.Secret, answer.SecretExpires = secret.text, new(int64) // 0: it does not expire
	}
	value, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("oauth: encoding a client: %w", err)
	}
	ttl := &store.PutOptions{TTL: unusedTTL}
	// The count first: a client that is not counted would be free.
	for _, w := range []struct {
		key   string
		value []byte
	}{{unusedPrefix + id, []byte("{}")}, {clientPrefix + id, value}} {
		if _, err := s.records.Put(r.Context(), w.key, w.value, 0, ttl); err != nil {
			return nil, fmt.Errorf("%w: writing a client: %w", ErrUnavailable, err)
		}
	}
	return answer, nil
}
