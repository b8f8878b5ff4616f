package storetest

import (
	"testing"

	"github.com/causeway-mcp/causeway/store"
)

func TestMemoryConforms(t *testing.T) {
	Run(t, func(*testing.T) store.Engine { return store.NewMemory() })
}
