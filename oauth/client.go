package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	json "github.com/go-json-experiment/json"

	"github.com/causeway-mcp/causeway/store"
)

const (
	clientPrefix = "oauth/client/"
	unusedPrefix = "oauth/unused/"

	// clientTTL is how long a registered client is kept after its last use.
	clientTTL = 90 * 24 * time.Hour
	// unusedTTL is how long a client is kept that nobody has signed in to.
	unusedTTL = time.Hour
)

// How a client proves at /token that it is itself (RFC 7591 §2).
const (
	authNone  = "none"
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
)

// A Client is an OAuth client that is registered by hand.
type Client struct {
	// ID is its client_id.
	ID string
	// Secret is its client_secret, at least 16 characters. A client with neither a
	// Secret nor Keys is a public one.
	Secret string
	// Keys are its public keys, a JWK set as JSON; KeysURL is where they are published.
	// A client with either proves itself with a signed assertion (private_key_jwt, RFC
	// 7523 §2.2), and has no Secret.
	Keys, KeysURL string
	// Name is what the consent page calls it. Empty is ID.
	Name string
	// RedirectURIs are where it may be sent. At least one, except for clients that only
	// act for themselves, introspect or bring tokens of others.
	RedirectURIs []string
	// Service is what the client may get for itself, without a person (client
	// credentials, RFC 6749 §4.4). Its requests then come from the user "client:ID".
	Service []Access
	// Introspects are the IDs of the resources whose tokens it may look up at
	// /introspect (RFC 7662): it is their resource server.
	Introspects []string
	// IntrospectsProps lets it have the props of the person as well, which may hold the
	// token of the login.
	IntrospectsProps bool
}

// String keeps the secret out of logs.
func (c Client) String() string { return "oauth.Client(" + c.ID + ")" }

// GoString keeps it out of %#v.
func (c Client) GoString() string { return c.String() }

// LogValue implements slog.LogValuer.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// client is a client from wherever it is known.
type client struct {
	ID        string
	Name      string   `json:",omitzero"`
	URI       string   `json:",omitzero"`
	Redirects []string `json:",omitzero"`
	// Method is how it authenticates; "" is Basic or post, whichever it sends.
	Method string `json:",omitzero"`
	// SecretMAC is of a registered client, secretHash of a configured one.
	SecretMAC []byte    `json:",omitzero"`
	Created   time.Time `json:",omitzero"`

	// alsoNone: its document allows it to come without an assertion.
	alsoNone bool
	// DPoPBound: it said that all its tokens are to be bound (RFC 9449 §5.2).
	DPoPBound bool `json:",omitzero"`

	service          []Access
	introspects      []string
	introspectsProps bool

	keys    *jose.JSONWebKeySet
	keysURI string

	secretHash [sha256.Size]byte
	source     clientSource
	record     store.Record // of a registered one
	kept       bool         // of a document: it is in the store
}

// clientSource is where a client is known from, which says what its name is worth.
type clientSource int

const (
	fromConfiguration clientSource = iota
	fromRegistration
	fromDocument
)

func (c *client) public() bool { return c.Method == authNone || c.alsoNone }

func (s *Server) setClients() error {
	s.clients, s.configuredKeys = map[string]*client{}, newKeySets(newConfiguredClient())
	for _, given := range s.provider.Clients {
		c := &client{ID: given.ID, Name: cmpOr(given.Name, given.ID), Redirects: given.RedirectURIs, Method: authNone}
		switch {
		case given.ID == "" || s.clients[given.ID] != nil:
			return fmt.Errorf("client %q has no ID, or is there twice", given.ID)
		case len(given.RedirectURIs) == 0 && given.Secret == "" && given.Keys == "" && given.KeysURL == "":
			return fmt.Errorf("client %q has no RedirectURIs", given.ID)
		case given.Secret != "" && len(given.Secret) < 16:
			return fmt.Errorf("client %q: its Secret is shorter than 16 characters", given.ID)
		case given.Secret != "":
			c.Method, c.secretHash = "", sha256.Sum256([]byte(given.Secret))
		}
		if err := c.setKeys(given); err != nil {
			return fmt.Errorf("client %q: %w", given.ID, err)
		}
		for _, uri := range given.RedirectURIs {
			if !safeRedirect(uri, true) {
				return fmt.Errorf("client %q: redirect URI %q: want https, http on loopback, or a private-use scheme", given.ID, uri)
			}
		}
		s.clients[given.ID] = c
	}
	if !s.provider.NoClientDocuments {
		s.documents = newDocuments(s.records, s.log)
	}
	return nil
}

// setKeys is for a configured client that signs.
func (c *client) setKeys(given Client) error {
	if given.Keys == "" && given.KeysURL == "" {
		return nil
	}
	switch {
	case given.Secret != "" || given.Keys != "" && given.KeysURL != "":
		return errors.New("want one of Secret, Keys and KeysURL")
	case given.KeysURL != "" && !isConfiguredURL(given.KeysURL):
		return errors.New("its KeysURL is not an https URL (http on loopback)")
	case given.Keys != "":
		var err error
		if c.keys, err = parseKeySet([]byte(given.Keys)); err != nil || len(c.keys.Keys) == 0 {
			return errors.New("its Keys are not a set of public keys (RFC 7517 §5)")
		}
	}
	c.Method, c.keysURI = authAssertion, given.KeysURL
	return nil
}

// errNoClient says that there is no such client, as far as can be told.
var errNoClient = errors.New("oauth: unknown client")

// client finds a client. Besides errNoClient it fails with ErrUnavailable.
func (s *Server) client(ctx context.Context, id string) (*client, error) {
	if c := s.clients[id]; c != nil {
		return c, nil
	}
	if strings.HasPrefix(id, "https://") && s.documents != nil {
		return s.documents.client(ctx, id)
	}
	if !isID(id) {
		return nil, errNoClient
	}
	r, err := s.records.Get(ctx, clientPrefix+id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoClient
	}
	if err != nil {
		return nil, fmt.Errorf("%w: reading a client: %w", ErrUnavailable, err)
	}
	c := &client{source: fromRegistration, record: r}
	if err := json.Unmarshal(r.Value, c); err != nil {
		return nil, fmt.Errorf("oauth: decoding a client: %w", err)
	}
	return c, nil
}

// checkSecret compares in constant time.
func (s *Server) checkSecret(c *client, secret string) bool {
	if c.source == fromConfiguration {
		sum := sha256.Sum256([]byte(secret))
		return hmac.Equal(sum[:], c.secretHash[:])
	}
	t, err := s.mint.parse(kindSecret, secret)
	return err == nil && t.id == c.ID && len(c.SecretMAC) > 0 && t.is(c.SecretMAC)
}

// touch keeps a client that is used, though nobody has registered it by hand.
func (s *Server) touch(ctx context.Context, c *client) {
	if c.source == fromDocument && !c.kept {
		s.documents.keep(ctx, c.ID)
		return
	}
	if c.source != fromRegistration || time.Until(c.record.Expires) > clientTTL/2 {
		return
	}
	_, err := s.records.Put(ctx, c.record.Key, c.record.Value, c.record.Revision, &store.PutOptions{TTL: clientTTL})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		s.log.WarnContext(ctx, "oauth: client not prolonged", "client", c.ID, "err", err)
		return
	}
	err = s.records.Delete(ctx, unusedPrefix+c.ID, store.AnyRevision)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.log.DebugContext(ctx, "oauth: client still counted as unused", "client", c.ID, "err", err)
	}
}
