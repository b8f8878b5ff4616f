package effect_test

import (
	"context"
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

func Example() {
	ctx, call := effect.NewCall(context.Background())
	fmt.Println(call.Wrote())
	effect.MarkWrite(ctx)
	fmt.Println(call.Wrote())
	// Output:
	// false
	// true
}
