package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

const rememberPrefix = "oauth/remembered/"

// A ConsentPage is what the template consent.html shows. All of it comes from the checked
// request. The form is posted to Action with Handle as "handle", "decision" as "allow" or
// "deny", and "remember" if Remember is set and the person wants it.
type ConsentPage struct {
	Server   string
	Action   string
	Handle   string
	Client   string
	ClientID string // of a document: its address, which nobody else can have
	Host     string
	Loopback bool
	Remember bool // may be asked for
	Resource string
	Scopes   []string
	Person   string
	Account  string // where it can be taken back
}

// askConsent shows the consent page.
func (s *Server) askConsent(w http.ResponseWriter, r *http.Request, browser string, c *client, t *transaction) error {
	t.MayRemember = mayRemember(c, &t.Request)
	handle, err := s.begin(r.Context(), kindConsent, browser, t)
	if err != nil {
		return err
	}
	res := s.resourceByID(t.Request.Resource)
	if res == nil {
		return errors.New("the resource of a checked request is gone")
	}
	page := ConsentPage{
		Server: s.provider.Name, Action: s.url("/consent"), Account: s.url("/account"), Handle: handle.text,
		Client: cmpOr(c.Name, "A program without a name"), Host: redirectHost(t.Request.Redirect),
		Loopback: isLoopbackURI(t.Request.Redirect), Remember: t.MayRemember, Resource: res.Name, Scopes: res.words(t.Request.Scopes),
	}
	if c.source == fromDocument {
		page.ClientID = c.ID
	}
	if t.Person != nil {
		page.Person = t.Person.Name
	}
	return s.pages.show(w, http.StatusOK, "consent", page)
}

func (r *resource) words(scopes []string) []string {
	var all []string
	for _, sc := range r.Scopes {
		if slices.Contains(scopes, sc.Name) {
			all = append(all, cmpOr(sc.Words, sc.Name))
		}
	}
	return all
}

// consent takes the answer of the consent page. What is allowed comes from the
// transaction, never from the form.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) error {
	f, werr := readForm(w, r)
	if werr != nil || f.duplicated {
		return pageError(http.StatusBadRequest, "This answer is malformed.")
	}
	decision := f.get("decision")
	if decision != "allow" && decision != "deny" {
		return pageError(http.StatusBadRequest, "This answer is neither yes nor no.")
	}
	t, browser, err := s.take(r.Context(), kindConsent, f.get("handle"), s.browsers(r))
	if err != nil {
		return err
	}
	if decision == "deny" {
		s.log.InfoContext(r.Context(), "oauth: consent refused by the person", "client", t.Request.Client)
		return &redirectError{request: t.Request, code: "access_denied", description: "the person refused"}
	}
	t.Remember, t.Presumed = t.MayRemember && f.get("remember") != "", ""
	if t.Person != nil {
		return s.complete(w, r, browser, t)
	}
	return s.startLogin(w, r, browser, t, "")
}

// mayRemember reports whether a consent may be remembered. A program on the person's
// computer is known by its client_id only: if that is public, like the address of a
// document, any other program there could claim to be it, and a person has to be asked
// each time (RFC 8252 §8.6).
func mayRemember(c *client, req *authRequest) bool {
	return c.source == fromRegistration || strings.HasPrefix(req.Redirect, "https://")
}

// remembering is a consent that the person asked to be remembered in one browser.
type remembering struct {
	User   string
	Scopes []string
}

// rememberKey is for one browser, client, redirect and resource.
func rememberKey(browser string, req *authRequest) string {
	redirect := req.Redirect
	if plain, ok := withoutLoopbackPort(redirect, true); ok {
		redirect = plain
	}
	sum := sha256.Sum256(joinParts([]string{req.Client, redirect, req.Resource}))
	return rememberPrefix + hex.EncodeToString(browserHash(browser)) + "/" + hex.EncodeToString(sum[:])
}

// remembered is the user whose consent in this browser covers the request; "" if the
// person has to be asked. Only an address that the person opened, as native programs do,
// may skip the page: a web page in between could ride on the consent otherwise.
func (s *Server) remembered(r *http.Request, c *client, req *authRequest) string {
	if !mayRemember(c, req) || r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Site") != "none" {
		return ""
	}
	for _, browser := range s.browsers(r) {
		if user := s.rememberedIn(r, browser, req); user != "" {
			return user
		}
	}
	return ""
}

func (s *Server) rememberedIn(r *http.Request, browser string, req *authRequest) string {
	rec, err := s.records.Get(r.Context(), rememberKey(browser, req))
	if err != nil {
		return "" // asking again is always right
	}
	var m remembering
	if json.Unmarshal(rec.Value, &m) != nil {
		return ""
	}
	for _, name := range req.Scopes {
		if !slices.Contains(m.Scopes, name) {
			return ""
		}
	}
	return m.User
}

// stillGranted reports whether the presumed user signed in, and has not revoked the
// client since.
func (s *Server) stillGranted(r *http.Request, t *transaction) (bool, error) {
	if t.Presumed != t.Person.ID {
		return false, nil
	}
	live, err := s.grants.ofUser(r.Context(), t.Person.ID)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(live, func(g *grant) bool {
		return g.Kind == "" && g.Client == t.Request.Client && g.Resource == t.Request.Resource
	}), nil
}

func (s *Server) remember(w http.ResponseWriter, r *http.Request, browser string, t *transaction) {
	value, err := json.Marshal(remembering{User: t.Person.ID, Scopes: t.Request.Scopes})
	if err == nil {
		_, err = s.records.Put(r.Context(), rememberKey(browser, &t.Request), value, store.AnyRevision, &store.PutOptions{TTL: browserTTL})
	}
	if err != nil {
		s.log.WarnContext(r.Context(), "oauth: consent not remembered", "err", err)
		return
	}
	s.setBrowser(w, browser, browserTTL)
}
