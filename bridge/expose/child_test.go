//go:build linux

package expose

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The tests' programs are this test binary, started again: some are proper servers
// and some are hostile.
func TestMain(m *testing.M) {
	switch kind := os.Getenv("EXPOSE_CHILD"); kind {
	case "":
		os.Exit(m.Run())
	case "guard":
		Guard(os.Stdin)
	case "supervisor":
		supervise()
	case "sdk":
		proper()
	default:
		hostile(kind)
	}
	os.Exit(0)
}

type textIn struct {
	Text string `json:"text,omitempty"`
}

func said(text string) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
}

// openFiles are what the descriptors of a process lead to.
func openFiles(pid string) (all []string) {
	dir := "/proc/" + pid + "/fd/"
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if to, err := os.Readlink(dir + entry.Name()); err == nil {
			all = append(all, to)
		}
	}
	return all
}

// proper is a server as people write them, in either era.
func proper() {
	subscribed := func(context.Context, *mcp.SubscribeRequest) error { return nil }
	unsubscribed := func(context.Context, *mcp.UnsubscribeRequest) error { return nil }
	s := mcp.NewServer(&mcp.Implementation{Name: "proper", Version: "7.1"}, &mcp.ServerOptions{
		Instructions: "be kind", SubscribeHandler: subscribed, UnsubscribeHandler: unsubscribed,
		CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{"red", "green"}}}, nil
		},
		Capabilities: &mcp.ServerCapabilities{Logging: &mcp.LoggingCapabilities{}, Tools: &mcp.ToolCapabilities{ListChanged: true},
			Resources: &mcp.ResourceCapabilities{ListChanged: true, Subscribe: true}},
	})
	remembered := ""
	mcp.AddTool(s, &mcp.Tool{Name: "echo", Meta: mcp.Meta{"example.com/x": "kept"}}, func(_ context.Context, _ *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		return said(in.Text)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "env"}, func(_ context.Context, _ *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		return said(os.Getenv(in.Text))
	})
	mcp.AddTool(s, &mcp.Tool{Name: "args"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		dir, _ := os.Getwd()
		return said(fmt.Sprintf("%q in %s", os.Args[1:], dir))
	})
	mcp.AddTool(s, &mcp.Tool{Name: "files"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		return said(strings.Join(openFiles("self"), "\n"))
	})
	mcp.AddTool(s, &mcp.Tool{Name: "pid"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		return said(fmt.Sprint(os.Getpid()))
	})
	mcp.AddTool(s, &mcp.Tool{Name: "remember"}, func(_ context.Context, _ *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		was := remembered
		if in.Text != "" {
			remembered = in.Text
		}
		return said(was)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		ask := &mcp.ElicitParams{Message: "Your name?", RequestedSchema: map[string]any{
			"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}}
		if os.Getenv("EXPOSE_ERA") == "modern" {
			if a, ok := req.Params.InputResponses["who"].(*mcp.ElicitResult); ok && req.Params.RequestState == "halfway" {
				return said(fmt.Sprint("hello ", a.Content["name"]))
			}
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"who": ask}, RequestState: "halfway"}, nil, nil
		}
		var names []string
		for range max(1, len(in.Text)) {
			res, err := req.Session.Elicit(ctx, ask)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, fmt.Sprint(res.Content["name"]))
		}
		return said("hello " + strings.Join(names, " and "))
	})
	mcp.AddTool(s, &mcp.Tool{Name: "sample"}, func(ctx context.Context, req *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		res, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: in.Text}}}})
		if err != nil {
			return nil, nil, err
		}
		return said("the model says " + res.Content.(*mcp.TextContent).Text)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "roots"}, func(ctx context.Context, req *mcp.CallToolRequest, _ textIn) (*mcp.CallToolResult, any, error) {
		res, err := req.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		return said(res.Roots[0].URI)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "progress"}, func(ctx context.Context, req *mcp.CallToolRequest, _ textIn) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3})
		}
		return said("done")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "log"}, func(ctx context.Context, req *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		_ = req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "warning", Data: in.Text})
		fmt.Fprintln(os.Stderr, "stderr:", in.Text)
		return said("done")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		_ = os.WriteFile(in.Text+".began", nil, 0o600)
		select {
		case <-ctx.Done():
			_ = os.WriteFile(in.Text, []byte("cancelled"), 0o600)
		case <-time.After(30 * time.Second):
		}
		return said("waited")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "change"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		mcp.AddTool(s, &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
			return said("new")
		})
		return said("done")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "touch"}, func(ctx context.Context, _ *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, s.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: in.Text})
	})
	mcp.AddTool(s, &mcp.Tool{Name: "crash"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		os.Exit(3)
		return nil, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "stray"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		return said(stray())
	})
	mcp.AddTool(s, &mcp.Tool{Name: "grow"}, func(context.Context, *mcp.CallToolRequest, textIn) (*mcp.CallToolResult, any, error) {
		var kept [][]byte
		for range 64 {
			kept = append(kept, bytes.Repeat([]byte{1}, 8<<20))
		}
		time.Sleep(20 * time.Second)
		runtime.KeepAlive(kept)
		return said("grown")
	})
	s.AddResource(&mcp.Resource{URI: "test://board", Name: "board"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "test://board", Text: "chalk"}}}, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hi"}}}}, nil
	})
	_ = s.Run(context.Background(), &mcp.StdioTransport{})
}

// stray starts a process that outlives its parent's politeness: it has left the
// group, ignores signals and closes nothing.
func stray() string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EXPOSE_CHILD=stubborn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	return fmt.Sprint(cmd.Process.Pid)
}

// tellWhatIsSeen is a program, of whatever era it is asked for, that answers a call
// with the call's params as they arrived, in a result as nobody here would write it.
func tellWhatIsSeen(in *bufio.Reader, out *bufio.Writer) {
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var req struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(line, &req) != nil || req.ID == nil {
			continue
		}
		var token struct {
			Meta struct {
				ProgressToken json.RawMessage `json:"progressToken"`
			} `json:"_meta"`
		}
		_ = json.Unmarshal(req.Params, &token)
		if token.Meta.ProgressToken != nil {
			fmt.Fprintf(out, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`+"\n", token.Meta.ProgressToken)
		}
		result := fmt.Sprintf("{\"content\":[] ,\r\t\"seen\":%s,\r \"number\":1.50e+0, \"\\u0061\":\"\\u0041\u2028\",\"_meta\":{\"own\":[ 1.0]}}", req.Params)
		switch req.Method {
		case "initialize":
			result = `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"seer","version":"1"}}`
		case "server/discover":
			result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"seer","version":"1"}}}`
		}
		fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", req.ID, result)
		out.Flush()
	}
}

const initialized = `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"hostile","version":"1"}}}`

// hostile is a program that means no good, or knows no better.
func hostile(kind string) {
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	in := bufio.NewReader(os.Stdin)
	greet := func() {
		_, _ = in.ReadString('\n')
		fmt.Fprintln(out, initialized)
		out.Flush()
		_, _ = in.ReadString('\n') // initialized
	}
	switch kind {
	case "tells what it sees":
		tellWhatIsSeen(in, out)
	case "exits":
		os.Exit(4)
	case "silent":
		select {}
	case "endless line":
		for {
			_, _ = out.WriteString(strings.Repeat("x", 1<<16))
		}
	case "endless junk":
		for {
			_, _ = out.WriteString("this is no message\n")
		}
	case "greets and babbles": // some junk is forgiven
		fmt.Fprintln(out, "Welcome to my server!")
		fmt.Fprintln(out, "")
		fmt.Fprintln(out, `{"not":"jsonrpc"}`)
		out.Flush()
		greet()
		fmt.Fprintln(out, `{"jsonrpc":"2.0","id":99,"result":{}}`)
		fmt.Fprintln(out, `{"jsonrpc":"2.0","id":"2","result":{}}`)
		fmt.Fprintln(out, `{"jsonrpc":"2.0","method":"notifications/unheard-of","params":{"a":1}}`)
		fmt.Fprintln(out, `{"jsonrpc":"2.0","id":7,"method":"no/such"}`)
		out.Flush()
		_, _ = in.ReadString('\n') // refusal
		_, _ = in.ReadString('\n') // tools/call
		fmt.Fprintln(out, `{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"fine"}],"unknown":{"member":[1,2]}}}`)
		out.Flush()
		_, _ = in.ReadString('\n')
	case "huge message":
		greet()
		_, _ = in.ReadString('\n')
		fmt.Fprintf(out, `{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"%s"}]}}`+"\n", strings.Repeat("x", 4<<20))
		out.Flush()
		select {}
	case "notification flood":
		greet()
		_, _ = in.ReadString('\n')
		for range 200_000 {
			fmt.Fprintln(out, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"x"}}`)
			fmt.Fprintln(out, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}`)
		}
		fmt.Fprintln(out, `{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"fine"}]}}`)
		out.Flush()
		_, _ = in.ReadString('\n')
	case "question flood":
		greet()
		_, _ = in.ReadString('\n')
		go func() { // the refusals must be read
			for {
				if _, err := in.ReadString('\n'); err != nil {
					os.Exit(0)
				}
			}
		}()
		for i := range 500 {
			fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"method":"sampling/createMessage","params":{"maxTokens":1,"messages":[]}}`+"\n", i+100)
			fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"method":"ping"}`+"\n", i+10000)
		}
		fmt.Fprintln(out, `{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"fine"}]}}`)
		out.Flush()
		select {}
	case "wrong result":
		greet()
		for id := 2; ; id++ {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"result":["not","an","object"]}`+"\n", id)
			out.Flush()
		}
	case "fork bomb":
		greet()
		_, _ = in.ReadString('\n')
		_ = exec.Command("/bin/sh", "-c", `b() { sleep 60 & b; }; i=0; while [ $i -lt 5000 ]; do sleep 60 & i=$((i+1)); done; sleep 60`).Run()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		time.Sleep(2 * time.Minute)
	case "stubborn server":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		greet()
		time.Sleep(2 * time.Minute)
	case "deaf": // greets, then never reads again
		greet()
		select {}
	case "closes its output":
		greet()
		_, _ = in.ReadString('\n')
		_ = os.Stdout.Close()
		time.Sleep(2 * time.Minute)
	case "wrong version":
		_, _ = in.ReadString('\n')
		fmt.Fprintln(out, strings.Replace(initialized, "2025-06-18", "2999-01-01", 1))
		out.Flush()
		select {}
	}
}
