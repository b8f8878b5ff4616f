package jsonrpc

import "strings"

// IsBatch reports whether data, not yet checked, can only be a batch.
func IsBatch(data []byte) bool {
	i := SkipSpace(data, 0)
	return i < len(data) && data[i] == '['
}

// Parse reads one message. Its error is an *[Error]: CodeParseError for text that
// is not JSON, CodeInvalidParams for params of the wrong type, and
// CodeInvalidRequest for all else. A batch is refused; see [ParseBatch].
func Parse(data []byte, limits Limits) (Message, error) {
	p := parser{data: data, depth: clampDepth(limits.Depth)}
	i, err := p.envelope(SkipSpace(data, 0))
	if err == nil {
		if i = SkipSpace(data, i); i < len(data) {
			err = &SyntaxError{i, "text after the message"}
		}
	}
	if err != nil {
		return Message{}, parseError(err)
	}
	if fault := p.finish(); fault != nil {
		return Message{}, fault
	}
	return p.msg, nil
}

// An Entry is one element of a batch: a message or, if Err is not nil, why this
// element was refused.
type Entry struct {
	Message Message
	Err     *Error
}

// ParseBatch reads an array of messages, at least one. Its error is an *[Error]
// for the batch as a whole: text that is not JSON, no element, more than
// limits.Batch of them. Faults of single elements are in the entries.
func ParseBatch(data []byte, limits Limits) ([]Entry, error) {
	most := limits.Batch
	if most <= 0 {
		most = defaultBatch
	}
	i := SkipSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return nil, invalidRequest("a batch is an array")
	}
	i = SkipSpace(data, i+1)
	if i < len(data) && data[i] == ']' {
		return nil, emptyBatch(data, i)
	}
	var entries []Entry
	for {
		if len(entries) == most {
			return nil, invalidRequest("more than %d messages in a batch", most)
		}
		p := parser{data: data, depth: clampDepth(limits.Depth) - 1}
		end, err := p.envelope(i)
		if err != nil {
			return nil, parseError(err)
		}
		entries = append(entries, p.entry())
		i = SkipSpace(data, end)
		if i < len(data) && data[i] == ',' {
			i = SkipSpace(data, i+1)
			continue
		}
		if i >= len(data) || data[i] != ']' {
			return nil, parseError(&SyntaxError{i, "expected ',' or ']'"})
		}
		break
	}
	if i = SkipSpace(data, i+1); i < len(data) {
		return nil, parseError(&SyntaxError{i, "text after the batch"})
	}
	return entries, nil
}

func emptyBatch(data []byte, end int) *Error {
	if i := SkipSpace(data, end+1); i < len(data) {
		return parseError(&SyntaxError{i, "text after the batch"})
	}
	return invalidRequest("an empty batch")
}

// The members that JSON-RPC gives an envelope.
const (
	hasVersion = 1 << iota
	hasID
	hasMethod
	hasParams
	hasResult
	hasError
)

// maxUnknown bounds the members of an envelope that JSON-RPC does not define.
const maxUnknown = 32

// parser reads one envelope. Syntax errors end it; other faults are kept while
// it reads on, so that the answer can carry the id wherever it stands.
type parser struct {
	data    []byte
	depth   int
	msg     Message
	seen    int
	unknown Names
	fault   *Error
}

func (p *parser) envelope(i int) (int, error) {
	b := p.data
	if i >= len(b) {
		return i, &SyntaxError{i, "no message"}
	}
	if b[i] != '{' {
		p.blame(invalidRequest("a message is an object"))
		return scanValue(b, i, p.depth)
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		end, err := p.pair(i)
		if err != nil {
			return end, err
		}
		if i = SkipSpace(b, end); i >= len(b) {
			return i, &SyntaxError{i, "the message does not end"}
		}
		switch b[i] {
		case '}':
			return i + 1, nil
		case ',':
			i = SkipSpace(b, i+1)
		default:
			return i, &SyntaxError{i, "expected ',' or '}'"}
		}
	}
}

// pair reads one member and returns where it ends.
func (p *parser) pair(i int) (int, error) {
	b := p.data
	if i >= len(b) || b[i] != '"' {
		return i, &SyntaxError{i, "expected a name in double quotes"}
	}
	nameEnd, err := scanString(b, i)
	if err != nil {
		return nameEnd, err
	}
	value, err := scanColon(b, nameEnd)
	if err != nil {
		return value, err
	}
	end, err := scanValue(b, value, p.depth-1)
	if err != nil {
		return end, err
	}
	p.member(Unquoted(b[i:nameEnd]), b[value:end:end])
	return end, nil
}

// member takes in one checked member.
func (p *parser) member(name, value []byte) {
	switch string(name) {
	case "jsonrpc":
		p.once(hasVersion, "jsonrpc")
		if !StringEquals(value, "2.0") {
			p.blame(invalidRequest(`"jsonrpc" must be "2.0"`))
		}
	case "id":
		p.setID(value)
	case "method":
		p.once(hasMethod, "method")
		p.setMethod(value)
	case "params":
		p.once(hasParams, "params")
		p.setParams(value)
	case "result":
		p.once(hasResult, "result")
		p.msg.Result = value
	case "error":
		p.once(hasError, "error")
		p.setError(value)
	default:
		p.other(name)
	}
}

func (p *parser) once(member int, name string) {
	if p.seen&member != 0 {
		p.blame(invalidRequest("%q occurs twice", name))
	}
	p.seen |= member
}

func (p *parser) setID(value []byte) {
	if p.seen&hasID != 0 {
		p.msg.ID = nil // neither of two ids can be answered
		p.blame(invalidRequest(`"id" occurs twice`))
		return
	}
	p.seen |= hasID
	if !ValidID(value) {
		p.blame(invalidRequest(`"id" must be a string or an integer`))
		return
	}
	p.msg.ID = value
}

func (p *parser) setMethod(value []byte) {
	method, ok := methodName(value)
	if !ok {
		p.blame(invalidRequest(`"method" must be a string`))
	}
	p.msg.Method = method
}

func (p *parser) setParams(value []byte) {
	switch {
	case value[0] == '{':
		p.msg.Params = value
	case !IsNull(value):
		p.blame(invalidParams(`"params" must be an object`))
	}
}

func (p *parser) setError(value []byte) {
	if IsNull(value) {
		return
	}
	p.msg.Error = value
	if value[0] != '{' {
		p.blame(invalidRequest(`"error" must be an object`))
		return
	}
	if _, err := ParseErrorObject(value); err != nil {
		p.blame(invalidRequest(`"error": %v`, err))
	}
}

// other refuses what an attacker could use to show two readers of one message
// different requests; names that nobody defines are passed over.
func (p *parser) other(name []byte) {
	for _, known := range [...]string{"jsonrpc", "id", "method", "params", "result", "error"} {
		if len(name) == len(known) && strings.EqualFold(string(name), known) {
			p.blame(invalidRequest("%q differs from %q by letter case only", name, known))
		}
	}
	if p.unknown.n == maxUnknown {
		p.blame(invalidRequest("more than %d members that JSON-RPC does not define", maxUnknown))
		return
	}
	if !p.unknown.Add(name) {
		p.blame(invalidRequest("%q occurs twice", Clip(name)))
	}
}

// finish decides what the envelope is, once all of it was read.
func (p *parser) finish() *Error {
	fault := p.fault
	if fault == nil {
		fault = p.classify()
	}
	if fault != nil {
		fault.ID = p.msg.ID
	}
	return fault
}

func (p *parser) classify() *Error {
	msg := &p.msg
	switch {
	case p.seen&hasVersion == 0:
		return invalidRequest(`"jsonrpc" is missing; it must be "2.0"`)
	case p.seen&hasMethod != 0:
		return p.classifyCall()
	case p.seen&(hasResult|hasError) == 0 || msg.Result == nil && msg.Error == nil:
		return invalidRequest(`"method" is missing`)
	case msg.ID == nil:
		return invalidRequest(`"id" is missing in a response`)
	case msg.Error != nil && !IsNull(msg.Result):
		return invalidRequest(`both "result" and "error"`)
	}
	if msg.Error != nil {
		msg.Result = nil
	}
	msg.Kind, msg.Params = Response, nil
	return nil
}

func (p *parser) classifyCall() *Error {
	msg := &p.msg
	if msg.Error != nil || !IsNull(msg.Result) {
		return invalidRequest(`"method" together with "result" or "error"`)
	}
	msg.Result = nil
	msg.Kind = Request
	if msg.ID == nil {
		msg.Kind = Notification
	}
	return nil
}

func (p *parser) blame(fault *Error) {
	if p.fault == nil {
		p.fault = fault
	}
}

func (p *parser) entry() Entry {
	if fault := p.finish(); fault != nil {
		return Entry{Err: fault}
	}
	return Entry{Message: p.msg}
}
