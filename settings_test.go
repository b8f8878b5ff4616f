package causeway

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsComeFromTheNearestPlaceThatSaysThem(t *testing.T) {
	const file = `{"addr": "127.0.0.1:4000", "level": 7, "quiet": true, "names": ["a", "b"]}`
	for _, tc := range []struct {
		name  string
		args  []string
		env   map[string]string
		file  string
		addr  string
		level int
	}{
		{name: "the default when nobody says anything", addr: "default", level: 1},
		{name: "the file over the default", file: file, addr: "127.0.0.1:4000", level: 7},
		{name: "the environment over the file", file: file, env: map[string]string{"CAUSEWAY_ADDR": "127.0.0.1:3000"}, addr: "127.0.0.1:3000", level: 7},
		{name: "the command line over all", file: file, env: map[string]string{"CAUSEWAY_ADDR": "127.0.0.1:3000"}, args: []string{"-addr", "127.0.0.1:2000"}, addr: "127.0.0.1:2000", level: 7},
		{name: "each setting for itself", file: file, args: []string{"-level=9"}, addr: "127.0.0.1:4000", level: 9},
		{name: "the environment under the command line", env: map[string]string{"CAUSEWAY_LEVEL": "5"}, args: []string{"-level=9"}, addr: "default", level: 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tc.file != "" {
				writeFile(t, settingsFile, tc.file)
			}
			set, addr, level := testFlags()
			if err := parseSettings(set, tc.args, lookup(tc.env)); err != nil {
				t.Fatal(err)
			}
			if *addr != tc.addr || *level != tc.level {
				t.Errorf("addr %q level %d, want %q %d", *addr, *level, tc.addr, tc.level)
			}
		})
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want string // in the error
	}{
		{name: "an unknown flag", args: []string{"-adr", "x"}, want: "-adr"},
		{name: "an argument that is no flag", args: []string{"127.0.0.1:80"}, want: `"127.0.0.1:80"`},
		{name: "a flag value of the wrong type", args: []string{"-level", "high"}, want: "-level"},
		{name: "an environment value of the wrong type", env: map[string]string{"CAUSEWAY_LEVEL": "high"}, want: "CAUSEWAY_LEVEL"},
		{name: "a file that is not there though named", args: []string{"-config", "missing.json"}, want: "missing.json"},
		{name: "a file that is not JSON", file: "addr = 1", want: settingsFile},
		{name: "a file that is not an object", file: `["addr"]`, want: settingsFile},
		{name: "a setting nobody knows", file: `{"adr": "x"}`, want: `"adr"`},
		{name: "a setting said twice", file: `{"addr": "x", "addr": "y"}`, want: "addr"},
		{name: "a setting of the wrong type", file: `{"level": "high"}`, want: `"level"`},
		{name: "a setting that is an object", file: `{"addr": {"host": "x"}}`, want: `"addr"`},
		{name: "a list of other things than strings", file: `{"names": [1]}`, want: `"names"`},
		{name: "a null", file: `{"addr": null}`, want: `"addr"`},
		{name: "a file that names a file", file: `{"config": "x.json"}`, want: `"config"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tc.file != "" {
				writeFile(t, settingsFile, tc.file)
			}
			set, _, _ := testFlags()
			err := parseSettings(set, tc.args, lookup(tc.env))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that names %s", err, tc.want)
			}
		})
	}
}

func TestAFileWithAMistakeChangesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, settingsFile, `{"addr": "127.0.0.1:4000", "nonsense": 1}`)
	set, addr, _ := testFlags()
	if err := parseSettings(set, nil, lookup(nil)); err == nil {
		t.Fatal("no error")
	}
	if *addr != "default" {
		t.Errorf("addr %q was taken from a file with a mistake", *addr)
	}
}

func FuzzSettingsFile(f *testing.F) {
	for _, seed := range []string{`{}`, `{"addr":"x"}`, `{"a":1e999}`, `{"a":["b","c"]}`, `{"a":"\ud800"}`, `nul`, `{"a":true,"a":false}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := decodeSettings(data)
		if err != nil && values != nil {
			t.Errorf("values %v beside error %v", values, err)
		}
	})
}

func testFlags() (set *flag.FlagSet, addr *string, level *int) {
	set = flag.NewFlagSet("test", flag.ContinueOnError)
	set.SetOutput(new(strings.Builder))
	addr = set.String("addr", "default", "")
	level = set.Int("level", 1, "")
	set.Bool("quiet", false, "")
	set.Var(new(list), "names", "")
	set.String(settingsFlag, "", "")
	return set, addr, level
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
