// Package expose makes a remote, signed-in MCP server of a program that speaks MCP
// over standard input and output, as it is.
//
//	x, err := expose.New(expose.Options{
//		Command: []string{"mcp-server-memory"},
//		Env:     []string{"MEMORY_FILE_PATH={{.Dir}}/memory.json"},
//		Dir:     "/var/lib/memory",
//	})
//	app := &causeway.App{SignIn: provider}
//	app.Mount("/mcp", causeway.MountHandler{Server: x.Server})
//	app.Main()
//	x.Close(ctx)
//
// A child is one running copy of the program. Each signed-in person has one
// ([PerUser]), or one for each session ([PerSession]), or everybody has the same
// ([Shared]). Children start when they are needed, sleep when nobody uses them, and
// are held to limits of memory, processes and output; with a child ends everything it
// started.
//
// # What is carried
//
// Clients may be of any protocol era, and so may the program. Results are passed on
// as they are, members this package knows nothing of included. Elicitation, sampling
// and (with [Options.Roots]) roots reach the client that called: as requests in the
// session eras, as input-required rounds in 2026-07-28, while the program waits.
// Progress, log messages, cancellation, changed lists and resource subscriptions are
// carried both ways. Requests of methods that the Model Context Protocol does not
// define are refused by the wire (mcphttp), and so are the experimental tasks of
// 2025-11-25.
//
// # What separates people
//
// People have processes, directories, environments and homes of their own, and what
// one child says reaches only the clients of the person it belongs to. But children
// run as the user that runs this process: a program that lets its caller read any
// file reads those of others too. Programs of that kind need a container around each.
package expose
