package install_test

import (
	"fmt"

	"github.com/causeway-mcp/causeway/bridge/install"
)

// Settings keep their comments and their order.
func ExampleClient_Install() {
	cursor, err := install.ClientByID("cursor")
	if err != nil {
		panic(err)
	}
	before := []byte("{\n  // mine\n  \"mcpServers\": {}\n}\n")
	after, err := cursor.Install(before, &install.Server{Name: "linear", URL: "https://mcp.linear.app/mcp"})
	if err != nil {
		panic(err)
	}
	fmt.Print(string(after))
	// Output:
	// {
	//   // mine
	//   "mcpServers": {
	//     "linear": {
	//       "url": "https://mcp.linear.app/mcp"
	//     }
	//   }
	// }
}

// What a bridge stands for is found again.
func ExampleServer_Behind() {
	s := &install.Server{Name: "linear", Command: "npx", Args: []string{"-y", "mcp-remote", "https://mcp.linear.app/mcp"}}
	remote, ok := s.Behind()
	fmt.Println(remote.URL, ok)
	// Output: https://mcp.linear.app/mcp true
}
