package causeway_test

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type tally struct{ N int }

// a house is a server with an object of each scope that belongs to people, a tool that is
// ada's alone, and a task that waits.
type house struct {
	t    *testing.T
	app  *causeway.App
	base string
}

var (
	byUser    = &causeway.Agent[tally]{Kind: "by-user", Scope: causeway.PerUser}
	byGrant   = &causeway.Agent[tally]{Kind: "by-grant", Scope: causeway.PerGrant}
	bySession = &causeway.Agent[tally]{Kind: "by-session"}
)

func newHouse(t *testing.T) *house {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	count := func(a *causeway.Agent[tally]) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			st, err := a.Self(ctx).Update(ctx, func(st *tally) error { st.N++; return nil })
			return strings.Repeat("I", st.N), err
		}
	}
	tool(s, "user", count(byUser))
	tool(s, "grant", count(byGrant))
	tool(s, "session", count(bySession))
	tool(s, "secret", says("only for ada"))
	causeway.VisibleIf(s, "secret", func(ctx context.Context) bool { return oauth.Props[login.DevPerson](ctx).Name == "ada" })
	causeway.AddTask(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}, mcphttp.TaskOptions{TTL: time.Minute})
	app := &causeway.App{Data: t.TempDir(), SignIn: &oauth.Provider{Login: login.Dev(), Clients: []oauth.Client{
		{ID: "editor", Name: "Editor", RedirectURIs: []string{person.Callback}}, {ID: "chat", Name: "Chat", RedirectURIs: []string{person.Callback}},
	}}}
	byUser.Handler(s)
	byGrant.Handler(s)
	m := bySession.Handler(s)
	app.Mount("/mcp", byUser.Handler(s))
	app.Mount("/grant", byGrant.Handler(s))
	app.Mount("/session", m)
	return &house{t, app, serve(t, app)}
}

// connects signs a person in with a client, as the era does it.
func (h *house) connects(p *person.Person, client, era string) *mcp.ClientSession {
	h.t.Helper()
	a, err := p.Known(client)
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := person.Via(h.t.Context(), h.base+"/mcp", a, era)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

var eras = []string{"2025-11-25", "2026-07-28"}

func TestNobodyReachesWhatIsAnotherPersons(t *testing.T) {
	for _, era := range eras {
		t.Run(era, func(t *testing.T) {
			h := newHouse(t)
			ada, bob := person.New("name", "ada"), person.New("name", "bob")
			adas, bobs := h.connects(ada, "editor", era), h.connects(bob, "editor", era)
			for range 3 {
				for _, kind := range []string{"user", "grant", "session"} {
					person.Text(t, adas, kind, nil)
				}
			}
			for _, kind := range []string{"user", "grant", "session"} {
				if got := person.Text(t, bobs, kind, nil); got != "I" {
					t.Errorf("%s: bob is at %s", kind, got)
				}
			}
			// The same person with another client: the user's object is the same one.
			other := h.connects(ada, "chat", era)
			for kind, want := range map[string]string{"user": "IIII", "grant": "I", "session": "I"} {
				if got := person.Text(t, other, kind, nil); got != want {
					t.Errorf("%s: ada's other client is at %s, want %s", kind, got, want)
				}
			}
			names := func(s *mcp.ClientSession) (all []string) {
				for tool, err := range s.Tools(t.Context(), nil) {
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, tool.Name)
				}
				return all
			}
			if !slices.Contains(names(adas), "secret") || slices.Contains(names(bobs), "secret") {
				t.Errorf("ada sees %v, bob %v", names(adas), names(bobs))
			}
			if got := person.Text(t, adas, "secret", nil); got != "only for ada" {
				t.Errorf("got %q", got)
			}
			if res, err := bobs.CallTool(t.Context(), &mcp.CallToolParams{Name: "secret"}); err == nil {
				t.Errorf("bob called it: %v", res.Content)
			}
		})
	}
}

func (h *house) account(p *person.Person) (person.Page, document) {
	h.t.Helper()
	ctx := h.t.Context()
	page, err := p.Open(ctx, h.base+"/account")
	if err == nil && strings.Contains(page.Body, "Who do you want to be?") {
		page, err = p.Submit(ctx, page, "", "")
	}
	if err != nil {
		h.t.Fatal(err)
	}
	doc, err := p.Open(ctx, h.base+"/account.json")
	if err != nil {
		h.t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal([]byte(doc.Body), &d); err != nil {
		h.t.Fatalf("%d %s", doc.Status, doc.Body)
	}
	return page, d
}

type document struct {
	User   string
	Grants []struct {
		ID       string
		ClientID string `json:"client_id"`
	}
	Sessions, Objects []struct {
		ID, What string
		ClientID string `json:"client_id"`
		Ends     time.Time
	}
}

func (d document) objects() (all []string) {
	for _, o := range d.Objects {
		all = append(all, o.What+"/"+o.ClientID)
	}
	slices.Sort(all)
	return all
}

func (h *house) presses(p *person.Person, page person.Page, button, value string) {
	h.t.Helper()
	if next, err := p.Submit(h.t.Context(), page, button, value); err != nil || next.Status != 200 {
		h.t.Fatalf("%s=%s: %d %v", button, value, next.Status, err)
	}
}

func (d document) grantOf(client string) string {
	for _, g := range d.Grants {
		if g.ClientID == client {
			return g.ID
		}
	}
	return ""
}

func TestTheAccountShowsWhatIsKeptAndErasesIt(t *testing.T) {
	for _, era := range eras {
		t.Run(era, func(t *testing.T) {
			h := newHouse(t)
			ada, bob := person.New("name", "ada"), person.New("name", "bob")
			adas, bobs := h.connects(ada, "editor", era), h.connects(bob, "editor", era)
			for _, s := range []*mcp.ClientSession{adas, bobs} {
				for _, kind := range []string{"user", "grant", "session"} {
					person.Text(t, s, kind, nil)
				}
			}
			page, d := h.account(ada)
			want, sessions := []string{"by-grant/editor", "by-session/editor", "by-user/"}, 0
			if era == "2025-11-25" {
				want, sessions = []string{"by-grant/editor", "by-session of a session/editor", "by-user/"}, 1
			}
			if got := d.objects(); d.User != "dev:ada" || len(d.Grants) != 1 || !slices.Equal(got, want) || len(d.Sessions) != sessions {
				t.Fatalf("got %+v", d)
			}
			if sessions > 0 && (strings.Contains(page.Body, adas.ID()) || !strings.Contains(page.Body, "session at /mcp of test")) {
				t.Errorf("the session is not shown, or its id is: %s", page.Body)
			}
			for _, o := range d.Objects {
				if strings.HasPrefix(o.ID, "by-user/") {
					h.presses(ada, page, "erase", o.ID)
				}
			}
			if got := person.Text(t, adas, "user", nil); got != "I" {
				t.Errorf("erased, and at %s", got)
			}
			if got := person.Text(t, adas, "grant", nil); got != "II" {
				t.Errorf("what was not erased is at %s", got)
			}
			page, _ = h.account(ada)
			h.presses(ada, page, "erase", "all")
			if _, d := h.account(ada); len(d.Objects)+len(d.Sessions) != 0 {
				t.Errorf("left: %+v", d)
			}
			for _, kind := range []string{"user", "grant", "session"} {
				if got := person.Text(t, bobs, kind, nil); got != "II" {
					t.Errorf("bob's %s is at %s", kind, got)
				}
			}
		})
	}
}

func TestTakingBackHidesAndSigningInAgainGoesOn(t *testing.T) {
	h := newHouse(t)
	ada := person.New("name", "ada")
	editor, chat := h.connects(ada, "editor", "2026-07-28"), h.connects(ada, "chat", "2026-07-28")
	for _, kind := range []string{"user", "grant"} {
		person.Text(t, editor, kind, nil)
		person.Text(t, chat, kind, nil)
	}
	page, d := h.account(ada)
	h.presses(ada, page, "revoke", d.grantOf("editor"))
	_, d = h.account(ada)
	if got := d.objects(); !slices.Equal(got, []string{"by-grant, out of reach/Editor", "by-grant/chat", "by-user/"}) {
		t.Fatalf("got %v", got)
	}
	i := slices.IndexFunc(d.Objects, func(o struct {
		ID, What string
		ClientID string `json:"client_id"`
		Ends     time.Time
	}) bool {
		return !o.Ends.IsZero()
	})
	if i < 0 || time.Until(d.Objects[i].Ends).Round(24*time.Hour) != 30*24*time.Hour {
		t.Errorf("erased at: %+v", d.Objects)
	}
	again := h.connects(ada, "editor", "2026-07-28")
	if got := person.Text(t, again, "grant", nil); got != "II" {
		t.Errorf("signed in again and at %s, want II", got)
	}
	if _, d := h.account(ada); !slices.Equal(d.objects(), []string{"by-grant/chat", "by-grant/editor", "by-user/"}) {
		t.Errorf("got %v", d.objects())
	}
}

func TestWhatWasTakenBackIsErasedWhenItsTimeIsOver(t *testing.T) {
	h := newHouse(t)
	causeway.EraseAtOnce(h.app)
	ada := person.New("name", "ada")
	editor := h.connects(ada, "editor", "2026-07-28")
	person.Text(t, editor, "grant", nil)
	page, d := h.account(ada)
	h.presses(ada, page, "revoke", d.grantOf("editor"))
	for {
		if _, d := h.account(ada); len(d.Objects) == 0 {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("never erased")
		case <-time.After(20 * time.Millisecond):
		}
	}
	again := h.connects(ada, "editor", "2026-07-28")
	if got := person.Text(t, again, "grant", nil); got != "I" {
		t.Errorf("erased, and at %s", got)
	}
}

func TestTakingBackEndsTheClientsSessionsAlone(t *testing.T) {
	h := newHouse(t)
	ada := person.New("name", "ada")
	editor, chat := h.connects(ada, "editor", "2025-11-25"), h.connects(ada, "chat", "2025-11-25")
	page, d := h.account(ada)
	if len(d.Sessions) != 2 {
		t.Fatalf("%+v", d)
	}
	h.presses(ada, page, "revoke", d.grantOf("editor"))
	if _, d := h.account(ada); len(d.Sessions) != 1 || d.Sessions[0].ClientID != "chat" {
		t.Errorf("left: %+v", d.Sessions)
	}
	person.Text(t, chat, "user", nil)
	seen := len(ada.Seen())
	if _, err := editor.CallTool(t.Context(), &mcp.CallToolParams{Name: "user"}); err == nil {
		t.Error("the revoked client goes on in its session")
	}
	if len(ada.Seen()) == seen {
		t.Error("nobody was asked anew") // the SDK asks, and then finds its session gone
	}
}

var taskID = regexp.MustCompile(`"taskId":"([^"]+)"`)

func TestAnotherPersonsTaskDoesNotExist(t *testing.T) {
	h := newHouse(t)
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
	call := func(token, method, name, params string) string {
		_, body := rpc(t, h.base+"/mcp", token, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`,`+meta+`}}`,
			"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method, "Mcp-Name", name)
		return body
	}
	adas, bobs := bearerOf(t, h.base, "ada"), bearerOf(t, h.base, "bob")
	made := call(adas, "tools/call", "wait", `"name":"wait","arguments":{}`)
	m := taskID.FindStringSubmatch(made)
	if m == nil {
		t.Fatalf("no task: %s", made)
	}
	get := `"taskId":"` + m[1] + `"`
	if got := call(bobs, "tasks/get", m[1], get); !strings.Contains(got, `"error"`) || strings.Contains(got, "working") {
		t.Errorf("bob gets %s", got)
	}
	if got := call(bobs, "tasks/cancel", m[1], get); !strings.Contains(got, `"error"`) {
		t.Errorf("bob cancels: %s", got)
	}
	if got := call(adas, "tasks/get", m[1], get); !strings.Contains(got, `"working"`) {
		t.Errorf("ada gets %s", got)
	}
	call(adas, "tasks/cancel", m[1], get)
}
