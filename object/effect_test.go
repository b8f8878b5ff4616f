package object_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// A transport refuses to ask the client after a write; so every way of writing must be seen, and no reading.
func TestACallKnowsWhetherItHasWritten(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{Deliver: func(context.Context, object.Note) error { return nil }})
	k := register(t, h, object.Spec[counter]{})
	o := k.Get("x")
	exec(t, o, "CREATE TABLE t(v)")
	must(t, second(o.Enqueue(t.Context(), "j", nil, &object.JobOptions{ID: "j"})))
	var export bytes.Buffer
	must(t, o.Export(t.Context(), &export))
	sqlExec := func(ctx context.Context, text string) error {
		db, err := o.SQL(ctx)
		if err == nil {
			_, err = db.ExecContext(ctx, text)
		}
		return err
	}
	once := func(ctx context.Context) error {
		_, err := object.Once(ctx, o, "k", func(context.Context, object.Tx, *counter) (int, error) { return 1, nil })
		return err
	}
	for name, c := range map[string]struct {
		wrote bool
		do    func(context.Context) error
	}{
		"State":   {false, func(ctx context.Context) error { return second(o.State(ctx)) }},
		"a query": {false, func(ctx context.Context) error { return sqlExec(ctx, "SELECT * FROM t") }},
		"Alarms":  {false, func(ctx context.Context) error { return second(o.Alarms(ctx)) }},
		"Export":  {false, func(ctx context.Context) error { return o.Export(ctx, new(bytes.Buffer)) }},
		"Flush":   {false, func(ctx context.Context) error { return o.Flush(ctx) }},
		"Update":  {true, func(ctx context.Context) error { return second(o.Update(ctx, add(1))) }},
		"an Update that fails": {true, func(ctx context.Context) error {
			_, _ = o.Update(ctx, func(*counter) error { return errors.New("no") })
			return nil
		}},
		"Tx": {true, func(ctx context.Context) error {
			return o.Tx(ctx, func(context.Context, object.Tx, *counter) error { return nil })
		}},
		"Once":        {true, once},
		"a statement": {true, func(ctx context.Context) error { return sqlExec(ctx, "INSERT INTO t VALUES(1)") }},
		"a transaction": {true, func(ctx context.Context) error {
			db, err := o.SQL(ctx)
			must(t, err)
			tx, err := db.BeginTx(ctx, nil)
			must(t, err)
			must(t, second(tx.Exec("INSERT INTO t VALUES(1)")))
			return tx.Commit()
		}},
		"Schedule": {true, func(ctx context.Context) error { return second(o.Schedule(ctx, object.In(time.Hour), "a", nil, nil)) }},
		"Enqueue":  {true, func(ctx context.Context) error { return second(o.Enqueue(ctx, "k", nil, nil)) }},
		"Cancel":   {true, func(ctx context.Context) error { return o.Cancel(ctx, "j") }},
		"Notify":   {true, func(ctx context.Context) error { return o.Notify(ctx, "t", 1) }},
		"Vacuum":   {true, func(ctx context.Context) error { return o.Vacuum(ctx) }},
		"Delete":   {true, func(ctx context.Context) error { return k.Get("y").Delete(ctx) }},
		"Import":   {true, func(ctx context.Context) error { return k.Get("z").Import(ctx, &export) }},
	} {
		ctx, call := effect.NewCall(t.Context())
		if err := c.do(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if call.Wrote() != c.wrote {
			t.Errorf("%s: wrote %v", name, call.Wrote())
		}
	}
}
