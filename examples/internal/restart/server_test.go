package restart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// runServer tells the test binary that it is to be the server.
const runServer = "CAUSEWAY_RESTART_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(runServer) != "" {
		serve()
		return
	}
	os.Exit(m.Run())
}

type total struct{ N int }

var totals = &causeway.Agent[total]{Kind: "total"}

// A book is what the whole server has done.
type book struct{ Orders, Runs, Effects int }

type none struct{}

// pages are the numbers of the migrations that an album has had, of as many as the
// environment says.
type pages struct{ Pages []int }

const (
	countMigrations = "CAUSEWAY_RESTART_MIGRATIONS"
	killMigration   = "CAUSEWAY_RESTART_KILL" // the number of the one that ends the process when all but its entry is done
)

func newAlbum() *causeway.Agent[pages] {
	count, _ := strconv.Atoi(os.Getenv(countMigrations))
	album := &causeway.Agent[pages]{Kind: "album", Scope: causeway.Shared}
	for n := 1; n <= count; n++ {
		album.Migrations = append(album.Migrations, func(ctx context.Context, tx object.Tx, state *json.RawMessage) error {
			if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS page(n INTEGER); INSERT INTO page VALUES (?)", n); err != nil {
				return err
			}
			err := object.MigrateState(func(p pages) (pages, error) { p.Pages = append(p.Pages, n); return p, nil })(ctx, tx, state)
			if self, _ := os.FindProcess(os.Getpid()); os.Getenv(killMigration) == strconv.Itoa(n) {
				_ = self.Kill()
				select {}
			}
			return err
		})
	}
	return album
}

func serve() {
	app := &causeway.App{Drain: 300 * time.Millisecond}
	s := mcp.NewServer(&mcp.Implementation{Name: "restart", Version: "1"}, causeway.Subscribable(nil))
	ledger := &causeway.Agent[book]{Kind: "book", Scope: causeway.Shared, Resources: []string{"test://book"}}
	ledgerOf := func() *causeway.Self[book] {
		o, err := ledger.Object(app, "shared")
		if err != nil {
			panic(err)
		}
		return o
	}
	progress := func(ctx context.Context, req *mcp.CallToolRequest) error {
		return req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: 1})
	}

	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct{ By int }) (*mcp.CallToolResult, any, error) {
		st, err := totals.Self(ctx).Update(ctx, func(t *total) error { t.N += in.By; return nil })
		return causeway.Text(st.N), nil, err
	})
	causeway.AddTool(s, &mcp.Tool{Name: "say"}, func(ctx context.Context, req *mcp.CallToolRequest, in struct{ Level string }) (*mcp.CallToolResult, any, error) {
		err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: mcp.LoggingLevel(in.Level), Data: in.Level})
		return causeway.Text("said"), nil, err
	})
	// order makes one, under the key if there is one, and answers only if it is not to hang.
	causeway.AddTool(s, &mcp.Tool{Name: "order"}, func(ctx context.Context, req *mcp.CallToolRequest, in struct {
		Key  string `json:",omitempty"`
		Hang bool   `json:",omitempty"`
	}) (*mcp.CallToolResult, any, error) {
		var err error
		one := func(b *book) error { b.Orders++; return nil }
		if in.Key == "" {
			_, err = ledgerOf().Update(ctx, one)
		} else {
			_, err = object.Once(ctx, ledgerOf().Object, in.Key, func(_ context.Context, _ object.Tx, b *book) (int, error) { return 0, one(b) })
		}
		if err == nil && in.Hang {
			if err = progress(ctx, req); err == nil {
				<-ctx.Done()
			}
		}
		return causeway.Text("ordered"), nil, err
	})
	causeway.AddTool(s, &mcp.Tool{Name: "book"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, book, error) {
		b, err := ledgerOf().State(ctx)
		return causeway.Text(fmt.Sprintf("%+v", b)), b, err
	})
	// Both are tasks that end in the run that is asked for.
	for name, opts := range map[string]mcphttp.TaskOptions{"long": {}, "once": {OneRun: true}} {
		mcphttp.AddTask(s, &mcp.Tool{Name: name}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct{ Runs int }) (*mcp.CallToolResult, any, error) {
			if _, err := causeway.Once(ctx, ledgerOf(), "effect", func(_ context.Context, _ object.Tx, b *book) (int, error) { b.Effects++; return 0, nil }); err != nil {
				return nil, nil, err
			}
			b, err := ledgerOf().Update(ctx, func(b *book) error { b.Runs++; return nil })
			if err == nil && b.Runs < in.Runs {
				<-ctx.Done()
				return nil, nil, context.Cause(ctx)
			}
			return causeway.Text(fmt.Sprintf("in run %d", b.Runs)), nil, err
		}, opts)
	}
	s.AddResource(&mcp.Resource{URI: "test://book", Name: "book"}, func(ctx context.Context, _ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		b, err := ledgerOf().State(ctx)
		return causeway.TextResource(fmt.Sprintf("%+v", b)), err
	})
	album := newAlbum()
	causeway.AddTool(s, &mcp.Tool{Name: "album"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		Begin bool `json:",omitempty"`
	}) (*mcp.CallToolResult, any, error) {
		me, err := album.Object(app, "shared")
		if err != nil {
			return nil, nil, err
		}
		if in.Begin {
			return causeway.Text("begun"), nil, me.SetState(ctx, pages{Pages: []int{0}}) // one that equals the initial state is not written
		}
		var rows string
		var version int
		st, err := me.State(ctx)
		if err == nil {
			err = me.Tx(ctx, func(ctx context.Context, tx object.Tx, _ *pages) error {
				return errors.Join(tx.QueryRowContext(ctx, "SELECT group_concat(n, ' ') FROM (SELECT n FROM page ORDER BY rowid)").Scan(&rows), tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version))
			})
		}
		return causeway.Text(fmt.Sprintf("%v [%s] %d", st.Pages, rows, version)), nil, err
	})
	app.Mount("/album", album.Handler(s))
	app.Mount("/mcp", totals.Handler(s))
	app.Mount("/book", ledger.Handler(s))
	app.Main()
}
