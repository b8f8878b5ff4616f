package main

import (
	"net/http"
	"strings"
	"time"
)

// An era is the shape of the requests.
type era string

const (
	sessions  era = "2025-11-25" // initialize, then requests with Mcp-Session-Id
	stateless era = "2026-07-28" // every request carries its _meta and headers
)

// A variant is one server in one setting. Each runs in a process of its own.
type variant struct {
	name   string
	era    era
	events bool // the answer comes as an event stream
	handle func() http.Handler
}

func (v variant) bare() bool { return strings.HasPrefix(v.name, "bare") }

// A group is a set of variants that are asked the same and answer in the same form.
// The first of them is the bare handler, the measure of the others.
type group struct {
	name     string
	variants []variant
}

// bareAgain is the bare handler a second time: how far its ratio is from 1 is how far
// any ratio may be off.
const bareAgain = "bare again (A/A)"

// groups are what is measured side by side.
func groups() []group {
	return []group{
		{"sessions 2025-11-25, JSON", []variant{
			{"bare", sessions, false, func() http.Handler { return bareHandler(false) }},
			{bareAgain, sessions, false, func() http.Handler { return bareHandler(false) }},
			{"causeway", sessions, false, func() http.Handler { return causewayHandler(causewayServer(), false, 0) }},
			{"causeway, SDK-typed", sessions, false, func() http.Handler { return causewayHandler(sdkServer(), false, 0) }},
			{"go-sdk stock", sessions, false, func() http.Handler { return sdkHandler(false, false) }},
			{"mcp-go", sessions, false, func() http.Handler { return mcpgoHandler(false) }},
		}},
		{"sessions 2025-11-25, SSE", []variant{
			{"bare", sessions, true, func() http.Handler { return bareHandler(true) }},
			{"causeway", sessions, true, func() http.Handler { return causewayHandler(causewayServer(), true, 0) }},
			{"causeway, SDK-typed", sessions, true, func() http.Handler { return causewayHandler(sdkServer(), true, 0) }},
			{"go-sdk stock", sessions, true, func() http.Handler { return sdkHandler(false, true) }},
		}},
		{"stateless 2026-07-28, JSON", []variant{
			{"bare", stateless, false, func() http.Handler { return bareHandler(false) }},
			{bareAgain, stateless, false, func() http.Handler { return bareHandler(false) }},
			{"causeway", stateless, false, func() http.Handler { return causewayHandler(causewayServer(), false, 0) }},
			{"causeway, SDK-typed", stateless, false, func() http.Handler { return causewayHandler(sdkServer(), false, 0) }},
			{"go-sdk stock", stateless, false, func() http.Handler { return sdkHandler(true, false) }},
			{"mcp-go", stateless, false, func() http.Handler { return mcpgoHandler(true) }},
		}},
		{"stateless 2026-07-28, SSE", []variant{
			{"bare", stateless, true, func() http.Handler { return bareHandler(true) }},
			{"causeway", stateless, true, func() http.Handler { return causewayHandler(causewayServer(), true, 0) }},
			{"causeway, SDK-typed", stateless, true, func() http.Handler { return causewayHandler(sdkServer(), true, 0) }},
			{"go-sdk stock", stateless, true, func() http.Handler { return sdkHandler(true, true) }},
		}},
	}
}

// A tenant is a server whose memory is measured.
type tenant struct {
	name   string
	handle func() http.Handler
	// sleeps: after sleep without use its sessions leave memory.
	sleeps bool
	// bare has no sessions, only streams.
	bare bool
}

func tenants(sleep time.Duration) []tenant {
	return []tenant{
		{name: "bare", bare: true, handle: func() http.Handler { return bareHandler(false) }},
		{name: "causeway", handle: func() http.Handler { return causewayHandler(causewayServer(), false, 0) }},
		{name: "causeway, idle", sleeps: true, handle: func() http.Handler { return causewayHandler(causewayServer(), false, sleep) }},
		{name: "go-sdk stock", handle: func() http.Handler { return sdkHandler(false, false) }},
		{name: "mcp-go", handle: func() http.Handler { return mcpgoHandler(false) }},
	}
}
