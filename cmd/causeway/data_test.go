package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type tabs struct{ Count int }

// lived makes a data directory with a real App, on which two sessions have called
// a tool that uses everything, and returns the sessions' ids. With leave the App
// stays open until the test ends.
func lived(t *testing.T, leave bool) (dir string, sessions []string) {
	t.Helper()
	dir = t.TempDir()
	agent := &causeway.Agent[tabs]{Kind: "tabs", OnAlarm: func(context.Context, *causeway.Self[tabs], object.Alarm) error { return nil }}
	s := mcp.NewServer(&mcp.Implementation{Name: "tabs", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "use"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		self := agent.Self(ctx)
		return causeway.Text("used"), nil, self.Tx(ctx, func(ctx context.Context, tx object.Tx, st *tabs) error {
			st.Count++
			if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS drinks (name TEXT); INSERT INTO drinks VALUES ('tea'), (hex(randomblob(20000)))`); err != nil {
				return err
			}
			_, err := self.Schedule(ctx, object.In(time.Hour), "pay", "the bill", &object.AlarmOptions{ID: "one"})
			return err
		})
	})
	app := &causeway.App{Data: dir}
	app.Mount("/mcp", agent.Handler(s))
	if err := app.Open(); err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(app.Handler())
	t.Cleanup(ts.Close)
	for range 2 {
		sid := call(t, ts.URL, "", "initialize", `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}`)
		call(t, ts.URL, sid, "tools/call", `"name":"use","arguments":{}`)
		call(t, ts.URL, sid, "tools/call", `"name":"use","arguments":{}`)
		sessions = append(sessions, sid)
	}
	shut := func() {
		if err := app.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if leave {
		t.Cleanup(shut)
	} else {
		shut()
	}
	return dir, sessions
}

func call(t *testing.T, url, sid, method, params string) string {
	t.Helper()
	req, err := http.NewRequest("POST", url+"/mcp", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if sid != "" {
		req.Header.Set("Mcp-Session-Id", sid)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || strings.Contains(b.String(), `"isError":true`) || strings.Contains(b.String(), `"error"`) {
		t.Fatal(resp.Status, b.String())
	}
	return resp.Header.Get("Mcp-Session-Id")
}

func data(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	var out, log bytes.Buffer
	err := run(t.Context(), append(append([]string{"data"}, args...), "-data", dir), &out, &log)
	t.Logf("%v: %v\n%s%s", args, err, out.String(), log.String())
	return out.String(), err
}

func mustData(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := data(t, dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stored is what the log says about the objects, and all records.
func stored(t *testing.T, dir string) (objects []store.ObjectInfo, all string) {
	t.Helper()
	s, err := local.Open(filepath.Join(dir, storeDir), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b strings.Builder
	for info, err := range s.Objects(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, info)
	}
	slices.SortFunc(objects, func(a, b store.ObjectInfo) int { return strings.Compare(a.Object.ID, b.Object.ID) })
	for r, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %x %v\n", r.Key, r.Revision, sha256.Sum256(r.Value), r.Expires)
	}
	for _, info := range objects {
		fmt.Fprintln(&b, info.Object)
		for e, err := range s.Load(t.Context(), info.Object) {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%d %v %x %v\n", e.Seq, e.Kind, sha256.Sum256(e.Body), e.Blobs)
		}
	}
	return objects, b.String()
}

func wantAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %s", part, text)
		}
	}
}

func TestLookingShowsWhatIsThereAndChangesNothing(t *testing.T) {
	dir, sessions := lived(t, false)
	objects, before := stored(t, dir)
	id := objects[0].Object.ID
	list := mustData(t, dir, "list")
	wantAll(t, list, "tabs", "DATABASES  2", "SESSIONS   2 ", "mount/mcp|mcp/session/", "object/wake/", "causeway/")
	listed := mustData(t, dir, "list", "tabs")
	wantAll(t, listed, short(id))
	inspected := mustData(t, dir, "inspect", "tabs", short(id))
	wantAll(t, inspected, `"Count": 2`, `alarm "pay"`, "the bill", `table "drinks": 4 rows`)
	if whole := mustData(t, dir, "inspect", "tabs", id); whole != inspected {
		t.Errorf("by the whole id: %s", whole)
	}
	verified := mustData(t, dir, "verify")
	wantAll(t, verified, "2 objects, 2 of them with a database")
	secret, err := os.ReadFile(filepath.Join(dir, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range append(sessions, id, strings.TrimSpace(string(secret))) {
		if strings.Contains(list+listed+inspected+verified, hidden) {
			t.Errorf("%q was printed", hidden)
		}
	}
	if _, after := stored(t, dir); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

func TestAnObjectMovesThroughAFile(t *testing.T) {
	dir, _ := lived(t, false)
	objects, _ := stored(t, dir)
	id := objects[0].Object.ID
	file := filepath.Join(t.TempDir(), "object")
	mustData(t, dir, "export", "tabs", short(id), file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := data(t, dir, "export", "tabs", id, file); err == nil {
		t.Error("a file was overwritten")
	}
	if _, err := data(t, dir, "import", "tabs", id, file); !errors.Is(err, object.ErrExists) {
		t.Errorf("an object was overwritten: %v", err)
	}
	mustData(t, dir, "import", "tabs", "copy", file)
	wantAll(t, mustData(t, dir, "inspect", "tabs", "copy"), `"Count": 2`, `alarm "pay"`, `table "drinks": 4 rows`)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := data(t, dir, "import", "tabs", "bad", file); !errors.Is(err, object.ErrDamaged) {
		t.Errorf("a damaged export: %v", err)
	}
	wantAll(t, mustData(t, dir, "compact"), "compacted")
	wantAll(t, mustData(t, dir, "verify"), "3 objects, 3 of them with a database")
}

func TestVerifyNamesADamagedDatabase(t *testing.T) {
	dir, _ := lived(t, false)
	objects, _ := stored(t, dir)
	export := filepath.Join(t.TempDir(), "object")
	mustData(t, dir, "export", "tabs", objects[0].Object.ID, export)
	// The file of an imported database is what the journal builds upon; another is
	// written anew from the journal.
	const id = "imported-with-an-id-that-is-long"
	mustData(t, dir, "import", "tabs", id, export)
	file := (&dataDir{dir: dir}).databaseFile(store.ObjectID{Kind: "tabs", ID: id})
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err) // the name is package object's
	}
	mustData(t, dir, "verify")
	whole := bytes.Clone(b)
	copy(b[4096:], bytes.Repeat([]byte{0xff}, 200)) // the root of the table
	for what, change := range map[string]func() error{
		"damaged": func() error { return os.WriteFile(file, b, 0o600) },
		"gone":    func() error { return os.Remove(file) },
	} {
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, err := data(t, dir, "verify")
		if exitCode(err, &bytes.Buffer{}) != 1 {
			t.Fatalf("%s: %v", what, err)
		}
		wantAll(t, err.Error(), file, "restore the directory from a backup", short(id))
		if strings.Contains(err.Error(), id) {
			t.Errorf("the whole id is shown: %v", err)
		}
	}
}

func TestVerifyLooksAtTheSecret(t *testing.T) {
	dir, _ := lived(t, false)
	name := filepath.Join(dir, "secret.key")
	right, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{"another": strings.Repeat("ab", 32), "none": "not hexadecimal"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := data(t, dir, "verify")
		if exitCode(err, &bytes.Buffer{}) != 1 || strings.Contains(err.Error(), content) {
			t.Fatalf("%s: %v", what, err)
		}
		wantAll(t, err.Error(), name)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	wantAll(t, mustData(t, dir, "verify"), "is whole", name, "App.Secret")
	if err := os.WriteFile(name, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustData(t, dir, "verify"); strings.Contains(got, "secret") {
		t.Errorf("%s", got)
	}
}

func TestAFlippedBitInTheLogIsFound(t *testing.T) {
	dir, _ := lived(t, false)
	mustData(t, dir, "compact")
	mustData(t, dir, "verify")
	packs, err := filepath.Glob(filepath.Join(dir, storeDir, "[lp]*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, name := range packs {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a segment prepared and not used
		}
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte(`{"Count":2}`))
		if at < 0 {
			continue
		}
		flipped++
		b[at+3] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = data(t, dir, "verify")
		if !errors.Is(err, store.ErrDamaged) {
			t.Fatalf("%s: %v", name, err)
		}
		wantAll(t, err.Error(), name, "restore the directory from a backup")
		if _, err := data(t, dir, "compact"); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("compacted in spite of it: %v", err)
		}
		b[at+3] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if flipped == 0 {
		t.Error("no bit was flipped")
	}
}

func TestADirectoryInUseIsLeftAlone(t *testing.T) {
	dir, _ := lived(t, true)
	for _, args := range [][]string{{"list"}, {"verify"}, {"compact"}, {"inspect", "tabs", "x"}} {
		_, err := data(t, dir, args...)
		if err == nil {
			t.Fatalf("%v: a directory in use was opened", args)
		}
		wantAll(t, err.Error(), "in use by another process", "stop that one", dir)
	}
}

func TestWhatIsNoDataDirectorySaysSo(t *testing.T) {
	write := func(name, text string) func(dir string) {
		return func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(dir string)
		give   string
		want   []string
	}{
		"missing":         {func(string) {}, "none", []string{"there is no directory", "-data DIR"}},
		"a file":          {func(string) {}, "secret.key", []string{"is a file", "-data DIR"}},
		"foreign":         {write("objects/x", "y"), "objects", []string{"no data directory of Causeway", "-data DIR"}},
		"the log itself":  {func(string) {}, "store", []string{"is the log of a data directory: give"}},
		"newer":           {write("store/FORMAT", "causeway data directory\nversion 99\n"), "", []string{"FORMAT", "version 99", "newer"}},
		"damaged FORMAT":  {write("store/FORMAT", "causeway data directory\nversion 1\nid zz\n"), "", []string{"FORMAT", "restore this file"}},
		"FORMAT is gone":  {func(dir string) { os.Remove(filepath.Join(dir, "store", "FORMAT")) }, "", []string{"FORMAT is missing", "backup"}},
		"somebody else's": {write("store/FORMAT", "hello"), "", []string{"FORMAT", "not a data directory of this version"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := lived(t, false)
			c.change(dir)
			before := names(t, dir)
			_, err := data(t, filepath.Join(dir, c.give), "list")
			if err == nil {
				t.Fatal("it was opened")
			}
			wantAll(t, err.Error(), append(c.want, dir)...)
			if after := names(t, dir); after != before {
				t.Errorf("before %s\nafter %s", before, after)
			}
		})
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, "\n")
}

func TestWordsThatMakeNoCommandAreExplained(t *testing.T) {
	for _, args := range [][]string{{"lost"}, {"inspect", "tabs"}, {"export", "tabs", "x"}, {"verify", "now"}, {"list", "-what"}} {
		if _, err := data(t, t.TempDir(), args...); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestOnlyTheKindOfARecordIsShown(t *testing.T) {
	for key, want := range map[string]string{
		"mount/mcp|mcp/session/SECRET":   "mount/mcp|mcp/session/",
		"mount/mcp|mcp/task/SECRET/a/b":  "mount/mcp|mcp/task/",
		"oauth/key":                      "oauth/",
		"oauth/grant/SECRET":             "oauth/grant/",
		"SECRET/x/y":                     "(other)",
		"mount/mcp|SECRET/x":             "mount/mcp|(other)",
		"mcp":                            "mcp/",
		"object/wake/kind/SECRET/SECRET": "object/wake/",
	} {
		if got := recordGroup(key); got != want {
			t.Errorf("%q: %q", key, got)
		}
	}
}

func TestAnIDIsShownInPartAndCannotSteerTheTerminal(t *testing.T) {
	for id, want := range map[string]string{
		"copy":                               "copy",
		"s-0123456789abcdef0123456789abcdef": "s-012345…cdef",
		"ü234567ü23456789ü":                  "ü234567…89ü",
		"\x1b[2J\u202e":                      `\u001b[2J\u202e`,
	} {
		if got := short(id); got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}
