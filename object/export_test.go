package object_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

func exported(t testing.TB) []byte {
	t.Helper()
	o := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[bag]{}).Get("from")
	must(t, o.SetState(t.Context(), bag{List: []string{"a", "b"}}))
	exec(t, o, "CREATE TABLE t(v); INSERT INTO t VALUES('row')")
	must(t, second(o.Schedule(t.Context(), object.In(time.Hour), "alarm", 1, nil)))
	must(t, second(o.Enqueue(t.Context(), "job", 2, nil)))
	var b bytes.Buffer
	must(t, o.Export(t.Context(), &b))
	return b.Bytes()
}

func TestAnObjectTravels(t *testing.T) {
	b := exported(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprint("to a shared store: ", shared), func(t *testing.T) {
			s := store.NewMemory()
			dir := t.TempDir()
			h := open(t, &engine{Engine: s, shared: shared}, object.Options{Dir: dir})
			o := register(t, h, object.Spec[bag]{}).Get("to")
			must(t, o.Import(t.Context(), bytes.NewReader(b)))
			check := func(o *object.Object[bag]) {
				t.Helper()
				if st := state(t, o); strings.Join(st.List, "") != "ab" {
					t.Errorf("state %+v", st)
				}
				if v := query[string](t, o, "SELECT v FROM t"); v != "row" {
					t.Errorf("row %q", v)
				}
				alarms, err := o.Alarms(t.Context())
				if err != nil || len(alarms) != 1 || alarms[0].Name != "alarm" {
					t.Errorf("alarms %v %v", alarms, err)
				}
				jobs, err := o.Jobs(t.Context())
				if err != nil || len(jobs) != 1 || jobs[0].Name != "job" {
					t.Errorf("jobs %v %v", jobs, err)
				}
			}
			check(o)
			exec(t, o, "INSERT INTO t VALUES('more')")
			if err := o.Import(t.Context(), bytes.NewReader(b)); !errors.Is(err, object.ErrExists) {
				t.Errorf("import over an object: %v", err)
			}
			exec(t, o, "DELETE FROM t WHERE v = 'more'")
			shut(t, h)
			h = open(t, &engine{Engine: s, shared: shared}, object.Options{Dir: dir})
			check(register(t, h, object.Spec[bag]{}).Get("to"))
		})
	}
}

func TestExportingNothingIsAnError(t *testing.T) {
	o := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[bag]{}).Get("none")
	if err := o.Export(t.Context(), new(bytes.Buffer)); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func TestADamagedExportIsRefusedWhole(t *testing.T) {
	b := exported(t)
	o := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[bag]{}).Get("to")
	for i := 0; i < len(b); i += 1 + len(b)/400 {
		flipped := bytes.Clone(b)
		flipped[i] ^= 0x40
		if err := o.Import(t.Context(), bytes.NewReader(flipped)); err == nil {
			t.Fatalf("a flip at %d passed", i)
		}
		if err := o.Import(t.Context(), bytes.NewReader(b[:i])); err == nil {
			t.Fatalf("a cut at %d passed", i)
		}
	}
	type other struct{ List int }
	k := register(t, open(t, store.NewMemory(), object.Options{}), object.Spec[other]{})
	if err := k.Get("x").Import(t.Context(), bytes.NewReader(b)); !errors.Is(err, object.ErrDamaged) {
		t.Errorf("a state of another kind: %v", err)
	}
	if err := o.Import(t.Context(), bytes.NewReader(b)); err != nil {
		t.Errorf("after all that the sound one fails: %v", err)
	}
}

func FuzzImportNeverPanicsAndRefusesWhole(f *testing.F) {
	f.Add([]byte("causeway-object-export 1\n"))
	f.Add(exported(f))
	k := register(f, open(f, store.NewMemory(), object.Options{MaxDatabase: 1 << 20}), object.Spec[bag]{})
	f.Fuzz(func(t *testing.T, b []byte) {
		o := k.Get("x")
		if o.Import(t.Context(), bytes.NewReader(b)) == nil {
			must(t, second(o.Update(t.Context(), func(b *bag) error { b.List = nil; return nil })))
			must(t, o.Delete(t.Context()))
		}
	})
}
