package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// modelled applies random changes to a table and a plain map.
func modelled(t *testing.T, seed uint64, n int) (*Table[int], map[string]Item[int]) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	tab, model := New[int](100, 0), make(map[string]Item[int])
	for rev := uint64(1); rev <= uint64(n); rev++ {
		key := fmt.Sprintf("%c/%05d", 'a'+rnd.IntN(3), rnd.IntN(n/4))
		if rnd.IntN(3) == 0 {
			tab.Delete(key, rev)
			delete(model, key)
			continue
		}
		it := Item[int]{Key: key, Value: rnd.Int(), Rev: rev, Expires: int64(rnd.IntN(2) * (1 + rnd.IntN(1000)))}
		tab.Put(it)
		model[key] = it
	}
	return tab, model
}

func TestATableAgreesWithAMap(t *testing.T) {
	for seed := range uint64(5) {
		tab, model := modelled(t, seed, 8000)
		if tab.Len() != len(model) {
			t.Fatalf("%d items, want %d", tab.Len(), len(model))
		}
		for key, want := range model {
			if got := tab.Get(key); got == nil || got.Value != want.Value || got.Rev != want.Rev || got.Expires != want.Expires {
				t.Fatalf("%s is %+v, want %+v", key, got, want)
			}
		}
		for _, prefix := range []string{"", "a/", "b/0", "c/00012", "d"} {
			var want, got []string
			for key := range model {
				if strings.HasPrefix(key, prefix) {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			for after := ""; ; after = got[len(got)-1] {
				page := tab.Page(nil, prefix, after, 7)
				if len(page) == 0 {
					break
				}
				for _, it := range page {
					got = append(got, it.Key)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d keys under %q, want %d", len(got), prefix, len(want))
			}
		}
	}
}

func TestWhatExpiresIsDueOnce(t *testing.T) {
	tab, model := modelled(t, 9, 8000)
	for now := int64(0); now <= 1001; now += 7 {
		for {
			keys := tab.Due(now, 10)
			if len(keys) == 0 {
				break
			}
			for _, key := range keys {
				if it, ok := model[key]; !ok || it.Expires == 0 || it.Expires > now {
					t.Fatalf("%s is due at %d: %+v", key, now, it)
				}
				tab.Delete(key, 1<<40)
				delete(model, key)
			}
		}
		for key, it := range model {
			if it.Expires != 0 && it.Expires <= now {
				t.Fatalf("%s, which expired at %d, is not due at %d", key, it.Expires, now)
			}
		}
	}
	if tab.NextDue() != 0 {
		t.Errorf("something is due at %d and nothing expires any more", tab.NextDue())
	}
}

func TestTheExpiryQueueDoesNotGrowWithUse(t *testing.T) {
	tab := New[int](1, 0)
	for i := range 100_000 { // sessions that are used, and others that come and go
		tab.Put(Item[int]{Key: "used", Rev: uint64(i + 1), Expires: int64(1000 + i)})
		key := fmt.Sprint("short", i)
		tab.Put(Item[int]{Key: key, Rev: uint64(i + 1), Expires: 1 << 50})
		tab.Delete(key, uint64(i+1))
	}
	if n := len(tab.expiry.heap); n > 5000 {
		t.Errorf("%d places in the queue for one item", n)
	}
}

func TestChangesAreBoundedAndKnowTheirGap(t *testing.T) {
	tab := New[int](10, 5)
	for rev := uint64(6); rev <= 40; rev++ {
		tab.Put(Item[int]{Key: fmt.Sprint(rev), Rev: rev})
	}
	if _, ok := tab.Changes(29, 100, 100); ok {
		t.Error("a change is missing and nobody says so")
	}
	changes, ok := tab.Changes(30, 100, 100)
	if !ok || len(changes) != 10 || changes[0].Rev != 31 || changes[9].Rev != 40 {
		t.Errorf("%v, %v", changes, ok)
	}
	if changes, _ := tab.Changes(30, 33, 100); len(changes) != 3 {
		t.Errorf("%d changes up to 33, want 3", len(changes))
	}
	if changes, _ := tab.Changes(30, 100, 4); len(changes) != 4 {
		t.Errorf("%d changes, want 4", len(changes))
	}
	if changes, ok := tab.Changes(40, 100, 4); !ok || len(changes) != 0 {
		t.Errorf("%v, %v behind the last change", changes, ok)
	}
}
