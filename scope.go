package causeway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// A Scope says which durable object of an agent serves a request.
//
// Nothing a client merely claims decides: not its name, not its address. The
// parts that do are a session id of ours, a signed-in identity, or a handle that
// this server has signed.
type Scope int

const (
	// PerSession: one object for each session. In 2026-07-28, which has no sessions,
	// it is one for each grant of a signed-in user, and for others one for each
	// handle: each tool and prompt takes an optional argument "handle", and the first
	// result names a new one to go on with. (Resources take it as "?handle=".) The object of a
	// session is erased when the session ends, by its client's DELETE, by its user or by
	// expiring; that of a connection (WebSocket, HTTP+SSE) with the connection.
	PerSession Scope = iota

	// PerUser: one object for each signed-in user, whatever client they use. For
	// others it is PerSession.
	PerUser

	// PerGrant: one object for each signed-in user and client. Signing in again with
	// the same client goes on with it; a newly registered client starts empty. For
	// others it is PerSession.
	PerGrant

	// PerHandle: one object for each handle, in every era, signed in or not: see
	// PerSession. A conversation may so have several, and share one by giving the
	// handle away.
	PerHandle

	// Shared: one object for everyone.
	Shared
)

// String returns the scope's name.
func (s Scope) String() string {
	if names := [...]string{"PerSession", "PerUser", "PerGrant", "PerHandle", "Shared"}; s >= 0 && int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("Scope(%d)", int(s))
}

// objectID is the id of the object that serves the request of ctx.
func (st *storage) objectID(ctx context.Context, scope Scope) string {
	if scope == Shared {
		return "shared"
	}
	if needsHandle(ctx, scope) {
		return "h-" + st.handleOf(ctx)
	}
	caller, _ := mcphttp.CallerOf(ctx)
	switch {
	case scope == PerUser && caller.User != "":
		return st.name("u", caller.User)
	case caller.User != "" && (scope == PerGrant || caller.SessionID == ""):
		return st.name("g", grantOf(ctx)...)
	default:
		return st.sessionObject(caller)
	}
}

// needsHandle tells whether the object of a request is found by a handle.
func needsHandle(ctx context.Context, scope Scope) bool {
	switch scope {
	case Shared:
		return false
	case PerHandle:
		return true
	}
	caller, ok := mcphttp.CallerOf(ctx)
	return ok && caller.User == "" && caller.SessionID == ""
}

// grantOf names who signed in, with which client, for what. Where the token does
// not say, the part is empty.
func grantOf(ctx context.Context) []string {
	t := auth.TokenInfoFromContext(ctx)
	if t == nil {
		return nil
	}
	part := func(name string) string {
		s, _ := t.Extra[name].(string)
		return s
	}
	return []string{part("iss"), t.UserID, part("client_id"), part("resource")}
}

// name makes an object id of what must not be readable in the store.
func (st *storage) name(prefix string, parts ...string) string {
	b := append(make([]byte, 0, 256), "object id\x00"...)
	b = append(b, prefix...)
	for _, p := range parts {
		b = append(b, 0)
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(b, ':')
		b = append(b, p...)
	}
	mac, ok := st.macs.Get().(hash.Hash) // every call needs one, and keying it is most of the work
	if !ok {
		mac = hmac.New(sha256.New, st.secret)
	}
	defer st.macs.Put(mac)
	mac.Reset()
	_, _ = mac.Write(b)
	var sum [sha256.Size]byte
	return prefix + "-" + hex.EncodeToString(mac.Sum(sum[:0])[:16])
}

// callKey is the part of a Once key that is the call's.
func callKey(ctx context.Context) string {
	if caller, ok := mcphttp.CallerOf(ctx); ok {
		return caller.CallID + "/"
	}
	return ""
}
