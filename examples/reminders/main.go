// Reminders are alarms that a kill does not lose; see package reminder.
package main

import (
	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/reminders/reminder"
)

func main() {
	app := &causeway.App{}
	app.Mount("/mcp", reminder.Handler())
	app.Main()
}
