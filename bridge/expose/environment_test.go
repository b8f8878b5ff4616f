package expose

import (
	"slices"
	"strings"
	"testing"
)

func TestAProxysPasswordIsPassedOnOnlyByName(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://user:password@proxy.example:3128")
	t.Setenv("HTTP_PROXY", "http://proxy.example:3128")
	has := func(o Options, name string) bool {
		o.Command = []string{"true"}
		r, err := parseRecipe(&o)
		if err != nil {
			t.Fatal(err)
		}
		l, err := r.prepare(Data{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(l.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	if has(Options{}, "HTTPS_PROXY") {
		t.Error("the password of the proxy went to the program")
	}
	if !has(Options{}, "HTTP_PROXY") {
		t.Error("a proxy without a password is not known to the program")
	}
	if !has(Options{PassEnv: []string{"HTTPS_PROXY"}}, "HTTPS_PROXY") {
		t.Error("the operator named it, and it was not passed on")
	}
}
