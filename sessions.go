package causeway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// An object that was a session's alone has nobody left when the session is over, and is
// erased with it. What a kill gets in between, and what expires, is found by looking
// through the objects now and then.

// What ids of these objects look like: an application may have others of its own.
var (
	ofSession    = regexp.MustCompile(`^s-[0-9a-f]{32}$`)
	ofConnection = regexp.MustCompile(`^t[A-Z2-7]{8}-[0-9a-f]{32}$`)
)

// sweepSessionsEvery is how often.
const sweepSessionsEvery = time.Hour

// sessionObject is the id of the object of a session. That of a connection says which
// process it is connected to: when that is gone, so is the connection.
func (st *storage) sessionObject(caller mcphttp.Caller) string {
	if caller.Connected {
		return st.name("t"+st.run, caller.SessionID)
	}
	return st.name("s", caller.SessionID)
}

// sessionEnded erases what was kept for a session.
func (st *storage) sessionEnded(ctx context.Context, session string) {
	for _, connected := range []bool{false, true} {
		id := st.sessionObject(mcphttp.Caller{SessionID: session, Connected: connected})
		for _, kind := range st.personal {
			err := st.eraseIfThere(ctx, kind, id)
			if err != nil && !errors.Is(err, object.ErrClosed) && !errors.Is(err, store.ErrClosed) { // else the next start does it
				st.log.Warn("what was kept for a session could not be erased; that is tried again within the hour", slog.String("kind", kind.name), slog.Any("error", err))
			}
		}
	}
}

func (st *storage) eraseIfThere(ctx context.Context, kind ownedKind, id string) error {
	_, err := st.engine.Stat(ctx, store.ObjectID{Kind: kind.name, ID: id})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = kind.erase(ctx, id)
	}
	if errors.Is(err, object.ErrNotFound) {
		return nil
	}
	return err
}

// sweepSessions erases objects of sessions that are over, until ctx ends. Where others
// may write to the same store it leaves that to those whose sessions they are.
func (a *App) sweepSessions(ctx context.Context) {
	if len(a.storage.personal) == 0 || !a.storage.engine.Exclusive() {
		return
	}
	tick := time.NewTicker(sweepSessionsEvery)
	defer tick.Stop()
	for {
		if err := a.eraseOrphans(ctx); err != nil && ctx.Err() == nil {
			a.logger().Warn("objects of sessions that are over could not be looked for; that is tried again within the hour", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// eraseOrphans lists objects first and sessions afterwards: a session is there before
// its object, so one that is not there then is over.
func (a *App) eraseOrphans(ctx context.Context) error {
	st := a.storage
	type orphan struct {
		kind ownedKind
		id   string
	}
	var found []orphan
	for _, kind := range st.personal {
		for info, err := range st.engine.Objects(ctx, kind.name) {
			if err != nil {
				return fmt.Errorf("listing objects: %w", err)
			}
			id := info.Object.ID
			if ofSession.MatchString(id) || st.owned && ofConnection.MatchString(id) && !strings.HasPrefix(id, "t"+st.run+"-") {
				found = append(found, orphan{kind, id})
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	alive, err := a.sessionObjects(ctx)
	if err != nil {
		return err
	}
	for _, o := range found {
		if alive[o.id] {
			continue
		}
		if err := st.eraseIfThere(ctx, o.kind, o.id); err != nil {
			return fmt.Errorf("erasing the %s of a session that is over: %w", o.kind.name, err)
		}
	}
	return nil
}

// sessionObjects are the ids of objects of all sessions that are kept: those of mounts
// that this App does not have at the moment, too.
func (a *App) sessionObjects(ctx context.Context) (map[string]bool, error) {
	alive := map[string]bool{}
	add := func(session string) { alive[a.storage.sessionObject(mcphttp.Caller{SessionID: session})] = true }
	for r, err := range a.storage.engine.List(ctx, mountPrefix) {
		if err != nil {
			return nil, fmt.Errorf("listing sessions: %w", err)
		}
		if _, rest, ok := strings.Cut(r.Key, "|mcp/session/"); ok {
			digest, random, _ := strings.Cut(rest, "/")
			add(digest + "-" + random)
		}
	}
	for _, m := range a.mounts {
		for session, err := range m.handler.SessionIDs(ctx) {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.path, err)
			}
			add(session)
		}
	}
	return alive, nil
}
