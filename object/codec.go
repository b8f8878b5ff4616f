package object

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// codec turns states into JSON and back, and copies them.
type codec[S any] struct {
	initial []byte
	flat    bool // an assignment copies a state wholly
}

func newCodec[S any](initial S) (codec[S], error) {
	b, err := json.Marshal(initial)
	if err != nil {
		return codec[S]{}, fmt.Errorf("the initial state cannot be stored as JSON: %w", err)
	}
	c := codec[S]{initial: b, flat: isFlat(reflect.TypeFor[S]())}
	if _, err := c.decode(b); err != nil {
		return codec[S]{}, fmt.Errorf("the initial state cannot be read back: %w", err)
	}
	return c, nil
}

func (c *codec[S]) decode(b []byte) (st S, err error) {
	err = json.Unmarshal(b, &st)
	return st, err
}

// isFlat tells whether values of t hold no pointers and lose nothing in JSON, so that a plain copy and a
// trip through the journal give the same.
func isFlat(t reflect.Type) bool {
	for _, own := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()} {
		if reflect.PointerTo(t).Implements(own) {
			return false
		}
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Struct:
		for f := range t.Fields() {
			if !f.IsExported() || f.Anonymous || f.Tag.Get("json") != "" || !isFlat(f.Type) {
				return false
			}
		}
		return true
	}
	return false
}
