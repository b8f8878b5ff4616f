package main

import "github.com/modelcontextprotocol/go-sdk/mcp"

func addTaskTools(*mcp.Server) {}
