package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMain(m *testing.M) { program.TestMain(m, serve) }

type args = map[string]any

func list(of ...args) []args { return of }

// remember fills a graph.
func remember(c *program.Client) {
	c.Call("create_entities", args{"entities": list(
		args{"name": "Ada", "entityType": "person", "observations": []string{"wrote the first program", "lived in London"}},
		args{"name": "Engine", "entityType": "machine", "observations": []string{}},
		args{"name": "Zürich", "entityType": "city", "observations": []string{"ÄRGER with % and _"}},
	)})
	c.Call("create_relations", args{"relations": list(
		args{"from": "Ada", "to": "Engine", "relationType": "programs"},
		args{"from": "Engine", "to": "Zürich", "relationType": "was never in"},
	)})
}

func names(g Graph) string {
	var s []string
	for _, e := range g.Entities {
		s = append(s, e.Name)
	}
	return strings.Join(s, " ")
}

func TestWhatTheToolsAnswer(t *testing.T) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) {
			p := program.Start(t)
			c := p.Connect(era, nil)
			// Text and structured result of each tool, as the reference server gives them.
			for _, step := range []struct {
				name, tool string
				in         args
				text       string
				structured string
			}{
				{"an empty graph is read", "read_graph", nil,
					"{\n  \"entities\": [],\n  \"relations\": []\n}", `{"entities":[],"relations":[]}`},
				{"entities are created", "create_entities", args{"entities": list(
					args{"name": "a", "entityType": "letter", "observations": []string{"first"}},
					args{"name": "b", "entityType": "letter", "observations": []string{}})},
					"[\n  {\n    \"name\": \"a\",\n    \"entityType\": \"letter\",\n    \"observations\": [\n      \"first\"\n    ]\n  },\n  {\n    \"name\": \"b\",\n    \"entityType\": \"letter\",\n    \"observations\": []\n  }\n]",
					`{"entities":[{"name":"a","entityType":"letter","observations":["first"]},{"name":"b","entityType":"letter","observations":[]}]}`},
				{"those that exist are left alone", "create_entities", args{"entities": list(
					args{"name": "a", "entityType": "other", "observations": []string{"second"}})},
					"[]", `{"entities":[]}`},
				{"relations are created, each once", "create_relations", args{"relations": list(
					args{"from": "a", "to": "b", "relationType": "precedes"},
					args{"from": "a", "to": "b", "relationType": "precedes"})},
					"", `{"relations":[{"from":"a","to":"b","relationType":"precedes"}]}`},
				{"only new observations are added", "add_observations", args{"observations": list(
					args{"entityName": "a", "contents": []string{"first", "round"}})},
					"", `{"results":[{"entityName":"a","addedObservations":["round"]}]}`},
				{"some observations are deleted", "delete_observations", args{"deletions": list(
					args{"entityName": "a", "observations": []string{"first", "nosuch"}},
					args{"entityName": "zz", "observations": []string{"x"}})},
					"Deleted 1 of 3 observations. Entities not found: zz",
					`{"success":true,"message":"Deleted 1 of 3 observations. Entities not found: zz"}`},
				{"the graph is read", "read_graph", nil, "",
					`{"entities":[{"name":"a","entityType":"letter","observations":["round"]},{"name":"b","entityType":"letter","observations":[]}],"relations":[{"from":"a","to":"b","relationType":"precedes"}]}`},
				{"observations are deleted", "delete_observations", args{"deletions": list(
					args{"entityName": "a", "observations": []string{"round"}})},
					"Observations deleted successfully", `{"success":true,"message":"Observations deleted successfully"}`},
				{"some relations are deleted", "delete_relations", args{"relations": list(
					args{"from": "b", "to": "a", "relationType": "precedes"})},
					"Deleted 0 of 1 relations. The rest matched nothing.", `{"success":true,"message":"Deleted 0 of 1 relations. The rest matched nothing."}`},
				{"some entities are deleted, with their relations", "delete_entities", args{"entityNames": []string{"b", "zz"}},
					"Deleted 1 of 2 entities. Not found: zz", `{"success":true,"message":"Deleted 1 of 2 entities. Not found: zz"}`},
				{"what is left", "read_graph", nil, "",
					`{"entities":[{"name":"a","entityType":"letter","observations":[]}],"relations":[]}`},
				{"all entities are deleted", "delete_entities", args{"entityNames": []string{"a"}},
					"Entities deleted successfully", `{"success":true,"message":"Entities deleted successfully"}`},
			} {
				res, err := c.Try(step.tool, step.in)
				if err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				if got := program.Text(res); step.text != "" && got != step.text {
					t.Errorf("%s: text\n%s\nwant\n%s", step.name, got, step.text)
				}
				got, err := json.Marshal(res.StructuredContent)
				if err != nil {
					t.Fatal(err)
				}
				if !sameJSON(t, got, []byte(step.structured)) {
					t.Errorf("%s:\n%s\nwant\n%s", step.name, got, step.structured)
				}
			}
		})
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var texts [2]string
	for i, raw := range [][]byte{a, b} {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		sorted, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(sorted)
	}
	return texts[0] == texts[1]
}

func TestWhatIsFound(t *testing.T) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) {
			c := program.Start(t).Connect(era, nil)
			remember(c)
			for query, want := range map[string]string{
				"ada": "Ada", "MACHINE": "Engine", "london": "Ada", "zÜr": "Zürich", "ärger": "Zürich",
				"%": "Zürich", "_": "Zürich", "": "Ada Engine Zürich", "nothing": "", "' OR 1=1 --": "",
			} {
				if got := program.Ask[Graph](c, "search_nodes", args{"query": query}); names(got) != want {
					t.Errorf("%q finds %q, want %q", query, names(got), want)
				}
			}
			if got := program.Ask[Graph](c, "search_nodes", args{"query": "ada"}); len(got.Relations) != 1 {
				t.Errorf("of what Ada relates to: %+v", got.Relations)
			}
			got := program.Ask[Graph](c, "open_nodes", args{"names": []string{"Engine", "nosuch"}})
			if names(got) != "Engine" || len(got.Relations) != 2 {
				t.Errorf("opened: %+v", got)
			}
			c.Refused("search_nodes", args{"query": strings.Repeat("x", maxQuery+1)})
		})
	}
}

func TestAStepThatFailsLeavesNothing(t *testing.T) {
	for _, era := range program.Eras {
		c := program.Start(t).Connect(era, nil)
		remember(c)
		before := c.Call("read_graph", nil)
		got := c.Refused("create_relations", args{"relations": list(
			args{"from": "Ada", "to": "Zürich", "relationType": "visits"},
			args{"from": "Ada", "to": "Atlantis", "relationType": "visits"})})
		if got != "Entity with name Atlantis not found" {
			t.Errorf("%s", got)
		}
		c.Refused("add_observations", args{"observations": list(
			args{"entityName": "Ada", "contents": []string{"new"}}, args{"entityName": "Atlantis", "contents": []string{"sunk"}})})
		if after := c.Call("read_graph", nil); after != before {
			t.Errorf("%s: half a step was kept:\n%s", era, after)
		}
	}
}

func TestTheGraphOutlivesAKilledProcess(t *testing.T) {
	for _, era := range program.Eras {
		p := program.Start(t)
		c := p.Connect(era, nil)
		remember(c)
		before := c.Call("read_graph", nil)
		p.Crash()
		if after := c.Call("read_graph", nil); after != before {
			t.Errorf("%s: after a crash\n%s\nwant\n%s", era, after, before)
		}
		if got := c.Read(graphURI); got != before {
			t.Errorf("%s: the resource is\n%s", era, got)
		}
	}
}

func TestWritesAtOnceAreAllKept(t *testing.T) {
	for _, era := range program.Eras {
		c := program.Start(t).Connect(era, nil)
		remember(c)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				in := args{"observations": list(args{"entityName": "Engine", "contents": []string{strings.Repeat("i", i+1)}})}
				if _, err := c.Try("add_observations", in); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		g := program.Ask[Graph](c, "open_nodes", args{"names": []string{"Engine"}})
		if n := len(g.Entities[0].Observations); n != 50 {
			t.Errorf("%s: %d of 50 observations", era, n)
		}
	}
}

func TestSubscribersHearOfAChange(t *testing.T) {
	for _, era := range program.Eras {
		updated := make(chan string, 100)
		c := program.Start(t).Connect(era, &mcp.ClientOptions{
			ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
		})
		if err := c.Subscribe(program.Soon(t), &mcp.SubscribeParams{URI: graphURI}); err != nil {
			t.Fatal(err)
		}
		remember(c)
		if got := program.Next(t, updated); got != graphURI {
			t.Errorf("%s: updated %s", era, got)
		}
	}
}

func TestEachUserHasOneGraphWithAllClients(t *testing.T) {
	app := &causeway.App{Data: t.TempDir()}
	app.Mount("/mcp", Handler())
	verify := func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: token, Expiration: time.Now().Add(time.Hour)}, nil
	}
	server := program.Serve(t, app, auth.RequireBearerToken(verify, nil))
	as := func(user, era string) *program.Client {
		return program.Connect(t, program.Via{Server: server, User: user}, era, nil)
	}

	remember(as("ada", program.Eras[0]))
	for _, era := range program.Eras {
		if got := program.Ask[Graph](as("ada", era), "read_graph", nil); len(got.Entities) != 3 {
			t.Errorf("Ada with another client, %s, sees %q", era, names(got))
		}
		if got := program.Ask[Graph](as("bob", era), "read_graph", nil); len(got.Entities) != 0 {
			t.Errorf("Bob, %s, sees %q", era, names(got))
		}
	}
	c := as("ada", program.Eras[1])
	tools, err := c.ListTools(program.Soon(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tool := range tools.Tools {
		got = append(got, tool.Name)
	}
	want := []string{"add_observations", "create_entities", "create_relations", "delete_entities", "delete_observations", "delete_relations", "open_nodes", "read_graph", "search_nodes"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("tools %q", got)
	}
}

// serve is what the program of this example does.
func serve() {
	app := &causeway.App{}
	app.Mount("/mcp", Handler())
	app.Main()
}
