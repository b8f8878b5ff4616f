package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// configured is the client of the options, at an issuer: registered beforehand, or one with
// a metadata document. Nil: it has to register.
func (s *session) configured(issuer string) *registration {
	o := s.c.options
	switch {
	case o.ClientID != "":
		return &registration{issuer: issuer, id: o.ClientID, secret: o.ClientSecret, method: o.AuthMethod}
	case o.ClientMetadataURL != "":
		return &registration{issuer: issuer, id: o.ClientMetadataURL, method: o.AuthMethod}
	}
	return nil
}

// known is the client to use at an authorization server without registering: one registered
// beforehand comes first, then a metadata document where that is supported.
func (s *session) known(as *serverMetadata) *registration {
	if s.c.options.ClientID != "" || as.ClientMetadataSupport {
		return s.configured(as.Issuer)
	}
	return nil
}

// registrationName is the name in the Store, and of the lock, of this program's registration
// at an issuer. What the registration says is part of it: other options are another client.
func (s *session) registrationName(issuer string) string {
	o := s.c.options
	return nameOf(clientPrefix, issuer, o.ClientName, o.CallbackHost, fmt.Sprint(o.CallbackPort), o.CallbackPath, fmt.Sprint(o.Grant != nil), fingerprint(o.ClientMetadata))
}

func fingerprint(m map[string]any) string {
	text, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return "" // New refuses such a map
	}
	return string(text)
}

// registered returns the stored registration at an issuer; nil if there is none that is good
// for the listener.
func (s *session) registered(ctx context.Context, issuer string) (*registration, error) {
	content, err := s.c.store.Get(ctx, s.registrationName(issuer))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the registration: %w", err)
	}
	reg, err := decodeRegistration(content)
	if err != nil {
		return nil, err
	}
	if reg.issuer != issuer || !reg.expires.IsZero() && s.c.now().Add(time.Minute).After(reg.expires) {
		return nil, nil
	}
	return reg, nil
}

// forgetRegistration drops a registration that the server no longer knows.
func (s *session) forgetRegistration(ctx context.Context, issuer string) error {
	return s.c.store.Delete(ctx, s.registrationName(issuer))
}

// register registers this program (RFC 7591) with the redirect URIs, and stores what the
// server made of it. The first of them will be used.
func (s *session) register(ctx context.Context, as *serverMetadata, redirects []string) (*registration, error) {
	if as.Registration == "" {
		return nil, fmt.Errorf("%w: %s takes no registrations; register by hand and give the client id", ErrRegistration, clean(as.Issuer, 200))
	}
	answer, err := s.postRegistration(ctx, as, s.registrationRequest(as, redirects))
	if err != nil {
		return nil, fmt.Errorf("registering: %w", err)
	}
	reg := &registration{issuer: as.Issuer, id: answer.ID, secret: NewSecret(answer.Secret), method: answer.Method, dynamic: true}
	if len(redirects) > 0 {
		reg.redirect = redirects[0]
	}
	if answer.Expires > 0 && !reg.secret.IsZero() {
		reg.expires = time.Unix(answer.Expires, 0)
	}
	if reg.secret.IsZero() && (reg.method == authBasic || reg.method == authPost) {
		return nil, fmt.Errorf("registering: %w: the method %s without a secret", ErrBadAnswer, reg.method)
	}
	content, err := reg.encode()
	if err == nil {
		err = s.c.store.Put(ctx, s.registrationName(as.Issuer), content)
	}
	if err != nil {
		return nil, fmt.Errorf("storing the registration: %w", err)
	}
	s.c.log.Info("registered", "issuer", as.Issuer, "client_id", reg.id)
	return reg, nil
}

// registrationRequest is what this program says of itself.
func (s *session) registrationRequest(as *serverMetadata, redirects []string) map[string]any {
	o := s.c.options
	request := map[string]any{
		"client_name": DefaultClientName, "application_type": "native",
		"token_endpoint_auth_method": registrationMethod(as.AuthMethods),
	}
	if o.ClientName != "" {
		request["client_name"] = o.ClientName
	}
	grants := []string{"authorization_code", "refresh_token"}
	if _, device := o.Grant.(DeviceCode); device {
		grants = []string{deviceGrant, "refresh_token"}
	} else {
		request["response_types"] = []string{"code"}
	}
	request["grant_types"] = grants
	maps.Copy(request, o.ClientMetadata)
	if len(redirects) > 0 {
		request["redirect_uris"] = redirects
	}
	return request
}

// registrationMethod prefers no secret: a program on somebody's computer cannot keep one.
func registrationMethod(offered []string) string {
	for _, method := range []string{authNone, authBasic, authPost} {
		if len(offered) == 0 || slices.Contains(offered, method) {
			return method
		}
	}
	return authNone
}

func (s *session) postRegistration(ctx context.Context, as *serverMetadata, request map[string]any) (*registrationAnswer, error) {
	u, err := s.fetch.endpoint("registration endpoint", as.Registration)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(request, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	s.ownHeaders(r)
	answer, err := s.fetch.do(r)
	if err != nil {
		return nil, err
	}
	body, err := s.fetch.body(answer)
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return nil, fmt.Errorf("%w: the registration endpoint redirects", ErrBadAnswer)
	case answer.StatusCode != http.StatusCreated && answer.StatusCode != http.StatusOK:
		return nil, parseAuthError("registration", answer.StatusCode, body)
	}
	return parseRegistration(body)
}
