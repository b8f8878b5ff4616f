package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	json "github.com/go-json-experiment/json"
)

const (
	maxPersonID = 256
	maxProps    = 64 << 10
)

func (s *Server) attempt(t *transaction, state string) *Attempt {
	return &Attempt{Issuer: s.provider.Issuer, Callback: s.url("/callback"), State: state, Secret: t.Secret, Again: t.Request.SignInAgain, server: s}
}

// startLogin sends the person to sign in.
func (s *Server) startLogin(w http.ResponseWriter, r *http.Request, browser string, t *transaction, problem string) error {
	t.Secret = secretEncoding.EncodeToString(append(newDataKey(), newDataKey()[:16]...))
	state, err := s.begin(r.Context(), kindLogin, browser, t)
	if err != nil {
		return err
	}
	a := s.attempt(t, state.text)
	a.Problem = problem
	if err := s.provider.Login.Start(w, r, a); err != nil {
		return s.loginFailed(r, t, fmt.Errorf("starting a login: %w", err))
	}
	return nil
}

// loginFailed tells the client that no one signed in, and the log why.
func (s *Server) loginFailed(r *http.Request, t *transaction, err error) error {
	switch {
	case errors.Is(err, ErrDenied):
		s.log.InfoContext(r.Context(), "oauth: sign-in refused by the person", "client", t.Request.Client)
		err = &redirectError{request: t.Request, code: "access_denied", description: "the person did not sign in"}
	case errors.Is(err, ErrNotAllowed):
		s.log.WarnContext(r.Context(), "oauth: a person who may not sign in tried to", "client", t.Request.Client)
		err = &redirectError{request: t.Request, code: "access_denied", description: "this person may not sign in here"}
	default:
		s.log.ErrorContext(r.Context(), "oauth: login failed", "client", t.Request.Client, "err", err)
		err = &redirectError{request: t.Request, code: "server_error", description: "the login failed"}
	}
	if t.Account {
		return pageError(http.StatusForbidden, "You are not signed in: the login refused, failed or was left.")
	}
	return err
}

// callback is where the browser comes back to from the login.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) error {
	state, err := callbackState(w, r)
	if err != nil {
		return err
	}
	t, browser, err := s.take(r.Context(), kindLogin, state, s.browsers(r))
	if err != nil {
		return err
	}
	person, err := s.provider.Login.Finish(r, s.attempt(t, state))
	var again Retry
	if errors.As(err, &again) {
		return s.startLogin(w, r, browser, t, string(again))
	}
	if err == nil {
		t.Person, err = encodePerson(person)
	}
	if err != nil {
		return s.loginFailed(r, t, err)
	}
	if t.Account {
		return s.openAccount(w, r, browser, t.Person)
	}
	return s.complete(w, r, browser, t)
}

// callbackState reads the state and leaves the form to the login.
func callbackState(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBody)
	if err := r.ParseForm(); err != nil || len(r.Form["state"]) != 1 {
		return "", pageError(http.StatusBadRequest, "This answer of the login is malformed.")
	}
	return r.Form.Get("state"), nil
}

func encodePerson(p *Person) (*signedIn, error) {
	if p == nil || p.ID == "" || len(p.ID) > maxPersonID {
		return nil, fmt.Errorf("the login gave no person, or an ID that is empty or longer than %d bytes", maxPersonID)
	}
	if strings.HasPrefix(p.ID, servicePrefix) {
		return nil, fmt.Errorf("the ID of a person must not start with %q: clients that act for themselves are called so", servicePrefix)
	}
	props, err := json.Marshal(p.Props)
	if err != nil {
		return nil, fmt.Errorf("encoding the props of a person: %w", err)
	}
	if len(props) > maxProps {
		return nil, fmt.Errorf("the props of a person are longer than %d bytes", maxProps)
	}
	upstream, err := encodeUpstream(p.Upstream)
	if err != nil {
		return nil, err
	}
	return &signedIn{ID: p.ID, Name: cmpOr(p.Name, p.ID), Props: props, Upstream: upstream}, nil
}

// complete hands out the code: somebody has signed in and allowed it. A consent that was
// only presumed is checked now that it is known who signed in.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, browser string, t *transaction) error {
	c, err := s.client(r.Context(), t.Request.Client)
	if err != nil && !errors.Is(err, errNoClient) {
		return err
	}
	if err != nil {
		return &redirectError{request: t.Request, code: "access_denied", description: "the client is gone"}
	}
	if t.Presumed != "" {
		ok, err := s.stillGranted(r, t)
		if err != nil {
			return err
		}
		if !ok {
			t.Presumed = ""
			return s.askConsent(w, r, browser, c, t)
		}
	}
	req := &t.Request
	made := grant{
		Client: req.Client, ClientName: req.ClientName, User: t.Person.ID, UserName: t.Person.Name,
		Resource: req.Resource, Redirect: req.Redirect, Scopes: req.Scopes,
		Bound: req.Bound,
	}
	code, err := s.grants.create(r.Context(), made, req.Challenge, t.Person.Props, t.Person.Upstream)
	if err != nil {
		return err
	}
	s.tellGranted(r.Context(), &made)
	if t.Remember {
		s.remember(w, r, browser, t)
	}
	s.touch(r.Context(), c)
	s.log.InfoContext(r.Context(), "oauth: signed in", "grant", code.id, "client", req.Client, "resource", req.Resource)
	s.redirect(w, r, *req, url.Values{"code": {code.text}})
	return nil
}
