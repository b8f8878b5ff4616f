package oauth

import (
	"context"
	"slices"
	"sync/atomic"
)

// Live is for a request that lasts, a WebSocket or an event stream: [Props], [HasScope] and
// [NeedScopes] say in the context it returns what update was last given, by whoever looks
// at the token again from time to time ([Server.Validate]). Without it they say what held
// when the request began. causeway.App does so.
//
// A Validation of another grant is ignored. Update may be called at any time by anyone.
func Live(ctx context.Context) (live context.Context, update func(*Validation)) {
	began := identityOf(ctx)
	if began == nil {
		return ctx, func(*Validation) {}
	}
	id := *began
	id.live = new(atomic.Pointer[identity])
	newest := id.live
	newest.Store(began)
	grant, _ := began.info.Extra[ExtraGrant].(string)
	return context.WithValue(ctx, identityKey{}, &id), func(v *Validation) {
		if v == nil || v.Grant != grant {
			return
		}
		next, info := *began, *began.info
		info.Scopes, next.props, next.info = slices.Clone(v.Scopes), v.Props, &info
		newest.Store(&next)
	}
}
