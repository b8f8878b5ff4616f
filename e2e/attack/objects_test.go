package attack

import (
	"net/http"
	"strings"
	"testing"
)

func (c *client) uses(t *testing.T, session, tool, arguments string) answer {
	t.Helper()
	return c.posts(t, session, "tools/call", `{"name":"`+tool+`","arguments":`+arguments+`}`, "Mcp-Name", tool)
}

// What is kept for a person is that person's in every era, by every client of theirs, also after a crash; names that
// look like another's, and claims of being another, open nothing.
func TestAnObjectIsNobodyElses(t *testing.T) {
	t.Parallel()
	s := startServer(t, memory)
	alice := newPerson("alice")
	owner := s.signsIn(t, alice)
	if a := owner.uses(t, "", "create_entities", keeps); a.status != http.StatusOK || !strings.Contains(a.body, kept) {
		t.Fatalf("create_entities: %d %s", a.status, a.body)
	}
	for _, name := range []string{"mallory", "Alice", "alice/", "alice%00", "../alice", "ALICE", "аlice", "alice,mallory", "dev:alice"} {
		c := &client{s: s, id: owner.id} // the same program
		c.takes(t, c.redeems(t, c.code(t, newPerson(name))))
		for what, a := range map[string]answer{
			"a tool":              c.uses(t, "", "read_graph", `{}`),
			"a tool in a session": c.uses(t, c.opens(t), "read_graph", `{}`),
			"a search":            c.uses(t, "", "search_nodes", `{"query":"safe"}`),
			"the resource":        c.posts(t, "", "resources/read", `{"uri":"memory://knowledge-graph"}`, "Mcp-Name", "memory://knowledge-graph"),
			"a claim":             c.posts(t, "", "tools/call", `{"name":"read_graph","arguments":{}}`, "Mcp-Name", "read_graph", "X-Forwarded-User", "alice", "X-User", "alice", "X-Remote-User", "alice"),
		} {
			if a.status != http.StatusOK || strings.Contains(a.body, kept) {
				t.Errorf("%q reads by %s: %d %s", name, what, a.status, a.body)
			}
		}
		c.uses(t, "", "delete_entities", `{"entityNames":["safe"]}`)
	}
	s.kill(t)
	s.start(t)
	for what, c := range map[string]*client{"her client": owner, "another client of hers": s.signsIn(t, alice)} {
		if a := c.uses(t, "", "read_graph", `{}`); !strings.Contains(a.body, kept) {
			t.Errorf("alice no longer has it by %s: %d %s", what, a.status, a.body)
		}
	}
}
