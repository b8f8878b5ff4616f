package causeway

import (
	"context"
	"testing"

	"github.com/causeway-mcp/causeway/store"
)

// EraseAtOnce has what people take back erased without the month of grace.
func EraseAtOnce(a *App) { a.holdings.after = 0 }

// EraseOrphans looks once for objects of sessions that are over.
func EraseOrphans(ctx context.Context, a *App) error { return a.eraseOrphans(ctx) }

// ObjectsOf are the ids of the objects that there are of a kind.
func ObjectsOf(t *testing.T, a *App, kind string) (ids []string) {
	t.Helper()
	for info, err := range a.storage.engine.Objects(t.Context(), kind) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, info.Object.ID)
	}
	return ids
}

// Engine is what the App keeps things in.
func Engine(a *App) store.Engine { return a.storage.engine }
