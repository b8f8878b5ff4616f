package oauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	json "github.com/go-json-experiment/json"
)

// endpoint serves POST requests of programs. Nothing it answers is kept by caches, and
// scripts of any origin may call it: it reads no cookie.
func (s *Server) endpoint(serve func(http.ResponseWriter, *http.Request) error, limit *limit[netip.Addr]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		noStore(w.Header())
		allowAnyOrigin(w.Header())
		switch r.Method {
		case http.MethodPost:
		case http.MethodOptions:
			w.Header().Set("Access-Control-Allow-Methods", "POST, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
			return
		default:
			w.Header().Set("Allow", "POST, OPTIONS")
			writeError(w, wire(http.StatusMethodNotAllowed, "invalid_request", "want POST"))
			return
		}
		s.sweeper.poke()
		if !limit.allow(s.addr(r)) {
			s.log.WarnContext(r.Context(), "oauth: too many requests from one address", "path", r.URL.Path, "address", s.addr(r))
			writeError(w, errTooMany("too many requests from this address"))
			return
		}
		if err := serve(w, s.withAsker(r)); err != nil {
			s.fail(w, r, err)
		}
	}
}

// fail answers with the error of the RFC. What is not meant for the wire is told to
// the log only.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *wireError
	if !errors.As(err, &e) {
		s.log.ErrorContext(r.Context(), "oauth: request failed", "path", r.URL.Path, "err", err)
		e = wire(http.StatusInternalServerError, "server_error", "internal error")
		if errors.Is(err, ErrUnavailable) {
			e = errUnavailable()
		}
	}
	if e.status == http.StatusUnauthorized && usesBasic(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="oauth", charset="UTF-8"`)
	}
	writeError(w, e)
}

func writeError(w http.ResponseWriter, e *wireError) {
	if e.status == http.StatusServiceUnavailable || e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	writeJSONText(w, status, body)
}

func writeJSONText(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

func usesBasic(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "basic")
}

// authenticate says which client sends the request (RFC 6749 §2.3, OAuth 2.1 §2.4). A
// client authenticates in the way it registered, and in one way only.
func (s *Server) authenticate(r *http.Request, f form) (*client, error) {
	id, secret, used, werr := credentials(r, f)
	if werr != nil {
		return nil, werr
	}
	c, err := s.client(r.Context(), id)
	if errors.Is(err, errNoClient) {
		s.checkSecret(&client{source: fromRegistration, SecretMAC: make([]byte, 32)}, secret) // as much work as for one that is
		return nil, errInvalidClient("client authentication failed")
	}
	if err != nil {
		return nil, err
	}
	ok := c.Method == used || c.Method == "" && (used == authBasic || used == authPost) || c.alsoNone && used == authNone
	switch used {
	case authBasic, authPost:
		ok = s.checkSecret(c, secret) && ok
	case authAssertion:
		if ok {
			err = s.checkAssertion(r.Context(), c, secret)
		}
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		if err != nil {
			s.log.WarnContext(r.Context(), "oauth: client assertion refused", "client", c.ID, "err", err)
			ok = false
		}
	}
	if !ok {
		s.log.WarnContext(r.Context(), "oauth: client authentication failed", "client", c.ID, "used", used, "registered", c.Method)
		return nil, errInvalidClient("client authentication failed")
	}
	return c, nil
}

// credentials reads what a client says of itself, and how.
func credentials(r *http.Request, f form) (id, secret, used string, err *wireError) {
	headers := r.Header.Values("Authorization")
	inBody, assertion := f.get("client_secret") != "", f.get("client_assertion")
	switch {
	case f.duplicated:
		return "", "", "", errInvalidRequest("a parameter is there twice")
	case len(headers) > 1 || len(headers) == 1 && inBody || assertion != "" && (inBody || len(headers) > 0):
		return "", "", "", errInvalidRequest("more than one way of client authentication")
	case len(headers) == 1:
		id, secret, ok := parseBasic(headers[0])
		if !ok || f.get("client_id") != "" && f.get("client_id") != id {
			return "", "", "", errInvalidClient("client authentication failed")
		}
		return id, secret, authBasic, nil
	case assertion != "":
		id := assertedClient(assertion)
		if f.get("client_assertion_type") != assertionType || id == "" || f.get("client_id") != "" && f.get("client_id") != id {
			return "", "", "", errInvalidClient("client authentication failed")
		}
		return id, assertion, authAssertion, nil
	case f.get("client_id") == "":
		return "", "", "", errInvalidClient("client_id is missing")
	case inBody:
		return f.get("client_id"), f.get("client_secret"), authPost, nil
	}
	return f.get("client_id"), "", authNone, nil
}

// parseBasic reads Basic credentials as RFC 6749 §2.3.1 has them: each part is form
// encoded.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "basic") {
		return "", "", false
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(pair), ":")
	if !ok {
		return "", "", false
	}
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	return id, secret, err1 == nil && err2 == nil && id != "" && secret != ""
}
