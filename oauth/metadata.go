package oauth

import (
	"maps"
	"net/http"
	"slices"

	json "github.com/go-json-experiment/json"
)

const (
	authServerMetadataPath = "/.well-known/oauth-authorization-server"
	resourceMetadataPath   = "/.well-known/oauth-protected-resource"
)

// authServerMetadata is the document of RFC 8414 §2, with the members of RFC 9207,
// RFC 9728 §4 and the draft on client id metadata documents.
type authServerMetadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RegistrationEndpoint  string   `json:"registration_endpoint,omitzero"`
	ScopesSupported       []string `json:"scopes_supported,omitzero"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs         []string `json:"token_endpoint_auth_signing_alg_values_supported,omitzero"`
	RevocationAuthMethods []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitzero"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	IssInResponse         bool     `json:"authorization_response_iss_parameter_supported"`
	ClientDocuments       bool     `json:"client_id_metadata_document_supported"`
	ProtectedResources    []string `json:"protected_resources,omitzero"`
	KeysURI               string   `json:"jwks_uri,omitzero"`
	IntrospectionEndpoint string   `json:"introspection_endpoint,omitzero"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported,omitzero"`
	IntrospectionAlgs     []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitzero"`
	DPoPAlgs              []string `json:"dpop_signing_alg_values_supported,omitzero"`
	GrantProfiles         []string `json:"authorization_grant_profiles_supported,omitzero"`
}

func (s *Server) serveAuthServerMetadata(w http.ResponseWriter, r *http.Request) {
	methods := []string{"none", "client_secret_basic", "client_secret_post"}
	m := authServerMetadata{
		Issuer:                s.provider.Issuer,
		AuthorizationEndpoint: s.url("/authorize"),
		TokenEndpoint:         s.url("/token"),
		RevocationEndpoint:    s.url("/revoke"),
		ResponseTypes:         []string{"code"},
		ResponseModes:         []string{"query"},
		GrantTypes:            slices.Sorted(maps.Keys(s.tokenGrants)),
		ChallengeMethods:      []string{"S256"},
		IssInResponse:         true,
		ClientDocuments:       s.documents != nil,
	}
	if s.documents != nil || s.signingClients() {
		methods = append(methods, authAssertion)
		m.TokenAuthAlgs, m.RevocationAuthAlgs = assertionAlgs, assertionAlgs
	}
	s.announceExtensions(&m)
	m.TokenAuthMethods, m.RevocationAuthMethods = methods, methods
	if !s.provider.NoRegistration {
		m.RegistrationEndpoint = s.url("/register")
	}
	seen := map[string]bool{}
	for _, res := range s.resources {
		m.ProtectedResources = append(m.ProtectedResources, res.id)
		for _, name := range res.names() {
			if !seen[name] {
				seen[name] = true
				m.ScopesSupported = append(m.ScopesSupported, name)
			}
		}
	}
	serveMetadata(w, r, m)
}

// signingClients reports whether configured clients sign.
func (s *Server) signingClients() bool {
	for _, c := range s.clients {
		if c.Method == authAssertion {
			return true
		}
	}
	return false
}

// announceExtensions names what is configured, and nothing else.
func (s *Server) announceExtensions(m *authServerMetadata) {
	if len(s.mint.signed) > 0 {
		m.KeysURI = s.url("/jwks")
	}
	if s.introspects() {
		m.IntrospectionEndpoint = s.url("/introspect")
		m.IntrospectionMethods = []string{authBasic, authPost}
		if s.signingClients() {
			m.IntrospectionMethods, m.IntrospectionAlgs = append(m.IntrospectionMethods, authAssertion), assertionAlgs
		}
	}
	if s.gate.dpop != nil {
		m.DPoPAlgs = dpopAlgNames
	}
	if len(s.trusted) > 0 {
		m.GrantProfiles = []string{profileIDJAG}
	}
}

// resourceMetadata is the document of RFC 9728 §2.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported,omitzero"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	ResourceName         string   `json:"resource_name,omitzero"`
	DPoPAlgs             []string `json:"dpop_signing_alg_values_supported,omitzero"`
	DPoPRequired         bool     `json:"dpop_bound_access_tokens_required,omitzero"`
}

func serveResourceMetadata(res *resource, issuer string, d *dpop) http.HandlerFunc {
	m := resourceMetadata{
		Resource:             res.id,
		AuthorizationServers: []string{issuer},
		ScopesSupported:      res.names(),
		BearerMethods:        []string{"header"},
	}
	if res.Name != res.id {
		m.ResourceName = res.Name
	}
	if d != nil {
		m.DPoPAlgs, m.DPoPRequired = dpopAlgNames, res.RequireDPoP
	}
	return func(w http.ResponseWriter, r *http.Request) { serveMetadata(w, r, m) }
}

// serveMetadata answers with a document that everyone may read, scripts of any origin
// included (RFC 9728 §3.1): nothing in it depends on who asks.
func serveMetadata(w http.ResponseWriter, r *http.Request, document any) {
	allowAnyOrigin(w.Header())
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Write(body)
}

// allowAnyOrigin is for answers that carry no cookie and read none.
func allowAnyOrigin(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, MCP-Protocol-Version")
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, DPoP-Nonce")
	h.Set("Access-Control-Max-Age", "86400")
}
