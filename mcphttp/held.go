package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// A SessionInfo is a session as its user may see it.
type SessionInfo struct {
	ID      string
	Client  string    // the client whose token opened it, "" where sign-in says of none
	Program string    // what the program calls itself
	Version string    // of the protocol
	Kept    time.Time // when it was last used, give or take a sixteenth of Options.SessionTTL
}

// Sessions lists the sessions of a signed-in user that are kept, in every process that
// shares the records. Connections (WebSocket, HTTP+SSE) are not among them.
func (h *Handler) Sessions(ctx context.Context, user string) ([]SessionInfo, error) {
	if user == "" {
		return nil, nil // nobody's sessions are nobody's to see
	}
	prefix := sessionPrefix + h.userDigest(user) + "/"
	var all []SessionInfo
	for r, err := range h.opts.Records.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("listing sessions: %w", err)
		}
		var rec sessionRecord
		if err := json.Unmarshal(r.Value, &rec); err != nil {
			return nil, fmt.Errorf("session record: %w", err)
		}
		if rec.User != user {
			continue // another one with the same digest
		}
		info := SessionInfo{ID: h.userDigest(user) + "-" + r.Key[len(prefix):], Client: rec.Client, Version: rec.Version, Kept: time.Unix(rec.Touched, 0)}
		if p, err := decodeInitialize(rec.Initialize); err == nil && p.ClientInfo != nil {
			info.Program = p.ClientInfo.Name
		}
		all = append(all, info)
	}
	return all, nil
}

// EndSession ends a session of the user, as the client's own DELETE does. One that is not
// there, or not the user's, is no error.
func (h *Handler) EndSession(ctx context.Context, user, id string) error {
	key := sessionKey(id)
	if key == "" || user == "" {
		return nil
	}
	r, err := h.opts.Records.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the session: %w", err)
	}
	var rec sessionRecord
	if err := json.Unmarshal(r.Value, &rec); err != nil {
		return fmt.Errorf("session record: %w", err)
	}
	if rec.User != user {
		return nil
	}
	var live *session
	h.mounted.Range(func(hs, _ any) bool {
		live = hs.(*host).sessions.acquire(id)
		return live == nil
	})
	if live != nil {
		defer live.release()
		return live.delete(ctx)
	}
	if err := h.opts.Records.Delete(ctx, key, store.AnyRevision); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("deleting the session: %w", err)
	}
	h.census.removed(id)
	h.dropEvents(ctx, id)
	h.sessionEnded(ctx, id)
	return nil
}

// SessionIDs yields the ids of all sessions that are kept, of every user and server, in
// every process that shares the records. Connections (WebSocket, HTTP+SSE) are not
// among them.
func (h *Handler) SessionIDs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for r, err := range h.opts.Records.List(ctx, sessionPrefix) {
			if err != nil {
				yield("", fmt.Errorf("listing sessions: %w", err))
				return
			}
			digest, random, _ := strings.Cut(r.Key[len(sessionPrefix):], "/")
			if !yield(digest+"-"+random, nil) {
				return
			}
		}
	}
}

// EndClient ends all that a client has open for the user: sessions, in every process that
// shares the records, and the connections (WebSocket, HTTP+SSE) to this one.
func (h *Handler) EndClient(ctx context.Context, user, client string) error {
	sessions, err := h.Sessions(ctx, user)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range sessions {
		if s.Client == client {
			errs = append(errs, h.EndSession(ctx, user, s.ID))
		}
	}
	if user != "" {
		h.links.closeOf(user, client)
	}
	return errors.Join(errs...)
}

func (ls *links) closeOf(user, client string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.byID {
		if l.user == user && l.client == client {
			l.cancel(errSessionEnded)
		}
	}
}
