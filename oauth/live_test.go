package oauth

import (
	"context"
	"net/http"
	"testing"
	"time"
)

func TestARequestThatLastsSeesWhatIsNewOfItsOwnGrant(t *testing.T) {
	w := newWorld(t, nil)
	_, tok := w.signsIn("alice", "scope", "read")
	var live context.Context
	var update func(*Validation)
	w.s.gate.next = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		live, update = Live(context.WithoutCancel(r.Context()))
	})
	w.calls("/mcp", tok.AccessToken)
	v, err := w.s.Validate(t.Context(), w.url("/mcp"), tok.AccessToken)
	if v == nil || err != nil {
		t.Fatal(v, err)
	}
	says := func(login string, write bool) {
		t.Helper()
		if got := Props[testPerson](live).Login; got != login || HasScope(live, "write") != write || (NeedScopes(live, "write") == nil) != write {
			t.Errorf("got %q %v", got, HasScope(live, "write"))
		}
	}
	says("alice", false)
	news := &Validation{Grant: v.Grant, Scopes: []string{"write"}, Props: []byte(`{"Login":"alice the second"}`), Expires: time.Now().Add(time.Hour)}
	update(&Validation{Grant: "another", Scopes: []string{"admin"}, Props: []byte(`{"Login":"mallory"}`)})
	update(nil)
	says("alice", false)
	update(news)
	says("alice the second", true)

	nobody, forget := Live(t.Context())
	forget(news)
	if HasScope(nobody, "write") || Props[testPerson](nobody).Login != "" {
		t.Error("nobody is somebody")
	}
}
