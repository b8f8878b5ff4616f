package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const maxState = 2048

var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// A redirectError is told to the client at its redirect URI, which is known to be its own
// (RFC 6749 §4.1.2.1).
type redirectError struct {
	request     authRequest
	code        string
	description string
}

func (e *redirectError) Error() string { return e.code + ": " + e.description }

// authorize is the authorization endpoint (RFC 6749 §3.1).
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) error {
	f, err := s.authorizeForm(w, r)
	if err != nil {
		return err
	}
	request, client, err := s.checkAuthRequest(r, f)
	if err != nil {
		return err
	}
	if r.Method == http.MethodPost {
		s.openPosted(w, f)
		return nil
	}
	browser := s.knowBrowser(w, r)
	if user := s.remembered(r, client, request); user != "" && !request.AskAgain {
		return s.startLogin(w, r, browser, &transaction{Request: *request, Presumed: user}, "")
	}
	return s.askConsent(w, r, browser, client, &transaction{Request: *request})
}

// authorizeParameters are those that checkAuthRequest reads and that a good request may have.
var authorizeParameters = []string{
	"client_id", "redirect_uri", "state", "response_type", "response_mode", "scope", "prompt",
	"code_challenge", "code_challenge_method", "dpop_jkt",
}

// openPosted has the browser open a request that was posted, as an address. With the POST of
// another site it brings no cookie (SameSite=Lax), so it would get a new one with each, and
// drop those of sign-ins under way when it has too many. Only what is known goes into the
// address: a program that sends its secret as well sees it nowhere.
func (s *Server) openPosted(w http.ResponseWriter, f form) {
	params := url.Values{}
	for _, name := range authorizeParameters {
		if v := f.get(name); v != "" {
			params.Set(name, v)
		}
	}
	if len(f.resources) > 0 {
		params["resource"] = f.resources
	}
	w.Header().Set("Location", s.url("/authorize")+"?"+params.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

// authorizeForm reads the parameters from the address, or from a form (OIDC Core
// §3.1.2.1, which some clients use).
func (s *Server) authorizeForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.Method == http.MethodPost {
		f, werr := readForm(w, r)
		if werr != nil {
			return form{}, pageError(werr.status, "This sign-in request is malformed.")
		}
		return f, nil
	}
	f, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return form{}, pageError(http.StatusBadRequest, "This sign-in request is malformed.")
	}
	return f, nil
}

// checkAuthRequest checks an authorization request. As long as the client and its
// redirect URI are not known to belong together, errors are pages (RFC 6749 §4.1.2.1,
// RFC 9700 §4.11); after that the client is told.
func (s *Server) checkAuthRequest(r *http.Request, f form) (*authRequest, *client, error) {
	c, err := s.client(r.Context(), f.get("client_id"))
	if errors.Is(err, errNoClient) {
		return nil, nil, pageError(http.StatusBadRequest, "The program that sent you here is not known. It may have to register again.")
	}
	if err != nil {
		return nil, nil, err
	}
	req := &authRequest{Client: c.ID, ClientName: c.Name, Redirect: f.get("redirect_uri"), State: f.get("state"), Challenge: f.get("code_challenge")}
	if req.Redirect == "" && len(c.Redirects) == 1 {
		req.Redirect = c.Redirects[0]
	}
	if f.duplicatedName("redirect_uri") || !matchRedirect(c.Redirects, req.Redirect, c.public()) {
		s.log.WarnContext(r.Context(), "oauth: redirect URI refused", "client", c.ID)
		return nil, nil, pageError(http.StatusBadRequest, "The program that sent you here wants the answer at an address that it has not registered.")
	}
	refuse := func(code, description string) error {
		return &redirectError{request: *req, code: code, description: description}
	}
	switch {
	case len(req.State) > maxState:
		req.State = ""
		return nil, nil, refuse("invalid_request", "state is too long")
	case f.duplicated:
		if f.duplicatedName("state") {
			req.State = ""
		}
		return nil, nil, refuse("invalid_request", "a parameter is there twice")
	case f.get("response_type") == "":
		return nil, nil, refuse("invalid_request", "response_type is missing")
	case f.get("response_type") != "code":
		return nil, nil, refuse("unsupported_response_type", "want code")
	case f.get("response_mode") != "" && f.get("response_mode") != "query":
		return nil, nil, refuse("invalid_request", "response_mode: want query")
	case f.get("request") != "":
		return nil, nil, refuse("request_not_supported", "request objects are not supported")
	case f.get("request_uri") != "":
		return nil, nil, refuse("request_uri_not_supported", "request_uri is not supported")
	case req.Challenge == "":
		return nil, nil, refuse("invalid_request", "code_challenge is missing: PKCE is required")
	case f.get("code_challenge_method") != "S256":
		return nil, nil, refuse("invalid_request", "code_challenge_method: want S256")
	case !challengeForm.MatchString(req.Challenge):
		return nil, nil, refuse("invalid_request", "code_challenge is malformed")
	case s.gate.dpop != nil && f.get("dpop_jkt") != "" && !isThumbprint(f.get("dpop_jkt")):
		return nil, nil, refuse("invalid_request", "dpop_jkt is malformed")
	}
	if description := req.setPrompt(f.get("prompt")); description != "" {
		return nil, nil, refuse("invalid_request", description)
	}
	if f.get("prompt") == "none" {
		return nil, nil, refuse("interaction_required", "a person has to be asked")
	}
	if s.gate.dpop != nil {
		req.Bound = f.get("dpop_jkt")
	}
	res := s.requestedResource(f)
	if res == nil {
		return nil, nil, refuse("invalid_target", "there is no such resource here, or more than one was named")
	}
	req.Resource = res.id
	if req.Scopes = res.grantable(f.get("scope")); req.Scopes == nil {
		return nil, nil, refuse("invalid_scope", "none of these scopes belongs to the resource")
	}
	return req, c, nil
}

// setPrompt reads how a client wants the person to be asked (OpenID Connect Core
// §3.1.2.1), and says what is wrong with it. Words it does not know are left out, as
// parameters are (RFC 6749 §3.1).
func (req *authRequest) setPrompt(prompt string) (wrong string) {
	words := strings.Fields(prompt)
	if len(words) > 1 && slices.Contains(words, "none") {
		return "prompt: none goes with nothing else"
	}
	req.AskAgain = slices.Contains(words, "consent")
	req.SignInAgain = slices.Contains(words, "login") || slices.Contains(words, "select_account")
	return ""
}

// requestedResource is the one named; without a name, the only one there is or the
// default.
func (s *Server) requestedResource(f form) *resource {
	id, werr := f.resource()
	switch {
	case werr != nil:
		return nil
	case id != "":
		return s.resourceByID(id)
	}
	return s.defaultResource()
}

// defaultResource is that of clients that name none; nil is none.
func (s *Server) defaultResource() *resource {
	if len(s.resources) == 1 {
		return s.resources[0]
	}
	if i := slices.IndexFunc(s.resources, func(r *resource) bool { return r.Default }); i >= 0 {
		return s.resources[i]
	}
	return nil
}

// grantable are the scopes that a request can be granted: those asked for that belong to
// the resource; without asking, those required, or all. Nil is none of those asked for.
func (r *resource) grantable(asked string) []string {
	names := strings.Fields(asked)
	names = slices.DeleteFunc(names, func(n string) bool { return n == "offline_access" })
	if len(names) == 0 {
		if len(r.Require) > 0 {
			return slices.Clone(r.Require)
		}
		return append([]string{}, r.names()...)
	}
	var found []string
	for _, sc := range r.Scopes {
		if slices.Contains(names, sc.Name) {
			found = append(found, sc.Name)
		}
	}
	if found == nil && len(r.Scopes) == 0 {
		return []string{} // a resource without scopes ignores them
	}
	return found
}

// redirect sends the browser back to the client. Iss tells it who answers (RFC 9207 §2).
func (s *Server) redirect(w http.ResponseWriter, r *http.Request, to authRequest, params url.Values) {
	if to.State != "" {
		params.Set("state", to.State)
	}
	params.Set("iss", s.provider.Issuer)
	target := to.Redirect
	switch {
	case !strings.Contains(target, "?"):
		target += "?"
	case !strings.HasSuffix(target, "?") && !strings.HasSuffix(target, "&"):
		target += "&"
	}
	// 303: whatever was posted here is not posted there (RFC 9700 §4.12).
	w.Header().Set("Location", target+params.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

func (s *Server) redirectError(w http.ResponseWriter, r *http.Request, e *redirectError) {
	s.redirect(w, r, e.request, url.Values{"error": {e.code}, "error_description": {e.description}})
}
