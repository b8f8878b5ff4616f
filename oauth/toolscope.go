package oauth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxCall bounds the body of a request to a resource some of whose tools need scopes.
const maxCall = 16 << 20

func (r *resource) checkTools() error {
	names := r.names()
	for tool, scopes := range r.Tools {
		for _, name := range scopes {
			if !slices.Contains(names, name) {
				return fmt.Errorf("tool %q needs %q, which is not a scope of the resource", tool, name)
			}
		}
	}
	return nil
}

// forbidTools answers 403 if the request calls a tool that needs a scope which the token
// lacks. It reads the body, and puts it back.
func (g *gate) forbidTools(w http.ResponseWriter, r *http.Request, id *identity) bool {
	if len(id.resource.Tools) == 0 || r.Body == nil || r.Body == http.NoBody {
		return false
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		writeError(w, wire(http.StatusUnsupportedMediaType, "invalid_request", "the body must not be encoded"))
		return true
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		writeError(w, wire(http.StatusRequestEntityTooLarge, "invalid_request", "the body is too large"))
		return true
	case err != nil:
		writeError(w, errInvalidRequest("the body cannot be read"))
		return true
	}
	tools, err := calledTools(body)
	if err != nil {
		// What is not JSON to us may be a call to somebody more tolerant.
		writeError(w, errInvalidRequest("the body is not JSON"))
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var needed []string
	for _, tool := range tools {
		needed = union(needed, id.resource.Tools[tool])
	}
	return g.forbid(w, r, id, needed)
}

// calledTools are the tools that a JSON-RPC message, or a batch of them, may be read to
// call. Parsers differ in what they make of a member that is there twice or in another
// case, so all readings count.
func calledTools(body []byte) ([]string, error) {
	if !bytes.Contains(body, []byte("tools")) && !bytes.ContainsRune(body, '\\') {
		return nil, checkJSON(body) // a listing, a ping, an answer: nothing to look at closely
	}
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var tools []string
	for {
		err := scanMessages(d, &tools)
		if errors.Is(err, io.EOF) {
			return tools, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func checkJSON(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		if err := d.SkipValue(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// scanMessages reads one value: a message, or a batch.
func scanMessages(d *jsontext.Decoder, tools *[]string) error {
	switch d.PeekKind() {
	case '[':
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		for d.PeekKind() != ']' {
			if err := scanMessages(d, tools); err != nil {
				return unexpected(err)
			}
		}
		_, err := d.ReadToken()
		return unexpected(err)
	case '{':
		return scanMessage(d, tools)
	}
	return d.SkipValue()
}

// scanMessage reads one message.
func scanMessage(d *jsontext.Decoder, tools *[]string) error {
	var names []string
	calls := false
	err := scanObject(d, func(member string) error {
		switch {
		case strings.EqualFold(member, "method") && d.PeekKind() == '"':
			t, err := d.ReadToken()
			if err != nil {
				return err
			}
			calls = calls || t.String() == "tools/call"
			return nil
		case strings.EqualFold(member, "params") && d.PeekKind() == '{':
			return scanObject(d, func(member string) error {
				if !strings.EqualFold(member, "name") || d.PeekKind() != '"' {
					return d.SkipValue()
				}
				t, err := d.ReadToken()
				if err != nil {
					return err
				}
				names = append(names, t.String())
				return nil
			})
		}
		return d.SkipValue()
	})
	if err == nil && calls {
		*tools = append(*tools, names...)
	}
	return err
}

// scanObject reads an object; value has to read the value of each member.
func scanObject(d *jsontext.Decoder, value func(member string) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return unexpected(err)
		}
		if err := value(t.String()); err != nil {
			return unexpected(err)
		}
	}
	_, err := d.ReadToken()
	return unexpected(err)
}

// unexpected tells an end in the middle from the end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
