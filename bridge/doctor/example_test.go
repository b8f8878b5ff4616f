package doctor_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/causeway-mcp/causeway/bridge/doctor"
)

// A server that is not where it was thought to be.
func ExampleExamine() {
	ts := httptest.NewServer(http.NotFoundHandler())
	defer ts.Close()
	report := doctor.Examine(context.Background(), doctor.Options{URL: ts.URL + "/mpc"})
	last := report.Steps[len(report.Steps)-1]
	fmt.Println(report.Works)
	fmt.Println(last.Verdict, last.Summary)
	fmt.Println(last.Fix)
	// Output:
	// false
	// failure No MCP server was found here, of any era.
	// Check the path: /mpc may not be the one. Most are at /mcp, old ones at /sse.
}
