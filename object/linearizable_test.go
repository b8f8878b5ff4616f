package object_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// operation is one call of a history: add n to one of an object's two counters, or read it.
type operation struct {
	object int
	sql    bool // the row, not the state
	both   bool // a Tx that adds to both, and sees both
	add    int
}

type answer struct {
	state, row int
	unknown    bool // the call failed without saying whether it took effect
}

// Two counters of each object, the state and a row, that units may move together.
var counters = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byObject := map[int][]porcupine.Operation{}
		for _, o := range history {
			id := o.Input.(operation).object
			byObject[id] = append(byObject[id], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byObject {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() []any { return []any{[2]int{}} },
	Step: func(state, input, output any) []any {
		before, op, got := state.([2]int), input.(operation), output.(answer)
		after := before
		if op.both || !op.sql {
			after[0] += op.add
		}
		if op.both || op.sql {
			after[1] += op.add
		}
		if got.unknown {
			return []any{before, after}
		}
		if (op.both || !op.sql) && got.state != after[0] || (op.both || op.sql) && got.row != after[1] {
			return nil
		}
		return []any{after}
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}).ToModel()

func perform(ctx context.Context, o *object.Object[counter], op operation) (a answer, err error) {
	ctx, end := context.WithCancel(ctx) // as a request's does
	defer end()
	const update = "UPDATE c SET n = n + ? RETURNING n"
	// Half of the calls run under a gate, as they do behind a transport.
	var call *effect.Call
	if op.add%2 == 0 {
		ctx, call = effect.NewCall(ctx)
		call.Gate()
	}
	switch {
	case op.both:
		err = o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *counter) error {
			st.N += op.add
			a.state = st.N
			return tx.QueryRowContext(ctx, update, op.add).Scan(&a.row)
		})
	case op.sql:
		db, sqlErr := o.SQL(ctx)
		if sqlErr != nil {
			return a, sqlErr
		}
		if op.add == 0 {
			err = db.QueryRowContext(ctx, "SELECT n FROM c").Scan(&a.row)
		} else if op.add%3 == 0 {
			tx, beginErr := db.BeginTx(ctx, nil)
			if beginErr != nil {
				return a, beginErr
			}
			err = errors.Join(tx.QueryRowContext(ctx, update, op.add).Scan(&a.row), tx.Commit())
		} else {
			err = db.QueryRowContext(ctx, update, op.add).Scan(&a.row)
		}
	case op.add == 0:
		var st counter
		st, err = o.State(ctx)
		a.state = st.N
	default:
		var st counter
		st, err = o.Update(ctx, add(op.add))
		a.state = st.N
	}
	return a, errors.Join(err, call.Flush(ctx))
}

func TestHistoriesAreLinearizable(t *testing.T) {
	faults := map[string]func(*rand.Rand, *engine, store.Write) error{
		"without failures": nil,
		"with appends that fail": func(rnd *rand.Rand, _ *engine, _ store.Write) error {
			if rnd.IntN(25) == 0 {
				return errDisk
			}
			return nil
		},
		"with appends whose answer is lost": func(rnd *rand.Rand, e *engine, w store.Write) error {
			if rnd.IntN(25) > 0 {
				return nil
			}
			if rnd.IntN(2) == 0 {
				<-e.Engine.Append(context.Background(), w).Done()
			}
			return store.ErrUnknown
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			e := &engine{Engine: store.NewMemory()}
			// Short idle times and few open databases: waking, sleeping and closing are part of the histories.
			h := open(t, e, object.Options{IdleAfter: 5 * time.Millisecond, MaxOpen: 1})
			k := register(t, h, object.Spec[counter]{})
			const objects, clients, each = 3, 8, 60
			for i := range objects {
				exec(t, k.Get(fmt.Sprint(i)), "CREATE TABLE c(n); INSERT INTO c VALUES(0)")
			}
			if fault != nil {
				var mu sync.Mutex
				rnd := rand.New(rand.NewPCG(1, 2))
				e.set(func() {
					e.fail = func(w store.Write) error {
						mu.Lock()
						defer mu.Unlock()
						return fault(rnd, e, w)
					}
				})
			}
			var mu sync.Mutex
			var history []porcupine.Operation
			failures := 0
			var wg sync.WaitGroup
			start := time.Now()
			for client := range clients {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(client), 7))
					for range each {
						op := operation{object: rnd.IntN(objects), sql: rnd.IntN(2) == 0, both: rnd.IntN(4) == 0, add: rnd.IntN(7)}
						called := time.Since(start).Nanoseconds()
						got, err := perform(context.Background(), k.Get(fmt.Sprint(op.object)), op)
						returned := time.Since(start).Nanoseconds()
						if err != nil {
							got.unknown = true
							returned = 1 << 62 // it may take effect at any time
						}
						mu.Lock()
						if err != nil {
							failures++
						}
						history = append(history, porcupine.Operation{ClientId: client, Input: op, Output: got, Call: called, Return: returned})
						mu.Unlock()
						if err != nil && fault == nil {
							t.Errorf("%+v: %v", op, err)
						}
						if rnd.IntN(10) == 0 {
							time.Sleep(8 * time.Millisecond) // long enough for an object to fall asleep
						}
					}
				})
			}
			wg.Wait()
			e.set(func() { e.fail = nil })
			if fault != nil && failures == 0 {
				t.Error("no call failed: the test proves nothing")
			}
			// A client whose call is open until the end of time must not seem to have called again.
			for i := range history {
				if history[i].Output.(answer).unknown {
					history[i].ClientId = clients + i
				}
			}
			switch porcupine.CheckOperationsTimeout(counters, history, time.Minute) {
			case porcupine.Illegal:
				t.Errorf("a history of %d calls (%d failed) is not linearizable", len(history), failures)
			case porcupine.Unknown:
				t.Logf("no verdict within a minute (%d of %d calls failed)", failures, len(history))
			}
		})
	}
}

// The checker itself must notice an object that forgets.
func TestTheCheckerNoticesALostWrite(t *testing.T) {
	history := []porcupine.Operation{
		{ClientId: 0, Input: operation{add: 1}, Output: answer{state: 1}, Call: 0, Return: 1},
		{ClientId: 0, Input: operation{}, Output: answer{state: 0}, Call: 2, Return: 3},
	}
	if porcupine.CheckOperations(counters, history) {
		t.Error("a read that misses an acknowledged write passed")
	}
}
