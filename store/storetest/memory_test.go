package storetest

import (
	"testing"

	"github.com/causeway-mcp/causeway/store"
)

func TestMemoryConforms(t *testing.T) {
	Run(t, func(*testing.T) store.Engine { return store.NewMemory() })
}

func TestFaultyConformsWithoutFaults(t *testing.T) {
	Run(t, func(*testing.T) store.Engine { return NewFaulty(store.NewMemory()) })
}

func TestFaultyFailsAsTold(t *testing.T) {
	f := NewFaulty(store.NewMemory())
	defer f.Close()
	tail := add(t, f, obj, 0, "a")
	for _, c := range []struct {
		fault Fault
		want  error
		left  []string
	}{
		{Full, store.ErrFull, []string{"a"}},
		{LostRequest, store.ErrUnknown, []string{"a"}},
		{LostAnswer, store.ErrUnknown, []string{"a", "b"}},
	} {
		f.Decide(func(store.Write) Fault { return c.fault })
		first := f.Append(t.Context(), store.Write{Object: obj, Prev: tail, Entry: store.Entry{Body: []byte("b")}})
		f.Decide(nil)
		next := f.Append(t.Context(), store.Write{Object: obj, After: first, Entry: store.Entry{Body: []byte("c")}})
		for _, p := range []store.Pending{first, next} {
			_, err := p.Wait(t.Context())
			wantErr(t, err, c.want)
		}
		wantBodies(t, f, obj, c.left...)
	}
}

func TestFaultyHoldsAppends(t *testing.T) {
	f := NewFaulty(store.NewMemory())
	defer f.Close()
	release := f.Hold()
	p := f.Append(t.Context(), store.Write{Object: obj, Entry: store.Entry{Body: []byte("a")}})
	select {
	case <-p.Done():
		t.Fatal("the append was told before it was released")
	default:
	}
	release()
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, f, store.ObjectID{Kind: "k", ID: "free"}, 0, "b")
}
