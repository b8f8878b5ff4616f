package main

import (
	"os"
	"strings"
	"testing"
)

// The programs of the tests are this test binary, started again: causeway as the guard of
// expose and as itself, and what is exposed.
func TestMain(m *testing.M) {
	switch os.Getenv("CAUSEWAY_TEST_PROGRAM") {
	case "causeway":
		main()
		os.Exit(0)
	case "exposed":
		serveExposed()
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "expose-guard" {
		os.Exit(exitCode(runExposeGuard(), os.Stderr))
	}
	os.Exit(m.Run())
}

func TestExposeRefusesWhatMakesNoSense(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tc := range []struct{ name, args, says string }{
		{"no program", "expose", "after --"},
		{"a scope that does not exist", "expose -scope everyone -- x", "session"},
		{"an era that does not exist", "expose -era old -- x", "legacy"},
		{"a sign-in that does not exist", "expose -sign-in facebook -- x", "github"},
		{"GitHub without an id", "expose -sign-in github -- x", "CAUSEWAY_CLIENT_SECRET"},
		{"GitHub for nobody in particular", "expose -sign-in github -client-id a -- x", "-allow-user"},
		{"everyone and somebody", "expose -sign-in github -client-id a -allow-user *,ada -- x", "alone"},
		{"OIDC without an issuer", "expose -sign-in oidc -client-id a -allow-user * -- x", "-oidc-issuer"},
		{"a limit of nothing", "expose -max-memory 0 -- x", "above zero"},
		{"an environment without a value", "expose -env A -- x", "NAME=VALUE"},
		{"a template that does not parse", "expose -- x {{.Dir", "argument 1"},
		{"what a person has, for a shared program", "expose -scope shared -env A={{.Props.access_token}} -- x", "access_token"},
		{"a public address without sign-in", "expose -addr 0.0.0.0:0 -- x", "without sign-in"},
		{"an unknown flag", "expose -scop user -- x", "-scop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, _, errs := cli(t, strings.Fields(tc.args)...)
			if status == 0 || !strings.Contains(errs, tc.says) {
				t.Errorf("status %d: %s", status, errs)
			}
		})
	}
}

func TestWhoMaySignIn(t *testing.T) {
	some, err := allowList("Ada, grace@example.com ,")
	if err != nil || !some("ada") || !some("GRACE@example.com") || some("") || some("eve") {
		t.Errorf("%v", err)
	}
	all, err := allowList(" * ")
	if err != nil || !all("") || !all("eve") {
		t.Errorf("%v", err)
	}
}
