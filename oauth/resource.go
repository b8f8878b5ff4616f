package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// Keys of auth.TokenInfo.Extra. Those that the token says nothing of are not there.
const (
	// ExtraIssuer is the URL of the authorization server.
	ExtraIssuer = "iss"
	// ExtraClient is the client_id of the client that holds the token.
	ExtraClient = "client_id"
	// ExtraGrant is the id of the grant: it changes when the person signs in anew.
	ExtraGrant = "grant_id"
	// ExtraResource is the resource that the token is for.
	ExtraResource = "resource"
	// ExtraActors are the names of who acts for the user, the present one first, as a
	// []string: of a token made by [TokenExchange].
	ExtraActors = "act"
)

// identity is what a good token says, for the request it came with.
type identity struct {
	info     *auth.TokenInfo
	props    []byte
	resource *resource
	bound    string // the key whose proof has to come with the token
	gate     *gate
	held     *held                     // what can be opened besides; nil for tokens of others
	live     *atomic.Pointer[identity] // the newest of a request that lasts; nil for all others
}

type identityKey struct{}

func identityOf(ctx context.Context) *identity {
	id, _ := ctx.Value(identityKey{}).(*identity)
	if id != nil && id.live != nil {
		return id.live.Load()
	}
	return id
}

// Props is what the login said of the person who sent the request (see [Person]), or what
// [Provider.Renew] made of it since: in a session that stays open it is at most five
// seconds old. It is the zero T where nobody is signed in, and where the props are not a T.
func Props[T any](ctx context.Context) T {
	var p T
	id := identityOf(ctx)
	if id == nil {
		return p
	}
	props := id.currentProps(ctx)
	if len(props) == 0 {
		return p
	}
	if json.Unmarshal(props, &p) != nil { // the error may quote a secret
		var zero T
		id.gate.log.ErrorContext(ctx, "oauth: props are not what the handler asks for", "type", fmt.Sprintf("%T", zero))
		return zero
	}
	return p
}

// HasScope reports whether the token of the request has the scope, or one that includes
// it. It works at any depth below the handler that is protected, also where no HTTP
// answer can be given any more, as in a tool that is called over a WebSocket.
func HasScope(ctx context.Context, scope string) bool {
	id := identityOf(ctx)
	return id != nil && id.resource.covers(id.info.Scopes, scope)
}

// Require is middleware for a handler behind [Provider.Protect] or
// [ResourceServer.Protect] that needs more scopes than its resource does. Who lacks one
// is told all that are needed, besides those at hand, so that the client can ask for
// them at once (RFC 6750 §3.1, insufficient_scope). For single tools see
// [Resource.Tools].
func Require(scopes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := identityOf(r.Context())
			if id == nil {
				// Not behind Protect: nobody is let in by mistake.
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if id.gate.forbid(w, r, id, scopes) {
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// gate lets requests through to resources, if they bring a good token.
type gate struct {
	identify func(ctx context.Context, res *resource, token string) (*identity, error)
	dpop     *dpop // nil if tokens are bound to no keys
	origins  []string
	log      *slog.Logger
	next     http.Handler
	infoKey  any // of auth.TokenInfo in a context
}

func newGate(next http.Handler, log *slog.Logger, origins []string, o *DPoP) *gate {
	return &gate{dpop: newDPoP(o), origins: origins, log: log, next: next, infoKey: tokenInfoKey()}
}

// tokenInfoKey is the key under which the SDK looks for its TokenInfo. The SDK has no
// function that puts one there but its own middleware, which would check the header once
// more, knows no scheme but Bearer, and costs as much as our whole check.
func tokenInfoKey() any {
	asked := &keyCatcher{Context: context.Background()}
	auth.TokenInfoFromContext(asked)
	return asked.key
}

type keyCatcher struct {
	context.Context
	key any
}

func (k *keyCatcher) Value(key any) any {
	k.key = key
	return nil
}

// signedInContext is the context of a request with a good token.
type signedInContext struct {
	context.Context
	id *identity
}

// Value implements context.Context.
func (c *signedInContext) Value(key any) any {
	switch key {
	case identityKey{}:
		return c.id
	case c.id.gate.infoKey:
		return c.id.info
	}
	return c.Context.Value(key)
}

// serve lets a request through to the resource if it has a good token for it. The wire
// behind finds it as auth.TokenInfo.
func (g *gate) serve(res *resource, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" && r.Header.Get("Authorization") == "" {
		g.next.ServeHTTP(w, r) // a preflight never carries a token; what follows it does
		return
	}
	scheme, text, werr := g.credential(r)
	if werr != nil {
		g.challenge(w, r, res, werr)
		return
	}
	id, err := g.identify(r.Context(), res, text)
	switch {
	case errors.Is(err, ErrUnavailable):
		g.log.ErrorContext(r.Context(), "oauth: token not checked", "err", err)
		writeError(w, errUnavailable())
		return
	case err != nil:
		g.log.WarnContext(r.Context(), "oauth: token refused", "err", err)
		fallthrough
	case id == nil:
		g.challenge(w, r, res, errInvalidToken())
		return
	}
	if !g.holds(w, r, id, scheme, text) || g.forbid(w, r, id, res.Require) || g.forbidTools(w, r, id) {
		return
	}
	g.next.ServeHTTP(w, r.WithContext(&signedInContext{r.Context(), id}))
}

const (
	schemeBearer = "bearer"
	schemeDPoP   = "dpop"
)

func errInvalidToken() *wireError {
	return wire(http.StatusUnauthorized, "invalid_token", "the token is not good here, or not any more")
}

// credential reads the token from the one Authorization header (RFC 6750 §2.1, RFC 9449
// §7.1). Tokens elsewhere are never looked at.
func (g *gate) credential(r *http.Request) (scheme, text string, err *wireError) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", "", wire(http.StatusUnauthorized, "", "")
	}
	scheme, text, _ = strings.Cut(headers[0], " ")
	scheme, text = strings.ToLower(scheme), strings.TrimSpace(text)
	switch {
	case len(headers) > 1:
		return "", "", errInvalidRequest("more than one Authorization header")
	case scheme != schemeBearer && (scheme != schemeDPoP || g.dpop == nil):
		return "", "", wire(http.StatusUnauthorized, "", "")
	case text == "" || strings.ContainsAny(text, " \t,"):
		return "", "", wire(http.StatusUnauthorized, "invalid_token", "the token is malformed")
	}
	return scheme, text, nil
}

// holds checks that who sends a bound token has its key (RFC 9449 §7.1, §7.2). If not, it
// has answered.
func (g *gate) holds(w http.ResponseWriter, r *http.Request, id *identity, scheme, text string) bool {
	switch {
	case id.bound == "" && scheme == schemeBearer && !id.resource.RequireDPoP:
		return true
	case g.dpop == nil || id.bound == "" || scheme != schemeDPoP:
		// A bound token as a bearer token is a stolen one, or a downgrade.
		g.log.WarnContext(r.Context(), "oauth: token refused: its scheme is not that of its binding", "client", id.info.Extra[ExtraClient])
		g.challenge(w, r, id.resource, errInvalidToken())
		return false
	}
	now := time.Now()
	p, claims, err := g.dpop.check(r, id.resource.requestAddress(r.URL), text, now)
	if err == nil && p.thumbprint != id.bound {
		err = errProof
	}
	if err == nil {
		err = g.dpop.use(p, claims, now)
	}
	switch {
	case errors.Is(err, errProofNonce):
		w.Header().Set("DPoP-Nonce", g.dpop.newNonce(now))
		g.challenge(w, r, id.resource, wire(http.StatusUnauthorized, "use_dpop_nonce", "the DPoP proof needs the nonce that comes with this answer"))
		return false
	case errors.Is(err, errProofsFull):
		writeError(w, errTooMany("too many DPoP proofs"))
		return false
	case err != nil:
		g.log.WarnContext(r.Context(), "oauth: DPoP proof refused", "client", id.info.Extra[ExtraClient])
		g.challenge(w, r, id.resource, wire(http.StatusUnauthorized, "invalid_dpop_proof", "the DPoP proof is not valid"))
		return false
	}
	if p.nonce != "" {
		w.Header().Set("DPoP-Nonce", p.nonce)
	}
	return true
}

// forbid answers 403 if a scope is missing. The challenge names all that the operation
// needs at once, and those at hand, so that who asks for it loses none.
func (g *gate) forbid(w http.ResponseWriter, r *http.Request, id *identity, scopes []string) bool {
	for _, want := range scopes {
		if !id.resource.covers(id.info.Scopes, want) {
			e := wire(http.StatusForbidden, "insufficient_scope", "more scopes are needed")
			g.challengeFor(w, r, id.resource, e, union(id.info.Scopes, id.resource.Require, scopes))
			return true
		}
	}
	return false
}

func union(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		for _, name := range list {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

func (g *gate) challenge(w http.ResponseWriter, r *http.Request, res *resource, e *wireError) {
	g.challengeFor(w, r, res, e, res.Require)
}

// challengeFor says how to get a token that will do (RFC 6750 §3, RFC 9728 §5.1, RFC 9449
// §7.1). Who sent no token gets no error code.
func (g *gate) challengeFor(w http.ResponseWriter, r *http.Request, res *resource, e *wireError, scopes []string) {
	parts := []string{`resource_metadata="` + res.metadata + `"`}
	if e.code != "" {
		parts = append([]string{`error="` + e.code + `"`, `error_description="` + e.description + `"`}, parts...)
	}
	if len(scopes) > 0 {
		parts = append(parts, `scope="`+strings.Join(scopes, " ")+`"`)
	}
	h := w.Header()
	h.Del("WWW-Authenticate")
	if !res.RequireDPoP {
		h.Add("WWW-Authenticate", "Bearer "+strings.Join(parts, ", "))
	}
	if g.dpop != nil {
		h.Add("WWW-Authenticate", "DPoP "+strings.Join(append(parts, `algs="`+strings.Join(dpopAlgNames, " ")+`"`), ", "))
	}
	noStore(h)
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && slices.Contains(g.origins, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce")
	}
	if e.code == "" {
		w.WriteHeader(e.status)
		return
	}
	writeJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

// identify says who a token stands for at a resource; nil if it is not good there.
func (s *Server) identify(ctx context.Context, res *resource, text string) (*identity, error) {
	v, err := s.grants.validate(ctx, text)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return s.external(ctx, res, text)
	}
	if v.grant.resourceOf(v.slot) != res.id {
		s.log.WarnContext(ctx, "oauth: token for another resource refused", "grant", v.grant.ID, "client", v.grant.holder(v.slot))
		return nil, nil
	}
	return s.identity(res, v), nil
}

// identity is made for each request, as handlers may change what they are given.
func (s *Server) identity(res *resource, v *verified) *identity {
	extra := maps.Clone(v.extra)
	extra[ExtraIssuer] = s.issuerExtra
	made := &struct { // in one piece, as it is made so often
		identity identity
		info     auth.TokenInfo
		held     held
	}{
		identity{gate: s.gate, resource: res, props: v.props, bound: v.slot.Bound},
		auth.TokenInfo{UserID: v.grant.User, Scopes: slices.Clone(v.slot.Scopes), Expiration: v.slot.Expires, Extra: extra},
		held{grants: s.grants, grant: v.grant.ID, data: v.data, asOf: v.asOf},
	}
	made.identity.info, made.identity.held = &made.info, &made.held
	return &made.identity
}

// extra is what the SDK's TokenInfo says of a token beside its user, scopes and end.
func (g *grant) extra(s *accessSlot) map[string]any {
	extra := map[string]any{ExtraClient: g.holder(s), ExtraGrant: g.ID, ExtraResource: g.resourceOf(s)}
	if actors := s.Exchanged.actors(); len(actors) > 0 {
		extra[ExtraActors] = slices.Clone(actors)
	}
	return extra
}

// external asks for tokens that this server did not issue.
func (s *Server) external(ctx context.Context, res *resource, text string) (*identity, error) {
	if s.provider.External == nil || strings.HasPrefix(text, s.mint.prefix+"_") {
		return nil, nil
	}
	v, err := s.provider.External.Validate(ctx, res.id, text)
	if v == nil || err != nil {
		return nil, err
	}
	return v.checked(s.gate, res)
}

// A Validator says whether an access token is good at the resource with the given ID. It
// returns nil if it is not; an error is that it cannot tell, and should wrap
// [ErrUnavailable]. It is called for every request, at the same time by many.
//
// A *[Server] is one, for resource servers in the same process or behind an interface
// of the author's; [Introspection] and [JWTVerifier] are others.
type Validator interface {
	Validate(ctx context.Context, resourceID, accessToken string) (*Validation, error)
}

// A Validation is what a good token says.
type Validation struct {
	// Issuer is who issued it; Grant the sign-in that it belongs to, if that is known.
	Issuer, User, Client, Grant string
	// Resource is the ID of the resource that the token is for. A Validation for another
	// one than asked for is refused.
	Resource string
	Scopes   []string
	Expires  time.Time
	// Props is the JSON of [Person.Props]; nil if the validator does not know them.
	Props []byte
	// Key is the thumbprint of the key that the token is bound to (RFC 9449 §6.1).
	Key string
	// Actors are who acts for the user, the present one first (RFC 8693 §4.1).
	Actors []string
}

// String keeps the props out of logs.
func (v Validation) String() string { return "[a validation of grant " + v.Grant + "]" }

// GoString keeps them out of %#v.
func (v Validation) GoString() string { return v.String() }

// LogValue implements slog.LogValuer.
func (v Validation) LogValue() slog.Value { return slog.StringValue(v.String()) }

// Validate implements [Validator] for resource servers elsewhere.
func (s *Server) Validate(ctx context.Context, resourceID, accessToken string) (*Validation, error) {
	res := s.resourceByID(resourceID)
	if res == nil {
		return nil, errors.New("oauth: there is no such resource: " + resourceID)
	}
	v, err := s.grants.validate(ctx, accessToken)
	if v == nil || err != nil || v.grant.resourceOf(v.slot) != res.id {
		return nil, err
	}
	return &Validation{
		Issuer: s.provider.Issuer, User: v.grant.User, Client: v.grant.holder(v.slot), Grant: v.grant.ID, Resource: res.id,
		Scopes: slices.Clone(v.slot.Scopes), Expires: v.slot.Expires, Props: slices.Clone(v.props), Key: v.slot.Bound,
		Actors: slices.Clone(v.slot.Exchanged.actors()),
	}, nil
}

// checked is the identity of a validation by somebody else, whose word on audience and
// end is not enough.
func (v *Validation) checked(g *gate, res *resource) (*identity, error) {
	id, ok := canonicalResource(v.Resource)
	switch {
	case !ok || id != res.id:
		return nil, errors.New("the token is for another resource")
	case v.User == "":
		return nil, errors.New("the token is of nobody")
	case !time.Now().Before(v.Expires):
		return nil, errors.New("the token has expired")
	}
	return v.identity(g, res), nil
}

func (v *Validation) identity(g *gate, res *resource) *identity {
	extra := map[string]any{ExtraIssuer: v.Issuer, ExtraClient: v.Client, ExtraResource: res.id}
	if v.Grant != "" {
		extra[ExtraGrant] = v.Grant
	}
	if len(v.Actors) > 0 {
		extra[ExtraActors] = slices.Clone(v.Actors)
	}
	return &identity{
		gate: g, resource: res, props: v.Props, bound: v.Key,
		info: &auth.TokenInfo{UserID: v.User, Scopes: slices.Clone(v.Scopes), Expiration: v.Expires, Extra: extra},
	}
}
