package oauth

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
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

// accountPage is what the account page shows.
type accountPage struct {
	Server, Action, Proof, Person string
	Grants                        []accountGrant
}

type accountGrant struct {
	ID, Client, ClientID, Host, Resource, Created, Used string
	Scopes                                              []string
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
	browser := s.browser(r)
	if !t.is(session.MAC) || browser == "" || !hmac.Equal(session.Browser, browserHash(browser)) {
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
	live, err := s.grants.ofUser(r.Context(), session.User)
	if err != nil {
		return err
	}
	page := accountPage{Server: s.provider.Name, Action: s.url("/account"), Proof: s.proof(cookie), Person: session.Name}
	for _, g := range live {
		shown := accountGrant{
			ID: g.ID, Client: cmpOr(g.ClientName, "A program without a name"), Host: redirectHost(g.Redirect), Resource: g.Resource,
			Created: day(g.Created), Used: day(g.Refreshed), Scopes: g.Scopes,
		}
		if isDocumentURL(g.Client) {
			shown.ClientID = g.Client
		}
		if res := s.resourceByID(g.Resource); res != nil {
			shown.Resource, shown.Scopes = res.Name, res.words(g.Scopes)
		}
		page.Grants = append(page.Grants, shown)
	}
	return s.pages.show(w, http.StatusOK, "account", page)
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006") }

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
		// Somebody else's grant and one that is not there are answered alike.
		err := s.grants.revoke(r.Context(), f.get("revoke"), "revoked by the person", func(g *grant) bool { return g.User == session.User })
		if err != nil {
			return err
		}
		http.Redirect(w, r, s.url("/account"), http.StatusSeeOther)
		return nil
	}
	return pageError(http.StatusBadRequest, "This answer is malformed.")
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, cookie string) error {
	if err := s.endSession(r.Context(), cookie); err != nil {
		return err
	}
	s.setSession(w, "", -1)
	return s.pages.show(w, http.StatusOK, "signedout", struct{ Server, Action string }{s.provider.Name, s.url("/account")})
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
