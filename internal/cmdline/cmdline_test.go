package cmdline

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMistakesInFlagsAreSaidInOneLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a flag that is misspelt":              {[]string{"-timout", "3s"}, "there is no flag -timout. Did you mean -timeout? Run causeway call -h for all flags"},
		"a flag that is misspelt, two hyphens": {[]string{"--timout=3s"}, "there is no flag --timout. Did you mean --timeout? Run causeway call -h for all flags"},
		"a flag that is cut":                   {[]string{"-verb"}, "there is no flag -verb. Did you mean -verbose? Run causeway call -h for all flags"},
		"a flag nobody knows":                  {[]string{"-xyzzyx"}, "there is no flag -xyzzyx. Run causeway call -h for all flags"},
		"a flag without its value":             {[]string{"-out"}, "-out needs a value. Run causeway call -h for all flags"},
		"a duration without a unit":            {[]string{"-timeout", "3"}, `-timeout: "3" is no duration, such as 500ms, 30s or 5m. Run causeway call -h for all flags`},
		"a number that is none":                {[]string{"-n", "many"}, `-n: "many" is no number. Run causeway call -h for all flags`},
		"a number that is too large":           {[]string{"-n", "99999999999999999999"}, `-n: "99999999999999999999" is no number of this size. Run causeway call -h for all flags`},
		"yes and no":                           {[]string{"-verbose=perhaps"}, `-verbose: "perhaps" is neither true nor false. Run causeway call -h for all flags`},
		"the value of a header is not shown":   {[]string{"-header", "Bearer for flag -x: hush"}, `-header: want "Name: value". Run causeway call -h for all flags`},
		"too many hyphens":                     {[]string{"---out"}, `"---out" is no flag. Run causeway call -h for all flags`},
	} {
		t.Run(name, func(t *testing.T) {
			f := flag.NewFlagSet("causeway call", flag.ContinueOnError)
			f.SetOutput(io.Discard)
			f.Duration("timeout", time.Second, "")
			f.Bool("verbose", false, "")
			f.String("out", "", "")
			f.Int("n", 0, "")
			f.Func("header", "", func(string) error { return errors.New(`want "Name: value"`) })
			err := f.Parse(tc.args)
			if err == nil {
				t.Fatal("no error")
			}
			if got := Explain(f, tc.args, err).Error(); got != tc.want {
				t.Errorf("says %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	f := flag.NewFlagSet("x", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	if err := Explain(f, nil, f.Parse([]string{"-h"})); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"add", "book_table", "countdown", "get-weather"}
	for _, tc := range []struct{ typed, want string }{
		{"ad", "add"}, {"addd", "add"}, {"book", "book_table"}, {"book-table", "book_table"}, {"getWeather", "get-weather"},
		{"GET-WEATHER", "get-weather"}, {"weather", "get-weather"}, {"counddown", "countdown"}, {"zzz", ""}, {"", ""}, {"d", ""},
		{strings.Repeat("x", 1<<20), ""},
	} {
		if got := Nearest(tc.typed, slices.Values(names)); got != tc.want {
			t.Errorf("%.20q: %q, want %q", tc.typed, got, tc.want)
		}
	}
	for _, names := range [][]string{{"expose", "expose-guard"}, {"expose-guard", "expose"}} {
		if got := Nearest("expos", slices.Values(names)); got != "expose" {
			t.Errorf("of %q: %q", names, got)
		}
	}
	if got := Nearest("add", slices.Values([]string{strings.Repeat("a", 1<<20)})); got != "" {
		t.Errorf("a name that is endless is suggested")
	}
}
