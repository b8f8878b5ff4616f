package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// connect returns a session of the fixture in memory, with the SDK alone.
func connect(t *testing.T) *mcp.ClientSession {
	t.Helper()
	ctx := context.Background()
	clientSide, serverSide := mcp.NewInMemoryTransports()
	serverSession, err := newServer().Connect(ctx, serverSide, nil)
	if err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, clientSide, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		serverSession.Close()
	})
	return session
}

func toolList(t *testing.T, session *mcp.ClientSession) []byte {
	t.Helper()
	list, err := session.ListTools(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(list.Tools)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestToolsThatChangeAListPutItBack(t *testing.T) {
	session := connect(t)
	before := toolList(t, session)
	for _, name := range []string{"test_trigger_tool_change", "test_trigger_prompt_change"} {
		result, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: name})
		if err != nil || result.IsError {
			t.Fatalf("%s: %v, %+v", name, err, result)
		}
	}
	if after := toolList(t, session); !bytes.Equal(before, after) {
		t.Errorf("the list was\n%s\nand is\n%s", before, after)
	}
}

func TestTheFirstToolAcceptsACallWithoutArguments(t *testing.T) {
	session := connect(t)
	list, err := session.ListTools(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	first := list.Tools[0].Name
	if _, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: first, Arguments: map[string]any{}}); err != nil {
		t.Errorf("the suite calls %s with {} and must get a result, not %v", first, err)
	}
}

func TestEveryToolAndPromptIsDescribed(t *testing.T) {
	session := connect(t)
	for tool, err := range session.Tools(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if tool.Description == "" {
			t.Errorf("tool %s has no description", tool.Name)
		}
	}
	for prompt, err := range session.Prompts(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if prompt.Description == "" {
			t.Errorf("prompt %s has no description", prompt.Name)
		}
	}
}

func TestASignedStateIsTheKeyOwnersAlone(t *testing.T) {
	ours, theirs := &signedRounds{key: newKey()}, &signedRounds{key: newKey()}
	signed := ours.sign("state")
	if again := ours.sign("state"); again != signed {
		t.Errorf("one state is signed as %s and as %s", signed, again)
	}
	if theirs.sign("state") == signed {
		t.Error("another key makes the same signature")
	}
	if ours.sign("other") == signed {
		t.Error("another state has the same signature")
	}
}

func TestMediaAreWhatTheirTypesSay(t *testing.T) {
	if _, err := png.Decode(bytes.NewReader(redPixel())); err != nil {
		t.Errorf("the picture is no PNG: %v", err)
	}
	sound := silence()
	if !bytes.HasPrefix(sound, []byte("RIFF")) || !bytes.Equal(sound[8:16], []byte("WAVEfmt ")) {
		t.Errorf("the sound is no WAV: %x", sound[:16])
	}
	if size := int(sound[4]) | int(sound[5])<<8; size != len(sound)-8 {
		t.Errorf("the sound says it has %d bytes, and has %d", size, len(sound)-8)
	}
}

func TestTemplateReadsTheIDInTheURI(t *testing.T) {
	session := connect(t)
	result, err := session.ReadResource(context.Background(), &mcp.ReadResourceParams{URI: "test://template/123/data"})
	if err != nil {
		t.Fatal(err)
	}
	var data struct{ ID string }
	if err := json.Unmarshal([]byte(result.Contents[0].Text), &data); err != nil || data.ID != "123" {
		t.Errorf("read %q (%v)", result.Contents[0].Text, err)
	}
}

func TestCompletionSuggestsWhatBeginsAlike(t *testing.T) {
	session := connect(t)
	result, err := session.Complete(context.Background(), &mcp.CompleteParams{
		Ref:      &mcp.CompleteReference{Type: "ref/prompt", Name: "test_prompt_with_arguments"},
		Argument: mcp.CompleteParamsArgument{Name: "arg1", Value: "part"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(result.Completion.Values, []string{"party"}) {
		t.Errorf("suggested %q", result.Completion.Values)
	}
}
