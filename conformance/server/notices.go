//lint:file-ignore SA1019 the suite tests sampling, roots and logging in the revisions that have them

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// pace is the pause the scenarios ask for between two notifications of a call.
const pace = 50 * time.Millisecond

// addNoticeTools adds the tools that tell the client something while they run.
func addNoticeTools(server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "test_tool_with_progress", Description: "Reports progress three times before it answers"}, reportProgress)
	mcp.AddTool(server, &mcp.Tool{Name: "test_tool_with_logging", Description: "Logs three messages before it answers"}, logThrice)
	mcp.AddTool(server, &mcp.Tool{Name: "test_logging_tool", Description: "Logs one message, which only clients that set a log level receive"}, logOnce)
	mcp.AddTool(server, &mcp.Tool{Name: "test_reconnection", Description: "Closes its stream before it answers, so that the client fetches the answer by resuming"}, answerAfterReconnect)
}

func reportProgress(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return text("No progress was asked for."), nil, nil
	}
	for _, done := range []float64{0, 50, 100} {
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token,
			Progress:      done,
			Total:         100,
			Message:       fmt.Sprintf("%.0f of 100", done),
		})
		if err != nil {
			return nil, nil, fmt.Errorf("reporting progress: %w", err)
		}
		if err := pause(ctx, pace); err != nil {
			return nil, nil, err
		}
	}
	return text("Progress was reported three times."), nil, nil
}

func logThrice(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	for _, line := range []string{"started", "working", "finished"} {
		if err := logInfo(ctx, req, "test_tool_with_logging "+line); err != nil {
			return nil, nil, err
		}
		if err := pause(ctx, pace); err != nil {
			return nil, nil, err
		}
	}
	return text("Three messages were logged."), nil, nil
}

func logOnce(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if err := logInfo(ctx, req, "test_logging_tool ran"); err != nil {
		return nil, nil, err
	}
	return text("One message was logged, if the request set a level."), nil, nil
}

func logInfo(ctx context.Context, req *mcp.CallToolRequest, message string) error {
	err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Logger: "fixture", Data: message})
	if err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	return nil
}

// answerAfterReconnect closes the stream of its own call and goes on working
// (2025-11-25, "SSE polling"). The client waits for the retry time, opens the
// stream again with Last-Event-ID and finds the answer there.
func answerAfterReconnect(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if req.Extra != nil && req.Extra.CloseSSEStream != nil {
		req.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 20 * time.Millisecond})
	}
	// Long enough for the client to see the end of the stream while the
	// answer is still missing.
	if err := pause(ctx, 2*pace); err != nil {
		return nil, nil, err
	}
	return text("The answer came after the stream was closed."), nil, nil
}

// pause waits for d, or returns the reason why the call was given up.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
