// Package bridge connects a host that speaks MCP over stdio with remote servers: it stands
// on stdin and stdout as a local server would, and passes on what the host says.
//
//	b, err := bridge.New(bridge.Options{Servers: []bridge.Server{{URL: "https://mcp.example.com/mcp"}}})
//	err = b.Run(ctx, os.Stdin, os.Stdout)
//
// # Eras
//
// Host and server may each be of an old revision (2024-11-05 to 2025-11-25: a handshake, a
// session, a server that can ask) or of 2026-07-28 (requests that stand alone, results that
// ask). Where both are of one era, messages pass as they are, byte by byte, with whatever
// the bridge has never heard of. Where they differ, it translates:
//
//   - initialize and server/discover into each other, with the capabilities of the other side;
//   - an old server's requests (elicitation, sampling, roots) into results that require
//     input: the server's request is parked until the host comes back with the answers;
//   - a result that requires input into requests to an old host, and back again;
//   - resources/subscribe and list changes into subscriptions/listen and back;
//   - a cancellation into a stream that is closed, and a closed one into a cancellation;
//   - the log level, ping, and the headers that repeat a request's name and arguments.
//
// The server's era is found out by trying the host's own first. Only what answers is used:
// nothing is guessed from an error's code alone.
//
// # Waiting
//
// initialize is answered within Options.InitializeWait, also while the transport waits for a
// person to sign in: then with what the server said last time, or with a guess, and the host
// is told that the lists have changed when the server is there. What needs the server waits.
//
// A network that goes and comes back is bridged: streams are taken up where they broke off
// (Last-Event-ID), sessions that the server forgot are opened again, and a request is sent a
// second time only if the server has certainly not seen it, or if it is one that may be
// repeated. Of others the host is told that their outcome is not known.
//
// # Trust
//
// The server is not trusted with the host, nor with the machine: answers have a length and a
// deadline, redirects lead nowhere else, ids are never those of another's requests, and what
// cannot be read is an error to the one request it came for. See the folder hostile.
package bridge
