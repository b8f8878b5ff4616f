package local_test

import (
	"context"
	"fmt"
	"os"

	"github.com/causeway-mcp/causeway/store/local"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	s, err := local.Open(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := s.Put(ctx, "greeting", []byte("still here"), 0, nil); err != nil {
		fmt.Println(err)
		return
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
		return
	}

	s, err = local.Open(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	r, err := s.Get(ctx, "greeting")
	fmt.Println(string(r.Value), err)
	// Output: still here <nil>
}
