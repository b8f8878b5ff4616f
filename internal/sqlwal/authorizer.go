package sqlwal

import (
	"fmt"
	"strings"

	"modernc.org/sqlite"
)

// RefusedError tells that a statement may not run in an object's database, and why.
type RefusedError struct {
	What   string // the statement's kind, such as "ATTACH"
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is not allowed in an object's database: %s", e.What, e.Reason)
}

// reading are the PRAGMAs that only tell something. With a value they would change it, and are refused.
var reading = set("application_id", "collation_list", "compile_options", "data_version", "encoding",
	"foreign_keys", "freelist_count", "function_list", "max_page_count", "module_list", "page_count",
	"page_size", "pragma_list", "schema_version", "auto_vacuum", "journal_mode", "synchronous")

// asking are the PRAGMAs whose value is what they are asked about, and that change nothing.
var asking = set("foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo",
	"integrity_check", "quick_check", "table_info", "table_list", "table_xinfo")

// setting are the PRAGMAs whose effect is in the database (and so in the journal) or ends with the transaction.
var setting = set("application_id", "defer_foreign_keys", "user_version")

// authorizer decides at compile time what a statement may do. SQLite asks it again when it recompiles.
type authorizer struct {
	trusted bool          // our own statements: BEGIN, COMMIT, the checkpoint, VACUUM
	inTx    bool          // inside a transaction of ours, where a savepoint cannot end it
	writes  bool          // the statement being compiled changes the database
	nests   bool          // it is a SAVEPOINT or the end of one
	refused *RefusedError // why the last one was refused
}

func (a *authorizer) decide(action sqlite.AuthorizerActionCode, arg1, arg2, database, _ string) sqlite.AuthorizerReturnCode {
	if a.trusted {
		return sqlite.AuthorizerOK
	}
	switch action {
	case sqlite.AuthSelect, sqlite.AuthRead, sqlite.AuthRecursive:
		return sqlite.AuthorizerOK
	case sqlite.AuthFunction:
		if strings.EqualFold(arg2, "load_extension") {
			return a.refuse("load_extension", "extensions would run as native code")
		}
		return sqlite.AuthorizerOK
	case sqlite.AuthTransaction:
		return a.refuse(arg1, "transactions are begun with BeginTx or Tx and ended by them, so that each is journalled")
	case sqlite.AuthSavepoint:
		if !a.inTx {
			return a.refuse(loneSavepoint.What, loneSavepoint.Reason)
		}
		a.writes, a.nests = true, true
		return sqlite.AuthorizerOK
	case sqlite.AuthAttach:
		return a.refuse("ATTACH", "other files are not part of the object (VACUUM is a method: Vacuum)")
	case sqlite.AuthDetach:
		return a.refuse("DETACH", "other files are not part of the object")
	case sqlite.AuthPragma:
		return a.pragma(strings.ToLower(arg1), arg2)
	case sqlite.AuthCreateTempIndex, sqlite.AuthCreateTempTable, sqlite.AuthCreateTempTrigger, sqlite.AuthCreateTempView,
		sqlite.AuthDropTempIndex, sqlite.AuthDropTempTable, sqlite.AuthDropTempTrigger, sqlite.AuthDropTempView:
		return a.refuse("TEMP", "temporary tables vanish whenever the object goes to sleep")
	}
	if strings.EqualFold(database, "temp") {
		return a.refuse("TEMP", "temporary tables vanish whenever the object goes to sleep")
	}
	a.writes = true
	return sqlite.AuthorizerOK
}

func (a *authorizer) pragma(name, value string) sqlite.AuthorizerReturnCode {
	switch {
	case asking[name], value == "" && (reading[name] || setting[name]):
		return sqlite.AuthorizerOK
	case setting[name]:
		a.writes = true
		return sqlite.AuthorizerOK
	}
	return a.refuse("PRAGMA "+name, "it could take the database out of the journal's sight, or is a setting of the library")
}

func (a *authorizer) refuse(what, reason string) sqlite.AuthorizerReturnCode {
	if a.refused == nil {
		a.refused = &RefusedError{What: what, Reason: reason}
	}
	return sqlite.AuthorizerDeny
}

var loneSavepoint = &RefusedError{What: "SAVEPOINT", Reason: "outside a transaction it would begin one that is not journalled"}

// compile runs prepare and reports what the authorizer saw.
func (a *authorizer) compile(prepare func() error) (writes bool, err error) {
	a.writes, a.nests, a.refused = false, false, nil
	err = prepare()
	if err != nil && a.refused != nil {
		return false, a.refused
	}
	return a.writes, err
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
