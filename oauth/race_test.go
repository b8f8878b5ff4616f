package oauth

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// redeemAt redeems as if it were that time.
func (s *grants) redeemAt(t *testing.T, r redemption, at time.Time) error {
	t.Helper()
	d, g, err := s.change(t.Context(), r.code.id, func(g *grant, _ time.Time) decision { return g.redeem(s.mint, &s.policy, at, r) })
	if err != nil {
		return err
	}
	_, err = s.conclude(t.Context(), d, g)
	return err
}

func TestAHundredReplaysOfACodeOnFreshAndBusyStores(t *testing.T) {
	for name, records := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s := testGrants(t, records, testPolicy())
			code := s.mustCreate(t)
			a := s.mustRedeem(t, code)
			wrong := map[string]func(*redemption){
				"another client":   func(r *redemption) { r.client = "client-two" },
				"a wrong verifier": func(r *redemption) { r.verifier = strings.Repeat("w", 43) },
			}
			for what, change := range wrong {
				r := goodRedemption(code)
				change(&r)
				together(50, func(int) {
					var w *wireError
					if err := s.redeemAt(t, r, time.Now().Add(11*time.Second)); !errors.As(err, &w) || w.code != "invalid_grant" {
						t.Errorf("%s: %v", what, err)
					}
				})
				if !s.works(t, a.AccessToken) {
					t.Fatalf("%s ended the grant", what)
				}
			}
			together(100, func(int) {
				var w *wireError
				if err := s.redeemAt(t, goodRedemption(code), time.Now().Add(5*time.Second)); !errors.As(err, &w) {
					t.Errorf("a double submit: %v", err)
				}
			})
			if !s.works(t, a.AccessToken) {
				t.Fatal("a double submit ended the grant")
			}
			together(100, func(int) {
				var w *wireError
				if err := s.redeemAt(t, goodRedemption(code), time.Now().Add(11*time.Second)); !errors.As(err, &w) || w.code != "invalid_grant" {
					t.Errorf("a replay: %v", err)
				}
			})
			if s.works(t, a.AccessToken) {
				t.Error("a replay 11 seconds later did not end the grant")
			}
			_, err := s.rotate(t.Context(), a.RefreshToken)
			wantRefused(t, err, "invalid_grant")
		})
	}
}
