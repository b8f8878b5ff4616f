package main

import "time"

// An era is the shape of the requests.
type era string

const (
	sessions  era = "2025-11-25" // initialize, then requests with Mcp-Session-Id
	stateless era = "2026-07-28" // every request carries its _meta and headers
)

// A program is one of those under server/, with arguments.
type program struct {
	name string
	args []string
}

func command(name string, args ...string) program { return program{name, args} }

// A variant is one server in one setting. Each runs in a process of its own.
type variant struct {
	name    string
	era     era
	events  bool // the answer comes as an event stream
	program program
}

func (v variant) bare() bool { return v.program.name == "bare" }

// A group is a set of variants that are asked the same and answer in the same form.
// The first of them is the bare handler, the measure of the others.
type group struct {
	name     string
	variants []variant
}

// Names that the promises refer to.
const (
	ours      = "causeway"
	signedIn  = "causeway, signed in"
	oursTyped = "causeway, SDK-typed"
	oneLine   = "causeway.Main, SDK-typed"
	stock     = "go-sdk stock"
)

// groups are what is measured side by side.
func groups() []group {
	return []group{
		{"sessions 2025-11-25, JSON", []variant{
			{"bare", sessions, false, command("bare")},
			// How far its ratio is from 1 is how far any ratio may be off.
			{"bare again (A/A)", sessions, false, command("bare")},
			{ours, sessions, false, command("causeway")},
			{signedIn, sessions, false, command("signedin")},
			{oursTyped, sessions, false, command("causeway", "-sdk")},
			{oneLine, sessions, false, command("oneline")},
			{stock, sessions, false, command("gosdk")},
			{"mcp-go", sessions, false, command("mcpgo")},
		}},
		{"sessions 2025-11-25, SSE", []variant{
			{"bare", sessions, true, command("bare", "-events")},
			{ours, sessions, true, command("causeway", "-events")},
			{oursTyped, sessions, true, command("causeway", "-events", "-sdk")},
			{stock, sessions, true, command("gosdk", "-events")},
		}},
		{"stateless 2026-07-28, JSON", []variant{
			{"bare", stateless, false, command("bare")},
			{"bare again (A/A)", stateless, false, command("bare")},
			{ours, stateless, false, command("causeway")},
			{signedIn, stateless, false, command("signedin")},
			{oursTyped, stateless, false, command("causeway", "-sdk")},
			{oneLine, stateless, false, command("oneline")},
			{stock, stateless, false, command("gosdk", "-stateless")},
			{"mcp-go", stateless, false, command("mcpgo", "-stateless")},
		}},
		{"stateless 2026-07-28, SSE", []variant{
			{"bare", stateless, true, command("bare", "-events")},
			{ours, stateless, true, command("causeway", "-events")},
			{oursTyped, stateless, true, command("causeway", "-events", "-sdk")},
			{stock, stateless, true, command("gosdk", "-stateless", "-events")},
		}},
	}
}

// A tenant is a server whose memory is measured.
type tenant struct {
	name    string
	program program
	// sleeps: its sessions leave memory after the time that the census waits.
	sleeps bool
	// bare has no sessions, only streams.
	bare bool
}

func tenants(sleep time.Duration) []tenant {
	return []tenant{
		{name: "bare", bare: true, program: command("bare")},
		{name: ours, program: command("causeway")},
		{name: ours, sleeps: true, program: command("causeway", "-sleep", sleep.String())},
		{name: stock, program: command("gosdk")},
		{name: "mcp-go", program: command("mcpgo")},
	}
}
