package expose

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

var versions = []string{"2025-11-25", "2026-07-28"}

// two people, in either pairing of eras, at the same time.
func two(t *testing.T, x *exposed, do func(t *testing.T, ann, bob *person)) {
	ann, bob := x.signIn(t, "ann"), x.signIn(t, "bob")
	for _, a := range versions {
		for _, b := range versions {
			t.Run("ann with "+a+", bob with "+b, func(t *testing.T) {
				do(t, x.connect(t, "ann", ann, a), x.connect(t, "bob", bob, b))
			})
		}
	}
}

func TestServerMemory(t *testing.T) {
	t.Parallel()
	x := expose(t, nodeProgram(t, "@modelcontextprotocol/server-memory/dist/index.js"), "-env", "MEMORY_FILE_PATH={{.Dir}}/memory.json")
	two(t, x, func(t *testing.T, ann, bob *person) {
		done := make(chan struct{})
		go func() { // at the same time
			defer close(done)
			_, _ = bob.try("create_entities", entity("Bobs_boat"))
		}()
		ann.call("create_entities", entity("Anns_attic"))
		<-done
		a, b := ann.call("read_graph", nil), bob.call("read_graph", nil)
		if !strings.Contains(a, "Anns_attic") || strings.Contains(a, "Bobs_boat") {
			t.Errorf("ann remembers %s", a)
		}
		if !strings.Contains(b, "Bobs_boat") || strings.Contains(b, "Anns_attic") {
			t.Errorf("bob remembers %s", b)
		}
	})
	files, err := filepath.Glob(filepath.Join(x.data, "people", "*", "memory.json"))
	if err != nil || len(files) != 2 {
		t.Errorf("files %v, %v", files, err)
	}
}

func entity(name string) map[string]any {
	return map[string]any{"entities": []any{map[string]any{"name": name, "entityType": "thing", "observations": []string{"seen"}}}}
}

// The client's roots name the whole disk, and must not become what is served.
func TestServerFilesystem(t *testing.T) {
	t.Parallel()
	x := expose(t, append(nodeProgram(t, "@modelcontextprotocol/server-filesystem/dist/index.js"), "{{.Dir}}"))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("not for them"), 0o600); err != nil {
		t.Fatal(err)
	}
	two(t, x, func(t *testing.T, ann, bob *person) {
		homes := map[*person]string{}
		for _, p := range []*person{ann, bob} {
			_, home, _ := strings.Cut(p.call("list_allowed_directories", nil), "\n")
			homes[p] = strings.TrimSpace(home)
		}
		if homes[ann] == homes[bob] || !strings.Contains(homes[ann], x.data) {
			t.Fatalf("ann has %q and bob %q", homes[ann], homes[bob])
		}
		note := filepath.Join(homes[ann], "note")
		ann.call("write_file", map[string]any{"path": note, "content": "of ann"})
		if got := ann.call("read_text_file", map[string]any{"path": note}); !strings.Contains(got, "of ann") {
			t.Errorf("ann reads %q", got)
		}
		for p, path := range map[*person]string{bob: note, ann: outside} {
			if got, err := p.try("read_text_file", map[string]any{"path": path}); err == nil {
				t.Errorf("%s was read: %q", path, got)
			}
		}
	})
}

func TestServerEverything(t *testing.T) {
	t.Parallel()
	x := expose(t, nodeProgram(t, "@modelcontextprotocol/server-everything/dist/index.js"), "-env", "WHO={{.Props.name}}")
	two(t, x, func(t *testing.T, ann, bob *person) {
		for name, p := range map[string]*person{"ann": ann, "bob": bob} {
			if got := p.call("echo", map[string]any{"message": name}); !strings.Contains(got, name) {
				t.Errorf("echo: %q", got)
			}
			if got := p.call("get-env", nil); !strings.Contains(got, `"WHO": "`+name+`"`) || strings.Contains(got, "CAUSEWAY_PLANTED") {
				t.Errorf("environment: %s", got)
			}
			if got := p.call("trigger-sampling-request", map[string]any{"prompt": "p", "maxTokens": 5}); !strings.Contains(got, "the model of "+name) {
				t.Errorf("sampling: %s", got)
			}
			if got := p.call("trigger-elicitation-request", nil); !strings.Contains(got, name) {
				t.Errorf("elicitation: %s", got)
			}
			p.call("trigger-long-running-operation", map[string]any{"duration": 0.3, "steps": 3})
			for want := 1.0; want <= 3; want++ {
				select {
				case got := <-p.progress:
					if got != want {
						t.Errorf("progress %v, want %v", got, want)
					}
				case <-time.After(patience):
					t.Fatal("no progress")
				}
			}
			res, err := p.ListResources(soon(t), nil)
			if err != nil || len(res.Resources) == 0 {
				t.Fatalf("resources: %v %v", res, err)
			}
			if _, err := p.ReadResource(soon(t), &mcp.ReadResourceParams{URI: res.Resources[0].URI}); err != nil {
				t.Errorf("reading: %v", err)
			}
			prompts, err := p.ListPrompts(soon(t), nil)
			if err != nil || len(prompts.Prompts) == 0 {
				t.Fatalf("prompts: %v %v", prompts, err)
			}
			if err := p.Subscribe(soon(t), &mcp.SubscribeParams{URI: res.Resources[0].URI}); err != nil {
				t.Errorf("subscribing: %v", err)
			}
		}
	})
}

func TestNobodyGetsInWithoutSigningIn(t *testing.T) {
	t.Parallel()
	x := expose(t, nodeProgram(t, "@modelcontextprotocol/server-memory/dist/index.js"))
	resp, err := http.Post(x.url+"/mcp", "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "resource_metadata") {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	if left := below(t, x.data+"/people"); len(left) > 0 {
		t.Errorf("a program was started for nobody: %v", left)
	}
}

// kill -9 of causeway takes the programs with it.
func TestKillMinusNineLeavesNothing(t *testing.T) {
	t.Parallel()
	x := expose(t, nodeProgram(t, "@modelcontextprotocol/server-everything/dist/index.js"))
	x.connect(t, "ann", x.signIn(t, "ann"), "2026-07-28").call("echo", map[string]any{"message": "x"})
	people := x.data + "/people"
	if len(below(t, people)) == 0 {
		t.Fatal("no program runs")
	}
	if err := x.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-x.ended
	x.ended <- nil // for stop
	for deadline := time.Now().Add(patience); len(below(t, people)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", below(t, people))
		}
	}
}
