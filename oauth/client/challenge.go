package client

import (
	"net/http"
	"strings"
)

// A challenge is one of a WWW-Authenticate header (RFC 9110 §11.6.1).
type challenge struct {
	scheme string            // in lower case
	params map[string]string // names in lower case
}

// Bounds of what is read of challenges; a server that sends more is cut.
const (
	maxChallengeBytes = 16 << 10
	maxChallenges     = 16
	maxChallengeParam = 32
)

// parseChallenges reads all challenges of an answer. What is malformed is skipped: a server
// whose header cannot be read is one without a header.
func parseChallenges(h http.Header) []challenge {
	var all []challenge
	read := 0
	for _, line := range h.Values("WWW-Authenticate") {
		if read += len(line); read > maxChallengeBytes {
			break
		}
		all = append(all, parseChallenge(line)...)
		if len(all) >= maxChallenges {
			return all[:maxChallenges]
		}
	}
	return all
}

// parseChallenge reads one header line, which may hold several challenges: a word that is
// followed by '=' is a parameter of the last scheme, any other word a scheme.
func parseChallenge(line string) []challenge {
	var all []challenge
	rest := line
	for {
		rest = strings.TrimLeft(rest, " \t,")
		word := token(rest)
		if word == "" {
			return all
		}
		after := strings.TrimLeft(rest[len(word):], " \t")
		if !strings.HasPrefix(after, "=") || len(all) == 0 {
			all = append(all, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
			rest = skipToken68(rest[len(word):])
			continue
		}
		value, left, ok := paramValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return all
		}
		last := all[len(all)-1].params
		name := strings.ToLower(word)
		if _, twice := last[name]; !twice && len(last) < maxChallengeParam {
			last[name] = value
		}
		rest = left
	}
}

// skipToken68 skips credentials of the form token68, as in "Negotiate abc==".
func skipToken68(rest string) string {
	trimmed := strings.TrimLeft(rest, " \t")
	if trimmed == rest {
		return rest
	}
	end := 0
	for end < len(trimmed) && (isTokenByte(trimmed[end]) || trimmed[end] == '/') {
		end++
	}
	for end < len(trimmed) && trimmed[end] == '=' {
		end++
	}
	after := strings.TrimLeft(trimmed[end:], " \t")
	if end > 0 && (after == "" || after[0] == ',') && !strings.Contains(strings.TrimRight(trimmed[:end], "="), "=") {
		return after
	}
	return rest
}

// token is the longest prefix of s that is a token of RFC 9110 §5.6.2.
func token(s string) string {
	end := 0
	for end < len(s) && isTokenByte(s[end]) {
		end++
	}
	return s[:end]
}

func isTokenByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// paramValue reads a token or a quoted string. Bare values may also hold the characters of
// a URL: servers write resource_metadata=https://… without quotes.
func paramValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,\"")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// param returns the first value of a parameter among Bearer and DPoP challenges.
func param(all []challenge, name string) string {
	for _, c := range all {
		if value := c.params[name]; value != "" && c.isOAuth() {
			return value
		}
	}
	return ""
}

func (c challenge) isOAuth() bool { return c.scheme == "bearer" || c.scheme == "dpop" }

// hasScheme reports whether one of the challenges has the scheme.
func hasScheme(all []challenge, scheme string) bool {
	for _, c := range all {
		if c.scheme == scheme {
			return true
		}
	}
	return false
}
