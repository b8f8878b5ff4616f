package causeway_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/causeway-mcp/causeway/oauth/login/github"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func Example() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Demo", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		A float64 `json:"a"`
		B float64 `json:"b"`
	}) (*mcp.CallToolResult, any, error) {
		return causeway.Text(in.A + in.B), nil, nil
	})

	// A program ends with causeway.Main(s). Here a client of the official SDK calls
	// the same server.
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(s))
	web := httptest.NewServer(app.Handler())
	defer web.Close()
	defer app.Shutdown(context.Background())

	ctx := context.Background()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: web.URL + "/mcp"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close()
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 2, "b": 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Content[0].(*mcp.TextContent).Text)
	// Output: 5
}

// A tool that asks before it acts. The same code works for a client of 2025 and,
// through an input-required round, for one of 2026-07-28.
func ExampleElicit() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Files", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "wipe"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		answer, err := causeway.Elicit(ctx, &mcp.ElicitParams{
			Message:         "Wipe everything?",
			RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}},
		})
		if err != nil {
			return nil, nil, err // an ask that is pending is an error too: return at once
		}
		if answer.Action != "accept" {
			return causeway.Text("nothing was wiped"), nil, nil
		}
		return causeway.Text("wiped"), nil, nil
	})

	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(s))
	web := httptest.NewServer(app.Handler())
	defer web.Close()
	defer app.Shutdown(context.Background())

	ctx := context.Background()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1.0.0"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			fmt.Println("asked:", req.Params.Message)
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: web.URL + "/mcp"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close()
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wipe"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Content[0].(*mcp.TextContent).Text)
	// Output:
	// asked: Wipe everything?
	// nothing was wiped
}

func ExampleTextf() {
	res := causeway.Textf("%d of %d", 3, 4)
	fmt.Println(res.Content[0].(*mcp.TextContent).Text)
	// Output: 3 of 4
}

// People sign in, and a tool needs more than that. A program has a login of
// oauth/login/github or oauth/login/oidc in the place of login.Dev, and ends with
// app.Main().
func ExampleRequireScopes() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Mail", Version: "1.0.0"}, nil)
	for name, text := range map[string]string{"bookings": "a hotel in Lisbon", "search_mail": "everything"} {
		causeway.AddTool(s, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return causeway.Text(text), nil, nil
		})
	}
	causeway.RequireScopes(s, "search_mail", "mail")

	app := &causeway.App{SignIn: &oauth.Provider{
		Issuer: "http://127.0.0.1:8787", Login: login.Dev(),
		Resources: []oauth.Resource{{
			Path: "/mcp", Require: []string{"travel"},
			Scopes: []oauth.Scope{
				{Name: "travel", Words: "read your bookings"},
				{Name: "mail", Words: "read all your mail", Includes: []string{"travel"}},
			},
		}},
	}}
	app.Mount("/mcp", causeway.Server(s))
	handler := app.Handler()
	defer app.Shutdown(context.Background())

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("POST", "http://127.0.0.1:8787/mcp", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer resource_metadata="http://127.0.0.1:8787/.well-known/oauth-protected-resource/mcp", scope="travel"
}

// A tool that exists for some people only.
func ExampleVisibleIf() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Images", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "generateImage"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return causeway.Text("an image"), nil, nil
	})
	allowed := map[string]bool{"octocat": true}
	causeway.VisibleIf(s, "generateImage", func(ctx context.Context) bool {
		return allowed[oauth.Props[github.User](ctx).Login]
	})

	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(s))
	web := httptest.NewServer(app.Handler())
	defer web.Close()
	defer app.Shutdown(context.Background())

	ctx := context.Background()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: web.URL + "/mcp"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close()
	_, err = session.CallTool(ctx, &mcp.CallToolParams{Name: "generateImage"})
	fmt.Println(err) // nobody is signed in
	// Output: calling "tools/call": unknown tool "generateImage"
}

// The program before kept euros. Each object runs what it has not had of the list, once,
// before anything else touches it.
func ExampleAgent_migrations() {
	type purseV1 struct{ Euros int }
	type Purse struct{ Cents int }
	purses := &causeway.Agent[Purse]{Kind: "purse", Scope: causeway.PerUser, Migrations: []object.Migration{
		object.MigrateState(func(old purseV1) (Purse, error) { return Purse{Cents: 100 * old.Euros}, nil }),
		object.MigrateSQL(`CREATE TABLE coin (cents INTEGER NOT NULL)`),
	}}

	s := mcp.NewServer(&mcp.Implementation{Name: "Purse", Version: "2.0.0"}, nil)
	app := &causeway.App{}
	app.Mount("/mcp", purses.Handler(s))
	defer app.Shutdown(context.Background())

	ctx := context.Background()
	alice, err := purses.Object(app, "alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = alice.Tx(ctx, func(ctx context.Context, tx object.Tx, p *Purse) error {
		p.Cents += 50
		_, err := tx.ExecContext(ctx, `INSERT INTO coin VALUES (50)`) // the table is there
		return err
	})
	st, _ := alice.State(ctx)
	fmt.Println(st.Cents, err)
	// Output: 50 <nil>
}
