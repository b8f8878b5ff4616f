// Package cmdline explains mistakes on a command line: each in one line, that says what
// was meant, as far as it can be guessed, and where to read on.
package cmdline

import (
	"errors"
	"flag"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Explain says in one line what err, which set.Parse(args) returned, is about. Values are
// repeated only where they are numbers, durations or yes and no: others may be secrets.
// [flag.ErrHelp] and nil come back as they are.
func Explain(set *flag.FlagSet, args []string, err error) error {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	more := "-h lists all flags"
	if set.Name() != "" {
		more = "Run " + set.Name() + " -h for all flags"
	}
	said := explain(set, args, err.Error())
	if !strings.HasSuffix(said, "?") {
		said += "."
	}
	return errors.New(said + " " + more)
}

// The errors of package flag are texts only.
const (
	unknownFlag = "flag provided but not defined: -"
	lacksValue  = "flag needs an argument: -"
	badSyntax   = "bad flag syntax: "
)

var badValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-(\S+): (.*)$`)

func explain(set *flag.FlagSet, args []string, text string) string {
	if name, ok := strings.CutPrefix(text, unknownFlag); ok {
		name = strings.TrimLeft(name, "-")
		hyphens := hyphensOf(args, name)
		said := fmt.Sprintf("there is no flag %s%s", hyphens, name)
		if near := Nearest(name, names(set)); near != "" {
			said += fmt.Sprintf(". Did you mean %s%s?", hyphens, near)
		}
		return said
	}
	if name, ok := strings.CutPrefix(text, lacksValue); ok {
		return fmt.Sprintf("%s%s needs a value", hyphensOf(args, name), name)
	}
	if what, ok := strings.CutPrefix(text, badSyntax); ok {
		return fmt.Sprintf("%q is no flag", what)
	}
	if m := badValue.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s%s: %s", hyphensOf(args, m[2]), m[2], wrongValue(set.Lookup(m[2]), m[1], m[3]))
	}
	return text
}

// wrongValue says what a flag wants in place of a value.
func wrongValue(f *flag.Flag, quoted, why string) string {
	var value any
	if f != nil {
		if getter, ok := f.Value.(flag.Getter); ok {
			value = getter.Get()
		}
	}
	switch value.(type) {
	case time.Duration:
		return quoted + " is no duration, such as 500ms, 30s or 5m"
	case bool:
		return quoted + " is neither true nor false"
	case int, int64, uint, uint64, float64:
		if why == "value out of range" {
			return quoted + " is no number of this size"
		}
		return quoted + " is no number"
	}
	return why
}

// hyphensOf is how a flag was written: with one hyphen or with two.
func hyphensOf(args []string, name string) string {
	if slices.ContainsFunc(args, func(a string) bool { return a == "--"+name || strings.HasPrefix(a, "--"+name+"=") }) {
		return "--"
	}
	return "-"
}

func names(set *flag.FlagSet) iter.Seq[string] {
	return func(yield func(string) bool) {
		more := true
		set.VisitAll(func(f *flag.Flag) { more = more && yield(f.Name) })
	}
}

// maxName bounds the names that are compared, in bytes: the effort is the product of both.
const maxName = 200

// Nearest is the name that differs least from what was typed, if any comes close: by some
// letters, by case, by hyphens, or by what was left out at either end. Otherwise it is "".
func Nearest(typed string, names iter.Seq[string]) string {
	if typed == "" || len(typed) > maxName {
		return ""
	}
	plain := strip(typed)
	best, least := "", len(typed)/3+2
	for name := range names {
		if len(name) > maxName {
			continue
		}
		other := strip(name)
		d := distance(other, plain)
		switch {
		case strings.HasPrefix(other, plain) && len(plain) > 1:
			d = min(d, 1)
		case strings.Contains(other, plain) && len(plain) > 3:
			d = min(d, 2)
		}
		if d >= max(len(plain), len(other)) || d > least {
			continue
		}
		// Of two that are as near, the order of names does not decide.
		if d < least || best != "" && (len(name) < len(best) || len(name) == len(best) && name < best) {
			best, least = name, d
		}
	}
	return best
}

// strip takes away what people do not remember of a name.
func strip(name string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(strings.ToLower(name))
}

// distance is that of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
