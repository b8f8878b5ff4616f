package object_test

import (
	"context"
	"errors"
	"testing"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

func TestDoneSeesWhatTheUnitDidAndNothingThatFailed(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	o := register(t, h, object.Spec[counter]{}).Get("x")
	seven := func(context.Context, object.Tx, *counter) (int, error) { return 7, nil }
	failed := errors.New("no")
	err := o.Tx(t.Context(), func(ctx context.Context, _ object.Tx, _ *counter) error {
		must(t, second(object.Once(ctx, o, "k", seven)))
		if n, done, err := object.Done[int](ctx, o, "k"); n != 7 || !done || err != nil {
			t.Errorf("in the unit: %d %v %v", n, done, err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if n, done, err := object.Done[int](t.Context(), o, "k"); n != 0 || done || err != nil {
		t.Errorf("after it failed: %d %v %v", n, done, err)
	}
	must(t, second(object.Once(t.Context(), o, "k", seven)))
	if _, done, err := object.Done[[]string](t.Context(), o, "k"); done || !errors.Is(err, object.ErrInvalid) {
		t.Errorf("as another type: %v %v", done, err)
	}
}
