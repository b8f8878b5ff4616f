package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
)

const (
	grantVersion = 1
	// maxAccess bounds the live access tokens of a grant; the oldest make room.
	maxAccess = 16
	// maxExchanged bounds those that were made from another one, by token exchange.
	maxExchanged = 16
	// doubleSubmit is how long after its redemption a code may come again from its own
	// client without ending the grant.
	doubleSubmit = 10 * time.Second
	// maxRecoveries bounds recoveries by a previous refresh token in a row.
	maxRecoveries = 3
)

// A policy says how long things live. It is complete: defaults are applied before.
type policy struct {
	codeTTL   time.Duration
	accessTTL time.Duration
	idleTTL   time.Duration // from one refresh to the next
	grantTTL  time.Duration // from sign-in
	grace     time.Duration
	strict    bool
	escrow    bool
}

// A grant is what one person allowed one client at one resource. It is one record, and
// changes only by compare-and-set of the whole.
type grant struct {
	V          int
	ID         string
	Client     string
	ClientName string `json:",omitzero"`
	User       string
	UserName   string `json:",omitzero"`
	Resource   string
	Redirect   string
	Scopes     []string
	Created    time.Time
	Ends       time.Time
	// Kind says how it came to be: "" by a person's sign-in.
	Kind grantKind `json:",omitzero"`
	// Bound is the key that whoever refreshes must prove to have (RFC 9449 §5).
	Bound      string       `json:",omitzero"`
	Code       *codeSlot    `json:",omitzero"`
	Current    *refreshSlot `json:",omitzero"`
	Previous   *refreshSlot `json:",omitzero"`
	Access     []accessSlot `json:",omitzero"`
	Recoveries int          `json:",omitzero"`
	Props      []byte       // sealed under the data key
	// Upstream are the tokens of the login, sealed under the data key. UpstreamEnds is when
	// its access token ends, zero for never; Renewable that there is a refresh token.
	Upstream     []byte    `json:",omitzero"`
	UpstreamEnds time.Time `json:",omitzero"`
	Renewable    bool      `json:",omitzero"`
	// Escrow is the data key once more, sealed under the server keys alone. Opt-in.
	Escrow    *escrowed `json:",omitzero"`
	Refreshed time.Time `json:",omitzero"`
	Revoked   time.Time `json:",omitzero"`
	Reason    string    `json:",omitzero"`
}

// codeSlot is what is kept of the code. It stays after the redemption, so that a replay
// is known to be one.
type codeSlot struct {
	MAC       []byte
	Key       []byte `json:",omitzero"` // the data key, wrapped; gone when redeemed
	Challenge string
	Bound     string `json:",omitzero"` // the key its client must prove to have (RFC 9449 §10)
	Expires   time.Time
	Redeemed  time.Time `json:",omitzero"`
	Winner    []byte    `json:",omitzero"` // the refresh token that the redemption gave
}

type refreshSlot struct {
	MAC      []byte
	Key      []byte
	Expires  time.Time
	Replaced time.Time `json:",omitzero"`
	// Answer is what the rotation answered, sealed under this token; Asked is the
	// scope parameter it was asked with.
	Answer []byte `json:",omitzero"`
	Asked  string `json:",omitzero"`
}

type accessSlot struct {
	MAC     []byte
	Key     []byte
	Expires time.Time
	Scopes  []string
	// Bound is the key whose proof has to come with the token (RFC 9449 §6).
	Bound string `json:",omitzero"`
	// Exchanged is set on a token that was made from another one (RFC 8693).
	Exchanged *exchanged `json:",omitzero"`
}

// A tokenAnswer is the body of a successful token response (RFC 6749 §5.1).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitzero"`
	Scope        string `json:"scope,omitzero"`
	IssuedType   string `json:"issued_token_type,omitzero"` // RFC 8693 §2.2.1
}

// A decision is what the grant machine says to a request.
type decision struct {
	next   *grant // the grant as it is to be written; nil changes nothing
	answer []byte // to be given to the client, once next is written
	refuse *wireError
	event  string // for the security log
	mine   []byte // if this hash is in the record, next has been written

	// Of a decision to hand out tokens, which may have to wait for a renewal:
	data   []byte   // the data key
	scopes []string // of the access token
	waits  bool     // next is not there before it
}

func refused(e *wireError, event string) decision { return decision{refuse: e, event: event} }

func (g *grant) about(k kind, scopes []string, expires time.Time, more ...string) []string {
	return append([]string{
		"wrap", string(k), g.ID, g.Client, g.User, g.Resource, strings.Join(scopes, " "), strconv.FormatInt(expires.UnixNano(), 10),
	}, more...)
}

func (g *grant) aboutCode() []string {
	return g.about(kindCode, g.Scopes, g.Code.Expires, g.Redirect, g.Code.Challenge, g.Code.Bound)
}

func (g *grant) aboutAccess(s *accessSlot) []string {
	return g.about(kindAccess, s.Scopes, s.Expires, append([]string{s.Bound}, s.Exchanged.about()...)...)
}

func (g *grant) aboutProps() []string {
	return []string{"props", g.ID, g.Client, g.User, g.Resource}
}

func (g *grant) aboutAnswer(s *refreshSlot) []string {
	return []string{"answer", g.ID, g.Client, g.User, g.Resource, s.Asked}
}

// newGrant makes the grant that a person has just allowed, with its code.
func newGrant(m *mint, p *policy, now time.Time, g grant, challenge string, props, upstream []byte) (*grant, token, error) {
	g.V, g.ID, g.Created, g.Ends = grantVersion, newID(), now, now.Add(p.grantTTL)
	code := m.issue(kindCode, g.ID)
	g.Code = &codeSlot{MAC: code.mac(), Challenge: challenge, Bound: g.Bound, Expires: now.Add(p.codeTTL)}
	g.Bound = "" // of the code, until it is redeemed
	data := newDataKey()
	g.Code.Key = seal(code.sealingKey("wrap"), data, g.aboutCode()...)
	g.Props = seal(data, props, g.aboutProps()...)
	g.escrow(m, p, data)
	return &g, code, g.keepUpstream(data, upstream)
}

func (g *grant) live(now time.Time, keys *KeyRing) bool {
	return g.Revoked.IsZero() && now.Before(g.Ends) && !g.Created.Before(keys.notBefore)
}

// clone is deep enough for the machine: slots are replaced, never changed in place.
func (g *grant) clone() *grant {
	c := *g
	c.Access = slices.Clone(g.Access)
	return &c
}

// revoke ends the grant. What could be redeemed or opened is erased, except that an
// escrow keeps the tokens of the login until they are revoked there.
func (g *grant) revoke(now time.Time, reason string) *grant {
	c := *g
	c.Code, c.Current, c.Previous, c.Access, c.Props = nil, nil, nil, nil, nil
	if c.Escrow == nil || c.Upstream == nil {
		c.forgetUpstream()
	}
	c.Revoked, c.Reason = now, reason
	return &c
}

// A redemption is a token request with a code (RFC 6749 §4.1.3).
type redemption struct {
	code     token
	client   string
	verifier string
	redirect string // "" if it was not sent
	resource string // "" if it was not sent
	bound    string // the key that the request proves to have; "" is none
	public   bool   // the client proved nothing else
	with     *renewed
}

// redeem answers a token request with a code.
func (g *grant) redeem(m *mint, p *policy, now time.Time, r redemption) decision {
	c := g.Code
	switch {
	case c == nil || !r.code.is(c.MAC) || !g.live(now, m.keys):
		return refused(errInvalidGrant("the code is not valid"), "")
	case r.client != g.Client:
		return refused(errInvalidGrant("the code is not valid"), "code of another client")
	case !verifies(r.verifier, c.Challenge):
		return refused(errInvalidGrant("code_verifier does not match"), "wrong code verifier")
	case r.redirect != "" && r.redirect != g.Redirect:
		return refused(errInvalidGrant("redirect_uri is not that of the authorization request"), "wrong redirect at the token endpoint")
	case r.resource != "" && r.resource != g.Resource:
		return refused(errInvalidTarget("resource is not that of the authorization request"), "")
	case c.Bound != "" && c.Bound != r.bound:
		return refused(errInvalidGrant("the code belongs to another DPoP key"), "code with another DPoP key")
	case c.Redeemed.IsZero() && !now.Before(c.Expires):
		return refused(errInvalidGrant("the code has expired"), "")
	case c.Redeemed.IsZero():
		return g.firstRedemption(m, p, now, r)
	case now.Sub(c.Redeemed) <= doubleSubmit:
		return refused(errInvalidGrant("the code has been used"), "code sent twice")
	}
	d := refused(errInvalidGrant("the code has been used"), "code replayed: grant revoked")
	d.next = g.revoke(now, "code replayed")
	return d
}

func (g *grant) firstRedemption(m *mint, p *policy, now time.Time, r redemption) decision {
	data, err := unseal(r.code.sealingKey("wrap"), g.Code.Key, g.aboutCode()...)
	if err != nil {
		return refused(errInvalidGrant("the code is not valid"), "grant record was altered")
	}
	next := g.clone()
	if r.public {
		next.Bound = r.bound
	}
	next.take(data, r.with)
	answer, rt := next.issue(m, p, now, data, g.Scopes, r.bound, r.with)
	next.Code = &codeSlot{MAC: g.Code.MAC, Challenge: g.Code.Challenge, Bound: g.Code.Bound, Expires: g.Code.Expires, Redeemed: now, Winner: rt.mac()}
	return decision{next: next, answer: answer, mine: rt.mac(), data: data, scopes: g.Scopes}
}

// verifies checks a PKCE verifier against an S256 challenge (RFC 7636 §4.6).
func verifies(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// issue makes a new pair of tokens and the answer that hands it out.
func (g *grant) issue(m *mint, p *policy, now time.Time, data []byte, scopes []string, bound string, with *renewed) ([]byte, token) {
	slot := accessSlot{Scopes: scopes, Bound: bound}
	if with != nil && with.ttl > 0 {
		slot.Scopes = slices.DeleteFunc(slices.Clone(scopes), func(name string) bool { return !slices.Contains(with.scopes, name) })
		slot.Expires = now.Add(with.ttl)
	}
	at, ends := g.addAccess(m, p, now, data, slot)
	rt := m.issue(kindRefresh, g.ID)
	idle := earlier(now.Add(p.idleTTL), g.Ends)
	g.Current = &refreshSlot{
		MAC: rt.mac(), Expires: idle,
		Key: seal(rt.sealingKey("wrap"), data, g.about(kindRefresh, g.Scopes, idle)...),
	}
	g.Refreshed = now
	return encodeAnswer(tokenAnswer{
		AccessToken: at.text, TokenType: tokenType(bound), ExpiresIn: int64(ends.Sub(now) / time.Second),
		RefreshToken: rt.text, Scope: strings.Join(slot.Scopes, " "),
	}), rt
}

// addAccess makes an access token out of what slot says. One that has an end already
// gets none later than that.
func (g *grant) addAccess(m *mint, p *policy, now time.Time, data []byte, slot accessSlot) (token, time.Time) {
	ends := earlier(now.Add(m.accessTTL(g.resourceOf(&slot), p.accessTTL)), g.Ends)
	if !slot.Expires.IsZero() {
		ends = earlier(ends, slot.Expires)
	}
	slot.Expires = ends
	at := m.issueAccess(g, &slot, now)
	slot.MAC, slot.Key = at.mac(), seal(at.sealingKey("wrap"), data, g.aboutAccess(&slot)...)
	g.makeRoomFor(&slot, now)
	g.Access = append(g.Access, slot)
	return at, ends
}

// makeRoomFor drops access tokens that have ended, and the oldest beyond the bound.
// Those made by exchange do not push out the person's own.
func (g *grant) makeRoomFor(slot *accessSlot, now time.Time) {
	g.Access = slices.DeleteFunc(g.Access, func(s accessSlot) bool { return !now.Before(s.Expires) })
	alike, bound := func(s accessSlot) bool { return (s.Exchanged != nil) == (slot.Exchanged != nil) }, maxAccess
	if slot.Exchanged != nil {
		bound = maxExchanged
	}
	over := 1 - bound
	for _, s := range g.Access {
		if alike(s) {
			over++
		}
	}
	g.Access = slices.DeleteFunc(g.Access, func(s accessSlot) bool {
		if over <= 0 || !alike(s) {
			return false
		}
		over--
		return true
	})
}

func tokenType(bound string) string {
	if bound != "" {
		return "DPoP"
	}
	return "Bearer"
}

func encodeAnswer(a tokenAnswer) []byte {
	answer, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("oauth: encoding a token answer: %v", err)) // strings and a number
	}
	return answer
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// A rotation is a token request with a refresh token (RFC 6749 §6).
type rotation struct {
	token    token
	client   string
	scopes   []string // nil for all
	resource string
	bound    string // the key that the request proves to have; "" is none
	// asks narrows scopes to those of the grant's resource, as at the authorization
	// endpoint; nil leaves them.
	asks func(resource string, scopes []string) []string
	with *renewed
}

// asked is what must be the same for the same answer.
func (r rotation) asked() string {
	if r.bound == "" {
		return strings.Join(r.scopes, " ")
	}
	return strings.Join(r.scopes, " ") + "\n" + r.bound
}

// refresh answers a token request with a refresh token. The token is one that this
// server has issued for this grant at some time: that was checked by its tag. So one
// that is neither current nor previous is known to be superseded.
func (g *grant) refresh(m *mint, p *policy, now time.Time, r rotation) decision {
	switch {
	case !g.live(now, m.keys) || r.client != g.Client || g.Current == nil:
		return refused(errInvalidGrant("the refresh token is not valid"), "")
	case r.resource != "" && r.resource != g.Resource:
		return refused(errInvalidTarget("resource is not that of the grant"), "")
	case g.Bound != "" && r.bound == "":
		return refused(errBadProof("the refresh token needs a proof of its DPoP key"), "")
	case g.Bound != "" && r.bound != g.Bound:
		return refused(errInvalidGrant("the refresh token belongs to another DPoP key"), "refresh token with another DPoP key")
	}
	if r.asks != nil {
		r.scopes = r.asks(g.Resource, r.scopes)
	}
	for _, s := range r.scopes {
		if !slices.Contains(g.Scopes, s) {
			return refused(errInvalidScope("scope exceeds what was granted"), "")
		}
	}
	switch {
	case r.token.is(g.Current.MAC):
		return g.rotate(m, p, now, r)
	case g.Previous == nil || !r.token.is(g.Previous.MAC) || p.strict:
		return g.endFamily(now)
	case now.Sub(g.Previous.Replaced) <= p.grace:
		return g.replayAnswer(r)
	case g.Recoveries >= maxRecoveries:
		return g.endFamily(now)
	}
	return g.recover(m, p, now, r)
}

func (g *grant) endFamily(now time.Time) decision {
	d := refused(errInvalidGrant("the refresh token is not valid"), "superseded refresh token: grant revoked")
	d.next = g.revoke(now, "superseded refresh token")
	return d
}

func (g *grant) rotate(m *mint, p *policy, now time.Time, r rotation) decision {
	if !now.Before(g.Current.Expires) {
		return refused(errInvalidGrant("the refresh token has expired"), "")
	}
	d := g.supersede(m, p, now, r, g.Current)
	if d.next != nil {
		d.next.Recoveries = 0
	}
	return d
}

// recover rotates from the previous token, whose successor nobody has used: a client
// that lost an answer. The successor is superseded by that; whoever presents it ends
// the family.
func (g *grant) recover(m *mint, p *policy, now time.Time, r rotation) decision {
	if !now.Before(g.Previous.Expires) {
		return refused(errInvalidGrant("the refresh token has expired"), "")
	}
	d := g.supersede(m, p, now, r, g.Previous)
	if d.next != nil {
		d.next.Recoveries = g.Recoveries + 1
		d.event = "recovered with the previous refresh token"
	}
	return d
}

// supersede issues a new pair in exchange for the token of slot from, which becomes the
// previous one and keeps the answer.
func (g *grant) supersede(m *mint, p *policy, now time.Time, r rotation, from *refreshSlot) decision {
	data, err := unseal(r.token.sealingKey("wrap"), from.Key, g.about(kindRefresh, g.Scopes, from.Expires)...)
	if err != nil {
		return refused(errInvalidGrant("the refresh token is not valid"), "grant record was altered")
	}
	scopes := r.scopes
	if scopes == nil {
		scopes = g.Scopes
	}
	next := g.clone()
	next.take(data, r.with)
	answer, rt := next.issue(m, p, now, data, scopes, r.bound, r.with)
	prev := &refreshSlot{MAC: from.MAC, Key: from.Key, Expires: from.Expires, Replaced: now, Asked: r.asked()}
	if !p.strict && p.grace > 0 {
		prev.Answer = seal(r.token.sealingKey("answer"), answer, g.aboutAnswer(prev)...)
	}
	next.Previous = prev
	return decision{next: next, answer: answer, mine: rt.mac(), data: data, scopes: scopes}
}

func (g *grant) replayAnswer(r rotation) decision {
	if g.Previous.Asked != r.asked() {
		return refused(errInvalidScope("this refresh token was just used with another scope or key"), "")
	}
	answer, err := unseal(r.token.sealingKey("answer"), g.Previous.Answer, g.aboutAnswer(g.Previous)...)
	if err != nil {
		return refused(errInvalidGrant("the refresh token is not valid"), "grant record was altered")
	}
	return decision{answer: answer}
}

// has reports whether the write that handed out the token with this hash is in the
// record.
func (g *grant) has(mine []byte) bool {
	is := func(b []byte) bool { return subtle.ConstantTimeCompare(b, mine) == 1 }
	if slices.ContainsFunc(g.Access, func(s accessSlot) bool { return is(s.MAC) }) {
		return true
	}
	return is(g.Upstream) || g.Current != nil && is(g.Current.MAC) || g.Previous != nil && is(g.Previous.MAC) || g.Code != nil && is(g.Code.Winner)
}

// dropAccess removes one access token of a client (RFC 7009 §2.1).
func (g *grant) dropAccess(t token, client string) decision {
	for i, s := range g.Access {
		if t.is(s.MAC) && g.holder(&s) == client {
			next := g.clone()
			next.Access = slices.Delete(next.Access, i, i+1)
			return decision{next: next}
		}
	}
	return decision{}
}

// findAccess opens the data key of an access token. It returns nil if the token is not
// good (any more).
func (g *grant) findAccess(t token, now time.Time, keys *KeyRing) (*accessSlot, []byte, error) {
	if !g.live(now, keys) {
		return nil, nil, nil
	}
	for i := range g.Access {
		s := &g.Access[i]
		if !t.is(s.MAC) {
			continue
		}
		if !now.Before(s.Expires) {
			return nil, nil, nil
		}
		data, err := unseal(t.sealingKey("wrap"), s.Key, g.aboutAccess(s)...)
		if err != nil {
			return nil, nil, err
		}
		return s, data, nil
	}
	return nil, nil, nil
}

func (g *grant) encode() ([]byte, error) {
	b, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("oauth: encoding a grant: %w", err)
	}
	return b, nil
}

func decodeGrant(b []byte) (*grant, error) {
	g := new(grant)
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("oauth: decoding a grant: %w", err)
	}
	if g.V != grantVersion {
		return nil, fmt.Errorf("oauth: a grant of format %d, want %d: it was written by another version", g.V, grantVersion)
	}
	return g, nil
}
