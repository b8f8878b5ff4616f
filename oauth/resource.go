package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// Keys of auth.TokenInfo.Extra.
const (
	// ExtraClient is the client_id of the client that holds the token.
	ExtraClient = "client_id"
	// ExtraGrant is the id of the grant: it changes when the person signs in anew.
	ExtraGrant = "grant_id"
	// ExtraResource is the resource that the token is for.
	ExtraResource = "resource"
)

// identity is what a good token says, for the request it came with.
type identity struct {
	info     *auth.TokenInfo
	props    []byte
	resource *resource
	server   *Server
}

type identityKey struct{}

func identityOf(ctx context.Context) *identity {
	id, _ := ctx.Value(identityKey{}).(*identity)
	return id
}

// Props is what the login said of the person who sent the request (see [Person]). It is
// the zero T where nobody is signed in, and where the props are not a T.
func Props[T any](ctx context.Context) T {
	var p T
	id := identityOf(ctx)
	if id == nil {
		return p
	}
	if json.Unmarshal(id.props, &p) != nil { // the error may quote a secret
		var zero T
		id.server.log.ErrorContext(ctx, "oauth: props are not what the handler asks for", "type", fmt.Sprintf("%T", zero))
		return zero
	}
	return p
}

// HasScope reports whether the token of the request has the scope, or one that includes
// it.
func HasScope(ctx context.Context, scope string) bool {
	id := identityOf(ctx)
	return id != nil && id.resource.covers(id.info.Scopes, scope)
}

// Require is middleware for a handler behind [Provider.Protect] that needs more scopes
// than its resource does. Who lacks one is told all that are needed, so that the client
// can ask for them at once (RFC 6750 §3.1, insufficient_scope).
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
			if id.server.forbid(w, r, id, scopes) {
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// guard lets a request through to the resource if it has a good token for it. The wire
// behind finds it as auth.TokenInfo.
func (s *Server) guard(res *resource, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" && r.Header.Get("Authorization") == "" {
		s.next.ServeHTTP(w, r) // a preflight never carries a token; what follows it does
		return
	}
	text, werr := bearer(r)
	if werr != nil {
		s.challenge(w, r, res, werr)
		return
	}
	id, err := s.identify(r.Context(), res, text)
	switch {
	case errors.Is(err, ErrUnavailable):
		s.log.ErrorContext(r.Context(), "oauth: token not checked", "err", err)
		writeError(w, errUnavailable())
		return
	case err != nil:
		s.log.WarnContext(r.Context(), "oauth: token refused", "err", err)
		fallthrough
	case id == nil:
		s.challenge(w, r, res, wire(http.StatusUnauthorized, "invalid_token", "the token is not good here, or not any more"))
		return
	}
	if s.forbid(w, r, id, res.Require) {
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
	// Only the SDK can put its TokenInfo into a context, and only after a check of its
	// own; ours is done, so its verifier just says what we found.
	auth.RequireBearerToken(alreadyChecked, nil)(s.next).ServeHTTP(w, r)
}

func alreadyChecked(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	if id := identityOf(ctx); id != nil {
		return id.info, nil
	}
	return nil, auth.ErrInvalidToken
}

// bearer reads the token from the one Authorization header (RFC 6750 §2.1). Tokens
// elsewhere are never looked at.
func bearer(r *http.Request) (string, *wireError) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", wire(http.StatusUnauthorized, "", "")
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	text = strings.TrimSpace(text)
	switch {
	case len(headers) > 1:
		return "", errInvalidRequest("more than one Authorization header")
	case !strings.EqualFold(scheme, "bearer"):
		return "", wire(http.StatusUnauthorized, "", "")
	case text == "" || strings.ContainsAny(text, " \t,"):
		return "", wire(http.StatusUnauthorized, "invalid_token", "the token is malformed")
	}
	return text, nil
}

// identify says who a token stands for at a resource; nil if it is not good there.
func (s *Server) identify(ctx context.Context, res *resource, text string) (*identity, error) {
	v, err := s.grants.validate(ctx, text)
	if v == nil || err != nil {
		return nil, err
	}
	if v.grant.Resource != res.id {
		s.log.WarnContext(ctx, "oauth: token for another resource refused", "grant", v.grant.ID, "client", v.grant.Client)
		return nil, nil
	}
	return &identity{
		server: s, resource: res, props: v.props,
		info: &auth.TokenInfo{
			UserID: v.grant.User, Scopes: slices.Clone(v.slot.Scopes), Expiration: v.slot.Expires,
			Extra: map[string]any{ExtraClient: v.grant.Client, ExtraGrant: v.grant.ID, ExtraResource: v.grant.Resource},
		},
	}, nil
}

// A Validation is what a good token says.
type Validation struct {
	User, Client, Grant string
	Scopes              []string
	Expires             time.Time
	// Props is the JSON of [Person.Props].
	Props []byte
}

// Validate says whether an access token is good at the resource with the given ID, for
// resource servers elsewhere. It returns nil if it is not; an error is that of the store.
func (s *Server) Validate(ctx context.Context, resourceID, accessToken string) (*Validation, error) {
	res := s.resourceByID(resourceID)
	if res == nil {
		return nil, errors.New("oauth: there is no such resource: " + resourceID)
	}
	id, err := s.identify(ctx, res, accessToken)
	if id == nil || err != nil {
		return nil, err
	}
	return &Validation{
		User: id.info.UserID, Client: id.info.Extra[ExtraClient].(string), Grant: id.info.Extra[ExtraGrant].(string),
		Scopes: id.info.Scopes, Expires: id.info.Expiration, Props: slices.Clone(id.props),
	}, nil
}

// forbid answers 403 if a scope is missing.
func (s *Server) forbid(w http.ResponseWriter, r *http.Request, id *identity, scopes []string) bool {
	for _, want := range scopes {
		if id.resource.covers(id.info.Scopes, want) {
			continue
		}
		e := wire(http.StatusForbidden, "insufficient_scope", "more scopes are needed")
		s.challengeFor(w, r, id.resource, e, scopes)
		return true
	}
	return false
}

func (s *Server) challenge(w http.ResponseWriter, r *http.Request, res *resource, e *wireError) {
	s.challengeFor(w, r, res, e, res.Require)
}

// challengeFor says how to get a token that will do (RFC 6750 §3, RFC 9728 §5.1). Who
// sent no token gets no error code.
func (s *Server) challengeFor(w http.ResponseWriter, r *http.Request, res *resource, e *wireError, scopes []string) {
	parts := []string{`resource_metadata="` + res.metadata + `"`}
	if e.code != "" {
		parts = append([]string{`error="` + e.code + `"`, `error_description="` + e.description + `"`}, parts...)
	}
	if len(scopes) > 0 {
		parts = append(parts, `scope="`+strings.Join(scopes, " ")+`"`)
	}
	h := w.Header()
	h.Set("WWW-Authenticate", "Bearer "+strings.Join(parts, ", "))
	noStore(h)
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && slices.Contains(s.provider.AllowedOrigins, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
	}
	if e.code == "" {
		w.WriteHeader(e.status)
		return
	}
	writeJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}
