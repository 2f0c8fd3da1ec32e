package rules

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// maxRegexInstructions bounds the time that one pattern takes for one byte of text.
const maxRegexInstructions = 2000

func (c *Compiler) regex(p path, raw, rawOptions, pointer string) node {
	l := &leaf{path: p, op: "$regex", operand: raw}
	at, options := Pointer(pointer, "$regex"), ""
	if rawOptions != "" {
		if jsontext.KindOf(rawOptions) != jsontext.String {
			c.Add(Pointer(pointer, "$options"), "$options needs a string, not %s", jsontext.KindOf(rawOptions))
			return l
		}
		options = jsontext.Unquote(rawOptions)
		if bad := strings.Trim(options, "ims"); bad != "" {
			c.Add(Pointer(pointer, "$options"), "$options knows i, m and s, not %q", bad)
			options = ""
		}
		l.operand += `,"$options":` + rawOptions
	}
	switch {
	case raw == "":
		c.Add(Pointer(pointer, "$options"), "$options needs a $regex beside it")
		return l
	case jsontext.KindOf(raw) != jsontext.String:
		c.Add(at, "$regex needs a string, not %s", jsontext.KindOf(raw))
		return l
	}
	text := jsontext.Unquote(raw)
	if len(text) > c.limits.PatternLength {
		c.Add(at, "$regex is longer than %d bytes", c.limits.PatternLength)
		return l
	}
	re, size, err := compileRegex(text, options)
	if err != nil {
		c.Add(at, "%s", err)
		return l
	}
	l.test = pattern{re, size}
	return l
}

// compileRegex compiles an RE2 pattern that takes a bounded time for each byte of text, and counts the instructions that this depends on.
func compileRegex(text, options string) (*regexp.Regexp, int, error) {
	if options != "" {
		text = "(?" + options + ")" + text
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, 0, fmt.Errorf("$regex does not compile (RE2): %w", err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, 0, fmt.Errorf("$regex does not compile (RE2): %w", err)
	}
	if len(program.Inst) > maxRegexInstructions {
		return nil, 0, fmt.Errorf("$regex compiles to %d instructions, more than %d", len(program.Inst), maxRegexInstructions)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, 0, fmt.Errorf("$regex does not compile (RE2): %w", err)
	}
	if _, plain := re.LiteralPrefix(); plain {
		return re, 1, nil
	}
	return re, len(program.Inst), nil
}
