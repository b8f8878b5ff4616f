package mcphttp

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// However often it is told, in this process and in the next.
func TestASessionIsToldOfASourceOnce(t *testing.T) {
	records := newRecords(t)
	one, _ := newBusyServer(t)
	_, url := serve(t, one, &Options{Records: records})
	if KeepsSubscribers(one) {
		t.Error("there is nobody yet")
	}
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.call("1", "resources/subscribe", `"uri":"test://clock"`)
	if !KeepsSubscribers(one) {
		t.Error("there is somebody")
	}
	get := w.stream("GET", "")
	primed := <-get.events
	tell := func(s *mcp.Server, source string) {
		t.Helper()
		if err := ResourceUpdated(t.Context(), s, "test://clock", source); err != nil {
			t.Fatal(err)
		}
	}
	tell(one, "first")
	tell(one, "first")
	tell(one, "second")
	a, b := get.next(), get.next()
	if a.data != b.data || a.id == b.id || strings.Contains(a.data, "causeway/") {
		t.Errorf("%+v %+v", a, b)
	}
	get.close()
	two, _ := newBusyServer(t)
	h, second := serve(t, two, &Options{Records: records})
	if err := h.Restore(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	tell(two, "second")
	tell(two, "third")
	w.url = second
	back := w.stream("GET", "", "Last-Event-ID", primed.id)
	for n := range 3 {
		if ev := back.next(); ev.data != a.data {
			t.Errorf("event %d: %+v", n, ev)
		}
	}
	tell(two, "fourth")
	if ev := back.next(); ev.id != "g~4" {
		t.Errorf("%+v, want the fourth", ev)
	}
	w.do("DELETE", "")
	if KeepsSubscribers(two) {
		t.Error("who was there is gone")
	}
	for _, source := range []string{"", strings.Repeat("x", 128)} {
		if err := ResourceUpdated(t.Context(), two, "test://clock", source); err == nil {
			t.Errorf("a source of %d bytes", len(source))
		}
	}
}

// A session that cannot be told because the store has failed makes the telling fail,
// so that it is tried again.
func TestASourceThatCouldNotBeKeptIsAnError(t *testing.T) {
	s, _ := newBusyServer(t)
	records := newRecords(t)
	_, url := serve(t, s, &Options{Records: records})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.call("1", "resources/subscribe", `"uri":"test://clock"`)
	get := w.stream("GET", "")
	<-get.events
	if err := records.(interface{ Close() error }).Close(); err != nil {
		t.Fatal(err)
	}
	if err := ResourceUpdated(context.Background(), s, "test://clock", "first"); err == nil {
		t.Error("told, and kept nowhere")
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, v := range [][]byte{nil, {0}, {1, 'x'}, {2}, {2, 9, 'a'}, {3, 1, 'a', 'b'}} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		ev, ok := decodeEvent(1, v)
		if ok && !bytes.HasSuffix(v, append([]byte(ev.source), ev.data...)) {
			t.Errorf("%q became %+v", v, ev)
		}
	})
}
