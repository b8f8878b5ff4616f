package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func success(id string) check { return check{ID: id, Status: "SUCCESS"} }

func TestOutcomeIsTheWorstThatIsTrueOfAScenario(t *testing.T) {
	schema := success(schemaCheck)
	skip := check{ID: "b", Status: "SKIPPED"}
	for _, test := range []struct {
		name   string
		checks []check
		want   outcome
	}{
		{"every check succeeded", []check{success("a"), schema}, passed},
		{"information does not count", []check{success("a"), {ID: "b", Status: "INFO"}}, passed},
		{"one check was skipped", []check{success("a"), skip}, partly},
		{"only the schema of messages was checked", []check{schema, skip}, skipped},
		{"nothing was sent", []check{skip}, skipped},
		{"a warning beside a skipped check", []check{success("a"), skip, {ID: "c", Status: "WARNING"}}, warned},
		{"a failure beside a warning", []check{{ID: "a", Status: "FAILURE"}, {ID: "c", Status: "WARNING"}}, failed},
		{"no check at all", nil, failed},
		{"a status this program does not know", []check{success("a"), {ID: "b", Status: "MAYBE"}}, failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := outcomeOf(test.checks); got != test.want {
				t.Errorf("outcome %d, want %d", got, test.want)
			}
		})
	}
}

func TestASetHoldsOnlyIfEverythingThatCountsPassed(t *testing.T) {
	good := []check{success("a")}
	bad := []check{{ID: "a", Status: "FAILURE", ErrorMessage: "it broke"}}
	warning := []check{success("a"), {ID: "b", Status: "WARNING"}}
	skip := []check{{ID: "a", Status: "SKIPPED"}}
	all := set{args: []string{"--suite", "all"}, size: 2}
	required := set{args: []string{"--requirements", "2026-07-28"}, size: 1}
	counted := set{mode: "authorization", size: 1, checks: 2}

	for _, test := range []struct {
		name string
		set  set
		got  results
		want bool
	}{
		{"all passed", all, results{scenarios: map[string][]check{"x": good, "y": good}}, true},
		{"as many checks as there are", counted, results{scenarios: map[string][]check{"x": append(good, good...)}}, true},
		{"a check is gone", counted, results{scenarios: map[string][]check{"x": good}}, false},
		{"one failed", all, results{scenarios: map[string][]check{"x": good, "y": bad}}, false},
		{"one warned", all, results{scenarios: map[string][]check{"x": good, "y": warning}}, false},
		{"one was skipped without an excuse", all, results{scenarios: map[string][]check{"x": good, "y": skip}}, false},
		{"one was skipped that is not served", all, results{scenarios: map[string][]check{"x": good, "sep-2640-skills-manifest": skip}}, true},
		{"one was skipped in part without an excuse", all, results{scenarios: map[string][]check{"x": good, "y": append(skip, good...)}}, false},
		{"one was skipped in part with an excuse", all, results{scenarios: map[string][]check{"x": good, "http-standard-headers": append(skip, good...)}}, true},
		{"one that is not served failed", all, results{scenarios: map[string][]check{"x": good, "sep-2640-skills-manifest": bad}}, false},
		{"one is missing", all, results{scenarios: map[string][]check{"x": good}}, false},
		{"a scored one passed, an unscored one failed", required, results{scored: []string{"x"}, scenarios: map[string][]check{"x": good, "y": bad}}, true},
		{"a scored one failed", required, results{scored: []string{"x"}, scenarios: map[string][]check{"x": bad}}, false},
		{"a scored one did not run", required, results{scored: []string{"x"}, scenarios: map[string][]check{"y": good}}, false},
		{"fewer are scored than should be", required, results{scenarios: map[string][]check{"y": good}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := test.set.judge(test.got)
			if v.held() != test.want {
				t.Errorf("held is %t, want %t:\n%s", v.held(), test.want, v)
			}
			if word := strings.Fields(v.String())[0]; (word == "ok") != test.want {
				t.Errorf("the line begins with %q", word)
			}
		})
	}
}

func TestScenarioNamesLoseTimeAndPrefix(t *testing.T) {
	for dir, want := range map[string]string{
		"server-ping-2026-11-22T21-23-31-087Z":                 "ping",
		"server-server-stateless-2026-11-22T21-23-31-087Z":     "server-stateless",
		"server-json-schema-2020-12-2026-11-22T21-23-31-087Z":  "json-schema-2020-12",
		"initialize-2026-11-22T21-23-31-087Z":                  "initialize",
		filepath.Join("auth", "dpop-2026-11-22T21-23-31-087Z"): "auth/dpop",
	} {
		if got := scenarioName(dir); got != want {
			t.Errorf("%s is scenario %q, want %q", dir, got, want)
		}
	}
}

func TestResultsAreReadFromTheSuitesFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "server-ping-2026-11-22T21-23-31-087Z", "checks.json"), `[{"id":"ping","status":"SUCCESS"}]`)
	write(t, filepath.Join(dir, "server-caching-2026-11-22T21-23-31-087Z", "checks.json"), `[]`)
	got, err := readResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.scenarios) != 2 || !slices.Equal(got.scenarios["ping"], []check{success("ping")}) {
		t.Errorf("results are %+v", got.scenarios)
	}
}

func TestAResultThatIsNotJSONIsAnError(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "server-ping-2026-11-22T21-23-31-087Z", "checks.json"), `[{`)
	if got, err := readResults(dir); err == nil {
		t.Errorf("no error, but %+v", got.scenarios)
	}
}

func TestScoredScenariosAreThoseOfTheModeAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requirements.yaml")
	write(t, file, "# server:\n#   - comment\n\nserver:\n  - ping\n  - caching\n\nclient:\n  - initialize\n\nnot_scored:\n  server:\n    - scenario: tasks\n  - odd\n")
	for mode, want := range map[string][]string{"server": {"ping", "caching"}, "client": {"initialize"}} {
		got, err := readScored(file, mode)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s scores %q (%v), want %q", mode, got, err, want)
		}
	}
	if got, err := readScored(file, "authorization"); err == nil {
		t.Errorf("a mode without scenarios gives %q and no error", got)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
