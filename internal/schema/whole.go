package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// checkWhole checks with jsonschema-go, for schemas outside the flat subset.
func (c *Checker) checkWhole(raw []byte) ([]byte, error) {
	// The walk against no schema finds names that occur twice, numbers out of range
	// and too deep nesting; jsonschema-go would not.
	w := walk{b: raw}
	end, err := w.value(nil, 0, 0, false)
	if err == nil && jsonrpc.SkipSpace(raw, end) != len(raw) {
		err = errSyntax
	}
	if err != nil {
		return nil, err
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("reading the value: %w", err)
	}
	_, isObject := value.(map[string]any)
	if isObject {
		if err := c.resolved.ApplyDefaults(&value); err != nil {
			return nil, fmt.Errorf("applying schema defaults: %w", err)
		}
	}
	if err := c.resolved.Validate(&value); err != nil {
		return nil, plainWords(err)
	}
	if !isObject || !hasDefaults(c.resolved.Schema()) {
		return w.result(), nil
	}
	out, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("writing defaults: %w", err)
	}
	return out, nil
}

// plainWords takes the words of Go's reflection out of jsonschema-go's messages.
func plainWords(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "<invalid reflect.Value>", "null"))
}
