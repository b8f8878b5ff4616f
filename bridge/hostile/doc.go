// Package hostile has tests alone: servers that lie, flood, stall and break off, and what
// the host behind a bridge sees of it. A hostile server can at worst fail its own
// connection.
package hostile
