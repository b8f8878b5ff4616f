// Package bridge connects a host that speaks MCP over stdio with remote servers.
package bridge
