package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

func TestToolsSeeObjectsWhoseTypeTheyDoNotKnow(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir+"/log")
	t.Cleanup(func() { must(t, s.Close()) })
	h, err := object.NewHost(s, &object.Options{Dir: dir + "/o", Logger: quiet})
	must(t, err)
	o := register(t, h, object.Spec[counter]{}).Get("x")
	must(t, o.SetState(t.Context(), counter{7}))
	exec(t, o, "CREATE TABLE t(v)")
	for range 20 {
		exec(t, o, "INSERT INTO t VALUES(randomblob(3000))")
	}
	must(t, second(o.Schedule(t.Context(), object.In(time.Hour), "later", nil, nil)))
	shut(t, h)

	tool := open(t, s, object.Options{Dir: dir + "/o"})
	id := store.ObjectID{Kind: "test", ID: "x"}
	in, err := tool.Inspect(t.Context(), id)
	if err != nil || string(in.State) != `{"N":7}` || len(in.Alarms) != 1 || !in.Database {
		t.Errorf("%+v, %v", in, err)
	}
	must(t, tool.Check(t.Context(), id))
	var b bytes.Buffer
	must(t, tool.Export(t.Context(), id, &b))
	if b.Len() < 60_000 {
		t.Errorf("an export of %d bytes", b.Len())
	}
	none := store.ObjectID{Kind: "test", ID: "none"}
	for name, err := range map[string]error{"inspect": second(tool.Inspect(t.Context(), none)), "check": tool.Check(t.Context(), none), "export": tool.Export(t.Context(), none, io.Discard)} {
		if !errors.Is(err, object.ErrNotFound) {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
	shut(t, tool)
	// A flipped bit in the file is found (the entries behind it have been compacted away).
	for path, image := range files(t, dir+"/o") {
		image[len(image)/2] ^= 0xff
		copy(image[5000:], strings.Repeat("x", 200))
		must(t, os.WriteFile(path, image, 0o600))
	}
	tool = open(t, s, object.Options{Dir: dir + "/o"})
	if err := tool.Check(t.Context(), id); !errors.Is(err, object.ErrDamaged) {
		t.Errorf("a damaged database: %v", err)
	}
}

func TestOutgoingRequestsWaitForTheirCallsWrites(t *testing.T) {
	e := &engine{Engine: store.NewMemory()}
	o := register(t, open(t, e, object.Options{}), object.Spec[counter]{}).Get("x")
	arrived := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{} }))
	defer server.Close()
	client := &http.Client{Transport: object.Transport(nil)}
	send := func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("pay"))
		must(t, err)
		resp, err := client.Do(r)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	hold := make(chan struct{})
	e.set(func() { e.hold = hold })
	ctx, call := effect.NewCall(t.Context())
	call.Gate()
	must(t, second(o.Update(ctx, add(1))))
	done := make(chan error)
	go func() { done <- send(ctx) }()
	time.Sleep(30 * time.Millisecond)
	if len(arrived) > 0 {
		t.Error("the payment left before the write was durable")
	}
	close(hold)
	must(t, <-done)
	<-arrived
	e.set(func() { e.hold = nil; e.fail = func(store.Write) error { return errDisk } })
	must(t, second(o.Update(ctx, add(1))))
	if err := send(ctx); !errors.Is(err, errDisk) || len(arrived) > 0 {
		t.Errorf("a payment for a write that was lost: %v", err)
	}
	e.set(func() { e.fail = nil })
	must(t, o.Tx(t.Context(), func(ctx context.Context, _ object.Tx, _ *counter) error {
		if err := send(ctx); !errors.Is(err, object.ErrInUnit) {
			t.Errorf("a request inside a unit: %v", err)
		}
		return nil
	}))
}

func ExampleTransport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "paid") }))
	defer server.Close()
	client := &http.Client{Transport: object.Transport(nil)} // in handlers, with the handler's context
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(string(b))
	// Output: paid
}

func ExampleHost_Inspect() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	_ = kind.Get("alice").SetState(ctx, Cart{Items: map[string]int{"apple": 1}})
	id := store.ObjectID{Kind: "cart", ID: "alice"}
	in, err := host.Inspect(ctx, id)
	fmt.Println(string(in.State), in.Database, err)
	fmt.Println(host.Check(ctx, id))
	var b bytes.Buffer
	fmt.Println(host.Export(ctx, id, &b), b.Len() > 0)
	// Output:
	// {"Items":{"apple":1}} false <nil>
	// <nil>
	// <nil> true
}
