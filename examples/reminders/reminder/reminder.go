// Package reminder sets alarms: they go off when they are due, also if nobody is connected
// and the process was killed meanwhile.
package reminder

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const dueURI = "reminders://due"

// State is what was due. What is not due yet are the alarms of the object.
type State struct{ Due []Reminder }

type Reminder struct {
	ID   string    `json:"id"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

var reminders = &causeway.Agent[State]{
	Kind: "reminders", Scope: causeway.PerUser, Resources: []string{dueURI}, OnAlarm: remind,
}

const (
	maxText    = 1000            // bytes
	maxSeconds = 365 * 24 * 3600 // a year
	maxPending = 100
	maxDue     = 100 // the oldest are dropped
)

// remind moves a reminder into the state. Alarms go off at least once, after a crash
// perhaps twice, so what is there already is not added again.
func remind(ctx context.Context, me *causeway.Self[State], a object.Alarm) error {
	var text string
	if err := a.Decode(&text); err != nil {
		return err
	}
	_, err := me.Update(ctx, func(st *State) error {
		if !slices.ContainsFunc(st.Due, func(r Reminder) bool { return r.ID == a.ID }) {
			st.Due = append(st.Due, Reminder{ID: a.ID, Text: text, At: a.At})
			st.Due = st.Due[max(0, len(st.Due)-maxDue):]
		}
		return nil
	})
	return err
}

func remindMe(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Text      string  `json:"text" jsonschema:"what to remind of"`
	InSeconds float64 `json:"in_seconds" jsonschema:"in how many seconds"`
}) (*mcp.CallToolResult, *Reminder, error) {
	switch {
	case in.Text == "" || len(in.Text) > maxText:
		return nil, nil, fmt.Errorf("the text has %d bytes; 1 to %d are allowed", len(in.Text), maxText)
	case in.InSeconds < 0 || in.InSeconds > maxSeconds:
		return nil, nil, fmt.Errorf("in_seconds can be 0 to %d", maxSeconds)
	}
	at := time.Now().Add(time.Duration(in.InSeconds * float64(time.Second)))
	r := &Reminder{Text: in.Text, At: at}
	me := reminders.Self(ctx)
	// In one step, so that two calls at once cannot both be the last that is allowed.
	err := me.Tx(ctx, func(ctx context.Context, _ object.Tx, _ *State) error {
		pending, err := me.Alarms(ctx)
		if err != nil {
			return err
		}
		if len(pending) >= maxPending {
			return fmt.Errorf("there are %d reminders already; cancel one first", len(pending))
		}
		r.ID, err = me.Schedule(ctx, object.At(at), "remind", in.Text, nil)
		return err
	})
	return nil, r, err
}

// Reminders are all there are.
type Reminders struct {
	Pending []Reminder `json:"pending"`
	Due     []Reminder `json:"due"`
}

func listReminders(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, Reminders, error) {
	all := Reminders{Pending: []Reminder{}, Due: []Reminder{}}
	me := reminders.Self(ctx)
	err := me.Tx(ctx, func(ctx context.Context, _ object.Tx, st *State) error {
		alarms, err := me.Alarms(ctx)
		if err != nil {
			return err
		}
		for _, a := range alarms {
			r := Reminder{ID: a.ID, At: a.At}
			if err := a.Decode(&r.Text); err != nil {
				return err
			}
			all.Pending = append(all.Pending, r)
		}
		all.Due = append(all.Due, st.Due...)
		return nil
	})
	return nil, all, err
}

func cancelReminder(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	ID string `json:"id" jsonschema:"of a reminder that is not due yet"`
}) (*mcp.CallToolResult, any, error) {
	if err := reminders.Self(ctx).Cancel(ctx, in.ID); err != nil {
		return nil, nil, fmt.Errorf("reminder %q: %w", in.ID, err)
	}
	return causeway.Text("Cancelled."), nil, nil
}

func due(ctx context.Context, _ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	st, err := reminders.Self(ctx).State(ctx)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, r := range st.Due {
		fmt.Fprintf(&text, "%s  %s\n", r.At.UTC().Format(time.DateTime), r.Text)
	}
	return causeway.TextResource(text.String()), nil
}

func newServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "Reminders", Version: "1.0.0"}, causeway.Subscribable(nil))
	causeway.AddTool(s, &mcp.Tool{Name: "remind_me", Description: "Sets a reminder."}, remindMe)
	causeway.AddTool(s, &mcp.Tool{Name: "list_reminders", Description: "Lists reminders, those that were due too.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, listReminders)
	causeway.AddTool(s, &mcp.Tool{Name: "cancel_reminder", Description: "Cancels a reminder."}, cancelReminder)
	s.AddResource(&mcp.Resource{URI: dueURI, Name: "due", MIMEType: "text/plain"}, due)
	return s
}

// Handler is the server, for App.Mount.
func Handler() causeway.MountHandler { return reminders.Handler(newServer()) }
