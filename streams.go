package causeway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// recheckEvery is how often a stream's token is looked at again. Together with the five
// seconds that a validation is trusted for it bounds how long a stream outlives a
// revocation, wherever that was made.
const recheckEvery = time.Second

// errSignedOut ends a stream.
var errSignedOut = errors.New("causeway: the sign-in that opened the stream is over")

// signedInStreams ends streams whose token is good no more, and keeps those up to date that
// carry calls themselves. Calls are not looked at again: they were allowed when they began.
type signedInStreams struct {
	next      http.Handler
	validator oauth.Validator
}

// ServeHTTP implements http.Handler.
func (s *signedInStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := auth.TokenInfoFromContext(r.Context())
	if t == nil || r.Method != http.MethodGet && r.Header.Get("Mcp-Method") != "subscriptions/listen" {
		s.next.ServeHTTP(w, r)
		return
	}
	resource, _ := t.Extra[oauth.ExtraResource].(string)
	if _, ours := t.Extra[oauth.ExtraGrant]; !ours || resource == "" {
		s.next.ServeHTTP(w, r) // a token from elsewhere, which ends when it says
		return
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	ctx, update := oauth.Live(ctx)
	go s.watch(ctx, cancel, update, resource, strings.TrimSpace(token))
	s.next.ServeHTTP(w, r.WithContext(ctx))
}

// watch looks at a token until it or the stream has ended. A store that does not answer
// ends nothing.
func (s *signedInStreams) watch(ctx context.Context, cancel context.CancelCauseFunc, update func(*oauth.Validation), resource, token string) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v, err := s.validator.Validate(ctx, resource, token)
		if v == nil && err == nil {
			cancel(errSignedOut)
			return
		}
		update(v)
	}
}
