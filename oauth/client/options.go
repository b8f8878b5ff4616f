package client

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Defaults of Options.
const (
	// DefaultSignInTimeout is how long a person has to sign in.
	DefaultSignInTimeout = 5 * time.Minute
	// DefaultClientName is what a consent page shows.
	DefaultClientName = "Causeway"
)

// Options say how a Client signs in. The zero value is useful: it keeps tokens in the
// user's folder, registers where it may, and opens the system's browser.
type Options struct {
	// Store keeps registrations and tokens. Nil: [DefaultFolder], encrypted files
	// shared by all programs of this user.
	Store Store

	// Open shows an authorization URL to the person, usually in a browser. It is called with
	// an absolute http or https URL without control characters, and must not pass it through
	// a shell. It may return before the person is done. Nil: the system's browser. An error is
	// logged and does not end the sign-in: the URL was given to Prompt too.
	Open func(ctx context.Context, url string) error
	// Prompt is told that a person has to act: before Open is called, and for the device
	// grant with the code to type. It must return soon. Nil: one line in the log at level
	// Info, with the address. The address is not secret but works once.
	Prompt func(Prompt)
	// NonInteractive forbids everything that needs a person: where a sign-in would start,
	// [ErrSignInNeeded] is returned. Renewing tokens still works.
	NonInteractive bool
	// SignInTimeout is how long a person has, from the moment the address is shown. Zero:
	// DefaultSignInTimeout.
	SignInTimeout time.Duration

	// Grant is how tokens are first got. Nil: the authorization code grant with a browser.
	Grant Grant

	// ClientID is a client that was registered beforehand, and Issuer the authorization
	// server it was registered at. Empty: ClientMetadataURL where the server supports that, else
	// dynamic registration (RFC 7591).
	ClientID string
	// ClientSecret is the secret of ClientID. Zero: a public client, unless PrivateKey is set.
	ClientSecret Secret
	// PrivateKey signs client assertions (private_key_jwt, RFC 7523) for ClientID or
	// ClientMetadataURL: an *ecdsa.PrivateKey, *rsa.PrivateKey or ed25519.PrivateKey.
	PrivateKey crypto.Signer
	// KeyID is the kid of PrivateKey; may be empty.
	KeyID string
	// Algorithm is the JWS algorithm of PrivateKey. Empty: ES256/384/512 by curve, RS256, EdDSA.
	Algorithm string
	// AuthMethod is how ClientID authenticates at the token endpoint: client_secret_basic,
	// client_secret_post, private_key_jwt or none. Empty: what the server's metadata lists
	// and the options allow, in that order.
	AuthMethod string
	// Issuer is the only authorization server this client signs in at, compared exactly.
	// Empty: the one that the MCP server names, and with a ClientID always the one that it
	// named first. With a ClientSecret or a machine's Grant set it: otherwise the MCP server
	// chooses who gets to see them.
	Issuer string
	// ClientMetadataURL is the https URL of a client ID metadata document; its redirect URIs
	// must match CallbackHost and CallbackPath (any port), or the fixed CallbackPort.
	ClientMetadataURL string
	// ClientName is shown by consent pages when the client registers itself. Empty: DefaultClientName.
	ClientName string
	// ClientMetadata are more members of a dynamic registration (RFC 7591 §2), for example
	// "logo_uri"; redirect_uris cannot be set here.
	ClientMetadata map[string]any

	// Scopes are asked for in place of those that the server names. Nil: those of the
	// challenge, else scopes_supported of the server, else none.
	Scopes []string
	// Resource replaces the resource indicator (RFC 8707) that the server publishes. Empty:
	// the published one, else the server's URL.
	Resource string
	// OmitResource sends no resource parameter, for authorization servers that refuse it. The
	// MCP specification demands it.
	OmitResource bool
	// AuthorizeParams are more parameters of the authorization request, for example
	// "audience" or "prompt". Those that the protocol uses are refused by New.
	AuthorizeParams url.Values
	// UseIDToken presents the ID token in place of the access token, for gateways that want that.
	UseIDToken bool
	// TokenEndpoint skips discovery: with ClientID, for machine grants only.
	TokenEndpoint string

	// CallbackHost is the host name in the redirect URI, "127.0.0.1" or "localhost". The
	// listener is on 127.0.0.1 in any case. Empty: "127.0.0.1"; "localhost" is tried where the
	// registration of the former is refused.
	CallbackHost string
	// CallbackPort is the port of the redirect URI. Zero: a free one, kept with the registration.
	CallbackPort int
	// CallbackPath is the path of the redirect URI. Empty: a random one for a client that
	// registers itself, so that other programs and pages cannot guess it; else "/callback".
	CallbackPath string
	// SuccessURL is where the browser is sent after a sign-in: https, or http on loopback,
	// without query and fragment. Empty: a page of the client's own.
	SuccessURL string

	// DPoP says when tokens are bound to a key (RFC 9449). Zero: DPoPAuto.
	DPoP DPoPMode

	// Headers are sent with every request to the server's own origin, discovery included,
	// unless the request has them already; for gateways that want a key. Never elsewhere.
	Headers http.Header

	// Policy limits where requests go. The zero value is the safe one.
	Policy Policy
	// HTTP sends the requests to authorization servers and metadata in place of a guarded
	// transport of the client's own. The address checks of Policy then cannot look behind
	// names: set it only for proxies with certificates of their own, and tests.
	HTTP http.RoundTripper

	// ImportFrom is a folder of mcp-remote whose tokens are taken over when the client has
	// none for a server; it is only read. Empty: $MCP_REMOTE_CONFIG_DIR, else ~/.mcp-auth.
	// NoImport: nothing is read.
	ImportFrom string

	// Logger gets what happens; never a token, code, verifier or secret. Nil: nothing is logged.
	Logger *slog.Logger
}

// NoImport as Options.ImportFrom switches the import off.
const NoImport = "-"

// A DPoPMode says when tokens are bound to a key of this client (RFC 9449).
type DPoPMode int

const (
	// DPoPAuto binds tokens when the server's metadata says that it requires it, or when both
	// it and the authorization server list algorithms that the client has.
	DPoPAuto DPoPMode = iota
	// DPoPAlways binds every token, and refuses one that is not bound.
	DPoPAlways
	// DPoPNever uses bearer tokens only.
	DPoPNever
)

// A Policy limits where a client sends requests and people. Addresses come from servers, which
// may lie. Always: https, except to a loopback address of a server that is itself on
// loopback; no redirect is followed, except within one origin by metadata; a server on a
// public address leads to public addresses only, one on a private network not to this
// machine; answers have a size and a deadline; people are sent to http and https only.
type Policy struct {
	// AllowHTTP allows MCP servers (not authorization servers) by plain http that are not on
	// loopback. Tokens can then be read on the way.
	AllowHTTP bool
	// PrivateHosts are hosts, by name or address, without a port, at which a server on a public
	// address may have people sign in although they are on a private network (RFC 1918,
	// RFC 4193, RFC 6598): for organizations whose server is outside and whose sign-in is
	// inside. Only by https, never on this machine or a link-local address, and no other host
	// of that network. The risk: whoever runs the server can have this machine send requests
	// of their making to these hosts.
	PrivateHosts []string
	// MaxResponse is the most bytes that are read of one answer of an authorization server
	// or one metadata document. Zero: 256 KiB.
	MaxResponse int64
	// RequestTimeout is how long one such request may take. Zero: 30 s.
	RequestTimeout time.Duration
}

// Check says what is wrong with the policy; New does it too.
func (p *Policy) Check() error {
	for _, host := range p.PrivateHosts {
		if !isPrivateHost(host) {
			return fmt.Errorf("%q: want the name or address of a host on a private network, such as sso.corp.example, without scheme, port and path", clean(host, 100))
		}
	}
	return nil
}

// A Prompt is what a person has to do.
type Prompt struct {
	Server string // URL of the MCP server
	// Issuer is the authorization server.
	Issuer string
	// URL is to be opened. It contains a state that works once, and no secret.
	URL string
	// UserCode is to be typed there, for the device grant; else empty.
	UserCode string
	// Expires is when it is too late.
	Expires time.Time
}

// A Grant is a way to get tokens: nil, [DeviceCode], [ClientCredentials], [WorkloadIdentity]
// or [EnterpriseManaged].
type Grant interface{ grant() string }

// DeviceCode is the device authorization grant (RFC 8628): a person opens an address on
// another machine and types a code.
type DeviceCode struct{}

// ClientCredentials is the client credentials grant (RFC 6749 §4.4) of the extension
// io.modelcontextprotocol/oauth-client-credentials: the client is its own user. It needs
// ClientID with ClientSecret or PrivateKey.
type ClientCredentials struct{}

// WorkloadIdentity is the JWT bearer grant (RFC 7523) with a token of the platform that the
// program runs on. A refused token is an error at once: nothing is tried in its place.
type WorkloadIdentity struct {
	// Assertion returns a JWT whose audience is the issuer.
	Assertion func(ctx context.Context, issuer string) (Secret, error)
}

// EnterpriseManaged is the extension io.modelcontextprotocol/enterprise-managed-authorization:
// an ID token of the company's identity provider is exchanged there (RFC 8693) for an
// identity assertion grant (ID-JAG), which the MCP authorization server takes (RFC 7523).
// No browser is opened.
type EnterpriseManaged struct {
	// TokenEndpoint is that of the identity provider.
	TokenEndpoint string
	// ClientID and ClientSecret are this client's at the identity provider. Without a secret
	// the id is sent alone.
	ClientID     string
	ClientSecret Secret
	// Subject returns the ID token or SAML assertion of the person.
	Subject func(ctx context.Context) (Secret, error)
	// SubjectType is its type. Empty: urn:ietf:params:oauth:token-type:id_token.
	SubjectType string
}

func (DeviceCode) grant() string        { return "device_code" }
func (ClientCredentials) grant() string { return "client_credentials" }
func (WorkloadIdentity) grant() string  { return "workload_identity" }
func (EnterpriseManaged) grant() string { return "enterprise_managed" }

// reserved are the parameters of an authorization request that the protocol sets.
var reserved = []string{
	"response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method", "scope", "resource", "dpop_jkt",
	"response_mode", "request", "request_uri", "nonce",
}

// check says what is wrong with the options.
func (o *Options) check() error {
	return errors.Join(o.checkClient(), o.checkCallback(), o.checkGrant())
}

func (o *Options) checkClient() error {
	if o.PrivateKey != nil {
		if _, err := o.algorithm(); err != nil {
			return err
		}
	}
	switch {
	case o.ClientID == "" && !o.ClientSecret.IsZero():
		return errors.New("ClientSecret without ClientID")
	case !isPrintable(o.ClientID) || !isPrintable(o.ClientSecret.Reveal()):
		return errors.New("ClientID and ClientSecret are printable ASCII")
	case o.AuthMethod != "" && !slices.Contains([]string{authBasic, authPost, authKey, authNone}, o.AuthMethod):
		return fmt.Errorf("AuthMethod %q is not one of %s, %s, %s, %s", o.AuthMethod, authBasic, authPost, authKey, authNone)
	case o.AuthMethod == authKey && o.PrivateKey == nil:
		return errors.New("AuthMethod private_key_jwt without PrivateKey")
	case o.CallbackPort < 0 || o.CallbackPort > 65535:
		return fmt.Errorf("CallbackPort %d: it is from 1 to 65535, or 0 for a free one", o.CallbackPort)
	case o.ClientMetadata["redirect_uris"] != nil:
		return errors.New("ClientMetadata sets redirect_uris, which the client chooses: see CallbackHost, CallbackPort and CallbackPath")
	}
	if _, err := json.Marshal(o.ClientMetadata); err != nil {
		return fmt.Errorf("ClientMetadata: %w", err)
	}
	if o.ClientMetadataURL != "" {
		u, err := parseURL(o.ClientMetadataURL)
		if err != nil {
			return fmt.Errorf("ClientMetadataURL: %w", err)
		}
		if u.Scheme != "https" || u.Path == "" || u.Path == "/" {
			return errors.New("ClientMetadataURL: it must be https and have a path")
		}
	}
	if err := o.Policy.Check(); err != nil {
		return fmt.Errorf("PrivateHosts: %w", err)
	}
	if o.Issuer != "" {
		if _, err := parseURL(o.Issuer); err != nil {
			return fmt.Errorf("the Issuer: %w", err)
		}
	}
	return nil
}

func (o *Options) checkCallback() error {
	switch {
	case o.CallbackHost != "" && o.CallbackHost != "127.0.0.1" && o.CallbackHost != "localhost":
		return fmt.Errorf("CallbackHost %q: it is 127.0.0.1 or localhost", o.CallbackHost)
	case o.CallbackPort < 0 || o.CallbackPort > 65535:
		return fmt.Errorf("CallbackPort %d", o.CallbackPort)
	case o.CallbackPath != "" && (!strings.HasPrefix(o.CallbackPath, "/") || strings.ContainsAny(o.CallbackPath, "?#\\ ")):
		return fmt.Errorf("CallbackPath %q: it is a path, beginning with a slash", o.CallbackPath)
	}
	for name := range o.AuthorizeParams {
		if slices.Contains(reserved, name) {
			return fmt.Errorf("AuthorizeParams sets %s, which the protocol does", name)
		}
	}
	if o.SuccessURL == "" {
		return nil
	}
	u, err := parseURL(o.SuccessURL)
	if err != nil {
		return fmt.Errorf("SuccessURL: %w", err)
	}
	if u.Scheme != "https" && !isLoopbackHost(u.Hostname()) || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("SuccessURL: it must be https, or on loopback, without query and fragment")
	}
	return nil
}

func (o *Options) checkGrant() error {
	if o.TokenEndpoint != "" {
		if _, err := parseURL(o.TokenEndpoint); err != nil {
			return fmt.Errorf("TokenEndpoint: %w", err)
		}
		if o.ClientID == "" {
			return errors.New("TokenEndpoint without ClientID")
		}
	}
	switch grant := o.Grant.(type) {
	case nil, DeviceCode:
		if o.TokenEndpoint != "" {
			return errors.New("TokenEndpoint is for grants without a person: they need other endpoints too")
		}
		return nil
	case ClientCredentials:
		if o.ClientSecret.IsZero() && o.PrivateKey == nil {
			return errors.New("the client credentials grant needs a ClientSecret or a PrivateKey")
		}
	case WorkloadIdentity:
		if grant.Assertion == nil {
			return errors.New("WorkloadIdentity without Assertion")
		}
	case EnterpriseManaged:
		if grant.Subject == nil || grant.ClientID == "" {
			return errors.New("EnterpriseManaged without Subject or ClientID")
		}
		if _, err := parseURL(grant.TokenEndpoint); err != nil {
			return fmt.Errorf("EnterpriseManaged: TokenEndpoint: %w", err)
		}
	default:
		return fmt.Errorf("there is no grant %T", grant)
	}
	if o.ClientID == "" && o.ClientMetadataURL == "" {
		return errors.New("this grant needs a ClientID")
	}
	return nil
}

func (o *Options) signInTimeout() time.Duration {
	if o.SignInTimeout > 0 {
		return o.SignInTimeout
	}
	return DefaultSignInTimeout
}
