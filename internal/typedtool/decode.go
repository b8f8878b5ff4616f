package typedtool

import (
	"errors"
	"fmt"
	"strings"

	"github.com/causeway-mcp/causeway/internal/schema"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// decoding reads as encoding/json does (durations are numbers, []byte is Base64,
// tags that json v2 calls malformed are passed over, ...), because the SDK's
// decoder does so too, but names are case-sensitive. Names that occur twice have
// been refused by the checker.
var decoding = jsonv2.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	jsonv2.MatchCaseInsensitiveNames(false),
)

// encoding writes as encoding/json does, except that <, > and & stay readable:
// the text is for models, not for HTML pages.
var encoding = jsonv2.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	jsontext.EscapeForHTML(false),
	jsontext.EscapeForJS(false),
)

// locating is decoding with errors that know their place.
var locating = jsonv2.JoinOptions(decoding, jsonv1.ReportErrorsWithLegacySemantics(false))

func decode[In any](input *schema.Checker, arguments []byte, in *In) error {
	checked, err := input.Check(arguments)
	if err != nil {
		return fmt.Errorf("validating \"arguments\": %w", err)
	}
	if err := jsonv2.Unmarshal(checked, in, decoding); err != nil {
		var again In
		return fmt.Errorf("reading \"arguments\": %s%w", place(jsonv2.Unmarshal(checked, &again, locating)), inWords(err))
	}
	return nil
}

// place says where in the arguments a value does not fit, "" if that is not known.
func place(err error) string {
	var located *jsonv2.SemanticError
	if !errors.As(err, &located) || located.JSONPointer == "" {
		return ""
	}
	return string(located.JSONPointer) + ": "
}

// inWords says that a value does not fit, without the Go type that it does not
// fit into.
func inWords(err error) error {
	var mismatch *jsonv1.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch):
		return fmt.Errorf("a %s cannot be used here", mismatch.Value)
	case strings.Contains(err.Error(), "Go "):
		return errors.New("a value cannot be used here")
	}
	return err // of an unmarshaler that the author wrote or chose
}
