package oauth

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

const (
	sessionPrefix = "oauth/session/"
	// sessionTTL is how long a person stays signed in at the account page. Clients have
	// nothing to do with it.
	sessionTTL = time.Hour
)

// accountSession is a person signed in at the account page, in one browser.
type accountSession struct {
	MAC     []byte
	Browser []byte
	User    string
	Name    string
}

// An AccountPage is what the template account.html shows: what a person allowed, and what
// else is kept for them. Forms are posted to Action with Proof as "proof" and one of
// "revoke" (a grant's ID), "erase" (a holding's ID, or "all") and "signout".
type AccountPage struct {
	Server, Action, Proof, Person string
	Grants                        []AccountGrant
	Holdings                      []AccountHolding
}

// An AccountGrant is a grant on the account page.
type AccountGrant struct {
	ID, Client string
	ClientID   string // of a client with a metadata document: its address
	Host       string // where answers go
	Resource   string
	Scopes     []string // in words
	Since      string
	Used       string
}

// An AccountHolding is something else that is kept, on the account page.
type AccountHolding struct {
	ID, Kind, What, Client, Used, Ends string // empty where it is not known or not so
}

// account shows a person what they allowed, and takes it back.
func (s *Server) account(w http.ResponseWriter, r *http.Request) error {
	session, cookie, err := s.accountSession(r)
	switch {
	case err != nil:
		return err
	case session == nil && r.Method == http.MethodPost:
		return pageError(http.StatusForbidden, "You are not signed in any more. Open the page again.")
	case session == nil:
		browser := s.knowBrowser(w, r)
		return s.startLogin(w, r, browser, &transaction{Account: true}, "")
	case r.Method == http.MethodPost:
		return s.changeAccount(w, r, session, cookie)
	}
	return s.showAccount(w, r, session, cookie)
}

func (s *Server) sessionCookie() string { return s.cookieName() + "-account" }

// accountSession finds out who is signed in. Nil is nobody.
func (s *Server) accountSession(r *http.Request) (*accountSession, string, error) {
	cookies := r.CookiesNamed(s.sessionCookie())
	if len(cookies) != 1 {
		return nil, "", nil
	}
	t, err := s.mint.parse(kindSession, cookies[0].Value)
	if err != nil {
		return nil, "", nil
	}
	rec, err := s.records.Get(r.Context(), sessionPrefix+t.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: reading a session: %w", ErrUnavailable, err)
	}
	session := new(accountSession)
	if err := json.Unmarshal(rec.Value, session); err != nil {
		return nil, "", fmt.Errorf("oauth: decoding a session: %w", err)
	}
	if !t.is(session.MAC) || indexOfBrowser(s.browsers(r), session.Browser) < 0 {
		return nil, "", nil
	}
	return session, t.text, nil
}

// openAccount signs a person in at the account page. The session is a new one each time,
// so that nobody can have known it before.
func (s *Server) openAccount(w http.ResponseWriter, r *http.Request, browser string, who *signedIn) error {
	t := s.mint.issue(kindSession, newID())
	value, err := json.Marshal(accountSession{MAC: t.mac(), Browser: browserHash(browser), User: who.ID, Name: who.Name})
	if err != nil {
		return fmt.Errorf("oauth: encoding a session: %w", err)
	}
	if _, err := s.records.Put(r.Context(), sessionPrefix+t.id, value, 0, &store.PutOptions{TTL: sessionTTL}); err != nil {
		return fmt.Errorf("%w: writing a session: %w", ErrUnavailable, err)
	}
	s.setSession(w, t.text, int(sessionTTL/time.Second))
	http.Redirect(w, r, s.url("/account"), http.StatusSeeOther)
	return nil
}

func (s *Server) setSession(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: s.sessionCookie(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// proof ties the forms of the account page to the session.
func (s *Server) proof(session string) string {
	return hex.EncodeToString(mac(s.mint.keys.active.tag, "account form", session))
}

func (s *Server) showAccount(w http.ResponseWriter, r *http.Request, session *accountSession, cookie string) error {
	live, held, err := s.kept(r.Context(), session.User)
	if err != nil {
		return err
	}
	page := AccountPage{Server: s.provider.Name, Action: s.url("/account"), Proof: s.proof(cookie), Person: session.Name}
	names := map[string]string{}
	for _, g := range live {
		shown := AccountGrant{
			ID: g.ID, Client: cmpOr(g.ClientName, "A program without a name"), Host: redirectHost(g.Redirect), Resource: g.Resource,
			Since: day(g.Created), Used: day(lastUse(g)), Scopes: g.Scopes,
		}
		names[g.Client] = shown.Client
		if isDocumentURL(g.Client) {
			shown.ClientID = g.Client
		}
		if res := s.resourceByID(g.Resource); res != nil {
			shown.Resource, shown.Scopes = res.Name, res.words(g.Scopes)
		}
		page.Grants = append(page.Grants, shown)
	}
	for _, h := range held {
		page.Holdings = append(page.Holdings, AccountHolding{
			ID: h.ID, Kind: h.Kind, What: h.What, Client: cmpOr(names[h.Client], h.Client), Used: day(h.Used), Ends: day(h.Ends),
		})
	}
	return s.pages.show(w, http.StatusOK, "account", page)
}

// kept is all that there is for a person.
func (s *Server) kept(ctx context.Context, user string) ([]*grant, []Holding, error) {
	live, err := s.grants.ofUser(ctx, user)
	if err != nil {
		return nil, nil, err
	}
	held, err := s.held(ctx, user, live)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: listing what is kept for a person: %w", ErrUnavailable, err)
	}
	return live, held, nil
}

// lastUse is when the client last asked for tokens; while one is good, its use is not
// written down.
func lastUse(g *grant) time.Time {
	if g.Refreshed.After(g.Created) {
		return g.Refreshed
	}
	return g.Created
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006")
}

// The forms of /account.json.
type (
	accountDocument struct {
		User     string          `json:"user"`
		Name     string          `json:"name"`
		Grants   []grantDocument `json:"grants"`
		Sessions []heldDocument  `json:"sessions"`
		Objects  []heldDocument  `json:"objects"`
		Other    []heldDocument  `json:"other,omitempty"`
	}
	grantDocument struct {
		ID           string          `json:"id"`
		Client       string          `json:"client"`
		ClientID     string          `json:"client_id"`
		RedirectHost string          `json:"redirect_host"`
		Resource     string          `json:"resource"`
		Scopes       []scopeDocument `json:"scopes"`
		Created      time.Time       `json:"created"`
		LastUsed     time.Time       `json:"last_used"`
		Ends         time.Time       `json:"ends"`
	}
	scopeDocument struct {
		Name  string `json:"name"`
		Words string `json:"words"`
	}
	heldDocument struct {
		ID       string    `json:"id"`
		What     string    `json:"what"`
		ClientID string    `json:"client_id,omitempty"`
		LastUsed time.Time `json:"last_used,omitzero"`
		Ends     time.Time `json:"ends,omitzero"`
	}
)

// accountJSON is the account page for programs of the person's, which signed in there as a
// browser does. Access tokens open it to nobody: what one client was allowed is none of
// another's business.
func (s *Server) accountJSON(w http.ResponseWriter, r *http.Request) error {
	session, _, err := s.accountSession(r)
	if err != nil {
		return err
	}
	if session == nil {
		return writeDocument(w, http.StatusUnauthorized, map[string]string{
			"error": "login_required", "error_description": "sign in at the account page first", "account": s.url("/account"),
		})
	}
	live, held, err := s.kept(r.Context(), session.User)
	if err != nil {
		return err
	}
	doc := accountDocument{User: session.User, Name: session.Name, Grants: []grantDocument{}, Sessions: []heldDocument{}, Objects: []heldDocument{}}
	for _, g := range live {
		d := grantDocument{
			ID: g.ID, Client: g.ClientName, ClientID: g.Client, RedirectHost: redirectHost(g.Redirect), Resource: g.Resource,
			Scopes: []scopeDocument{}, Created: g.Created, LastUsed: lastUse(g), Ends: g.Ends,
		}
		for _, name := range g.Scopes {
			sc := scopeDocument{Name: name, Words: name}
			if res := s.resourceByID(g.Resource); res != nil {
				sc.Words = cmpOr(strings.Join(res.words([]string{name}), ""), name)
			}
			d.Scopes = append(d.Scopes, sc)
		}
		doc.Grants = append(doc.Grants, d)
	}
	for _, h := range held {
		d := heldDocument{ID: h.ID, What: h.What, ClientID: h.Client, LastUsed: h.Used, Ends: h.Ends}
		switch h.Kind {
		case "session":
			doc.Sessions = append(doc.Sessions, d)
		case "object":
			doc.Objects = append(doc.Objects, d)
		default:
			doc.Other = append(doc.Other, d)
		}
	}
	return writeDocument(w, http.StatusOK, doc)
}

func writeDocument(w http.ResponseWriter, status int, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("oauth: encoding an account: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// changeAccount takes a grant back, or signs out.
func (s *Server) changeAccount(w http.ResponseWriter, r *http.Request, session *accountSession, cookie string) error {
	f, werr := readForm(w, r)
	if werr != nil || f.duplicated {
		return pageError(http.StatusBadRequest, "This answer is malformed.")
	}
	if !hmac.Equal([]byte(f.get("proof")), []byte(s.proof(cookie))) {
		s.log.WarnContext(r.Context(), "oauth: an account form without proof was refused")
		return pageError(http.StatusForbidden, "This answer does not belong to the page you were shown. Open it again.")
	}
	switch {
	case f.get("signout") != "":
		return s.signOut(w, r, cookie)
	case f.get("revoke") != "" && isID(f.get("revoke")):
		return s.takeBack(w, r, session, f.get("revoke"))
	case f.get("erase") != "":
		return s.erase(w, r, session, f.get("erase"))
	}
	return pageError(http.StatusBadRequest, "This answer is malformed.")
}

// takeBack revokes a grant of the person's. Somebody else's and one that is not there are
// answered alike.
func (s *Server) takeBack(w http.ResponseWriter, r *http.Request, session *accountSession, id string) error {
	var mine *grant
	err := s.grants.revoke(r.Context(), id, "revoked by the person", func(g *grant) bool {
		if g.User != session.User {
			return false
		}
		mine = g
		return true
	})
	if err != nil {
		return err
	}
	if mine != nil {
		if err := s.tellRevoked(r.Context(), mine); err != nil {
			s.log.ErrorContext(r.Context(), "oauth: what is kept for a revoked client was not hidden", "grant", id, "err", err)
			return pageError(http.StatusServiceUnavailable, "The program can use nothing of yours any more. But what is kept for it could not be put away: look at your account again, and erase it there.")
		}
	}
	http.Redirect(w, r, s.url("/account"), http.StatusSeeOther)
	return nil
}

// erase erases something that is kept for the person, or everything.
func (s *Server) erase(w http.ResponseWriter, r *http.Request, session *accountSession, id string) error {
	live, held, err := s.kept(r.Context(), session.User)
	if err != nil {
		return err
	}
	for _, h := range held {
		if h.ID != id && id != "all" {
			continue
		}
		err := s.provider.Holdings.Erase(r.Context(), session.User, s.allowed(live), h.ID)
		if err != nil && !errors.Is(err, ErrNotHeld) {
			return fmt.Errorf("%w: erasing what is kept for a person: %w", ErrUnavailable, err)
		}
	}
	s.log.InfoContext(r.Context(), "oauth: a person had erased what was kept for them", "all", id == "all")
	http.Redirect(w, r, s.url("/account"), http.StatusSeeOther)
	return nil
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, cookie string) error {
	if err := s.endSession(r.Context(), cookie); err != nil {
		return err
	}
	s.setSession(w, "", -1)
	return s.pages.show(w, http.StatusOK, "signedout", SignedOutPage{s.provider.Name, s.url("/account")})
}

func (s *Server) endSession(ctx context.Context, cookie string) error {
	t, err := s.mint.parse(kindSession, cookie)
	if err != nil {
		return nil
	}
	err = s.records.Delete(ctx, sessionPrefix+t.id, store.AnyRevision)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: ending a session: %w", ErrUnavailable, err)
	}
	return nil
}
