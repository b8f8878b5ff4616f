package oauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// A Provider is the configuration of sign-in. Only Issuer and Login have to be set;
// anywhere but on loopback also Records and Keys. [Provider.Protect] makes the handler.
type Provider struct {
	// Issuer is the URL of the authorization server as clients see it: https, or http
	// on loopback, without query, fragment or a slash at its end. It is never guessed
	// from a request. Its endpoints are below it: /authorize, /consent, /callback,
	// /token, /revoke, /register and /account.
	Issuer string

	// Resources are what is protected. Empty is one resource: "/mcp" at the origin of
	// the issuer, without scopes.
	Resources []Resource

	// Login says who a person is. See oauth/login and its packages.
	Login Login

	// Records keep grants, clients and logins that are under way. Nil keeps them in
	// memory, on loopback only.
	Records store.Records

	// Keys are the server keys. Nil makes keys that end with the process, only if
	// Records is nil too. See [OpenKeyFile].
	Keys *KeyRing

	// Clients are registered by hand. One whose ID is a URL stands for the metadata
	// document there, which is then never fetched.
	Clients []Client

	// NoRegistration turns dynamic registration (RFC 7591) off.
	NoRegistration bool

	// NoClientDocuments turns client id metadata documents off.
	NoClientDocuments bool

	// CustomSchemes allows redirects to private-use schemes such as
	// "com.example.app:/cb" (RFC 8252 §7.1), which any program on the person's machine
	// may claim. Off by default.
	CustomSchemes bool

	// CodeTTL is how long a code may be redeemed. Zero is 60 seconds, the most is 10
	// minutes.
	CodeTTL time.Duration
	// AccessTTL is how long an access token is good. Zero is an hour, the least is a
	// minute.
	AccessTTL time.Duration
	// IdleTTL is how long a grant lives on without being refreshed. Zero is 30 days.
	IdleTTL time.Duration
	// GrantTTL is how long a grant lives at all. Zero is 365 days.
	GrantTTL time.Duration
	// Grace is how long a refresh that is repeated gets the same answer again. Zero is
	// 60 seconds, the most is 10 minutes.
	Grace time.Duration
	// Strict ends a grant whenever a refresh token comes twice, to the letter of RFC
	// 9700 §4.14.2. A client that loses an answer is then signed out.
	Strict bool

	// Renew is called before tokens are handed out for a grant, for the code and at each
	// refresh, and when the token of the login was renewed in a running session; never at
	// the same time for one grant, and not for an answer that is given again. It may change
	// what the [Renewal] says it may, has 12 seconds, and may find the grant gone
	// afterwards. [ErrSignInAgain] ends the grant, so that the client asks the person to
	// sign in; for any other error the client is told to try again, and nothing changes.
	Renew func(ctx context.Context, r *Renewal) error

	// Escrow lets the server open grants on its own, without a token in hand. Nil is off.
	Escrow *Escrow

	// TokenPrefix starts every token, for secret scanners. Empty is "cw"; lower-case
	// letters and digits. Changing it ends all grants.
	TokenPrefix string

	// TokenExchanges allow clients to exchange tokens (RFC 8693). Empty is off.
	TokenExchanges []TokenExchange

	// TrustedIssuers are identity providers whose word about a person is enough
	// (enterprise-managed authorization, "ID-JAG"). Empty is off.
	TrustedIssuers []TrustedIssuer

	// DPoP binds tokens to keys of the clients (RFC 9449). Nil is off.
	DPoP *DPoP

	// External is asked about access tokens that this server did not issue: those of an
	// API key table, or of another authorization server. Nil refuses them. It is never
	// asked about tokens that look like those of this server.
	External Validator

	// Limits bound what one address may ask for.
	Limits Limits

	// ClientAddr says which address a request comes from, for the limits. Nil is the
	// peer; behind a reverse proxy it must be told where the proxy puts the address.
	ClientAddr func(*http.Request) netip.Addr

	// AllowedOrigins are the web origins whose scripts may read the challenge of a
	// protected resource. They should be those of the mount.
	AllowedOrigins []string

	// Holdings is what else is kept for people, for the account page. Nil is nothing.
	Holdings Holdings

	// Name is what pages call this server. Empty is the host of the issuer.
	Name string

	// Style is CSS that comes after that of the pages; colours and fonts are variables
	// (see page/style.css).
	Style string

	// Templates replace pages: files of html/template named consent.html ([ConsentPage]),
	// account.html ([AccountPage]), question.html ([QuestionPage]), error.html ([ErrorPage])
	// and signedout.html ([SignedOutPage]), and others that those use. {{style}} writes the
	// style; "top" and "end" are the frame of the pages here (see oauth/page). No page may
	// run a script, be framed, or load anything but images of this server: their policy
	// (CSP) stays. A mistake in one is found by Protect. Nil replaces none.
	Templates fs.FS

	// Logger gets security events. No token, code, verifier, cookie or person's name is
	// ever in them. Nil is slog.Default().
	Logger *slog.Logger
}

// A Resource is something protected: an MCP server.
type Resource struct {
	// Path is what is protected here: the path itself and everything below it. Empty is
	// a resource that is served elsewhere and asks [Server.Validate].
	Path string
	// ID is the resource identifier of RFC 8707, the URL that clients use. Empty is the
	// origin of the issuer with Path.
	ID string
	// Name is what the consent page calls it. Empty is its ID.
	Name string
	// Default makes this the resource of clients that name none, as those from before
	// RFC 8707 do. A single resource is that anyway.
	Default bool
	// Scopes are all scopes of the resource.
	Scopes []Scope
	// Require names the scopes that every request needs. A client that asks for no
	// scopes gets these, or all if there are none.
	Require []string
	// Tools names the scopes that single MCP tools need, besides Require. A call without
	// them is answered with 403 and a challenge that clients act on (step-up), before the
	// server behind sees it: whichever that is, as the calls are found in the bodies of
	// requests. All bodies that are sent to the resource have to be JSON then, of at most
	// 16 MiB, and not encoded. Messages of a WebSocket are no requests: there use
	// [NeedScopes] in the tool, or causeway.RequireScopes.
	Tools map[string][]string
	// JWT makes its access tokens JWTs. Nil is opaque ones.
	JWT *JWT
	// RequireDPoP refuses tokens that are bound to no key; see [DPoP].
	RequireDPoP bool
}

// A Scope is something a person can allow.
type Scope struct {
	// Name is the scope on the wire (RFC 6749 §3.3).
	Name string
	// Words say on the consent page what it allows. Empty is Name.
	Words string
	// Includes names scopes that this one contains.
	Includes []string
}

// A Server is a Provider at work: an http.Handler in front of another one. It is safe
// for concurrent use.
type Server struct {
	provider Provider
	issuer   *url.URL
	origin   string
	secure   bool

	resources resourceList
	clients   map[string]*client
	documents *documents
	gate      *gate
	// issuerExtra is the issuer as it is put into auth.TokenInfo.
	issuerExtra any
	exchanges   map[string]*TokenExchange // by client
	trusted     map[string]*trusted       // by issuer

	configuredKeys *keySets
	tokenGrants    map[string]tokenGrant
	records        store.Records
	mint           *mint
	grants         *grants
	limits         *limiter
	begun          begun
	sweeper        *sweeper
	pages          *pages
	log            *slog.Logger
	routes         map[string]http.HandlerFunc
}

// resource is a Resource with its defaults.
type resource struct {
	Resource
	id       string
	metadata string // the URL of its metadata
}

// Protect checks the configuration, and puts sign-in in front of next: the resources
// are served only to who has a token for them; the provider's own endpoints are
// answered here; everything else reaches next untouched, and so do the preflights of
// browsers (OPTIONS), which never carry a token. Until ctx ends, the server sweeps what
// nobody needs any more. Protect fails with [ErrKeyMissing] when the store was written under a key that is not in the ring.
func (p *Provider) Protect(ctx context.Context, next http.Handler) (*Server, error) {
	s := &Server{provider: *p, log: cmpLog(p.Logger)}
	s.sweeper = newSweeper(s)
	if next == nil {
		next = http.NotFoundHandler()
	}
	for _, step := range []func() error{
		s.setIssuer, s.setStore, s.setLifetimes, s.setEscrow, s.setResources, s.setClients, s.setService, s.setIntrospection, s.setExchanges, s.setTrusted,
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("oauth: %w", err)
		}
	}
	if err := s.provider.Keys.claim(ctx, s.records); err != nil {
		return nil, err
	}
	s.limits = newLimiter(s.provider.Limits)
	s.gate = newGate(next, s.log, p.AllowedOrigins, p.DPoP)
	s.gate.identify, s.issuerExtra = s.identify, p.Issuer
	if err := s.setSignedTokens(ctx); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	var err error
	if s.pages, err = newPages(s.provider.Style, s.provider.Templates); err != nil {
		return nil, err
	}
	s.route()
	s.startSweeps(ctx)
	return s, nil
}

func (s *Server) setIssuer() error {
	p := &s.provider
	if p.Login == nil {
		return errors.New("a Provider needs a Login (login.Dev is one for trials)")
	}
	if c, ok := p.Login.(Checker); ok {
		if err := c.Check(); err != nil {
			return err
		}
	}
	u, err := url.Parse(p.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("the Issuer %q is not a URL like https://mcp.example.com", p.Issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopbackHost(u.Hostname())):
		return fmt.Errorf("the Issuer %q: want https (http is for loopback only)", p.Issuer)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("the Issuer %q must have no query, fragment or user (RFC 8414 §2)", p.Issuer)
	case strings.HasSuffix(u.Path, "/") || u.Path != "" && path.Clean(u.Path) != u.Path || u.RawPath != "":
		return fmt.Errorf("the Issuer %q: want a plain path without a slash at its end", p.Issuer)
	case strings.ToLower(u.Host) != u.Host:
		return fmt.Errorf("the Issuer %q: write the host in lower case, as clients compare it", p.Issuer)
	}
	s.issuer, s.secure = u, u.Scheme == "https"
	s.origin = u.Scheme + "://" + u.Host
	if p.Name == "" {
		p.Name = u.Host
	}
	return nil
}

func (s *Server) setStore() error {
	p := &s.provider
	if p.Records == nil {
		if !isLoopbackHost(s.issuer.Hostname()) {
			return errors.New("no Records are set: without a store every sign-in is lost with the process (that is allowed on loopback only)")
		}
		p.Records = store.NewMemory()
		if p.Keys == nil {
			p.Keys = NewKeys()
		}
	}
	if p.Keys == nil {
		return errors.New("no Keys are set: the store would be unreadable after a restart (see oauth.OpenKeyFile)")
	}
	if p.TokenPrefix == "" {
		p.TokenPrefix = defaultPrefix
	}
	if !regexp.MustCompile(`^[a-z0-9]{1,16}$`).MatchString(p.TokenPrefix) {
		return fmt.Errorf("TokenPrefix %q: want 1 to 16 lower-case letters and digits", p.TokenPrefix)
	}
	s.records = p.Records
	s.mint = &mint{prefix: p.TokenPrefix, keys: p.Keys}
	return nil
}

func (s *Server) setLifetimes() error {
	p := &s.provider
	const day = 24 * time.Hour
	for _, l := range []struct {
		name                string
		value               *time.Duration
		zero, least, atMost time.Duration
	}{
		{"CodeTTL", &p.CodeTTL, time.Minute, time.Second, 10 * time.Minute},
		{"AccessTTL", &p.AccessTTL, time.Hour, time.Minute, 30 * day},
		{"IdleTTL", &p.IdleTTL, 30 * day, time.Minute, 3650 * day},
		{"GrantTTL", &p.GrantTTL, 365 * day, time.Minute, 3650 * day},
		{"Grace", &p.Grace, time.Minute, time.Second, 10 * time.Minute},
	} {
		if *l.value == 0 {
			*l.value = l.zero
		}
		if *l.value < l.least || *l.value > l.atMost {
			return fmt.Errorf("%s is %v: want %v to %v", l.name, *l.value, l.least, l.atMost)
		}
	}
	s.grants = newGrants(s.records, s.mint, policy{
		codeTTL: p.CodeTTL, accessTTL: p.AccessTTL, idleTTL: p.IdleTTL, grantTTL: p.GrantTTL, grace: p.Grace, strict: p.Strict,
		escrow: p.Escrow != nil,
	}, s.log)
	s.grants.hook = p.Renew
	s.grants.renewer, _ = p.Login.(Renewer)
	return nil
}

func (s *Server) setResources() error {
	list := s.provider.Resources
	if len(list) == 0 {
		list = []Resource{{Path: "/mcp"}}
	}
	for _, given := range list {
		r, err := newResource(s.origin, given)
		if err == nil && r.RequireDPoP && s.provider.DPoP == nil {
			err = errors.New("RequireDPoP without DPoP")
		}
		if err == nil {
			err = s.resources.add(r)
		}
		if err != nil {
			return fmt.Errorf("resource %q: %w", cmpOr(given.ID, given.Path), err)
		}
	}
	s.resources.sort()
	return nil
}

// resourceList are resources, the longest path first, so that the first match is the
// closest.
type resourceList []*resource

func (l *resourceList) add(r *resource) error {
	for _, other := range *l {
		if other.id == r.id || r.Path != "" && other.Path == r.Path {
			return errors.New("it is there twice")
		}
	}
	*l = append(*l, r)
	return nil
}

func (l resourceList) sort() {
	slices.SortStableFunc(l, func(a, b *resource) int { return len(b.Path) - len(a.Path) })
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func newResource(origin string, given Resource) (*resource, error) {
	r := &resource{Resource: given, id: given.ID}
	if r.Path != "" && (path.Clean(r.Path) != r.Path || r.Path[0] != '/') {
		return nil, fmt.Errorf("path %q: want a plain path that starts with a slash and does not end with one", r.Path)
	}
	if r.id == "" {
		r.id = origin + r.Path
	}
	id, ok := canonicalResource(r.id)
	if !ok {
		return nil, errors.New("the ID must be an https URL (http on loopback) without query, fragment or user (RFC 8707 §2)")
	}
	r.id = id
	u, _ := url.Parse(id)
	r.metadata = u.Scheme + "://" + u.Host + resourceMetadataPath + strings.TrimSuffix(u.Path, "/")
	if r.Name == "" {
		r.Name = r.id
	}
	if err := r.checkScopes(); err != nil {
		return nil, err
	}
	return r, r.checkTools()
}

func (r *resource) checkScopes() error {
	seen := map[string]bool{}
	for _, sc := range r.Scopes {
		if !isScope(sc.Name) || seen[sc.Name] || sc.Name == "offline_access" {
			return fmt.Errorf("scope %q is malformed, there twice or reserved", sc.Name)
		}
		seen[sc.Name] = true
	}
	for _, sc := range r.Scopes {
		for _, inner := range sc.Includes {
			if !seen[inner] {
				return fmt.Errorf("scope %q includes %q, which is not a scope of the resource", sc.Name, inner)
			}
		}
	}
	for _, name := range r.Require {
		if !seen[name] {
			return fmt.Errorf("required scope %q is not a scope of the resource", name)
		}
	}
	return nil
}

// isScope reports whether s is a scope-token of RFC 6749 §3.3.
func isScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return s != ""
}

// names are the scopes of the resource.
func (r *resource) names() []string {
	var all []string
	for _, sc := range r.Scopes {
		all = append(all, sc.Name)
	}
	return all
}

// covers reports whether having the scopes is enough for the one wanted: it is among
// them or included in one of them.
func (r *resource) covers(have []string, want string) bool {
	open, seen := slices.Clone(have), map[string]bool{}
	for len(open) > 0 {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		if name == want {
			return true
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, sc := range r.Scopes {
			if sc.Name == name {
				open = append(open, sc.Includes...)
			}
		}
	}
	return false
}

// resourceByID finds the resource that a client names (RFC 8707 §2).
func (s *Server) resourceByID(id string) *resource { return s.resources.byID(id) }

func (l resourceList) byID(id string) *resource {
	id, ok := canonicalResource(id)
	if !ok {
		return nil
	}
	for _, r := range l {
		if r.id == id {
			return r
		}
	}
	return nil
}

// canonicalResource folds what RFC 3986 §6.2.2 calls equivalent and clients spell
// differently: the case of scheme and host, a default port and one slash at the end.
func canonicalResource(id string) (string, bool) {
	u, err := url.Parse(id)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" || strings.Contains(id, "#") || u.RawQuery != "" || u.ForceQuery {
		return "", false
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopbackHost(u.Hostname())) {
		return "", false
	}
	if u.Scheme == "https" {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	} else {
		u.Host = strings.TrimSuffix(u.Host, ":80")
	}
	return u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/"), true
}

func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// url is the address of one of the provider's own endpoints.
func (s *Server) url(endpoint string) string { return s.provider.Issuer + endpoint }

func (s *Server) route() {
	base := s.issuer.Path
	s.tokenGrants = s.grantTypes()
	s.routes = map[string]http.HandlerFunc{
		authServerMetadataPath + base: s.serveAuthServerMetadata,
		base + "/authorize":           s.page(s.authorize, http.MethodGet, http.MethodPost),
		base + "/consent":             s.ownPage(s.consent, http.MethodPost),
		base + "/account":             s.ownPage(s.account, http.MethodGet, http.MethodPost),
		base + "/account.json":        s.page(s.accountJSON, http.MethodGet),
		base + "/callback":            s.page(s.callback, http.MethodGet, http.MethodPost),
		base + "/token":               s.endpoint(s.exchange, s.limits.token),
		base + "/revoke":              s.endpoint(s.revocation, s.limits.token),
	}
	if !s.provider.NoRegistration {
		s.routes[base+"/register"] = s.endpoint(s.register, s.limits.register)
	}
	if s.introspects() {
		s.routes[base+"/introspect"] = s.endpoint(s.introspect, s.limits.introspect)
	}
	if len(s.mint.signed) > 0 {
		s.routes[base+"/jwks"] = s.serveKeys
	}
	for _, r := range s.resources {
		u, _ := url.Parse(r.metadata)
		if r.Path != "" {
			s.routes[u.Path] = serveResourceMetadata(r, s.provider.Issuer, s.gate.dpop)
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if own := s.routes[r.URL.Path]; own != nil && r.URL.RawPath == "" {
		own(w, r)
		return
	}
	s.resources.serve(s.gate, w, r)
}

// serve lets a request through the gate if it is for one of the resources; all others
// reach the handler behind untouched.
func (l resourceList) serve(g *gate, w http.ResponseWriter, r *http.Request) {
	res, plain := l.protected(r.URL)
	switch {
	case res == nil:
		g.next.ServeHTTP(w, r)
	case !plain:
		http.Error(w, "the path is not in its plain form", http.StatusBadRequest)
	default:
		g.serve(res, w, r)
	}
}

// protected finds the resource that a request is for. A path that only some routers
// would read as one below the resource is not plain, and is refused: what is protected
// must not depend on how the handler behind reads it.
func (l resourceList) protected(u *url.URL) (res *resource, plain bool) {
	upToNUL, _, _ := strings.Cut(u.Path, "\x00")
	if !strings.HasPrefix(upToNUL, "/") {
		upToNUL = "/" + upToNUL
	}
	clean := path.Clean(strings.ReplaceAll(upToNUL, `\`, "/"))
	for _, r := range l {
		if r.Path == "" || clean != r.Path && !strings.HasPrefix(clean, strings.TrimSuffix(r.Path, "/")+"/") {
			continue
		}
		plain = u.Path == clean || strings.TrimSuffix(u.Path, "/") == clean
		raw := strings.ToLower(u.EscapedPath())
		return r, plain && upToNUL == u.Path && !strings.Contains(raw, "%2f") && !strings.Contains(raw, "%5c")
	}
	return nil, true
}
