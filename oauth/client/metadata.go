package client

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// resourceMetadata is a protected resource metadata document (RFC 9728 §2).
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	Scopes               []string `json:"scopes_supported"`
	DPoPRequired         bool     `json:"dpop_bound_access_tokens_required"`
	DPoPAlgorithms       []string `json:"dpop_signing_alg_values_supported"`
}

// maxServers is how many authorization servers of a document are looked at.
const maxServers = 5

func parseResourceMetadata(content []byte) (*resourceMetadata, error) {
	m := new(resourceMetadata)
	if err := json.Unmarshal(content, m); err != nil {
		return nil, fmt.Errorf("protected resource metadata: %w", withoutContent(err))
	}
	m.Scopes = scopesOf(strings.Join(m.Scopes, " "))
	m.AuthorizationServers = m.AuthorizationServers[:min(len(m.AuthorizationServers), maxServers)]
	return m, nil
}

// serverMetadata is an authorization server metadata document (RFC 8414 §2) or an OpenID
// provider configuration.
type serverMetadata struct {
	Issuer                string   `json:"issuer"`
	Authorization         string   `json:"authorization_endpoint"`
	Token                 string   `json:"token_endpoint"`
	Registration          string   `json:"registration_endpoint"`
	Revocation            string   `json:"revocation_endpoint"`
	DeviceAuthorization   string   `json:"device_authorization_endpoint"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	AssertionAlgorithms   []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	IssParameter          bool     `json:"authorization_response_iss_parameter_supported"`
	ClientMetadataSupport bool     `json:"client_id_metadata_document_supported"`
	DPoPAlgorithms        []string `json:"dpop_signing_alg_values_supported"`

	// guessed: a server of 2025-03-26 without any metadata.
	guessed bool
}

func parseServerMetadata(content []byte) (*serverMetadata, error) {
	m := new(serverMetadata)
	if err := json.Unmarshal(content, m); err != nil {
		return nil, fmt.Errorf("authorization server metadata: %w", withoutContent(err))
	}
	return m, nil
}

// offersPKCE reports whether S256 is advertised. A client of MCP refuses a server that does
// not say so: without PKCE a stolen code is worth tokens.
func (m *serverMetadata) offersPKCE() bool {
	return m.guessed || slices.Contains(m.ChallengeMethods, "S256")
}

// tokenAnswer is an answer of the token endpoint (RFC 6749 §5.1) or of the device
// authorization endpoint's token polling.
type tokenAnswer struct {
	access, refresh, id string
	kind                string
	lifetime            time.Duration // zero: not said
	scope               *string
	issuedType          string // of a token exchange (RFC 8693)
}

// Bounds of what is taken from token endpoints.
const (
	maxToken    = 32 << 10
	maxLifetime = 10 * 365 * 24 * time.Hour
)

// parseTokenAnswer reads a token answer; status 200 with an error in it is one too, as
// some servers have it.
func parseTokenAnswer(content []byte) (*tokenAnswer, error) {
	var body struct {
		Access     string         `json:"access_token"`
		Refresh    *string        `json:"refresh_token"`
		ID         *string        `json:"id_token"`
		Type       *string        `json:"token_type"`
		ExpiresIn  jsontext.Value `json:"expires_in"`
		Scope      *string        `json:"scope"`
		IssuedType *string        `json:"issued_token_type"`
		Error      string         `json:"error"`
		Text       *string        `json:"error_description"`
	}
	if err := json.Unmarshal(content, &body); err != nil {
		return nil, fmt.Errorf("token answer: %w", withoutContent(err))
	}
	if body.Error != "" {
		return nil, &AuthError{Where: "token", Code: errorCode(body.Error), Description: clean(deref(body.Text), 300)}
	}
	a := &tokenAnswer{
		access: body.Access, refresh: deref(body.Refresh), id: deref(body.ID), kind: deref(body.Type),
		scope: body.Scope, issuedType: deref(body.IssuedType), lifetime: lifetimeOf(body.ExpiresIn),
	}
	if a.access == "" {
		return nil, fmt.Errorf("%w: a token answer without an access token", ErrBadAnswer)
	}
	for _, text := range []string{a.access, a.refresh, a.id} {
		if !isTokenText(text) {
			return nil, fmt.Errorf("%w: a token that no header can hold", ErrBadAnswer)
		}
	}
	return a, nil
}

// isTokenText reports whether text is printable ASCII without spaces, of a sane length.
func isTokenText(text string) bool {
	return len(text) <= maxToken && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// lifetimeOf reads expires_in: a number, or a number in quotes as some servers send it. What is not
// one is as if it were not there.
func lifetimeOf(value jsontext.Value) time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(value), `"`), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	if seconds >= maxLifetime.Seconds() {
		return maxLifetime
	}
	return time.Duration(seconds * float64(time.Second))
}

// endOf is when a JWT says that it ends, without any check of it: whoever is shown it checks.
// Zero: it does not say.
func endOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	var claims struct {
		Expires jsontext.Value `json:"exp"`
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(content, &claims) != nil {
		return time.Time{}
	}
	seconds, err := strconv.ParseInt(string(claims.Expires), 10, 64)
	if err != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// parseAuthError reads an error answer (RFC 6749 §5.2) of any endpoint.
func parseAuthError(where string, status int, content []byte) *AuthError {
	var body struct {
		Error string  `json:"error"`
		Text  *string `json:"error_description"`
	}
	e := &AuthError{Where: where, Status: status}
	if err := json.Unmarshal(content, &body); err != nil || body.Error == "" {
		e.Code = "no OAuth error" // an HTML page, mostly; nothing of it is repeated
		return e
	}
	e.Code, e.Description = errorCode(body.Error), clean(deref(body.Text), 300)
	return e
}

// errorCode is an error code of a server, in the characters of RFC 6749 and of a sane length.
func errorCode(text string) string { return clean(text, 60) }

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// registrationAnswer is what a registration endpoint says (RFC 7591 §3.2.1).
type registrationAnswer struct {
	ID      string   `json:"client_id"`
	Secret  string   `json:"client_secret"`
	Expires int64    `json:"client_secret_expires_at"`
	Method  string   `json:"token_endpoint_auth_method"`
	URIs    []string `json:"redirect_uris"`
}

func parseRegistration(content []byte) (*registrationAnswer, error) {
	a := new(registrationAnswer)
	if err := json.Unmarshal(content, a); err != nil {
		return nil, fmt.Errorf("registration: %w", withoutContent(err))
	}
	if a.ID == "" || !isPrintable(a.ID) || !isPrintable(a.Secret) {
		return nil, fmt.Errorf("%w: a registration without a usable client_id", ErrBadAnswer)
	}
	return a, nil
}

// isPrintable reports whether text has the characters that RFC 6749 appendix A allows for
// client ids and secrets, and is not too long.
func isPrintable(text string) bool {
	return len(text) <= 4<<10 && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
