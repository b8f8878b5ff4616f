package expose

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"text/template"
)

// passedOn are the variables of our own environment that every child gets: what
// programs need to be found and to find their way, and nothing that is a secret.
var passedOn = []string{
	"PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	// Windows cannot start programs without these.
	"SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "TEMP", "TMP", "WINDIR",
}

// hasPassword tells whether a value is a URL that carries who is asking.
func hasPassword(v string) bool {
	u, err := url.Parse(v)
	return err != nil && strings.Contains(v, "@") || err == nil && u.User != nil
}

// Data is what the templates of [Options.Command] and [Options.Env] can use.
type Data struct {
	// User is the id of the person, as sign-in gave it; "" for nobody in particular.
	User string
	// Dir is a directory of the person's own, which exists: the child starts in it.
	Dir string
	// Session is the id of the session, of a child that has one to itself.
	Session string
	// Props is what sign-in said of the person: {{.Props.access_token}}.
	Props any
}

// A recipe is what the operator said a child is made of, parsed.
type recipe struct {
	argv []piece
	env  []piece  // values
	vars []string // names
	pass []string
}

// A piece is one argument or value. Without braces it is taken as it is.
type piece struct {
	name, text string
	template   *template.Template
}

func parseRecipe(o *Options) (*recipe, error) {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, errors.New("expose: no command was given")
	}
	r := &recipe{pass: slices.Concat(passedOn, o.PassEnv)}
	if strings.Contains(o.Command[0], "{{") {
		return nil, errors.New("expose: the program itself must not be a template")
	}
	for i, arg := range o.Command {
		t, err := parseTemplate(fmt.Sprintf("argument %d", i), arg)
		if err != nil {
			return nil, err
		}
		r.argv = append(r.argv, t)
	}
	for _, kv := range o.Env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" || strings.ContainsAny(name, "\x00{}") {
			return nil, fmt.Errorf("expose: environment %q: want NAME=VALUE", name)
		}
		t, err := parseTemplate("environment "+name, value)
		if err != nil {
			return nil, err
		}
		r.vars, r.env = append(r.vars, name), append(r.env, t)
	}
	return r, nil
}

// findProgram is where the program lies, seen from here: children start in directories of their own.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("expose: the program %q cannot be started: %w; give its path, or set PATH", name, err)
	}
	return path, nil
}

func parseTemplate(name, text string) (piece, error) {
	if !strings.Contains(text, "{{") {
		return piece{name: name, text: text}, nil
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"env": lookupEnv}).Parse(text)
	if err != nil {
		return piece{}, fmt.Errorf("expose: %w", err)
	}
	// What no Data has is missing now as well as later. What Props holds shows only with a person.
	if err := t.Execute(io.Discard, Data{}); err != nil && strings.Contains(err.Error(), reflect.TypeFor[Data]().String()) {
		return piece{}, fmt.Errorf("expose: %w; there are .User, .Dir, .Session and .Props", err)
	}
	return piece{name, text, t}, nil
}

// lookupEnv is {{env "NAME"}}: a variable of our own environment.
func lookupEnv(name string) (string, error) {
	v, ok := os.LookupEnv(name)
	if !ok {
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return v, nil
}

// A launch is what one child is started with.
type launch struct {
	argv    []string
	env     []string
	dir     string
	secrets []string // values that must not reach the log
}

// minSecret is the length from which a value is worth hiding: shorter ones would make
// the log unreadable and hide nothing.
const minSecret = 6

// prepare fills the recipe in for one child.
func (r *recipe) prepare(d Data) (*launch, error) {
	l := &launch{dir: d.Dir}
	for _, p := range r.argv {
		arg, err := p.fill(d)
		if err != nil {
			return nil, err
		}
		// What a person is called must not become an option of the program.
		if strings.HasPrefix(arg, "-") && strings.HasPrefix(p.text, "{{") {
			return nil, fmt.Errorf("expose: %s: the value begins with a dash", p.name)
		}
		l.argv = append(l.argv, arg)
	}
	set := map[string]bool{}
	for i, p := range r.env {
		v, err := p.fill(d)
		if err != nil {
			return nil, err
		}
		l.env = append(l.env, r.vars[i]+"="+v)
		set[r.vars[i]] = true
		if p.template != nil && len(v) >= minSecret && v != d.Dir && !strings.HasPrefix(v, d.Dir+string(filepath.Separator)) {
			l.secrets = append(l.secrets, v)
		}
	}
	for i, name := range r.pass {
		v, ok := os.LookupEnv(name)
		if i < len(passedOn) && hasPassword(v) {
			continue // a proxy's; the operator may pass it on by name
		}
		if ok && !set[name] {
			l.env = append(l.env, name+"="+v)
			set[name] = true
		}
	}
	// A home of one's own: what programs keep there belongs to one person too.
	for _, home := range homeVariables() {
		if !set[home] {
			l.env = append(l.env, home+"="+d.Dir)
		}
	}
	return l, nil
}

func homeVariables() []string {
	if runtime.GOOS == "windows" {
		return []string{"USERPROFILE", "APPDATA", "LOCALAPPDATA"}
	}
	return []string{"HOME"}
}

// fill executes a template. The error names what is missing and quotes no value.
func (p piece) fill(d Data) (string, error) {
	if p.template == nil {
		return p.text, nil
	}
	var b strings.Builder
	if err := p.template.Execute(&b, d); err != nil {
		return "", fmt.Errorf("expose: %w", err)
	}
	v := b.String()
	if strings.Contains(v, "\x00") || strings.Contains(v, "<no value>") {
		return "", fmt.Errorf("expose: %s: the value is missing or holds a NUL", p.name)
	}
	return v, nil
}

// homeOf makes the directory of one user under root.
func homeOf(root, user string) (string, error) {
	dir := filepath.Join(root, "shared")
	if user != "" {
		dir = filepath.Join(root, "user-"+digest(user))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("expose: making a directory for the program: %w", err)
	}
	// The directory may have been there before, with other permissions or as a link.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("expose: %w", err)
	}
	if !info.IsDir() || info.Mode()&fs.ModeSymlink != 0 {
		return "", fmt.Errorf("expose: %s is not a directory", dir)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", fmt.Errorf("expose: %w", err)
		}
	}
	return dir, nil
}

// digest names a user in paths and logs: ids may hold anything, and say who it is.
func digest(user string) string {
	sum := sha256.Sum256([]byte("causeway expose\x00" + user))
	return hex.EncodeToString(sum[:12])
}
