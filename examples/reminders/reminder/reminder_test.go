package reminder

import (
	"context"
	"github.com/causeway-mcp/causeway"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestMain(m *testing.M) { program.TestMain(m, serve) }

func remindIn(c *program.Client, seconds float64, text string) Reminder {
	return program.Ask[Reminder](c, "remind_me", map[string]any{"text": text, "in_seconds": seconds})
}

func listAll(c *program.Client) Reminders { return program.Ask[Reminders](c, "list_reminders", nil) }

func inEachEra(t *testing.T, test func(t *testing.T, era string)) {
	for _, era := range program.Eras {
		t.Run(era, func(t *testing.T) { t.Parallel(); test(t, era) })
	}
}

func TestSubscribersHearOfWhatIsDue(t *testing.T) {
	inEachEra(t, func(t *testing.T, era string) {
		updated := make(chan string, 100)
		c := program.Start(t).Connect(era, &mcp.ClientOptions{
			ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
		})
		if err := c.Subscribe(program.Soon(t), &mcp.SubscribeParams{URI: dueURI}); err != nil {
			t.Fatal(err)
		}
		r := remindIn(c, 0.2, "drink water")
		if got := program.Next(t, updated); got != dueURI {
			t.Errorf("updated %s", got)
		}
		if got := c.Read(dueURI); !strings.HasSuffix(got, "drink water\n") || strings.Count(got, "\n") != 1 {
			t.Errorf("the resource is %q", got)
		}
		if all := listAll(c); len(all.Due) != 1 || all.Due[0].ID != r.ID || all.Due[0].Text != "drink water" {
			t.Errorf("%+v", all)
		}
	})
}

func TestRemindersOutliveAKilledProcess(t *testing.T) {
	inEachEra(t, func(t *testing.T, era string) {
		p := program.Start(t)
		c := p.Connect(era, nil)
		soon, late := remindIn(c, 0.5, "soon"), remindIn(c, 3600, "late")
		p.Crash()
		all := waitFor(c, t, soon.ID)
		if len(all.Due) != 1 || len(all.Pending) != 1 || all.Pending[0].ID != late.ID || !all.Pending[0].At.Equal(late.At) {
			t.Errorf("after a crash %+v", all)
		}
		p.Restart()
		if all := listAll(c); len(all.Due) != 1 || len(all.Pending) != 1 {
			t.Errorf("after a restart %+v", all)
		}
	})
}

// What became due while no process ran goes off at the start of the next.
func TestRemindersThatWereMissedAreMadeUpFor(t *testing.T) {
	inEachEra(t, func(t *testing.T, era string) {
		p := program.Start(t)
		c := p.Connect(era, nil)
		r := remindIn(c, 1, "missed")
		p.Kill()
		time.Sleep(time.Until(r.At))
		p.Crash()
		if all := waitFor(c, t, r.ID); len(all.Due) != 1 || len(all.Pending) != 0 {
			t.Errorf("%+v", all)
		}
	})
}

// waitFor waits until a reminder was due and its alarm is gone.
func waitFor(c *program.Client, t *testing.T, id string) Reminders {
	t.Helper()
	bound := program.Soon(t)
	for bound.Err() == nil {
		all := listAll(c)
		pending := false
		for _, r := range all.Pending {
			pending = pending || r.ID == id
		}
		for _, r := range all.Due {
			if r.ID == id && !pending {
				return all
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("reminder %s was never due", id)
	panic("unreachable")
}

func TestWhatIsCancelledIsNeverDue(t *testing.T) {
	inEachEra(t, func(t *testing.T, era string) {
		c := program.Start(t).Connect(era, nil)
		first := remindIn(c, 1, "cancelled")
		if got := c.Call("cancel_reminder", map[string]any{"id": first.ID}); got != "Cancelled." {
			t.Error(got)
		}
		second := remindIn(c, 1, "kept") // due after the first would have been
		if all := waitFor(c, t, second.ID); len(all.Due) != 1 || len(all.Pending) != 0 {
			t.Errorf("%+v", all)
		}
		if got := c.Refused("cancel_reminder", map[string]any{"id": second.ID}); !strings.Contains(got, "not found") {
			t.Errorf("cancelling what was due: %s", got)
		}
	})
}

func TestNonsenseIsRefused(t *testing.T) {
	inEachEra(t, func(t *testing.T, era string) {
		c := program.Start(t).Connect(era, nil)
		for _, in := range []map[string]any{
			{"text": "", "in_seconds": 1},
			{"text": strings.Repeat("x", maxText+1), "in_seconds": 1},
			{"text": "past", "in_seconds": -1},
			{"text": "never", "in_seconds": 1e300},
			{"text": "when?"},
		} {
			c.Refused("remind_me", in)
		}
		c.Refused("cancel_reminder", map[string]any{"id": "nosuch"})
		for range maxPending {
			remindIn(c, 3600, "one of many")
		}
		if got := c.Refused("remind_me", map[string]any{"text": "one too many", "in_seconds": 1}); !strings.Contains(got, "100") {
			t.Errorf("%s", got)
		}
		if all := listAll(c); len(all.Pending) != maxPending || len(all.Due) != 0 {
			t.Errorf("%d pending, %d due", len(all.Pending), len(all.Due))
		}
	})
}

// serve is what the program of this example does.
func serve() {
	app := &causeway.App{}
	app.Mount("/mcp", Handler())
	app.Main()
}
