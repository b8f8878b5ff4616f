package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/singleflight"

	"github.com/causeway-mcp/causeway/oauth/internal/outward"
	"github.com/causeway-mcp/causeway/store"
)

const (
	documentPrefix = "oauth/document/"

	maxDocument     = 16 << 10
	maxDocumentURL  = 512
	documentTimeout = 10 * time.Second
	// A document is fresh for what its Cache-Control says, within these bounds.
	minFresh = 5 * time.Minute
	maxFresh = 24 * time.Hour
	// lastGood is how long a document is used whose origin does not answer.
	lastGood = 30 * 24 * time.Hour
	// failedFor is how long an origin that failed is left alone.
	failedFor = 30 * time.Second
	// maxFetches bounds fetches that are under way, and maxFetchesOfOne those of one address;
	// as many as maxFetchesWaiting of it wait.
	maxFetches        = 64
	maxFetchesOfOne   = 4
	maxFetchesWaiting = 16
	maxFailed         = 1024
	// maxRecent is how many documents are in memory of clients that nobody has signed in with.
	maxRecent = 256
)

// documents are clients whose client_id is the address of their metadata
// (draft-ietf-oauth-client-id-metadata-document). It is safe for concurrent use.
type documents struct {
	records store.Records
	http    *http.Client
	log     *slog.Logger
	keys    *keySets
	flight  singleflight.Group
	turns   turns[netip.Addr] // of who asks
	slots   chan struct{}

	mu     sync.Mutex
	failed map[string]time.Time
	// recent are documents that were fetched for nobody yet. Anybody can name an address, so
	// they are written down only when a person has signed in (keep).
	recent map[string]*document
}

// document is the last good copy.
type document struct {
	Text    jsontext.Value
	Fetched time.Time
	Fresh   time.Time // until when

	inStore bool
	asker   netip.Addr // of a recent one
}

func newDocuments(records store.Records, log *slog.Logger) *documents {
	outside := outward.NewClient(documentTimeout)
	return &documents{
		records: records, log: log, http: outside, keys: newKeySets(outside),
		turns: turns[netip.Addr]{each: maxFetchesOfOne, most: maxFetchesOfOne + maxFetchesWaiting}, slots: make(chan struct{}, maxFetches), failed: map[string]time.Time{}, recent: map[string]*document{},
	}
}

// isDocumentURL reports whether a client_id is the address of a document: https, a path,
// no fragment, no user, no dot segments (§3 of the draft).
func isDocumentURL(id string) bool {
	u, err := url.Parse(id)
	if err != nil || len(id) > maxDocumentURL || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Contains(id, "#") || strings.ContainsFunc(id, isUnsafe) {
		return false
	}
	for _, segment := range strings.Split(strings.ToLower(u.EscapedPath()), "/") {
		if dots := strings.ReplaceAll(segment, "%2e", "."); dots == "." || dots == ".." {
			return false
		}
	}
	return strings.HasPrefix(u.Path, "/")
}

func documentKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return documentPrefix + hex.EncodeToString(sum[:])
}

// client reads the client from its document: from a fresh copy, from its origin, or,
// while that fails, from the last good copy. Whoever asks learns only that there is no
// such client; the reason is for the log.
func (d *documents) client(ctx context.Context, id string) (*client, error) {
	if !isDocumentURL(id) {
		return nil, errNoClient
	}
	kept, err := d.kept(ctx, id)
	if err != nil {
		return nil, err
	}
	if kept != nil && time.Now().Before(kept.Fresh) {
		return kept.client(id)
	}
	c, err := d.fetch(ctx, id, kept)
	if err == nil {
		return c, nil
	}
	d.log.WarnContext(ctx, "oauth: client document not fetched", "client", id, "err", err, "last_good", kept != nil)
	if kept != nil && originFailed(err) {
		return kept.client(id)
	}
	return nil, errNoClient
}

func (d *document) client(id string) (*client, error) {
	c, err := parseDocument(id, d.Text)
	if err == nil {
		c.kept = d.inStore
	}
	return c, err
}

// originFailed tells an origin that does not answer from one that says that the client
// is gone, or has another document now.
func originFailed(err error) bool {
	var status outward.StatusError
	if errors.As(err, &status) {
		return status != http.StatusNotFound && status != http.StatusGone
	}
	return !errors.Is(err, errBadDocument)
}

func (d *documents) kept(ctx context.Context, id string) (*document, error) {
	r, err := d.records.Get(ctx, documentKey(id))
	if errors.Is(err, store.ErrNotFound) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.recent[id], nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: reading a client document: %w", ErrUnavailable, err)
	}
	doc := &document{inStore: true}
	if err := json.Unmarshal(r.Value, doc); err != nil {
		return nil, fmt.Errorf("oauth: decoding a client document: %w", err)
	}
	if _, err := parseDocument(id, doc.Text); err != nil {
		return nil, nil // written by a version that allowed more: fetch it anew
	}
	return doc, nil
}

var errRecentlyFailed = errors.New("its origin failed a moment ago")

func (d *documents) fetch(ctx context.Context, id string, kept *document) (*client, error) {
	if d.failedRecently(id) {
		return nil, errRecentlyFailed
	}
	// Who names slow origins waits for them alone, unless they have very many addresses: a client
	// that is known does not even wait for that, as its last good copy will do. The turn comes
	// before the flight: what another has begun to fetch does not wait for the other's turn.
	if kept != nil && len(d.slots) == cap(d.slots) {
		return nil, errBusy
	}
	turn := d.turns.take
	if kept != nil {
		turn = d.turns.takeNow
	}
	leave, err := turn(ctx, askerOf(ctx))
	if err != nil {
		return nil, err
	}
	defer leave()
	// Many may wait for one fetch, so it does not end with the first of them.
	c, err, _ := d.flight.Do(id, func() (any, error) {
		select {
		case d.slots <- struct{}{}:
			defer func() { <-d.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		c, err := d.fetchNow(context.WithoutCancel(ctx), id, kept != nil && kept.inStore)
		if err != nil {
			d.noteFailure(id)
		}
		return c, err
	})
	if err != nil {
		return nil, err
	}
	return c.(*client), nil
}

func (d *documents) fetchNow(ctx context.Context, id string, inStore bool) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	text, header, err := outward.Get(ctx, d.http, id, maxDocument)
	if err != nil {
		return nil, err
	}
	c, err := parseDocument(id, text)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	doc := &document{Text: text, Fetched: now, Fresh: now.Add(freshness(header))}
	if inStore {
		c.kept = d.write(ctx, id, doc)
		return c, nil
	}
	doc.asker = askerOf(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.recent[id]; !again && len(d.recent) >= maxRecent {
		d.forgetOne()
	}
	d.recent[id] = doc
	return c, nil
}

// forgetOne forgets the oldest recent document of the address that has most of them, so that who
// brings many pushes out their own. d.mu is held.
func (d *documents) forgetOne() {
	of := map[netip.Addr]int{}
	for _, doc := range d.recent {
		of[doc.asker]++
	}
	oldest := ""
	for id, doc := range d.recent {
		if oldest == "" {
			oldest = id
			continue
		}
		o := d.recent[oldest]
		if more := of[doc.asker] - of[o.asker]; more > 0 || more == 0 && doc.Fetched.Before(o.Fetched) {
			oldest = id
		}
	}
	delete(d.recent, oldest)
}

// keep writes the document of a client down that a person has signed in with.
func (d *documents) keep(ctx context.Context, id string) {
	d.mu.Lock()
	doc := d.recent[id]
	d.mu.Unlock()
	if doc == nil || !d.write(ctx, id, doc) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.recent, id)
}

func (d *documents) write(ctx context.Context, id string, doc *document) bool {
	value, err := json.Marshal(doc)
	if err == nil {
		_, err = d.records.Put(ctx, documentKey(id), value, store.AnyRevision, &store.PutOptions{TTL: lastGood})
	}
	if err != nil {
		d.log.WarnContext(ctx, "oauth: client document not kept", "client", id, "err", err)
	}
	return err == nil
}

func (d *documents) failedRecently(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.failed[id]) < failedFor
}

func (d *documents) noteFailure(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed) >= maxFailed {
		clear(d.failed)
	}
	d.failed[id] = time.Now()
}

// freshness reads max-age (RFC 9111 §5.2.2.1).
func freshness(h http.Header) time.Duration {
	fresh := minFresh
	for _, directive := range strings.Split(strings.ToLower(h.Get("Cache-Control")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			if s, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64); err == nil && s > 0 {
				fresh = time.Duration(min(s, int64(maxFresh/time.Second))) * time.Second
			}
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}

// errBadDocument says that a document was fetched and is not one.
var errBadDocument = errors.New("not a client metadata document")

// parseDocument checks a document (§4.1 of the draft): it must name its own address, and
// may neither use nor hold a shared secret.
func parseDocument(id string, text []byte) (*client, error) {
	m, werr := parseClientMetadata(text, false)
	if werr != nil {
		return nil, fmt.Errorf("%w: %w", errBadDocument, werr)
	}
	var more struct {
		Methods []string       `json:"token_endpoint_auth_methods_supported"`
		Secret  any            `json:"client_secret"`
		Expires any            `json:"client_secret_expires_at"`
		Keys    jsontext.Value `json:"jwks"`
		KeysURI string         `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &more); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadDocument, err)
	}
	switch {
	case m.ClientID != id:
		return nil, fmt.Errorf("%w: its client_id is not its address", errBadDocument)
	case m.ClientName == "":
		return nil, fmt.Errorf("%w: it has no client_name", errBadDocument)
	case more.Secret != nil || more.Expires != nil:
		return nil, fmt.Errorf("%w: it holds a secret", errBadDocument)
	case more.KeysURI != "" && !isDocumentURL(more.KeysURI):
		return nil, fmt.Errorf("%w: jwks_uri is not an https address", errBadDocument)
	}
	c := &client{ID: id, Name: m.ClientName, URI: m.ClientURI, Redirects: m.RedirectURIs, source: fromDocument, DPoPBound: m.DPoPBound, keysURI: more.KeysURI}
	if more.Keys != nil {
		var err error
		if c.keys, err = parseKeySet(more.Keys); err != nil {
			return nil, err
		}
	}
	return c, c.negotiateDocument(append([]string{cmpOr(m.AuthMethod, authNone)}, more.Methods...))
}

// negotiateDocument takes the strongest method that a document names and has keys for.
// One that names none as well may come without.
func (c *client) negotiateDocument(methods []string) error {
	none := slices.Contains(methods, authNone)
	switch {
	case slices.Contains(methods, authAssertion) && (c.keys != nil || c.keysURI != ""):
		c.Method, c.alsoNone = authAssertion, none
	case none:
		c.Method = authNone
	default:
		return fmt.Errorf("%w: token_endpoint_auth_method: want none, or private_key_jwt with jwks or jwks_uri", errBadDocument)
	}
	return nil
}
