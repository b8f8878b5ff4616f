package store_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/causeway-mcp/causeway/store"
)

// Records change only by compare-and-set: of two writers who read the same
// revision, one hears of the other.
func ExampleRecords() {
	ctx := context.Background()
	var records store.Records = store.NewMemory()

	first, err := records.Put(ctx, "session/42", []byte("2025-11-25"), 0, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = records.Put(ctx, "session/42", []byte("mine"), first, nil)
	fmt.Println("mine:", err)
	_, err = records.Put(ctx, "session/42", []byte("yours"), first, nil)
	fmt.Println("yours:", errors.Is(err, store.ErrConflict))
	// Output:
	// mine: <nil>
	// yours: true
}

// A journal is loaded from its newest snapshot on. Whoever writes without
// knowing the tail is fenced.
func ExampleJournal() {
	ctx := context.Background()
	var journal store.Journal = store.NewMemory()
	cart := store.ObjectID{Kind: "cart", ID: "alice"}

	write := func(prev store.Seq, kind store.EntryKind, body string) store.Seq {
		tail, err := journal.Append(ctx, store.Write{
			Object: cart, Prev: prev, Entry: store.Entry{Kind: kind, Body: []byte(body)},
		}).Wait(ctx)
		if err != nil {
			fmt.Println(body, "is fenced:", errors.Is(err, store.ErrFenced))
		}
		return tail
	}
	one := write(0, store.EntryUpdate, "+apple")
	two := write(one, store.EntryUpdate, "+pear")
	three := write(two, store.EntrySnapshot, "apple, pear")
	write(three, store.EntryUpdate, "+plum")
	write(two, store.EntryUpdate, "+zombie")

	for entry, err := range journal.Load(ctx, cart) {
		fmt.Println(entry.Kind, string(entry.Body), err)
	}
	// Output:
	// +zombie is fenced: true
	// snapshot apple, pear <nil>
	// update +plum <nil>
}

// An object that does not wait for each write names the one before it. What it
// tells others waits for the last.
func ExampleWrite_runningAhead() {
	ctx := context.Background()
	journal := store.NewMemory()
	var last store.Pending
	for _, move := range []string{"e4", "e5", "Nf3"} {
		last = journal.Append(ctx, store.Write{
			Object: store.ObjectID{Kind: "game", ID: "7"}, After: last,
			Entry: store.Entry{Body: []byte(move)},
		})
	}
	_, err := last.Wait(ctx)
	fmt.Println("all moves are durable:", err == nil)
	// Output:
	// all moves are durable: true
}
