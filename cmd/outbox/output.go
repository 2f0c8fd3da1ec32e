package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// newEncoder returns an encoder of one JSON value per line.
func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// orDash returns text for a column, which must not be empty.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return printable(text)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// size formats a number of bytes; a negative one is unknown.
func size(bytes int64) string {
	switch {
	case bytes < 0:
		return "-"
	case bytes < 10<<10:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 10<<20:
		return fmt.Sprintf("%d KiB", bytes>>10)
	case bytes < 10<<30:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d GiB", bytes>>30)
}

// shortCause returns the beginning of an error for a column.
func shortCause(text string) string { return shorten(text, 120) }

// shorten returns the first characters of text, at most most of them.
func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// printable escapes what would move the cursor of a terminal or break a column.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 && utf8.ValidString(text) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			out.WriteRune(r)
		} else {
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return out.String()
}
