package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestEveryCommandExplainsAMistypedFlagInOneLine(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tc := range []struct{ args, meant string }{
		{"demo -no-aut", "Did you mean -no-auth?"},
		{"demo --adr 127.0.0.1:0", "Did you mean --addr?"},
		{"connect https://a.example/mcp --alow-http", "Did you mean --allow-http?"},
		{"expose -sgn-in dev -- cat", "Did you mean -sign-in?"},
		{"install cursor https://a.example/mcp -dryrun", "Did you mean -dry-run?"},
		{"uninstall cursor a --dry-rn", "Did you mean --dry-run?"},
		{"import -too cursor", "Did you mean -to?"},
		{"doctor https://a.example/mcp -jsn", "Did you mean -json?"},
		{"call https://a.example/mcp add {} -anwser {}", "Did you mean -answer?"},
		{"tools https://a.example/mcp -ss", "Did you mean -sse?"},
		{"resources https://a.example/mcp -headr x", "Did you mean -header?"},
		{"prompts https://a.example/mcp --timout 3s", "Did you mean --timeout?"},
		{"data list -dta x", "Did you mean -data?"},
		{"login https://a.example/mcp -nobrowser", "Did you mean -no-browser?"},
		{"logout -al", "Did you mean -all?"},
		{"tokens --jsno", "Did you mean --json?"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			args := strings.Fields(tc.args)
			status, out, errs := cli(t, args...)
			if status != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, tc.meant) || !strings.HasSuffix(errs, "Run causeway "+args[0]+" -h for all flags\n") {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
		})
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if name == "expose-guard" { // reads standard input, and is for causeway alone
			continue
		}
		for _, args := range [][]string{{name, "-h"}, {"help", name}} {
			status, out, errs := cli(t, args...)
			if help := out + errs; status != 0 || !strings.Contains(help, "causeway "+name) || !strings.Contains(help, "\n  -") {
				t.Errorf("%q: status %d\n%s", args, status, help)
			}
		}
		if !strings.Contains(usage, name) {
			t.Errorf("help does not mention %s", name)
		}
	}
}

func TestACommandThatIsMistypedIsExplainedInOneLine(t *testing.T) {
	for typed, want := range map[string]string{
		"tols":  "causeway: there is no command \"tols\". Did you mean \"tools\"? Run causeway help for all\n",
		"expos": "causeway: there is no command \"expos\". Did you mean \"expose\"? Run causeway help for all\n",
		"xyzzy": "causeway: there is no command \"xyzzy\". Run causeway help for all\n",
	} {
		if status, _, errs := cli(t, typed); status != 2 || errs != want {
			t.Errorf("status %d, %q", status, errs)
		}
	}
}

func TestAfterTwoHyphensNothingIsAFlag(t *testing.T) {
	f := newFlags("x", "", new(bytes.Buffer))
	verbose := f.Bool("v", false, "")
	rest, err := f.parse([]string{"a", "-v", "b", "--", "-v", "--", "-w"})
	if err != nil || !*verbose || strings.Join(rest, " ") != "a b -v -- -w" {
		t.Errorf("%q %v %t", rest, err, *verbose)
	}
}
