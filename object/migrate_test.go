package object_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// Three versions of a program.
type (
	notesV1 struct{ Count int }
	notesV2 struct{ Total int }
	notesV3 struct {
		Total  int
		Labels []string
	}
)

var notesMigrations = []object.Migration{
	object.MigrateSQL(`CREATE TABLE notes (text TEXT)`),
	object.MigrateState(func(old notesV1) (notesV2, error) { return notesV2{Total: old.Count}, nil }),
	func(ctx context.Context, tx object.Tx, state *json.RawMessage) error {
		if _, err := tx.ExecContext(ctx, `ALTER TABLE notes ADD COLUMN label TEXT NOT NULL DEFAULT 'none'`); err != nil {
			return err
		}
		return object.MigrateState(func(old notesV2) (notesV3, error) { return notesV3{Total: old.Total, Labels: []string{"none"}}, nil })(ctx, tx, state)
	},
}

// versions makes the same object's program in different versions, one after the other over the same store.
type versions struct {
	t      *testing.T
	engine store.Engine
	dir    string
}

func newVersions(t *testing.T, engine store.Engine) *versions {
	return &versions{t, engine, t.TempDir()}
}

// with runs do in a process of that version.
func runVersion[S any](v *versions, spec object.Spec[S], do func(*object.Kind[S])) {
	v.t.Helper()
	spec.Name = "notes"
	h := open(v.t, v.engine, object.Options{Dir: v.dir})
	do(register(v.t, h, spec))
	shut(v.t, h)
}

func userVersion(t *testing.T, ctx context.Context, o interface {
	Tx(context.Context, func(context.Context, object.Tx, *notesV3) error) error
}) (n int) {
	t.Helper()
	must(t, o.Tx(ctx, func(ctx context.Context, tx object.Tx, _ *notesV3) error {
		return tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&n)
	}))
	return n
}

// sharedEngine is one that others could write to.
type sharedEngine struct{ store.Engine }

func (sharedEngine) Exclusive() bool { return false }

func TestMigrationsBringAnObjectToTheNewVersionBeforeAnythingElse(t *testing.T) {
	for name, engine := range map[string]store.Engine{"exclusive": store.NewMemory(), "shared": sharedEngine{store.NewMemory()}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			v := newVersions(t, engine)
			// Before there were migrations.
			runVersion(v, object.Spec[notesV1]{}, func(k *object.Kind[notesV1]) {
				must(t, k.Get("old").SetState(ctx, notesV1{7}))
			})
			runVersion(v, object.Spec[notesV1]{Migrations: notesMigrations[:1]}, func(k *object.Kind[notesV1]) {
				db, err := k.Get("old").SQL(ctx)
				must(t, err)
				_, err = db.ExecContext(ctx, "INSERT INTO notes VALUES ('kept')")
				must(t, err)
			})
			for range 2 { // the second time nothing is left to do
				runVersion(v, object.Spec[notesV3]{Initial: notesV3{Total: 1}, Migrations: notesMigrations}, func(k *object.Kind[notesV3]) {
					o := k.Get("old")
					st, err := o.State(ctx) // a read is enough
					must(t, err)
					if fmt.Sprint(st) != "{7 [none]}" {
						t.Errorf("the state is %v", st)
					}
					db, err := o.SQL(ctx)
					must(t, err)
					var text, label string
					must(t, db.QueryRowContext(ctx, "SELECT text, label FROM notes").Scan(&text, &label))
					if text != "kept" || label != "none" {
						t.Errorf("the row is %q, %q", text, label)
					}
					if n := userVersion(t, ctx, o); n != 3 {
						t.Errorf("user_version is %d", n)
					}
				})
			}
		})
	}
}

func TestANewObjectHasAllMigrationsBeforeItsFirstUse(t *testing.T) {
	ctx := t.Context()
	for name, use := range map[string]func(o *object.Object[notesV3]) error{
		"in a unit": func(o *object.Object[notesV3]) error {
			return o.Tx(ctx, func(ctx context.Context, tx object.Tx, st *notesV3) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO notes (text) VALUES ('x')")
				return err
			})
		},
		"in SQL": func(o *object.Object[notesV3]) error {
			db, err := o.SQL(ctx)
			must(t, err)
			_, err = db.ExecContext(ctx, "INSERT INTO notes (text) VALUES ('x')")
			return err
		},
		"in a transaction": func(o *object.Object[notesV3]) error {
			db, err := o.SQL(ctx)
			must(t, err)
			tx, err := db.BeginTx(ctx, nil)
			must(t, err)
			_, err = tx.ExecContext(ctx, "INSERT INTO notes (text) VALUES ('x')")
			return errors.Join(err, tx.Commit())
		},
		"after an alarm was set": func(o *object.Object[notesV3]) error {
			_, err := o.Schedule(ctx, object.In(time.Hour), "later", nil, nil)
			must(t, err)
			_, err = o.Update(ctx, func(*notesV3) error { return nil })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVersions(t, store.NewMemory())
			spec := object.Spec[notesV3]{Initial: notesV3{Total: 1}, Migrations: notesMigrations, OnAlarm: func(context.Context, *object.Object[notesV3], object.Alarm) error { return nil }}
			runVersion(v, spec, func(k *object.Kind[notesV3]) {
				o := k.Get("new")
				st, err := o.State(ctx)
				must(t, err)
				if _, err := v.engine.Stat(ctx, store.ObjectID{Kind: "notes", ID: "new"}); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("reading the state made the object: %v", err)
				}
				must(t, use(o))
				if n := userVersion(t, ctx, o); n != 3 {
					t.Errorf("user_version is %d", n)
				}
				if st, err = o.State(ctx); err != nil || st.Total != 1 || st.Labels != nil {
					t.Errorf("the state is %v %v, want the initial one", st, err)
				}
				must(t, o.Delete(ctx))
				must(t, use(o)) // a new one again
			})
		})
	}
}

func TestAFailingMigrationLeavesTheObjectAsItWasAndEveryCallSaysWhich(t *testing.T) {
	ctx := t.Context()
	errNoRoom := errors.New("the label has no room")
	for name, second := range map[string]object.Migration{
		"an error": func(ctx context.Context, tx object.Tx, state *json.RawMessage) error {
			*state = json.RawMessage(`{"Total":666}`)
			_, err := tx.ExecContext(ctx, "DROP TABLE notes")
			return errors.Join(err, errNoRoom)
		},
		"an end of its own": func(context.Context, object.Tx, *json.RawMessage) error { return context.DeadlineExceeded },
		"a panic": func(ctx context.Context, tx object.Tx, state *json.RawMessage) error {
			_, _ = tx.ExecContext(ctx, "DROP TABLE notes")
			panic("the label has no room")
		},
		"no JSON": func(_ context.Context, _ object.Tx, state *json.RawMessage) error {
			*state = []byte("the label has no room")
			return nil
		},
		"no state": func(_ context.Context, _ object.Tx, state *json.RawMessage) error { *state = nil; return nil },
		"a large one": func(_ context.Context, _ object.Tx, state *json.RawMessage) error {
			*state = []byte(`"` + strings.Repeat("x", 300<<10) + `"`)
			return nil
		},
		"bad SQL":      object.MigrateSQL("ALTER TABLE nothing ADD COLUMN x"),
		"another type": object.MigrateState(func(old []string) (notesV2, error) { return notesV2{}, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			v := newVersions(t, store.NewMemory())
			runVersion(v, object.Spec[notesV1]{Migrations: notesMigrations[:1]}, func(k *object.Kind[notesV1]) {
				must(t, k.Get("old").Tx(ctx, func(ctx context.Context, tx object.Tx, st *notesV1) error {
					st.Count = 7
					_, err := tx.ExecContext(ctx, "INSERT INTO notes VALUES ('kept')")
					return err
				}))
			})
			bad := object.Spec[notesV3]{Migrations: []object.Migration{notesMigrations[0], second, notesMigrations[2]}}
			runVersion(v, bad, func(k *object.Kind[notesV3]) {
				o := k.Get("old")
				calls := map[string]func() error{
					"State":  func() error { _, err := o.State(ctx); return err },
					"Update": func() error { _, err := o.Update(ctx, func(*notesV3) error { return nil }); return err },
					"SQL":    func() error { _, err := o.SQL(ctx); return err },
				}
				for range 2 {
					for call, do := range calls {
						err := do()
						var failed *object.MigrationError
						if !errors.As(err, &failed) || failed.Number != 2 || failed.Count != 3 || !strings.Contains(err.Error(), `migration 2 of 3 of kind "notes" failed`) {
							t.Errorf("%s: %v", call, err)
						}
						if name == "an error" && !errors.Is(err, errNoRoom) {
							t.Errorf("%s does not say why: %v", call, err)
						}
					}
				}
			})
			runVersion(v, object.Spec[notesV1]{Migrations: notesMigrations[:1]}, func(k *object.Kind[notesV1]) { // roll back
				o := k.Get("old")
				st, err := o.State(ctx)
				if err != nil || st.Count != 7 {
					t.Errorf("the state is %v %v", st, err)
				}
				db, err := o.SQL(ctx)
				must(t, err)
				var text string
				if err := db.QueryRowContext(ctx, "SELECT text FROM notes").Scan(&text); err != nil || text != "kept" {
					t.Errorf("the row is %q %v", text, err)
				}
			})
		})
	}
}

// The object exists by then, half migrated: a reader must not take it for one that was never written.
func TestANewObjectWhoseMigrationFailsIsNotReadAsInitial(t *testing.T) {
	ctx := t.Context()
	v := newVersions(t, store.NewMemory())
	fail := func(context.Context, object.Tx, *json.RawMessage) error { return errors.New("no") }
	runVersion(v, object.Spec[notesV3]{Migrations: []object.Migration{notesMigrations[0], fail}}, func(k *object.Kind[notesV3]) {
		o := k.Get("new")
		for range 3 {
			var failed *object.MigrationError
			if err := o.SetState(ctx, notesV3{}); !errors.As(err, &failed) || failed.Number != 2 {
				t.Fatal(err)
			}
			if _, err := o.State(ctx); !errors.As(err, &failed) {
				t.Fatalf("read: %v", err)
			}
		}
	})
}

func TestAnObjectOfANewerProgramIsRefusedAndLeftAlone(t *testing.T) {
	ctx := t.Context()
	v := newVersions(t, store.NewMemory())
	runVersion(v, object.Spec[notesV3]{Migrations: notesMigrations}, func(k *object.Kind[notesV3]) {
		must(t, k.Get("new").SetState(ctx, notesV3{Total: 7}))
	})
	for _, known := range []int{0, 2} {
		runVersion(v, object.Spec[notesV1]{Migrations: notesMigrations[:known]}, func(k *object.Kind[notesV1]) {
			err := k.Get("new").SetState(ctx, notesV1{1})
			if !errors.Is(err, object.ErrNewer) || !strings.Contains(err.Error(), fmt.Sprintf("has had 3 migrations, this program knows %d", known)) {
				t.Errorf("%v", err)
			}
		})
	}
	runVersion(v, object.Spec[notesV3]{Migrations: notesMigrations}, func(k *object.Kind[notesV3]) {
		if st, err := k.Get("new").State(ctx); err != nil || st.Total != 7 {
			t.Errorf("%v %v", st, err)
		}
	})
}

func TestOneOfManyCallersMigratesOnce(t *testing.T) {
	ctx := t.Context()
	v := newVersions(t, store.NewMemory())
	runVersion(v, object.Spec[notesV1]{}, func(k *object.Kind[notesV1]) { must(t, k.Get("old").SetState(ctx, notesV1{7})) })
	var runs atomic.Int32
	slow := func(ctx context.Context, tx object.Tx, state *json.RawMessage) error {
		runs.Add(1)
		time.Sleep(20 * time.Millisecond)
		return notesMigrations[1](ctx, tx, state)
	}
	runVersion(v, object.Spec[notesV2]{Migrations: []object.Migration{slow}}, func(k *object.Kind[notesV2]) {
		var wg sync.WaitGroup
		for _, id := range []string{"old", "new"} {
			for i := range 20 {
				wg.Go(func() {
					mine := ctx
					if i%4 == 0 { // whoever was first, its end is not that of the migration
						hasty, cancel := context.WithTimeout(ctx, time.Millisecond)
						defer cancel()
						mine = hasty
					}
					_, err := k.Get(id).Update(mine, func(s *notesV2) error { s.Total++; return nil })
					if err != nil && mine == ctx {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs for two objects", n)
		}
	})
}

func TestTheCountOfMigrationsOutlivesSnapshotsAndExports(t *testing.T) {
	ctx := t.Context()
	var runs atomic.Int32
	spec := object.Spec[notesV3]{Migrations: []object.Migration{func(context.Context, object.Tx, *json.RawMessage) error { runs.Add(1); return nil }}}
	v := newVersions(t, store.NewMemory())
	var exported bytes.Buffer
	runVersion(v, spec, func(k *object.Kind[notesV3]) {
		for i := range 200 { // more than a journal without snapshots has
			must(t, k.Get("a").SetState(ctx, notesV3{Total: i + 1}))
		}
		must(t, k.Get("a").Export(ctx, &exported))
	})
	copied := bytes.Clone(exported.Bytes())
	runVersion(v, spec, func(k *object.Kind[notesV3]) {
		st, err := k.Get("a").State(ctx)
		if err != nil || st.Total != 200 || runs.Load() != 1 {
			t.Errorf("%v %v, %d runs", st, err, runs.Load())
		}
		must(t, k.Get("b").Import(ctx, bytes.NewReader(copied)))
		if _, err := k.Get("b").State(ctx); err != nil || runs.Load() != 1 {
			t.Errorf("the import ran it again: %v, %d runs", err, runs.Load())
		}
	})
	runVersion(v, object.Spec[notesV3]{}, func(k *object.Kind[notesV3]) {
		if err := k.Get("c").Import(ctx, bytes.NewReader(copied)); !errors.Is(err, object.ErrNewer) {
			t.Errorf("an import from the future: %v", err)
		}
	})
}

func TestAnOldExportIsMigratedAsItIsImported(t *testing.T) {
	ctx := t.Context()
	v := newVersions(t, store.NewMemory())
	var old bytes.Buffer
	type listed struct{ Total []int } // its JSON does not fit the old one
	runVersion(v, object.Spec[notesV2]{}, func(k *object.Kind[notesV2]) {
		must(t, k.Get("a").SetState(ctx, notesV2{7}))
		must(t, k.Get("a").Export(ctx, &old))
	})
	migrations := []object.Migration{object.MigrateState(func(old notesV2) (listed, error) { return listed{[]int{old.Total}}, nil })}
	runVersion(v, object.Spec[listed]{Migrations: migrations}, func(k *object.Kind[listed]) {
		must(t, k.Get("b").Import(ctx, &old))
		for _, id := range []string{"a", "b"} {
			if st, err := k.Get(id).State(ctx); err != nil || fmt.Sprint(st) != "{[7]}" {
				t.Errorf("%s: %v %v", id, st, err)
			}
		}
	})
}

func TestANilMigrationIsRefused(t *testing.T) {
	h := open(t, store.NewMemory(), object.Options{})
	_, err := object.Register(h, object.Spec[notesV3]{Name: "notes", Migrations: []object.Migration{notesMigrations[0], nil}})
	if !errors.Is(err, object.ErrInvalid) || !strings.Contains(err.Error(), "migration 2 is nil") {
		t.Error(err)
	}
}

// What is stored of an object says how many there were, and it may be damaged.
func TestADamagedCountOfMigrationsIsRefused(t *testing.T) {
	ctx := t.Context()
	for _, count := range [][]byte{{}, {0}, {0x80}, {1, 1}, bytes.Repeat([]byte{0xff}, 10)} {
		engine := store.NewMemory()
		body := append([]byte{1, 11, byte(len(count))}, count...)
		_, err := engine.Append(ctx, store.Write{Object: store.ObjectID{Kind: "notes", ID: "a"}, Entry: store.Entry{Kind: store.EntryUpdate, Body: body}}).Wait(ctx)
		must(t, err)
		runVersion(newVersions(t, engine), object.Spec[notesV3]{Migrations: notesMigrations}, func(k *object.Kind[notesV3]) {
			if _, err := k.Get("a").State(ctx); !errors.Is(err, object.ErrDamaged) {
				t.Errorf("%x: %v", count, err)
			}
		})
	}
}

func TestAMigrationHasNothingButItsObject(t *testing.T) {
	ctx := t.Context()
	v := newVersions(t, store.NewMemory())
	var kind *object.Kind[notesV3]
	spec := object.Spec[notesV3]{Migrations: []object.Migration{func(ctx context.Context, _ object.Tx, _ *json.RawMessage) error {
		for _, id := range []string{"me", "another"} {
			if _, err := kind.Get(id).State(ctx); !errors.Is(err, object.ErrInUnit) {
				t.Errorf("%s: %v", id, err)
			}
			if err := kind.Get(id).SetState(ctx, notesV3{}); !errors.Is(err, object.ErrInUnit) {
				t.Errorf("%s: %v", id, err)
			}
		}
		return nil
	}}}
	runVersion(v, spec, func(k *object.Kind[notesV3]) {
		kind = k
		must(t, k.Get("me").SetState(ctx, notesV3{Total: 1}))
	})
}
