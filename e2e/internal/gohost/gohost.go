// Package gohost is a program that people write with the official Go SDK: it answers what servers ask, and
// records what they tell.
package gohost

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A Host is a client's session and what came in over it. Nothing is dropped before 1,000 of a kind.
type Host struct {
	Session    *mcp.ClientSession
	Progressed chan float64
	Updated    chan string
	Changed    chan struct{}
	Asked      chan string
}

// Connect opens a session of the protocol version. The host accepts what it is asked, dines nine outside on
// the 24th, and has a model that answers "rain on the causeway".
func Connect(t *testing.T, transport mcp.Transport, version string) *Host {
	t.Helper()
	h := &Host{Progressed: make(chan float64, 1000), Updated: make(chan string, 1000), Changed: make(chan struct{}, 1000), Asked: make(chan string, 1000)}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e-go-sdk", Version: "1.0.0"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			h.Asked <- req.Params.Message
			if strings.HasPrefix(req.Params.Message, "Really") {
				return &mcp.ElicitResult{Action: "accept"}, nil
			}
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"day": "2026-12-24", "people": 9, "outside": true}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "e2e-model", Role: "assistant", Content: &mcp.TextContent{Text: "rain on the causeway"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			h.Progressed <- req.Params.Progress
		},
		ResourceUpdatedHandler: func(_ context.Context, req *mcp.ResourceUpdatedNotificationRequest) { h.Updated <- req.Params.URI },
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { h.Changed <- struct{}{} },
	})
	client.AddRoots(&mcp.Root{URI: "file:///src", Name: "source"})
	session, err := client.Connect(t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	if got := session.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("negotiated %s, want %s", got, version)
	}
	h.Session = session
	return h
}

// Patience is when a wait has failed: long enough for a busy machine.
const Patience = 30 * time.Second

// Soon is a context for one step of a test, so that a hang is a failure that says where.
func Soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Next waits for what a host is told.
func Next[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-Soon(t).Done():
		t.Fatal("waited in vain")
	}
	return v
}
