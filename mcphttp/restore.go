package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Restore takes up what earlier processes have left of the servers in
// Options.Records, before the first request does: sessions that have subscribed to
// something, or had a stream open, are told from now on what happens, which is kept
// until their clients are back; and tasks whose process died run again. Call it
// before anything happens that clients want to hear of, such as timers. Servers that
// getServer makes later are taken up by the first request for them. Middleware that is
// added to a server after Restore is not run for requests served here.
//
// What runs on no request's behalf, which is such tasks, finds the values of ctx in
// its context; the end of ctx ends Restore only. With Options.ConnectionPerSession
// there is nothing to take up.
func (h *Handler) Restore(ctx context.Context, servers ...*mcp.Server) error {
	h.base.Store(&baseContext{context.WithoutCancel(ctx)})
	if h.configErr != nil || h.opts.ConnectionPerSession {
		return h.configErr
	}
	var errs []error
	for _, s := range servers {
		host, err := hostOf(s)
		if err != nil {
			return err
		}
		errs = append(errs, h.mount(ctx, host))
	}
	if len(servers) > 0 {
		errs = append(errs, h.restoreTasks(ctx))
	}
	return errors.Join(errs...)
}

// baseContext is a context in an atomic.Pointer.
type baseContext struct{ context.Context }

// baseContext has the values for what runs on no request's behalf.
func (h *Handler) baseContext() context.Context {
	if b := h.base.Load(); b != nil {
		return b
	}
	return context.Background()
}

// wakeSessions wakes the sessions of host that are subscribed to something, or have had a
// stream lately: in a new process nobody else would keep for them what happens before
// their clients are back. Those that do not come back go to sleep again. It is done before
// the first request is served, which may be what happens.
func (h *Handler) wakeSessions(ctx context.Context, host *host) error {
	for r, err := range h.opts.Records.List(ctx, sessionPrefix) {
		if err != nil {
			return fmt.Errorf("listing sessions: %w", err)
		}
		var rec sessionRecord
		if err := json.Unmarshal(r.Value, &rec); err != nil || rec.Server != host.name || !rec.Listened && len(rec.Subscriptions) == 0 {
			continue // one that cannot be read is reported to its client
		}
		digest, random, _ := strings.Cut(strings.TrimPrefix(r.Key, sessionPrefix), "/")
		s, err := h.wake(host, digest+"-"+random, r)
		if err != nil {
			h.log.Warn("a session could not be woken, and hears nothing until its client is back", slog.Any("error", err))
			continue
		}
		s.touch()
		s.release()
	}
	if len(host.sessions.all()) == 0 {
		return nil
	}
	release, err := host.fan.hold() // lingers until they had time to come back
	if err != nil {
		return err
	}
	release()
	return nil
}

// restoreTasks takes over what others worked on who are gone, and looks again later
// as long as there are others whose end is to be feared.
func (h *Handler) restoreTasks(ctx context.Context) error {
	others, err := h.takeOverTasks(ctx)
	if err != nil || !others {
		return err
	}
	go func() {
		tick := time.NewTicker(h.tasks.leaseTTL)
		defer tick.Stop()
		for others := true; others; {
			select {
			case <-h.draining:
				return
			case <-tick.C:
			}
			again, err := h.takeOverTasks(context.Background())
			if err != nil {
				h.log.Warn("tasks of other processes could not be looked at", slog.Any("error", err))
				continue
			}
			others = again
		}
	}()
	return nil
}

// takeOverTasks reports whether others work on tasks.
func (h *Handler) takeOverTasks(ctx context.Context) (others bool, err error) {
	for r, err := range h.opts.Records.List(ctx, taskPrefix) {
		if err != nil {
			return others, fmt.Errorf("listing tasks: %w", err)
		}
		var rec taskRecord
		if err := json.Unmarshal(r.Value, &rec); err != nil || rec.over() || rec.Owner == h.tasks.owner {
			continue // one that cannot be read is reported to its client
		}
		digest, random, _ := strings.Cut(strings.TrimPrefix(r.Key, taskPrefix), "/")
		id := digest + "-" + random
		if h.tasks.attended(ctx, id, rec.Owner) {
			others = true
			continue
		}
		if _, _, err := h.readTask(ctx, id, rec.User); err != nil && !errors.Is(err, errNoTask) {
			return others, err
		}
	}
	return others, nil
}
