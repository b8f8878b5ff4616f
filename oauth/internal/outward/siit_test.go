package outward

import (
	"net/netip"
	"testing"
)

// Translators (RFC 7915, RFC 6052, RFC 8215) and tunnels (RFC 3056, RFC 4380) carry an IPv4
// address inside an IPv6 one, which may be that of this machine or of a cloud's metadata.
func TestAnIPv4AddressInsideAnIPv6OneIsNotPublic(t *testing.T) {
	for _, a := range []string{
		"::ffff:0:127.0.0.1", "::ffff:0:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::a9fe:a9fe",
		"2002:7f00:1::", "2001::1", "fec0::1", "::127.0.0.1", "::ffff:127.0.0.1",
	} {
		if IsPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s counts as public", a)
		}
	}
}
