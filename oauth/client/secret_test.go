package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
)

type holder struct {
	Public  Secret
	private Secret
	list    []Secret
	m       map[string]Secret
}

func TestASecretIsNeverPrinted(t *testing.T) {
	const text = "hunter2-hunter2"
	s := NewSecret(text)
	h := holder{Public: s, private: s, list: []Secret{s}, m: map[string]Secret{"a": s}}
	var said strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%b", "%o", "%c", "%U", "%T", "%p", "%w"} {
		for _, value := range []any{s, &s, h, &h, []Secret{s}, map[string]Secret{"a": s}, []any{s}} {
			fmt.Fprintf(&said, verb, value)
		}
	}
	fmt.Fprint(&said, s, h, &h)
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "secret", s, "holder", h, "pointer", &h, "group", slog.GroupValue(slog.Any("a", s)))
	}
	said.WriteString(log.String())
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, func(v any) ([]byte, error) { return jsonv2.Marshal(v) }} {
		out, err := marshal(map[string]any{"a": s, "b": &s, "c": h})
		if err != nil {
			t.Fatal(err)
		}
		said.Write(out)
	}
	options := Options{ClientSecret: s, Grant: EnterpriseManaged{ClientSecret: s}}
	fmt.Fprintf(&said, "%v %+v %#v", options, options, options)
	r := serverRecord{clientSecret: s, tokens: &tokens{access: s, refresh: s, id: s}}
	fmt.Fprintf(&said, "%v %+v %#v %+v", r, r, r, *r.tokens)
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprint([]byte(text))} {
		if strings.Contains(said.String(), form) {
			t.Errorf("%q was printed", form)
		}
	}
	if !strings.Contains(said.String(), redacted) {
		t.Error("nothing says that something was left out")
	}
}

func TestASecretIsItsText(t *testing.T) {
	if NewSecret("a").Reveal() != "a" || !NewSecret("").IsZero() || (Secret{}).Reveal() != "" || fmt.Sprint(Secret{}) != "" {
		t.Error("a secret is not its text")
	}
	if !NewSecret("a").Equal(NewSecret("a")) || NewSecret("a").Equal(NewSecret("b")) || NewSecret("a").Equal(Secret{}) {
		t.Error("secrets compare wrongly")
	}
	var read struct{ S Secret }
	if err := json.Unmarshal([]byte(`{"S":"x"}`), &read); err != nil || read.S.Reveal() != "x" {
		t.Errorf("read from JSON: %q (%v)", read.S.Reveal(), err)
	}
}
