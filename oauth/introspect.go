package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/singleflight"
)

const (
	maxIntrospection = 256 << 10
	// maxIntrospected bounds the answers that are kept.
	maxIntrospected = 4096
)

// introspection is the answer of RFC 7662 §2.2.
type introspection struct {
	Active    bool           `json:"active"`
	Scope     string         `json:"scope,omitzero"`
	Client    string         `json:"client_id,omitzero"`
	TokenType string         `json:"token_type,omitzero"`
	Expires   int64          `json:"exp,omitzero"`
	Subject   string         `json:"sub,omitzero"`
	Audience  introspectAud  `json:"aud,omitzero"`
	Issuer    string         `json:"iss,omitzero"`
	Actor     *actorClaim    `json:"act,omitzero"`
	Confirm   *confirmation  `json:"cnf,omitzero"`
	Grant     string         `json:"grant_id,omitzero"`
	Props     jsontext.Value `json:"props,omitzero"`
}

// introspectAud is one or several (RFC 7662 §2.2).
type introspectAud []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *introspectAud) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = introspectAud{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// MarshalJSON implements json.Marshaler.
func (a introspectAud) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// introspects reports whether a client is a resource server that may introspect.
func (s *Server) introspects() bool {
	for _, c := range s.provider.Clients {
		if len(c.Introspects) > 0 {
			return true
		}
	}
	return false
}

func (s *Server) setIntrospection() error {
	for _, given := range s.provider.Clients {
		c := s.clients[given.ID]
		if len(given.Introspects) > 0 && c.public() {
			return fmt.Errorf("client %q introspects, but has neither a secret nor a key", c.ID)
		}
		if given.IntrospectsProps && len(given.Introspects) == 0 {
			return fmt.Errorf("client %q: IntrospectsProps without Introspects", c.ID)
		}
		ids, err := s.resourceIDs(given.Introspects)
		if err != nil {
			return fmt.Errorf("client %q introspects: %w", c.ID, err)
		}
		c.introspects, c.introspectsProps = ids, given.IntrospectsProps
	}
	return nil
}

// introspect is the endpoint of RFC 7662. Who asks learns of tokens for its own resources
// only; of others not even that they are good (§2.2, §4).
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) error {
	f, werr := readForm(w, r)
	if werr != nil {
		return werr
	}
	c, err := s.authenticate(r, f)
	if err != nil {
		return err
	}
	switch {
	case len(c.introspects) == 0:
		return wire(http.StatusForbidden, "unauthorized_client", "this client may not introspect tokens")
	case f.get("token") == "":
		return errInvalidRequest("token is missing")
	}
	v, err := s.grants.validate(r.Context(), f.get("token"))
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if err != nil {
		s.log.WarnContext(r.Context(), "oauth: token refused", "err", err)
	}
	if err != nil || v == nil || !slices.Contains(c.introspects, v.grant.resourceOf(v.slot)) {
		writeJSON(w, http.StatusOK, introspection{})
		return nil
	}
	answer := introspection{
		Active: true, Scope: strings.Join(v.slot.Scopes, " "), Client: v.grant.holder(v.slot), TokenType: tokenType(v.slot.Bound),
		Expires: v.slot.Expires.Unix(), Subject: v.grant.User, Audience: introspectAud{v.grant.resourceOf(v.slot)},
		Issuer: s.provider.Issuer, Actor: v.slot.Exchanged.claim(), Confirm: confirmationOf(v.slot.Bound), Grant: v.grant.ID,
	}
	if c.introspectsProps {
		answer.Props = v.props
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// An Introspection is a [Validator] that asks the authorization server about each token
// (RFC 7662). It sees a revocation within Cache. It is safe for concurrent use, and must
// not be copied after its first use.
type Introspection struct {
	// Endpoint is the introspection_endpoint of the authorization server.
	Endpoint string
	// Issuer is the authorization server. An answer that names another one is refused.
	Issuer string
	// ClientID and Secret are what this resource server is known by there: at a
	// [Provider] one of its Clients, with Introspects.
	ClientID, Secret string
	// Cache is how long an answer is used again. Zero and the most are 5 seconds;
	// negative asks every time.
	Cache time.Duration
	// Client asks. Nil is one that follows no redirects and waits 10 seconds.
	Client *http.Client

	once   sync.Once
	http   *http.Client
	flight singleflight.Group

	mu   sync.Mutex
	kept map[introspectKey]introspected
}

// introspectKey is the hash of a token: the token itself is not kept.
type introspectKey [sha256.Size]byte

type introspected struct {
	v    *Validation
	asOf time.Time
}

// Validate implements [Validator].
func (i *Introspection) Validate(ctx context.Context, resourceID, accessToken string) (*Validation, error) {
	i.once.Do(i.setUp)
	if len(accessToken) > maxJWT {
		return nil, nil
	}
	now, key := time.Now(), introspectKey(sha256.Sum256(joinParts([]string{resourceID, accessToken})))
	i.mu.Lock()
	kept, ok := i.kept[key]
	i.mu.Unlock()
	if ok && now.Sub(kept.asOf) < i.cache() {
		if kept.v == nil || !now.Before(kept.v.Expires) {
			return nil, nil
		}
		return kept.v, nil
	}
	// Many may wait for one answer, so it does not end with the first of them.
	v, err, _ := i.flight.Do(string(key[:]), func() (any, error) {
		v, err := i.ask(context.WithoutCancel(ctx), resourceID, accessToken)
		if err == nil {
			i.keep(key, introspected{v, now})
		}
		return v, err
	})
	if err != nil {
		return nil, err
	}
	return v.(*Validation), nil
}

func (i *Introspection) setUp() {
	i.kept = map[introspectKey]introspected{}
	if i.http = i.Client; i.http == nil {
		i.http = newConfiguredClient()
	}
}

func (i *Introspection) cache() time.Duration {
	if i.Cache == 0 {
		return maxStale
	}
	return min(i.Cache, maxStale)
}

func (i *Introspection) keep(key introspectKey, answer introspected) {
	if i.cache() <= 0 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.kept) >= maxIntrospected {
		for old, a := range i.kept {
			if answer.asOf.Sub(a.asOf) >= i.cache() {
				delete(i.kept, old)
			}
		}
		for old := range i.kept {
			if len(i.kept) < maxIntrospected {
				break
			}
			delete(i.kept, old)
		}
	}
	i.kept[key] = answer
}

// ask sends one request. It never repeats what the server says in an error: that may
// quote the token.
func (i *Introspection) ask(ctx context.Context, resourceID, accessToken string) (*Validation, error) {
	form := url.Values{"token": {accessToken}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.Endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%w: making an introspection request: %w", ErrUnavailable, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.Secret))
	resp, err := i.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: introspecting: %w", ErrUnavailable, err)
	}
	defer resp.Body.Close()
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK || media != "application/json" {
		return nil, fmt.Errorf("%w: introspecting: status %d, %s", ErrUnavailable, resp.StatusCode, media)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxIntrospection+1))
	if err != nil || len(body) > maxIntrospection {
		return nil, fmt.Errorf("%w: introspecting: the answer cannot be read", ErrUnavailable)
	}
	return parseIntrospection(body, i.Issuer, resourceID)
}

// parseIntrospection reads an answer about a token for a resource.
func parseIntrospection(body []byte, issuer, resourceID string) (*Validation, error) {
	var a introspection
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%w: introspecting: the answer is malformed", ErrUnavailable)
	}
	switch {
	case !a.Active:
		return nil, nil
	case a.Issuer != "" && a.Issuer != issuer:
		return nil, errors.New("the token is of another issuer")
	case !slices.ContainsFunc(a.Audience, func(aud string) bool { return sameResource(aud, resourceID) }):
		return nil, errors.New("the token is for another resource")
	case a.Subject == "" || a.Expires == 0:
		return nil, errors.New("the answer names no user or no end")
	}
	return &Validation{
		Issuer: issuer, User: a.Subject, Client: a.Client, Grant: a.Grant, Resource: resourceID, Scopes: strings.Fields(a.Scope),
		Expires: time.Unix(a.Expires, 0), Props: a.Props, Key: a.Confirm.bound(), Actors: a.Actor.actors(),
	}, nil
}

func sameResource(a, b string) bool {
	a, ok := canonicalResource(a)
	b, _ = canonicalResource(b)
	return ok && a == b
}
