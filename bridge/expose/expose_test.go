//go:build linux

package expose

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

var eras = []clientKind{{version: "2026-07-28"}, {version: "2025-11-25"}, {version: "2025-03-26"}}

// Every era of clients meets every era of programs.
func TestEverythingIsCarried(t *testing.T) {
	for _, child := range []struct {
		name string
		era  Era
	}{{"legacy", EraLegacy}, {"modern", EraModern}} {
		for _, k := range append(slices.Clone(eras), clientKind{version: "2024-11-05", sse: true}) {
			t.Run(fmt.Sprintf("a %s client, a %s program", k.version, child.name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "sdk", Options{Era: child.era, Roots: true, Env: []string{"EXPOSE_ERA=" + child.name}})
				ann := w.connect(t, "ann", k)
				carries(t, ann, k, child.era == EraModern)
			})
		}
	}
}

func carries(t *testing.T, ann *person, k clientKind, modernChild bool) {
	if info := ann.InitializeResult(); info.Instructions != "be kind" {
		t.Errorf("instructions %q", info.Instructions)
	}
	ann.want("echo", "hello", "hello")

	tools, err := ann.ListTools(soon(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(tools.Tools, func(x *mcp.Tool) bool { return x.Name == "echo" })
	if i < 0 || tools.Tools[i].Meta["example.com/x"] != "kept" {
		t.Errorf("echo is not listed as the program lists it: %+v", tools.Tools)
	}
	if slices.ContainsFunc(tools.Tools, func(x *mcp.Tool) bool { return x.Name == standIn }) {
		t.Error("the stand-in is listed")
	}
	if _, err := ann.try("no such tool", ""); err == nil {
		t.Error("a tool that is not there can be called")
	}
	res, err := ann.ReadResource(soon(t), &mcp.ReadResourceParams{URI: "test://board"})
	if err != nil || res.Contents[0].Text != "chalk" {
		t.Errorf("reading: %v %v", res, err)
	}
	if _, err := ann.ReadResource(soon(t), &mcp.ReadResourceParams{URI: "test://nothing"}); err == nil {
		t.Error("a resource that is not there can be read")
	}
	prompt, err := ann.GetPrompt(soon(t), &mcp.GetPromptParams{Name: "greet"})
	if err != nil || len(prompt.Messages) != 1 {
		t.Errorf("prompt: %v %v", prompt, err)
	}
	done, err := ann.Complete(soon(t), &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"}, Argument: mcp.CompleteParamsArgument{Name: "c", Value: "r"}})
	if err != nil || !slices.Equal(done.Completion.Values, []string{"red", "green"}) {
		t.Errorf("completion: %v %v", done, err)
	}

	ann.want("progress", "", "done")
	for i := range 3 {
		if got := next(t, "progress", ann.progress); got != float64(i+1) {
			t.Errorf("progress %v, want %v", got, i+1)
		}
	}

	if k.version >= "2025-06-18" {
		ann.want("ask", "", "hello ann")
		if got := next(t, "question", ann.asked); got != "Your name?" {
			t.Errorf("asked %q", got)
		}
	}
	if !modernChild { // a 2026-07-28 handler of the SDK asks by results only
		ann.want("sample", "weather", "the model says rain, ann")
		ann.want("roots", "", "file:///home/ann")
		if k.version >= "2025-06-18" {
			ann.want("ask", "thrice", strings.Repeat("hello ann and ann and ann and ann and ann and ann", 1))
		}
	}

	if k.version < modern {
		if err := ann.SetLoggingLevel(soon(t), &mcp.SetLoggingLevelParams{Level: "info"}); err != nil {
			t.Fatal(err)
		}
		ann.want("log", "a warning", "done")
		if got := next(t, "log message", ann.logs); got != "a warning" {
			t.Errorf("logged %q", got)
		}
	}

	if err := ann.Subscribe(soon(t), &mcp.SubscribeParams{URI: "test://board"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an update of the resource", func() bool {
		ann.call("touch", "test://board")
		select {
		case uri := <-ann.updated:
			return uri == "test://board"
		default:
			return false
		}
	})

	file := filepath.Join(t.TempDir(), "wait")
	ctx, cancel := contextWithCancel()
	go func() {
		eventuallyExists(file + ".began")
		cancel()
	}()
	if _, err := ann.CallTool(ctx, &mcp.CallToolParams{Name: "wait", Arguments: map[string]any{"text": file}}); err == nil {
		t.Error("a cancelled call succeeded")
	}
	eventually(t, "the program hears of the cancellation", func() bool { return exists(file) })

	ann.call("change", "")
	next(t, "the changed list", ann.changed)
	ann.want("new", "", "new")
}
