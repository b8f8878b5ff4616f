package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/causeway-mcp/causeway/store"
)

// elision stands for the part of an id that is not shown.
const elision = "…"

// shownWhole is how long an id may be, in bytes, to be shown as it is. Longer ones
// may be a session's or a handle's and let their finder in.
const shownWhole = 16

// short shows enough of an id to find the object by, and not enough to use it.
func short(id string) string {
	if len(id) <= shownWhole {
		return printable(id)
	}
	head, tail := 8, len(id)-4
	for !utf8.RuneStart(id[head]) {
		head--
	}
	for tail < len(id) && !utf8.RuneStart(id[tail]) {
		tail++
	}
	return printable(id[:head]) + elision + printable(id[tail:])
}

// printable keeps what others stored from steering the terminal: what does not
// show is written as JSON and Go do.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != '\n' && (!unicode.IsPrint(r) || r == utf8.RuneError) {
			if r > 0xffff {
				fmt.Fprintf(&b, `\U%08x`, r)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// about is err of an object, without the whole of its id.
func about(id store.ObjectID, err error) error {
	if err == nil {
		return nil
	}
	return &objectError{id, err}
}

type objectError struct {
	id  store.ObjectID
	err error
}

func (e *objectError) Error() string {
	name := e.id.Kind + "/" + short(e.id.ID)
	text := strings.ReplaceAll(e.err.Error(), e.id.String(), name)
	if len(e.id.ID) > shownWhole {
		text = strings.ReplaceAll(text, e.id.ID, short(e.id.ID))
	}
	return name + ": " + printable(text)
}

func (e *objectError) Unwrap() error { return e.err }

// size is n bytes for people.
func size(n int64) string {
	const units = "KMGT"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	x, i := float64(n)/(1<<10), 0
	for x >= 1<<10 && i < len(units)-1 {
		x, i = x/(1<<10), i+1
	}
	return fmt.Sprintf("%.1f %ciB", x, units[i])
}

// joined is one error of several, nil for none.
func joined(what string, found []error) error {
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%s:\n%w", what, errors.Join(found...))
}
