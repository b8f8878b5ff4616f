package effect_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/causeway-mcp/causeway/internal/effect"
)

func TestAWriteMarksItsCallAndEveryCallAroundIt(t *testing.T) {
	outer, a := effect.NewCall(context.Background())
	inner, b := effect.NewCall(outer)
	_, sibling := effect.NewCall(outer)
	type other struct{}
	effect.MarkWrite(context.WithValue(inner, other{}, 1))
	if !a.Wrote() || !b.Wrote() || !effect.Wrote(outer) {
		t.Errorf("outer %v, inner %v: both must know of the write", a.Wrote(), b.Wrote())
	}
	if sibling.Wrote() {
		t.Error("a call beside the writing one was marked")
	}
}

func TestAContextWithoutCallIsHarmless(t *testing.T) {
	ctx := context.Background()
	effect.MarkWrite(ctx)
	if effect.Wrote(ctx) || effect.InUnit(ctx) || effect.CallOf(ctx) != nil {
		t.Error("a plain context must carry no marks")
	}
}

func TestOnlyTheInnerContextIsInTheUnit(t *testing.T) {
	ctx := context.Background()
	unit := effect.EnterUnit(ctx)
	inside, cancel := context.WithCancel(unit)
	defer cancel()
	if !effect.InUnit(inside) || effect.InUnit(ctx) {
		t.Error("the mark must follow the unit's context and no other")
	}
}

type durable struct {
	flushed int
	err     error
}

func (d *durable) Flush(context.Context) error { d.flushed++; return d.err }

func TestFlushWaitsForEverythingTouchedAndTellsWhatFailed(t *testing.T) {
	ctx, outer := effect.NewCall(context.Background())
	_, inner := effect.NewCall(ctx)
	good, bad := &durable{}, &durable{err: errors.New("fenced")}
	inner.Touch(good)
	inner.Touch(good)
	if err := outer.Flush(ctx); err != nil || good.flushed != 1 {
		t.Errorf("flushed %d times, %v", good.flushed, err)
	}
	inner.Touch(bad)
	if err := inner.Flush(ctx); !errors.Is(err, bad.err) {
		t.Errorf("the failure was lost: %v", err)
	}
	if inner.Gated() {
		t.Error("a call is gated only if its transport says so")
	}
	if inner.Gate(); !inner.Gated() || outer.Gated() {
		t.Error("the promise is the inner transport's alone")
	}
}

func Example() {
	ctx, call := effect.NewCall(context.Background())
	fmt.Println(call.Wrote())
	effect.MarkWrite(ctx)
	fmt.Println(call.Wrote())
	// Output:
	// false
	// true
}
