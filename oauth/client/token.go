package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A tokenRequest is one request to a token endpoint.
type tokenRequest struct {
	where    string // in errors
	endpoint string
	form     url.Values
	client   *registration
	methods  []string // that the endpoint takes; nil: not known
	issuer   string   // the audience of client assertions
	dpop     *ecdsa.PrivateKey
	fetch    *fetcher // nil: the session's
}

// send makes the request. A redirect is an error: the form has secrets, and nothing in the RFCs
// sends it anywhere else.
func (s *session) send(ctx context.Context, t tokenRequest) (*tokenAnswer, error) {
	content, err := s.post(ctx, t)
	if err != nil {
		return nil, err
	}
	return parseTokenAnswer(content)
}

// post sends the form and returns the body of a success. An answer that wants a DPoP nonce
// is tried once more with it (RFC 9449 §8).
func (s *session) post(ctx context.Context, t tokenRequest) ([]byte, error) {
	fetch := t.fetch
	if fetch == nil {
		fetch = s.fetch
	}
	if own := s.c.options.TokenEndpoint; own != "" && own == t.endpoint {
		var err error
		if fetch, err = s.fetcherOf(own); err != nil {
			return nil, err
		}
	}
	u, err := fetch.endpoint(t.where+" endpoint", t.endpoint)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		r, err := s.tokenHTTP(ctx, u, t)
		if err != nil {
			return nil, err
		}
		answer, err := fetch.do(r)
		if err != nil {
			return nil, err
		}
		s.keepNonce(u, answer.Header)
		content, err := fetch.body(answer)
		if err != nil {
			return nil, fmt.Errorf("%s endpoint: %w", t.where, err)
		}
		if answer.StatusCode >= 200 && answer.StatusCode < 300 {
			return content, nil
		}
		if answer.StatusCode >= 300 && answer.StatusCode < 400 {
			return nil, fmt.Errorf("%w: the %s endpoint redirects", ErrBadAnswer, t.where)
		}
		failed := parseAuthError(t.where, answer.StatusCode, content)
		if failed.Code == "use_dpop_nonce" && t.dpop != nil && answer.Header.Get("DPoP-Nonce") != "" && try == 1 {
			continue
		}
		return nil, failed
	}
}

func (s *session) tokenHTTP(ctx context.Context, u *url.URL, t tokenRequest) (*http.Request, error) {
	form := url.Values{}
	for name, values := range t.form {
		form[name] = values
	}
	header := http.Header{}
	if err := s.authenticate(t, form, header); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	s.ownHeaders(r)
	if t.dpop != nil {
		proof, err := s.proof(t.dpop, http.MethodPost, u, Secret{})
		if err != nil {
			return nil, err
		}
		r.Header.Set("DPoP", proof)
	}
	return r, nil
}

// withResource adds the resource indicator to a request that asks for tokens.
func (s *session) withResource(form url.Values, resource string) url.Values {
	if !s.c.options.OmitResource && resource != "" {
		form.Set("resource", resource)
	}
	return form
}

// resourceFor is the resource indicator: as configured, as published byte for byte, or the
// server's own URL.
func (s *session) resourceFor(found *discovery) string {
	switch {
	case s.c.options.Resource != "":
		return s.c.options.Resource
	case found != nil && found.resource != nil:
		return found.resource.Resource
	}
	return withoutQuery(s.server) // RFC 8707 §2: a query does not belong there, and may be secret
}

// tokensOf makes tokens of an answer. A bound token where a bearer token was asked for, or
// the other way round, is refused.
func (s *session) tokensOf(a *tokenAnswer, asked []string, dpop *ecdsa.PrivateKey) (*tokens, error) {
	now := s.c.now()
	t := &tokens{
		access: NewSecret(a.access), refresh: NewSecret(a.refresh), id: NewSecret(a.id),
		asked: asked, scopes: asked, obtained: now, signedIn: now, via: viaSignIn,
	}
	switch kind := strings.ToLower(a.kind); {
	case kind == "dpop" && dpop != nil:
		t.dpop = dpop
	case (kind == "bearer" || kind == "") && (dpop == nil || s.c.options.DPoP != DPoPAlways):
	default:
		return nil, fmt.Errorf("%w: a token of type %q", ErrBadAnswer, clean(a.kind, 20))
	}
	if a.scope != nil {
		t.scopes = scopesOf(*a.scope)
	}
	if a.lifetime > 0 {
		t.expires = now.Add(a.lifetime)
	}
	if ends := endOf(a.id); s.c.options.UseIDToken && !ends.IsZero() {
		t.expires = ends
	}
	return t, nil
}

// finishing is a context for what must not stop in the middle: between the server's yes and our
// writing it down. It ends by itself.
func (s *session) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*s.fetch.policy.RequestTimeout)
}

// renew trades the refresh token of a record for new tokens and stores them. The lock is held.
func (s *session) renew(ctx context.Context, record *serverRecord) (*tokens, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ctx, done := s.finishing(ctx)
	defer done()
	old := record.tokens
	if record.token == "" { // taken over from mcp-remote, which does not keep it
		found, err := s.discover(ctx, nil, record.issuer)
		if err != nil {
			return nil, err
		}
		if record.issuer != "" && found.as.Issuer != record.issuer {
			return nil, ErrSignInNeeded
		}
		record.learn(found, s.resourceFor(found))
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.refresh.Reveal()}}
	answer, err := s.send(ctx, tokenRequest{
		where: "token", endpoint: record.token, form: s.withResource(form, record.resource),
		client: s.registrationOf(record), methods: record.methods, issuer: record.issuer, dpop: old.dpop,
	})
	if isCode(err, "invalid_grant") || isCode(err, "invalid_client") {
		// The lock is held, so this is still the token that failed: nobody has a better one.
		record.tokens = nil
		saveErr := s.c.saveServer(ctx, s.name, record)
		if isCode(err, "invalid_client") && record.dynamic {
			saveErr = errors.Join(saveErr, s.forgetRegistration(ctx, record.issuer))
		}
		return nil, errors.Join(err, saveErr)
	}
	if err != nil {
		return nil, fmt.Errorf("renewing: %w", err)
	}
	if answer.scope == nil {
		granted := strings.Join(old.scopes, " ")
		answer.scope = &granted
	}
	renewed, err := s.tokensOf(answer, old.asked, old.dpop)
	if err != nil {
		return nil, fmt.Errorf("renewing: %w", err)
	}
	renewed.signedIn, renewed.via = old.signedIn, viaRefresh
	if renewed.refresh.IsZero() {
		renewed.refresh = old.refresh
	}
	if renewed.id.IsZero() {
		renewed.id = old.id
	}
	record.tokens = renewed
	if err := s.c.saveServer(ctx, s.name, record); err != nil {
		return nil, err
	}
	s.c.log.Debug("tokens renewed", "server", withoutQuery(s.server), "expires", renewed.expires)
	return renewed, nil
}

// learn fills in what a renewal needs to know.
func (r *serverRecord) learn(found *discovery, resource string) {
	r.issuer, r.token, r.revoke, r.methods, r.resource = found.as.Issuer, found.as.Token, found.as.Revocation, found.as.AuthMethods, resource
}

// registrationOf is the client that a record's tokens were given to.
func (s *session) registrationOf(record *serverRecord) *registration {
	if record.dynamic {
		return &registration{issuer: record.issuer, id: record.clientID, secret: record.clientSecret, method: record.clientMethod, dynamic: true}
	}
	return s.configured(record.issuer)
}

// authorize puts a token on a request to the server.
func (s *session) authorize(r *http.Request, t *tokens) error {
	if t == nil {
		return nil
	}
	shown := t.access
	if s.c.options.UseIDToken && !t.id.IsZero() {
		shown = t.id
	}
	r.Header.Set("Authorization", t.kind()+" "+shown.Reveal())
	if t.dpop == nil {
		return nil
	}
	proof, err := s.proof(t.dpop, r.Method, r.URL, t.access)
	if err != nil {
		return err
	}
	r.Header.Set("DPoP", proof)
	return nil
}

// logout revokes and forgets. What is left is the mark that there was a record, so that nothing
// is taken over from mcp-remote again.
func (s *session) logout(ctx context.Context) error {
	unlock, err := s.c.store.Lock(ctx, s.name)
	if err != nil {
		return fmt.Errorf("waiting for other processes: %w", err)
	}
	defer unlock()
	record, err := s.c.loadServer(ctx, s.name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if record == nil {
		record = &serverRecord{}
	}
	old := record.tokens
	if err := s.c.saveServer(ctx, s.name, &serverRecord{server: s.server.String()}); err != nil {
		return err
	}
	s.mu.Lock()
	s.loaded, s.current, s.unmet = true, nil, map[string]bool{}
	s.mu.Unlock()
	if old == nil || record.revoke == "" {
		return nil
	}
	return s.revoke(ctx, record, old)
}

// revoke revokes the refresh token, which ends the grant at most servers, and the access token.
func (s *session) revoke(ctx context.Context, record *serverRecord, old *tokens) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.fetch.policy.RequestTimeout+time.Second)
	defer cancel()
	var errs []error
	for hint, token := range map[string]Secret{"refresh_token": old.refresh, "access_token": old.access} {
		if token.IsZero() {
			continue
		}
		form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}
		_, err := s.post(ctx, tokenRequest{
			where: "revocation", endpoint: record.revoke, form: form,
			client: s.registrationOf(record), methods: record.methods, issuer: record.issuer,
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("the tokens are forgotten here, but not revoked: %w", err))
		}
	}
	return errors.Join(errs...)
}
