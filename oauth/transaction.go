package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mcp/causeway/store"
)

const (
	transactionPrefix = "oauth/transaction/"
	// transactionTTL is how long a person has to answer one page.
	transactionTTL = 10 * time.Minute
	// browserTTL is how long a browser is known in which a consent is remembered.
	browserTTL = 30 * 24 * time.Hour
)

// A transaction is an authorization request between two answers of the browser. It is
// kept sealed under the handle that the browser has to bring, bound to the browser, and
// good once. Nothing of it is ever read from a form.
type transaction struct {
	Request authRequest
	// Secret is that of the login attempt.
	Secret string `json:",omitzero"`
	// MayRemember is set when the consent page offers to remember the answer.
	MayRemember bool `json:",omitzero"`
	// Remember is set when the person ticked it on the consent page.
	Remember bool `json:",omitzero"`
	// Presumed is the user whose remembered consent let the page be skipped.
	Presumed string `json:",omitzero"`
	// Person is set once somebody has signed in.
	Person *signedIn `json:",omitzero"`
	// Account is set when the login is for the account page, not for a client.
	Account bool `json:",omitzero"`
}

// signedIn is a Person whose props are encoded.
type signedIn struct {
	ID       string
	Name     string
	Props    jsontext.Value
	Upstream []byte `json:",omitzero"` // the tokens of the login, encoded
}

// authRequest is a checked authorization request (RFC 6749 §4.1.1).
type authRequest struct {
	Client     string
	ClientName string
	Redirect   string
	State      string `json:",omitzero"`
	Challenge  string
	Bound      string `json:",omitzero"` // dpop_jkt (RFC 9449 §10)
	Resource   string
	Scopes     []string
	// AskAgain is set when the client wants the consent page to be shown, whatever is remembered.
	AskAgain bool `json:",omitzero"`
	// SignInAgain is set when the client wants the login not to go by who signed in there before.
	SignInAgain bool `json:",omitzero"`
}

type keptTransaction struct {
	MAC     []byte
	Browser []byte // hash of the cookie
	Sealed  []byte
}

// errLost says that there is no such transaction for this browser: it is over, was
// answered before, or began elsewhere.
var errLost = errors.New("oauth: no such sign-in under way in this browser")

// begin keeps a transaction and returns the handle.
func (s *Server) begin(ctx context.Context, k kind, browser string, t *transaction) (token, error) {
	if !s.begun.allow(askerOf(ctx), time.Now()) {
		s.log.WarnContext(ctx, "oauth: too many sign-ins were begun", "address", askerOf(ctx))
		return token{}, pageError(http.StatusServiceUnavailable, "Very many people sign in here just now. Try again in some minutes.")
	}
	handle := s.mint.issue(k, newID())
	plain, err := json.Marshal(t)
	if err != nil {
		return token{}, fmt.Errorf("oauth: encoding a sign-in: %w", err)
	}
	value, err := json.Marshal(keptTransaction{
		MAC: handle.mac(), Browser: browserHash(browser), Sealed: seal(handle.sealingKey("transaction"), plain, "transaction", handle.id),
	})
	if err != nil {
		return token{}, fmt.Errorf("oauth: encoding a sign-in: %w", err)
	}
	_, err = s.records.Put(ctx, transactionPrefix+handle.id, value, 0, &store.PutOptions{TTL: transactionTTL})
	if err != nil {
		return token{}, fmt.Errorf("%w: writing a sign-in: %w", ErrUnavailable, err)
	}
	return handle, nil
}

// take ends a transaction and returns it, to exactly one caller, with the one of its
// cookies that the browser began it with. Another browser gets errLost and ends nothing.
func (s *Server) take(ctx context.Context, k kind, text string, cookies []string) (t *transaction, browser string, err error) {
	handle, err := s.mint.parse(k, text)
	if err != nil || len(cookies) == 0 {
		return nil, "", errLost
	}
	r, err := s.records.Get(ctx, transactionPrefix+handle.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", errLost
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: reading a sign-in: %w", ErrUnavailable, err)
	}
	var kept keptTransaction
	if err := json.Unmarshal(r.Value, &kept); err != nil {
		return nil, "", fmt.Errorf("oauth: decoding a sign-in: %w", err)
	}
	which := indexOfBrowser(cookies, kept.Browser)
	if !handle.is(kept.MAC) || which < 0 {
		return nil, "", errLost
	}
	plain, err := unseal(handle.sealingKey("transaction"), kept.Sealed, "transaction", handle.id)
	if err != nil {
		return nil, "", err
	}
	t = new(transaction)
	if json.Unmarshal(plain, t) != nil {
		return nil, "", errors.New("oauth: a sign-in that was written by another version") // the error may quote a secret
	}
	err = s.records.Delete(ctx, r.Key, r.Revision)
	switch {
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		return nil, "", errLost // somebody else was faster
	case err != nil:
		return nil, "", fmt.Errorf("%w: ending a sign-in: %w", ErrUnavailable, err)
	}
	return t, cookies[which], nil
}

// browserHash is what is kept of a browser's cookie.
func browserHash(cookie string) []byte {
	sum := sha256.Sum256([]byte(cookie))
	return sum[:]
}

// indexOfBrowser finds the cookie whose hash was kept; -1 is none.
func indexOfBrowser(cookies []string, hash []byte) int {
	return slices.IndexFunc(cookies, func(c string) bool { return hmac.Equal(hash, browserHash(c)) })
}

// cookieName is what the names of cookies begin with. With https it is bound to this host (RFC
// 6265bis §4.1.3.2). Cookies do not know ports, so a port is in the name: other servers of the
// host have cookies of their own.
func (s *Server) cookieName() string {
	name := "causeway"
	if port := s.issuer.Port(); port != "" {
		name += "-" + port
	}
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// maxBrowserCookies is how many cookies of one browser are looked at: more than browsers keep
// for a host, as a sign-in whose cookie is not looked at cannot be finished.
const maxBrowserCookies = 200

// browsers are the cookies that the browser brought; mostly it is one. A program that
// opens several sign-ins at the same moment, in a browser that has no cookie yet, makes it
// get one with each answer. All of them are this browser, so none may replace another:
// each has a name of its own, which follows from its value.
func (s *Server) browsers(r *http.Request) []string {
	var found []string
	for _, c := range r.Cookies() {
		if len(found) == maxBrowserCookies {
			break
		}
		if b, err := secretEncoding.DecodeString(c.Value); err == nil && len(b) == randomSize && c.Name == s.browserCookie(c.Value) {
			found = append(found, c.Value)
		}
	}
	return found
}

// browserCookie is the name of the cookie with this value.
func (s *Server) browserCookie(value string) string {
	return s.cookieName() + "-" + hex.EncodeToString(browserHash(value)[:4])
}

// knowBrowser makes sure that the browser has a cookie.
func (s *Server) knowBrowser(w http.ResponseWriter, r *http.Request) string {
	if known := s.browsers(r); len(known) > 0 {
		return known[0]
	}
	b := make([]byte, randomSize)
	rand.Read(b)
	cookie := base64.RawURLEncoding.EncodeToString(b)
	s.setBrowser(w, cookie, 0)
	return cookie
}

func (s *Server) setBrowser(w http.ResponseWriter, cookie string, ttl time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: s.browserCookie(cookie), Value: cookie, Path: "/", MaxAge: int(ttl / time.Second),
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
