package causeway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An audience is who hears of the objects of a kind: the subscribers of its resources at
// the servers that show them.
//
// While sessions are subscribed that outlive the process, what they are to hear is
// written in the journal entry of the change itself, and told from there: a crash in
// between loses nothing, and their event logs take it once. While there are none, which
// costs nothing, those who are connected are told when the change is durable.
type audience struct {
	resources []string

	mu      sync.RWMutex
	servers []*mcp.Server
}

// topicUpdated is that of notes for an audience.
const topicUpdated = "causeway/updated"

func (st *storage) audienceOf(kind string, resources []string) *audience {
	a, ok := st.audiences.Load(kind)
	if !ok {
		a, _ = st.audiences.LoadOrStore(kind, &audience{resources: resources})
	}
	return a.(*audience)
}

func (a *audience) add(s *mcp.Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.servers, s) {
		a.servers = append(a.servers, s)
	}
}

func (a *audience) all() []*mcp.Server {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.servers // only ever appended to
}

// topic is what a new state is told under, "" for not in its entry.
func (a *audience) topic() string {
	if slices.ContainsFunc(a.all(), mcphttp.KeepsSubscribers) {
		return topicUpdated
	}
	return ""
}

// uris are those under which the object is shown.
func (a *audience) uris(st *storage, object string) []string {
	all := slices.Clone(a.resources)
	if id, ok := strings.CutPrefix(object, "h-"); ok {
		for _, uri := range a.resources {
			all = append(all, uri+"?"+handleArgument+"="+st.signHandle(id))
		}
	}
	return all
}

// tell tells those who are there.
func (a *audience) tell(ctx context.Context, st *storage, object string) {
	for _, uri := range a.uris(st, object) {
		for _, s := range a.all() {
			if err := s.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: uri}); err != nil {
				st.log.Warn("subscribers could not be told of an update", "uri", uri, "error", err)
			}
		}
	}
}

// deliver hands on what objects have told in their entries.
func (st *storage) deliver(ctx context.Context, n object.Note) error {
	a, ok := st.audiences.Load(n.Kind)
	if !ok || n.Topic != topicUpdated {
		return nil // of an agent that is no longer there
	}
	heard := a.(*audience)
	var errs []error
	for _, uri := range heard.uris(st, n.Obj) {
		for _, s := range heard.all() {
			errs = append(errs, mcphttp.ResourceUpdated(ctx, s, uri, n.ID))
		}
	}
	return errors.Join(errs...)
}
