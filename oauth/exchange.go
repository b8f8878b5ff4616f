package oauth

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// verifierForm is that of RFC 7636 §4.1.
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// exchange is the token endpoint (RFC 6749 §3.2).
func (s *Server) exchange(w http.ResponseWriter, r *http.Request) error {
	f, werr := readForm(w, r)
	if werr != nil {
		return werr
	}
	c, err := s.authenticate(r, f)
	if err != nil {
		return err
	}
	if !c.public() && !s.limits.client.allow(c.ID) {
		s.log.WarnContext(r.Context(), "oauth: too many requests of one client", "client", c.ID)
		return errTooMany("too many requests of this client")
	}
	grant, werr := s.grantOf(f.get("grant_type"))
	if werr != nil {
		return werr
	}
	bound, err := s.proofAtToken(w, r, c)
	if err != nil {
		return err
	}
	answer, err := grant(r, c, f, bound)
	if err != nil {
		return err
	}
	s.touch(r.Context(), c)
	writeJSONText(w, http.StatusOK, answer)
	return nil
}

// A tokenGrant answers a token request of an authenticated client. Bound is the
// thumbprint of the key that it proved to have (RFC 9449 §5), "" without a proof.
type tokenGrant func(r *http.Request, c *client, f form, bound string) ([]byte, error)

// grantTypes are those that are offered.
func (s *Server) grantTypes() map[string]tokenGrant {
	types := map[string]tokenGrant{"authorization_code": s.exchangeCode, "refresh_token": s.exchangeRefresh}
	for _, c := range s.clients {
		if len(c.service) > 0 {
			types[grantClientCredentials] = s.grantService
		}
	}
	if len(s.exchanges) > 0 {
		types[grantTokenExchange] = s.exchangeToken
	}
	if len(s.trusted) > 0 {
		types[grantJWTBearer] = s.grantAsserted
	}
	return types
}

func (s *Server) grantOf(name string) (tokenGrant, *wireError) {
	switch grant := s.tokenGrants[name]; {
	case name == "":
		return nil, errInvalidRequest("grant_type is missing")
	case grant == nil:
		return nil, wire(http.StatusBadRequest, "unsupported_grant_type", "want one of grant_types_supported")
	default:
		return grant, nil
	}
}

func (s *Server) exchangeCode(r *http.Request, c *client, f form, bound string) ([]byte, error) {
	resource, werr := s.namedResource(f)
	switch {
	case werr != nil:
		return nil, werr
	case f.get("code") == "":
		return nil, errInvalidRequest("code is missing")
	case f.get("code_verifier") == "":
		return nil, errInvalidRequest("code_verifier is missing")
	case !verifierForm.MatchString(f.get("code_verifier")):
		return nil, errInvalidGrant("code_verifier is malformed")
	}
	code, err := s.mint.parse(kindCode, f.get("code"))
	if err != nil {
		return nil, errInvalidGrant("the code is not valid")
	}
	return s.grants.redeem(r.Context(), redemption{
		code: code, client: c.ID, verifier: f.get("code_verifier"), redirect: f.get("redirect_uri"), resource: resource,
		bound: bound, public: c.public(),
	})
}

func (s *Server) exchangeRefresh(r *http.Request, c *client, f form, bound string) ([]byte, error) {
	resource, werr := s.namedResource(f)
	switch {
	case werr != nil:
		return nil, werr
	case f.get("refresh_token") == "":
		return nil, errInvalidRequest("refresh_token is missing")
	}
	t, err := s.mint.parse(kindRefresh, f.get("refresh_token"))
	if err != nil {
		return nil, errInvalidGrant("the refresh token is not valid")
	}
	scopes := slices.DeleteFunc(strings.Fields(f.get("scope")), func(n string) bool { return n == "offline_access" })
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	if len(scopes) == 0 {
		scopes = nil
	}
	return s.grants.refresh(r.Context(), rotation{token: t, client: c.ID, scopes: scopes, resource: resource, bound: bound, asks: s.withoutForeignScopes})
}

// withoutForeignScopes drops the scopes that were ignored when they were asked for at the
// authorization endpoint. Clients repeat them when they refresh (mcp-remote does "openid
// email profile"), and an error then is a sign-out. Scopes of the resource that were not
// granted stay, and so do foreign ones if there is nothing else and the resource has some.
func (s *Server) withoutForeignScopes(resource string, scopes []string) []string {
	res := s.resourceByID(resource)
	if res == nil || len(scopes) == 0 {
		return scopes
	}
	own := slices.DeleteFunc(slices.Clone(scopes), func(n string) bool { return !slices.Contains(res.names(), n) })
	switch {
	case len(own) > 0:
		return own
	case len(res.Scopes) == 0:
		return nil
	}
	return scopes
}

// namedResource is the resource a request names, by its ID; "" if it names none.
func (s *Server) namedResource(f form) (string, *wireError) {
	id, werr := f.resource()
	if werr != nil || id == "" {
		return "", werr
	}
	res := s.resourceByID(id)
	if res == nil {
		return "", errInvalidTarget("there is no such resource here")
	}
	return res.id, nil
}

// revocation is the endpoint of RFC 7009. Tokens that are unknown, dead or another
// client's are answered like those that were revoked (§2.2).
func (s *Server) revocation(w http.ResponseWriter, r *http.Request) error {
	f, werr := readForm(w, r)
	if werr != nil {
		return werr
	}
	c, err := s.authenticate(r, f)
	if err != nil {
		return err
	}
	if f.get("token") == "" {
		return errInvalidRequest("token is missing")
	}
	if err := s.grants.revokeToken(r.Context(), f.get("token"), c.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
