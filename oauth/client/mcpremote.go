package client

import (
	"context"
	"crypto/md5" //nolint:gosec // the names of another program's files
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// maxImported is how much is read of one file of mcp-remote, in bytes.
const maxImported = 256 << 10

// importTokens takes over what mcp-remote kept for the server: its tokens and the client they were
// given to. Its files are only read, and only while there is nothing of our own. The record is
// empty if there is none.
//
// Layout of its folder (0.1.x to 0.15.1): mcp-remote-VERSION/HASH_tokens.json and
// HASH_client_info.json, where HASH is the MD5 of the server's URL and of the flags that
// select an identity, as they were typed.
func (s *session) importTokens(ctx context.Context) (*serverRecord, error) {
	nothing := &serverRecord{}
	folder, err := s.c.options.importFolder()
	if err != nil || folder == "" || s.c.options.Grant != nil {
		return nothing, err
	}
	places, err := filepath.Glob(filepath.Join(escapeGlob(folder), "mcp-remote-*"))
	if err != nil || len(places) == 0 {
		return nothing, err
	}
	slices.Sort(places)
	slices.Reverse(places) // mcp-remote-v1 is newer than mcp-remote-0.1.18
	for _, place := range places {
		for _, hash := range s.importNames() {
			record, err := s.readImport(place, hash)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nothing, err
			}
			return s.keepImport(ctx, record)
		}
	}
	return nothing, nil
}

func (o *Options) importFolder() (string, error) {
	switch {
	case o.ImportFrom == NoImport:
		return "", nil
	case o.ImportFrom != "":
		return o.ImportFrom, nil
	}
	if dir := os.Getenv("MCP_REMOTE_CONFIG_DIR"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", nil //nolint:nilerr // who has no home has nothing there
	}
	return filepath.Join(home, ".mcp-auth"), nil
}

// escapeGlob makes a path match itself.
func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// importNames are the names that mcp-remote may have given to this server and these options:
// by every spelling of the URL that means the same.
func (s *session) importNames() []string {
	o := s.c.options
	spelled := s.server.String()
	spellings := []string{spelled}
	if s.server.RawQuery == "" {
		spellings = append(spellings, spelled+"/")
	}
	var rest []string
	if o.Resource != "" {
		rest = append(rest, o.Resource)
	}
	if len(o.AuthorizeParams) > 0 {
		params := map[string]string{}
		for name := range o.AuthorizeParams {
			params[name] = o.AuthorizeParams.Get(name)
		}
		rest = append(rest, sortedJSON(params))
	}
	if len(o.Headers) > 0 {
		headers := map[string]string{}
		for name := range o.Headers {
			headers[name] = http.Header(o.Headers).Get(name)
		}
		rest = append(rest, sortedJSON(headers))
	}
	if o.ClientMetadataURL != "" {
		rest = append(rest, o.ClientMetadataURL)
	}
	var names []string
	for _, spelling := range spellings {
		sum := md5.Sum([]byte(strings.Join(append([]string{spelling}, rest...), "|"))) //nolint:gosec // see above
		names = append(names, hex.EncodeToString(sum[:]))
	}
	return names
}

func sortedJSON(m map[string]string) string {
	text, _ := json.Marshal(m, json.Deterministic(true)) // strings always marshal
	return string(text)
}

// readImport reads what is there under one name.
func (s *session) readImport(place, hash string) (*serverRecord, error) {
	content, err := readBounded(filepath.Join(place, hash+"_tokens.json"))
	if err != nil {
		return nil, err
	}
	kept, err := parseImportedTokens(content)
	if err != nil {
		return nil, err
	}
	record := &serverRecord{server: s.server.String(), issuer: kept.issuer, tokens: kept.tokens, imported: true}
	content, err = readBounded(filepath.Join(place, hash+"_client_info.json"))
	if errors.Is(err, os.ErrNotExist) {
		// A client of its own flags; without it the access token is all there is.
		if own := s.configured(kept.issuer); own != nil {
			record.clientID = own.id
		} else {
			record.tokens.refresh = Secret{}
		}
		return record, nil
	}
	if err != nil {
		return nil, err
	}
	answer, err := parseRegistration(content)
	if err != nil {
		return nil, err
	}
	record.clientID, record.dynamic = answer.ID, true
	record.clientSecret, record.clientMethod = NewSecret(answer.Secret), answer.Method
	return record, nil
}

type importedTokens struct {
	tokens *tokens
	issuer string
}

func parseImportedTokens(content []byte) (*importedTokens, error) {
	answer, err := parseTokenAnswer(content)
	if err != nil {
		return nil, fmt.Errorf("tokens of mcp-remote: %w", err)
	}
	var more struct {
		Expires float64 `json:"expires_at"` // milliseconds since 1970
		Asked   *string `json:"requested_scope"`
		Issuer  *string `json:"issuer"`
	}
	if err := json.Unmarshal(content, &more); err != nil {
		return nil, fmt.Errorf("tokens of mcp-remote: %w", withoutContent(err))
	}
	if kind := strings.ToLower(answer.kind); kind != "" && kind != "bearer" {
		return nil, fmt.Errorf("tokens of mcp-remote: %w: type %q", ErrBadAnswer, clean(kind, 20))
	}
	t := &tokens{
		access: NewSecret(answer.access), refresh: NewSecret(answer.refresh), id: NewSecret(answer.id),
		scopes: scopesOf(deref(answer.scope)), asked: scopesOf(deref(more.Asked)),
	}
	t.asked = union(t.asked, t.scopes)
	const latest = 1 << 53 // of the integers that a JSON number holds
	switch {
	case more.Expires > 0 && more.Expires < latest:
		t.expires = time.UnixMilli(int64(more.Expires))
	case answer.lifetime > 0:
		// When it was got is not known: renew it at once.
		t.expires = time.Unix(1, 0)
	}
	t.obtained = t.expires.Add(-answer.lifetime)
	return &importedTokens{tokens: t, issuer: deref(more.Issuer)}, nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxImported+1))
	if err == nil && len(content) > maxImported {
		err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrBadAnswer, maxImported)
	}
	return content, err
}

// keepImport stores what was taken over, unless somebody has something newer or is at it.
func (s *session) keepImport(ctx context.Context, record *serverRecord) (*serverRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	unlock, err := s.c.store.Lock(ctx, s.name)
	if errors.Is(err, context.DeadlineExceeded) {
		return record, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	if newer, err := s.c.loadServer(ctx, s.name); !errors.Is(err, ErrNotFound) {
		return newer, err
	}
	s.c.log.Info("tokens of mcp-remote taken over", "server", withoutQuery(s.server))
	return record, s.c.saveServer(ctx, s.name, record)
}
