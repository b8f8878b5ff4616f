package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Names in the Store begin with what they hold.
const (
	serverPrefix = "server."
	clientPrefix = "client."
)

// recordVersion is the form of what is stored. Another one is an error, never rewritten.
const recordVersion = 1

// via is how tokens came into this process.
type via int

const (
	viaStore   via = iota // they were stored, by whomever
	viaRefresh            // they were renewed
	viaSignIn             // somebody signed in
)

// tokens are an answer of a token endpoint. They are never changed once made.
type tokens struct {
	access, refresh, id Secret
	dpop                *ecdsa.PrivateKey // nil: bearer
	scopes              []string          // granted
	asked               []string          // asked for; a server may grant fewer
	obtained            time.Time         // by a sign-in or a renewal
	signedIn            time.Time         // the sign-in they descend from
	expires             time.Time         // zero: not known
	via                 via               // not stored
}

func (t *tokens) kind() string {
	if t.dpop != nil {
		return "DPoP"
	}
	return "Bearer"
}

// expired reports whether the token is not worth sending; a request takes a moment to arrive.
func (t *tokens) expired(now time.Time) bool {
	return !t.expires.IsZero() && !now.Add(2*time.Second).Before(t.expires)
}

// ahead is how long before its end a token is renewed: a tenth of its life, from 10 seconds
// to 5 minutes, at most half.
func (t *tokens) ahead() time.Duration {
	life := t.expires.Sub(t.obtained)
	return min(max(life/10, 10*time.Second), 5*time.Minute, life/2)
}

// A serverRecord is what is kept for one server.
type serverRecord struct {
	server   string
	issuer   string
	resource string
	clientID string
	// Of a client that was registered by this program, or taken over; of a configured one
	// the secret stays where it is configured.
	dynamic      bool
	clientSecret Secret
	clientMethod string

	token    string // endpoint
	revoke   string // endpoint; may be empty
	methods  []string
	tokens   *tokens
	imported bool
	failure  failure
	prompts  []time.Time // when a person was asked, the latest last; at most brakeCount
}

// failure is why a sign-in that a person was asked for came to nothing, so that processes that
// waited for it do not ask again.
type failure struct {
	at   time.Time
	text string
}

func (r *serverRecord) info() TokenInfo {
	return TokenInfo{
		Server: r.server, Issuer: r.issuer, Resource: r.resource, ClientID: r.clientID, Type: r.tokens.kind(),
		Scopes: r.tokens.scopes, Obtained: r.tokens.obtained, Expires: r.tokens.expires,
		Refreshable: !r.tokens.refresh.IsZero(), Imported: r.imported,
	}
}

// serverFile is the stored form of a serverRecord, secrets in clear: the Store encrypts.
type serverFile struct {
	Version   int         `json:"v"`
	Server    string      `json:"server"`
	Issuer    string      `json:"issuer,omitempty"`
	Resource  string      `json:"resource,omitempty"`
	ClientID  string      `json:"client_id,omitempty"`
	Dynamic   bool        `json:"dynamic,omitempty"`
	Secret    string      `json:"client_secret,omitempty"`
	Method    string      `json:"client_auth_method,omitempty"`
	Token     string      `json:"token_endpoint,omitempty"`
	Revoke    string      `json:"revocation_endpoint,omitempty"`
	Methods   []string    `json:"auth_methods,omitempty"`
	Imported  bool        `json:"imported,omitempty"`
	FailedAt  time.Time   `json:"failed_at,omitzero"`
	Failure   string      `json:"failure,omitempty"`
	Prompts   []time.Time `json:"prompts,omitempty"`
	HasTokens bool        `json:"has_tokens,omitempty"`
	Access    string      `json:"access_token,omitempty"`
	Refresh   string      `json:"refresh_token,omitempty"`
	ID        string      `json:"id_token,omitempty"`
	DPoP      string      `json:"dpop_key,omitempty"` // PKCS #8, base64
	Scopes    []string    `json:"scopes,omitempty"`
	Asked     []string    `json:"asked,omitempty"`
	Obtained  time.Time   `json:"obtained,omitzero"`
	SignedIn  time.Time   `json:"signed_in,omitzero"`
	Expires   time.Time   `json:"expires,omitzero"`
}

func (r *serverRecord) encode() ([]byte, error) {
	file := serverFile{
		Version: recordVersion, Server: r.server, Issuer: r.issuer, Resource: r.resource, ClientID: r.clientID,
		Dynamic: r.dynamic, Secret: r.clientSecret.Reveal(), Method: r.clientMethod,
		Token: r.token, Revoke: r.revoke, Methods: r.methods, Imported: r.imported, FailedAt: r.failure.at, Failure: r.failure.text, Prompts: r.prompts,
	}
	if t := r.tokens; t != nil {
		file.HasTokens = true
		file.Access, file.Refresh, file.ID = t.access.Reveal(), t.refresh.Reveal(), t.id.Reveal()
		file.Scopes, file.Asked = t.scopes, t.asked
		file.Obtained, file.SignedIn, file.Expires = t.obtained, t.signedIn, t.expires
		if t.dpop != nil {
			key, err := x509.MarshalPKCS8PrivateKey(t.dpop)
			if err != nil {
				return nil, fmt.Errorf("writing the DPoP key: %w", err)
			}
			file.DPoP = base64.StdEncoding.EncodeToString(key)
		}
	}
	return json.Marshal(file)
}

func decodeServer(content []byte) (*serverRecord, error) {
	var file serverFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("reading what is stored for a server: %w", withoutContent(err))
	}
	if file.Version != recordVersion {
		return nil, fmt.Errorf("what is stored for a server has form %d, and this program knows %d: it was written by a newer one", file.Version, recordVersion)
	}
	r := &serverRecord{
		server: file.Server, issuer: file.Issuer, resource: file.Resource, clientID: file.ClientID,
		dynamic: file.Dynamic, clientSecret: NewSecret(file.Secret), clientMethod: file.Method,
		token: file.Token, revoke: file.Revoke, methods: file.Methods, imported: file.Imported,
		failure: failure{at: file.FailedAt, text: file.Failure}, prompts: file.Prompts,
	}
	if !file.HasTokens {
		return r, nil
	}
	r.tokens = &tokens{
		access: NewSecret(file.Access), refresh: NewSecret(file.Refresh), id: NewSecret(file.ID),
		scopes: file.Scopes, asked: file.Asked, obtained: file.Obtained, signedIn: file.SignedIn, expires: file.Expires,
	}
	if file.DPoP != "" {
		key, err := parseDPoPKey(file.DPoP)
		if err != nil {
			return nil, err
		}
		r.tokens.dpop = key
	}
	return r, nil
}

func parseDPoPKey(text string) (*ecdsa.PrivateKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("reading the DPoP key: not base64")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the DPoP key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading the DPoP key: not an ECDSA key")
	}
	return key, nil
}

// withoutContent keeps an error of the JSON decoder from repeating what it read.
func withoutContent(error) error { return fmt.Errorf("%w: not the JSON it should be", ErrBadAnswer) }

func (c *Client) loadServer(ctx context.Context, name string) (*serverRecord, error) {
	content, err := c.store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return decodeServer(content)
}

func (c *Client) saveServer(ctx context.Context, name string, r *serverRecord) error {
	content, err := r.encode()
	if err == nil {
		err = c.store.Put(ctx, name, content)
	}
	if err != nil {
		return fmt.Errorf("storing tokens: %w", err)
	}
	return nil
}

// A registration is a client at one authorization server.
type registration struct {
	issuer   string
	id       string
	secret   Secret
	method   string    // of authentication at the token endpoint; empty: chosen by metadata
	redirect string    // the redirect URI that was registered; empty: any
	expires  time.Time // of the secret; zero: never
	dynamic  bool      // registered by this program, and stored
}

type registrationFile struct {
	Version  int       `json:"v"`
	Issuer   string    `json:"issuer"`
	ID       string    `json:"client_id"`
	Secret   string    `json:"client_secret,omitempty"`
	Method   string    `json:"token_endpoint_auth_method,omitempty"`
	Redirect string    `json:"redirect_uri,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
}

func (r *registration) encode() ([]byte, error) {
	return json.Marshal(registrationFile{
		Version: recordVersion, Issuer: r.issuer, ID: r.id, Secret: r.secret.Reveal(), Method: r.method,
		Redirect: r.redirect, Expires: r.expires,
	})
}

func decodeRegistration(content []byte) (*registration, error) {
	var file registrationFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("reading a stored registration: %w", withoutContent(err))
	}
	if file.Version != recordVersion {
		return nil, fmt.Errorf("a stored registration has form %d, and this program knows %d: it was written by a newer one", file.Version, recordVersion)
	}
	return &registration{
		issuer: file.Issuer, id: file.ID, secret: NewSecret(file.Secret), method: file.Method,
		redirect: file.Redirect, expires: file.Expires, dynamic: true,
	}, nil
}

// nameOf makes a name in the Store of parts that are told apart.
func nameOf(prefix string, parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return prefix + hex.EncodeToString(h.Sum(nil)[:16])
}

// union joins scopes, in the order of their first mention.
func union(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		for _, scope := range list {
			if !slices.Contains(all, scope) {
				all = append(all, scope)
			}
		}
	}
	return all
}

// covers reports whether have contains all of want.
func covers(have, want []string) bool {
	return !slices.ContainsFunc(want, func(scope string) bool { return !slices.Contains(have, scope) })
}

// scopesOf reads a scope parameter. Characters outside RFC 6749 §3.3 and what is beyond
// 100 scopes are dropped: a scope goes into requests and onto screens.
func scopesOf(text string) []string {
	var all []string
	for word := range strings.FieldsSeq(text) {
		if len(word) <= 200 && !strings.ContainsFunc(word, func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }) && len(all) < 100 {
			all = append(all, word)
		}
	}
	return union(all)
}
