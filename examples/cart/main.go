// Cart is a shopping cart whose checkout asks first and orders once; see package shop.
package main

import (
	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/examples/cart/shop"
)

func main() {
	app := &causeway.App{}
	app.Mount("/mcp", shop.Handler())
	app.Main()
}
