package causeway

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/causeway-mcp/causeway/internal/cmdline"
	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// settingsFile is read from the working directory when it is there.
	settingsFile = "causeway.json"
	// settingsFlag names another file, which must be there.
	settingsFlag = "config"
	envPrefix    = "CAUSEWAY_"
)

// parseSettings fills the flags of set from, in this order: the command line, the
// environment, the settings file. What nobody says keeps its default.
func parseSettings(set *flag.FlagSet, args []string, lookupEnv func(string) (string, bool)) error {
	if err := set.Parse(args); err != nil {
		return cmdline.Explain(set, args, err)
	}
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (-h lists the flags)", set.Arg(0))
	}
	said := map[string]bool{}
	set.Visit(func(f *flag.Flag) { said[f.Name] = true })

	var failed error
	set.VisitAll(func(f *flag.Flag) {
		value, ok := lookupEnv(envName(f.Name))
		if !ok || said[f.Name] || failed != nil {
			return
		}
		if err := set.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("environment variable %s: %w", envName(f.Name), err)
		}
		said[f.Name] = true
	})
	if failed != nil {
		return failed
	}
	return applyFile(set, said)
}

func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// applyFile sets what the settings file says and neither flags nor environment did.
// The whole file is checked before anything of it is used.
func applyFile(set *flag.FlagSet, said map[string]bool) error {
	name, must := settingsFile, false
	if f := set.Lookup(settingsFlag); f != nil && f.Value.String() != "" {
		name, must = f.Value.String(), true
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	values, err := decodeSettings(data)
	if err != nil {
		return fmt.Errorf("settings file %s: %w", name, err)
	}
	for key := range values {
		if key == settingsFlag || set.Lookup(key) == nil {
			return fmt.Errorf("settings file %s: no setting is called %q (-h lists the flags, whose names without the dash are the settings)", name, key)
		}
	}
	for key, value := range values {
		if said[key] {
			continue
		}
		if err := set.Set(key, value); err != nil {
			return fmt.Errorf("settings file %s: %q: %w", name, key, err)
		}
	}
	return nil
}

// decodeSettings reads one JSON object of strings, numbers, booleans and lists of
// strings, as the text a flag would be given. Names that occur twice are refused.
func decodeSettings(data []byte) (map[string]string, error) {
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	values := make(map[string]string, len(raw))
	for key, v := range raw {
		switch v.Kind() {
		case '"':
			var s string
			if err := json.Unmarshal(v, &s); err != nil {
				return nil, fmt.Errorf("%q: %w", key, err)
			}
			values[key] = s
		case '0', 't', 'f':
			values[key] = string(v)
		case '[':
			var list []string
			if err := json.Unmarshal(v, &list); err != nil {
				return nil, fmt.Errorf("%q: a list must be of strings: %w", key, err)
			}
			values[key] = strings.Join(list, ",")
		default:
			return nil, fmt.Errorf("%q: want a string, a number, true, false or a list of strings", key)
		}
	}
	return values, nil
}

// list is a flag value of comma-separated items.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	*l = nil
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(*l, item) {
			*l = append(*l, item)
		}
	}
	return nil
}
