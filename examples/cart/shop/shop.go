// Package shop is a shopping cart. Its checkout asks the person before it orders, and makes
// exactly one order however often the call is repeated and whenever the process dies.
package shop

import (
	"context"
	"errors"
	"fmt"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/object"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Prices of what the shop sells, in cents.
var prices = map[string]int{"apple": 50, "bread": 320, "coffee": 890}

// Cart is the state: what lies in the cart, and what was ordered.
type Cart struct {
	Items  map[string]int `json:"items"` // item → quantity
	Total  int            `json:"total" jsonschema:"in cents"`
	Orders []Order        `json:"orders"`
}

type Order struct {
	Number int            `json:"number"`
	Items  map[string]int `json:"items"`
	Total  int            `json:"total" jsonschema:"in cents"`
}

var carts = &causeway.Agent[Cart]{
	Kind:    "cart", // Scope: causeway.PerSession is the zero value
	Initial: Cart{Items: map[string]int{}, Orders: []Order{}},
}

const maxQuantity = 99

// add changes how many of an item are in the cart.
func (c *Cart) add(item string, quantity int) error {
	price, ok := prices[item]
	if !ok {
		return fmt.Errorf("we do not sell %q", item)
	}
	n := c.Items[item] + quantity
	if n < 0 || n > maxQuantity {
		return fmt.Errorf("there can be 0 to %d of %s, not %d", maxQuantity, item, n)
	}
	c.Items[item] = n
	if n == 0 {
		delete(c.Items, item)
	}
	c.Total += quantity * price
	return nil
}

// order makes an order of what is in the cart, if it is what was confirmed.
func (c *Cart) order(confirmed int) (Order, error) {
	if len(c.Items) == 0 {
		return Order{}, errors.New("the cart is empty")
	}
	if c.Total != confirmed {
		return Order{}, fmt.Errorf("the cart costs %s, not %s: look at it again", money(c.Total), money(confirmed))
	}
	o := Order{Number: len(c.Orders) + 1, Items: c.Items, Total: c.Total}
	*c = Cart{Items: map[string]int{}, Orders: append(c.Orders, o)}
	return o, nil
}

func money(cents int) string { return fmt.Sprintf("$%d.%02d", cents/100, cents%100) }

type itemInput struct {
	Item     string `json:"item" jsonschema:"apple, bread or coffee"`
	Quantity uint8  `json:"quantity" jsonschema:"how many"`
}

func addItem(ctx context.Context, _ *mcp.CallToolRequest, in itemInput) (*mcp.CallToolResult, Cart, error) {
	c, err := carts.Self(ctx).Update(ctx, func(c *Cart) error { return c.add(in.Item, int(in.Quantity)) })
	return nil, c, err
}

func removeItem(ctx context.Context, _ *mcp.CallToolRequest, in itemInput) (*mcp.CallToolResult, Cart, error) {
	c, err := carts.Self(ctx).Update(ctx, func(c *Cart) error { return c.add(in.Item, -int(in.Quantity)) })
	return nil, c, err
}

func viewCart(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, Cart, error) {
	c, err := carts.Self(ctx).State(ctx)
	return nil, c, err
}

// checkout asks first and writes afterwards. The question is made of the arguments
// alone, not of the cart: where the handler runs again to answer a repeated call,
// the cart may be empty already, and the question must be the same for its answer to
// be found.
func checkout(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Total int `json:"total" jsonschema:"what the cart costs, in cents, as view_cart shows it"`
}) (*mcp.CallToolResult, any, error) {
	answer, err := causeway.Elicit(ctx, &mcp.ElicitParams{Message: fmt.Sprintf("Order what is in the cart for %s?", money(in.Total))})
	if err != nil {
		return nil, nil, err // that the client has been asked is an error too: return at once
	}
	if answer.Action != "accept" {
		return causeway.Text("Nothing was ordered."), nil, nil
	}
	order, err := causeway.Once(ctx, carts.Self(ctx), "order", func(_ context.Context, _ object.Tx, c *Cart) (Order, error) {
		return c.order(in.Total)
	})
	return nil, order, err
}

func newServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "Cart", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "add_item", Description: "Puts something into the cart."}, addItem)
	causeway.AddTool(s, &mcp.Tool{Name: "remove_item", Description: "Takes something out of the cart."}, removeItem)
	causeway.AddTool(s, &mcp.Tool{Name: "view_cart", Description: "Shows the cart and the orders.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, viewCart)
	causeway.AddTool(s, &mcp.Tool{Name: "checkout", Description: "Orders what is in the cart, after asking."}, checkout)
	return s
}

// Handler is the server, for App.Mount.
func Handler() causeway.MountHandler { return carts.Handler(newServer()) }
