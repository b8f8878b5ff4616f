package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
)

const (
	maxFormBody   = 64 << 10
	maxFormFields = 64
)

// A form is the parameters of a request. Each is there at most once (RFC 6749 §3.1,
// §3.2), and one with an empty value is as if it were not there. Resource may be
// repeated (RFC 8707 §2), and is told apart by resources.
type form struct {
	values    map[string]string
	resources []string
	// duplicated says that a parameter came twice, and twice which.
	duplicated bool
	twice      map[string]bool
}

func (f form) duplicatedName(name string) bool { return f.twice[name] }

func (f form) get(name string) string { return f.values[name] }

// parseForm reads application/x-www-form-urlencoded. A malformed one is an error; a
// duplicated parameter is reported in the form, because where the error goes depends
// on the others.
func parseForm(text string) (form, error) {
	values, err := url.ParseQuery(text)
	if err != nil || len(values) > maxFormFields {
		return form{}, errors.New("oauth: malformed parameters")
	}
	f := form{values: make(map[string]string, len(values)), twice: map[string]bool{}}
	for name, v := range values {
		if name == "resource" {
			f.resources = v
			continue
		}
		if len(v) > 1 {
			f.duplicated, f.twice[name] = true, true
			continue
		}
		if v[0] != "" {
			f.values[name] = v[0]
		}
	}
	return f, nil
}

// resource is the one resource asked for; "" is none (given).
func (f form) resource() (id string, err *wireError) {
	switch len(f.resources) {
	case 0:
		return "", nil
	case 1:
		return f.resources[0], nil
	}
	return "", errInvalidTarget("one resource at a time")
}

// readForm reads the body of a POST as a form. Parameters in the address are ignored.
func readForm(w http.ResponseWriter, r *http.Request) (form, *wireError) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" || len(params) > 1 {
		return form{}, errInvalidRequest("want application/x-www-form-urlencoded")
	}
	body, werr := readBody(w, r)
	if werr != nil {
		return form{}, werr
	}
	f, err := parseForm(string(body))
	if err != nil {
		return form{}, errInvalidRequest("the body is malformed")
	}
	return f, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *wireError) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, wire(http.StatusRequestEntityTooLarge, "invalid_request", "the body is too large")
	}
	if err != nil {
		return nil, errInvalidRequest("the body cannot be read")
	}
	return body, nil
}
