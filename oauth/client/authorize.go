package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// signIn gets tokens by the configured grant, and stores them. The lock is held.
func (s *session) signIn(ctx context.Context, n need, record *serverRecord, found *discovery) (*tokens, error) {
	scopes := s.scopesFor(n, record, found)
	dpop, err := s.bindingKey(found)
	if err != nil {
		return nil, err
	}
	g := &granting{session: s, found: found, scopes: scopes, resource: s.resourceFor(found), dpop: dpop}
	g.lately = record.tokens != nil && s.c.now().Sub(record.tokens.signedIn) < lately
	var answer *tokenAnswer
	switch grant := s.c.options.Grant.(type) {
	case nil:
		answer, err = g.withBrowser(ctx)
	case DeviceCode:
		answer, err = g.withDevice(ctx)
	case ClientCredentials:
		answer, err = g.asItself(ctx)
	case WorkloadIdentity:
		answer, err = g.asWorkload(ctx, grant)
	case EnterpriseManaged:
		answer, err = g.asEmployee(ctx, grant)
	default:
		err = fmt.Errorf("there is no grant %T", grant)
	}
	var got *tokens
	if err == nil && s.c.options.UseIDToken && answer.id == "" {
		err = fmt.Errorf("%w: no id_token, which the options want to be used; ask for the scope openid", ErrBadAnswer)
	}
	if err == nil {
		got, err = s.tokensOf(answer, scopes, dpop)
	}
	if g.prompted {
		prompts := append(record.prompts, s.c.now())
		record.prompts = prompts[max(0, len(prompts)-brakeCount):]
	}
	switch {
	case err == nil:
		storing, done := s.finishing(ctx)
		err = s.store(storing, g, record.prompts, got)
		done()
	case g.prompted && ctx.Err() == nil:
		record.server, record.failure = s.server.String(), failure{at: s.c.now(), text: err.Error()}
		err = errors.Join(err, s.c.saveServer(ctx, s.name, record))
	}
	g.finish(err)
	if err != nil {
		return nil, err
	}
	s.c.log.Info("signed in", "server", withoutQuery(s.server), "issuer", found.as.Issuer, "scopes", strings.Join(got.scopes, " "))
	return got, nil
}

// store writes the record of a sign-in.
func (s *session) store(ctx context.Context, g *granting, prompts []time.Time, got *tokens) error {
	record := &serverRecord{server: s.server.String(), tokens: got, prompts: prompts}
	record.learn(g.found, g.resource)
	if g.client != nil {
		record.clientID, record.dynamic = g.client.id, g.client.dynamic
		if g.client.dynamic {
			record.clientSecret, record.clientMethod = g.client.secret, g.client.method
		}
	}
	return s.c.saveServer(ctx, s.name, record)
}

// scopesFor chooses what to ask for: what was configured; else what the challenge says, else
// all that the server knows; together with what was asked for before, so that a sign-in for
// one tool does not take away another (MCP, scope selection and step-up).
func (s *session) scopesFor(n need, record *serverRecord, found *discovery) []string {
	scopes := s.c.options.Scopes
	if scopes == nil {
		scopes = scopesOf(param(found.challenge, "scope"))
		if len(scopes) == 0 && found.resource != nil {
			scopes = found.resource.Scopes
		}
		if record.tokens != nil {
			scopes = union(record.tokens.asked, scopes)
		}
		scopes = union(n.scopes, scopes)
		if len(scopes) > 0 && s.c.options.interactive() && contains(found.as.Scopes, offlineAccess) {
			scopes = union(scopes, []string{offlineAccess})
		}
		if !contains(found.as.Scopes, offlineAccess) && len(found.as.Scopes) > 0 {
			scopes = without(scopes, offlineAccess)
		}
		return scopes
	}
	return union(scopes, n.scopes)
}

// offlineAccess is the scope that makes some servers give refresh tokens.
const offlineAccess = "offline_access"

func contains(list []string, word string) bool { return covers(list, []string{word}) }

func without(list []string, word string) []string {
	var rest []string
	for _, w := range list {
		if w != word {
			rest = append(rest, w)
		}
	}
	return rest
}

// lately is how long a registration is believed to be known, after a sign-in.
const lately = time.Hour

// granting is one sign-in under way.
type granting struct {
	session  *session
	found    *discovery
	scopes   []string
	resource string
	dpop     *ecdsa.PrivateKey
	client   *registration
	lately   bool // somebody signed in here not long ago
	known    bool // the client was registered before, and may be forgotten
	callback *callback
	prompted bool // a person was asked
}

// finish tells the browser how it ended.
func (g *granting) finish(result error) {
	if g.callback == nil {
		return
	}
	c := g.session.c
	c.mu.Lock()
	delete(c.waiting, g.callback.state)
	c.mu.Unlock()
	g.callback.close(result)
}

// withBrowser is the authorization code grant with PKCE (OAuth 2.1 §4.1, RFC 7636, RFC 8252).
func (g *granting) withBrowser(ctx context.Context) (*tokenAnswer, error) {
	s, as := g.session, g.found.as
	switch {
	case as.Authorization == "":
		return nil, fmt.Errorf("%w: no authorization_endpoint", ErrBadAnswer)
	case !as.offersPKCE():
		return nil, fmt.Errorf("%w: %s does not offer PKCE with S256 (code_challenge_methods_supported)", ErrBadAnswer, clean(as.Issuer, 200))
	}
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	verifier := randomText()
	address, err := g.authorizationURL(verifier)
	if err != nil {
		return nil, err
	}
	if g.known && g.isForgotten(ctx, address) {
		if err := g.renewRegistration(ctx); err != nil {
			return nil, err
		}
		if address, err = g.authorizationURL(verifier); err != nil {
			return nil, err
		}
	}
	code, err := g.code(ctx, address)
	if g.known && (errors.Is(err, ErrTimeout) || isCode(err, "unauthorized_client") || isCode(err, "invalid_client")) {
		// Maybe the person saw a page that says that nobody knows this client.
		err = errors.Join(err, s.forgetRegistration(ctx, as.Issuer))
	}
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {g.callback.redirect.String()},
	}
	ctx, done := s.finishing(ctx)
	defer done()
	answer, err := s.send(ctx, g.tokenRequest(s.withResource(form, g.resource)))
	if isCode(err, "invalid_client") && g.client.dynamic {
		// The server lost the registration: the next sign-in makes a new one.
		err = errors.Join(err, s.forgetRegistration(ctx, as.Issuer))
	}
	return answer, err
}

func (g *granting) tokenRequest(form url.Values) tokenRequest {
	return tokenRequest{
		where: "token", endpoint: g.found.as.Token, form: form, client: g.client,
		methods: g.found.as.AuthMethods, issuer: g.found.as.Issuer, dpop: g.dpop,
	}
}

// randomText is 256 random bits, as a PKCE verifier has them (43 characters).
func randomText() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// open finds the client to be and opens the listener of its redirect URI.
func (g *granting) open(ctx context.Context) error {
	s, as := g.session, g.found.as
	o := s.c.options
	host := o.CallbackHost
	if host == "" {
		host = "127.0.0.1"
	}
	here := &url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", host, o.CallbackPort), Path: o.CallbackPath}
	if g.client = s.known(as); g.client != nil {
		if here.Path == "" {
			here.Path = "/callback"
		}
		return g.listen(ctx, here)
	}
	unlock, err := s.c.store.Lock(ctx, s.registrationName(as.Issuer))
	if err != nil {
		return fmt.Errorf("waiting for other processes: %w", err)
	}
	defer unlock()
	reg, err := s.registered(ctx, as.Issuer)
	if err != nil {
		return err
	}
	if reg != nil {
		if redirect, err := url.Parse(reg.redirect); err == nil && g.listen(ctx, redirect) == nil {
			g.client, g.known = reg, !g.lately
			return nil
		}
		// Its port is taken, for example by a sign-in at the same server that is under way.
	}
	if here.Path == "" {
		here.Path = randomPath()
	}
	if err := g.listen(ctx, here); err != nil {
		return err
	}
	return g.registerHere(ctx)
}

// isForgotten asks the authorization endpoint, without a person, whether it still knows a client
// that was registered some time ago: servers lose registrations, and all that a person then sees is
// an error page that never comes back here.
func (g *granting) isForgotten(ctx context.Context, address string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	answer, err := g.session.fetch.do(r)
	if err != nil {
		return false
	}
	drain(answer)
	return answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusUnauthorized
}

// renewRegistration registers the redirect URI that is listened at once more.
func (g *granting) renewRegistration(ctx context.Context) error {
	s := g.session
	unlock, err := s.c.store.Lock(ctx, s.registrationName(g.found.as.Issuer))
	if err != nil {
		return fmt.Errorf("waiting for other processes: %w", err)
	}
	defer unlock()
	s.c.log.Info("the authorization server does not know this client any more", "issuer", g.found.as.Issuer)
	g.known = false
	return g.registerHere(ctx)
}

// registerHere registers the redirect URI that is listened at. Servers differ in whether they take
// the address or the name of loopback: both are offered, then the name alone.
func (g *granting) registerHere(ctx context.Context) error {
	s, as := g.session, g.found.as
	first := g.callback.redirect
	second := *first
	second.Host = "localhost:" + first.Port()
	if first.Hostname() == "localhost" {
		second.Host = "127.0.0.1:" + first.Port()
	}
	reg, err := s.register(ctx, as, []string{first.String(), second.String()})
	if s.c.options.CallbackHost == "" && (isCode(err, "invalid_redirect_uri") || isCode(err, "invalid_client_metadata") || isCode(err, "invalid_request")) {
		if reg, err = s.register(ctx, as, []string{second.String()}); err == nil {
			g.callback.redirect = &second
		}
	}
	g.client = reg
	return err
}

func (g *granting) listen(ctx context.Context, redirect *url.URL) error {
	cb, err := listen(ctx, redirect)
	if err != nil {
		return err
	}
	cb.success, cb.name = g.session.c.options.SuccessURL, g.session.server.Redacted()
	g.callback = cb
	return nil
}

// authorizationURL is where the person goes.
func (g *granting) authorizationURL(verifier string) (string, error) {
	s := g.session
	u, err := s.fetch.endpoint("authorization endpoint", g.found.as.Authorization)
	if err != nil {
		return "", err
	}
	query := u.Query()
	for name, values := range s.c.options.AuthorizeParams {
		query[name] = values
	}
	sum := sha256.Sum256([]byte(verifier))
	for name, value := range map[string]string{
		"response_type": "code", "client_id": g.client.id, "redirect_uri": g.callback.redirect.String(), "state": g.callback.state,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256",
		"scope": strings.Join(g.scopes, " "),
	} {
		query.Del(name)
		if value != "" {
			query.Set(name, value)
		}
	}
	if contains(g.scopes, offlineAccess) && contains(g.scopes, "openid") && query.Get("prompt") == "" {
		query.Set("prompt", "consent") // OpenID Connect Core §11 gives no refresh token without
	}
	s.withResource(query, g.resource)
	if g.dpop != nil {
		print, err := thumbprint(g.dpop)
		if err != nil {
			return "", err
		}
		query.Set("dpop_jkt", print)
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// code sends the person to the address and waits for the answer.
func (g *granting) code(ctx context.Context, address string) (string, error) {
	s := g.session
	if _, err := parseURL(address); err != nil {
		return "", fmt.Errorf("the address to sign in at: %w", err)
	}
	g.callback.serve()
	s.c.mu.Lock()
	s.c.waiting[g.callback.state] = g.callback
	s.c.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, s.c.options.signInTimeout(), ErrTimeout)
	defer cancel()
	g.prompt(ctx, Prompt{Server: s.server.String(), Issuer: g.found.as.Issuer, URL: address}, address)
	select {
	case answer := <-g.callback.answer:
		return g.checked(answer)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// checked reads an answer that has the right state. The issuer is compared before anything else of
// it is used or shown (RFC 9207 §2.4): text of a wrong one would be an attacker's.
func (g *granting) checked(answer url.Values) (string, error) {
	as := g.found.as
	switch iss := answer.Get("iss"); {
	case iss == "" && as.IssParameter:
		return "", fmt.Errorf("%w: the answer to the sign-in does not say which server it is from", ErrMismatch)
	case iss != "" && iss != as.Issuer:
		return "", fmt.Errorf("%w: the answer to the sign-in is from another authorization server", ErrMismatch)
	}
	if code := answer.Get("error"); code != "" {
		return "", &AuthError{Where: "authorization", Code: errorCode(code), Description: clean(answer.Get("error_description"), 300)}
	}
	return answer.Get("code"), nil
}

// prompt tells the person what to do, and opens the address, which was parsed: what goes to a
// browser is http or https and nothing that a command line could take apart.
func (g *granting) prompt(ctx context.Context, p Prompt, address string) {
	s := g.session
	g.prompted = true
	if deadline, ok := ctx.Deadline(); ok && p.Expires.IsZero() {
		p.Expires = deadline
	}
	if s.c.options.Prompt != nil {
		s.c.options.Prompt(p)
	} else {
		s.c.log.Info("sign in with a browser", "server", withoutQuery(s.server), "url", p.URL, "code", p.UserCode, "until", p.Expires.Round(time.Second))
	}
	open := s.c.options.Open
	if open == nil {
		open = OpenBrowser
	}
	go func() {
		if err := open(ctx, address); err != nil && ctx.Err() == nil {
			s.c.log.Warn("no browser could be opened; open the address yourself", "err", err)
		}
	}()
}
