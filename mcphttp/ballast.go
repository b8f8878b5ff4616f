package mcphttp

import "sync"

// ballastSize is by how much the heap of a process that serves MCP counts as larger than it is, in bytes.
//
// A small server holds 1 or 2 MB, for which Go collects at every 4 MB: the arguments of a tool of the SDK
// take 64 KiB a call to decode, so that is every 40 calls, and each time with all goroutines' stacks to
// look at and to shrink. With the ballast it is half as often or less.
const ballastSize = 4 << 20

// ballast is memory that nobody touches: it has addresses, but no pages. What it costs is garbage that may
// lie there for a little longer, at most ballastSize with Go's default of GOGC=100. It is one for all
// handlers of the process, and unlike a setting of the collector it leaves GOGC and GOMEMLIMIT to the
// program, whose they are. docs/decisions/0014-ballast.md has the figures.
var ballast = sync.OnceValue(func() []byte { return make([]byte, ballastSize) })
