package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway/internal/cmdline"
)

// flags are those of a command. They may stand anywhere among its arguments, and a
// mistake in them is said in one line.
type flags struct {
	*flag.FlagSet
	usage string
}

// newFlags are the flags of a command, which -h lists under its usage.
func newFlags(name, usage string, stderr io.Writer) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("causeway "+name, flag.ContinueOnError), usage: usage}
	f.SetOutput(stderr)
	return f
}

// help prints the usage and the flags.
func (f *flags) help(to io.Writer) {
	fmt.Fprint(to, f.usage)
	before := f.Output()
	f.SetOutput(to)
	f.PrintDefaults()
	f.SetOutput(before)
}

// parse takes flags wherever they stand and returns what is none. After "--" nothing is.
// An error has been explained.
func (f *flags) parse(args []string) (rest []string, err error) {
	all, words := args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		args, words = args[:i], args[i+1:]
	}
	for {
		if err := f.read(args); errors.Is(err, flag.ErrHelp) {
			f.help(f.Output())
			return nil, err
		} else if err != nil {
			return nil, f.mistake("%v", cmdline.Explain(f.FlagSet, all, err))
		}
		if f.NArg() == 0 {
			return append(rest, words...), nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

// read parses without a word: package flag prints a mistake with all of the help.
func (f *flags) read(args []string) error {
	to := f.Output()
	defer f.SetOutput(to)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f.Parse(args)
}

// wrong says what is the matter with the command line, and where to read on.
func (f *flags) wrong(format string, a ...any) error {
	return f.mistake("%s Run %s -h for more", ending(strings.TrimSuffix(fmt.Sprintf(format, a...), ".")), f.Name())
}

func (f *flags) mistake(format string, a ...any) error {
	fmt.Fprintf(f.Output(), "%s: %s\n", f.Name(), fmt.Sprintf(format, a...))
	return errUsage
}

// didYouMean is a question about the name that comes nearest to what was typed, "" if
// none does.
func didYouMean(typed string, names iter.Seq[string]) string {
	near := cmdline.Nearest(typed, names)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(". Did you mean %q?", near)
}
