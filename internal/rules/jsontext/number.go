package jsontext

import "cmp"

// CompareNumbers compares two JSON numbers as the decimals they spell, exactly and in time linear in their length, whatever
// their exponents: 9007199254740993 is more than 9007199254740992, 1e2 equals 100, and 1e999999999 costs no memory.
// Exponents beyond 10^17 are taken as 10^17.
func CompareNumbers(a, b string) int {
	if x, ok := smallInt(a); ok {
		if y, ok := smallInt(b); ok {
			return cmp.Compare(x, y)
		}
	}
	x, y := parseDecimal(a), parseDecimal(b)
	if x.sign != y.sign || x.sign == 0 {
		return cmp.Compare(x.sign, y.sign)
	}
	if x.exp != y.exp {
		return x.sign * cmp.Compare(x.exp, y.exp)
	}
	return x.sign * compareDigits(x.digits, y.digits)
}

// smallInt reads a plain integer of at most 18 digits.
func smallInt(s string) (int64, bool) {
	neg := len(s) > 0 && s[0] == '-'
	if neg {
		s = s[1:]
	}
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	if neg {
		n = -n
	}
	return n, true
}

// decimal is sign * 0.d1d2d3... * 10^exp, where d1 is the first digit that is not zero.
type decimal struct {
	sign   int
	digits string // from d1 on; may have a point in it and zeros at its end
	exp    int64
}

func parseDecimal(s string) decimal {
	d := decimal{sign: 1}
	if len(s) > 0 && s[0] == '-' {
		d.sign, s = -1, s[1:]
	}
	end := len(s)
	for i := 0; i < len(s); i++ {
		if s[i]|0x20 == 'e' {
			end = i
			d.exp = parseExponent(s[i+1:])
			break
		}
	}
	point, from := end, -1
	for i := 0; i < end; i++ {
		if s[i] == '.' {
			point = i
		} else if s[i] != '0' && from < 0 {
			from = i
		}
	}
	if from < 0 {
		return decimal{}
	}
	d.digits = s[from:end]
	if d.exp += int64(point - from); from > point {
		d.exp++
	}
	return d
}

const maxExponent = 100_000_000_000_000_000

func parseExponent(s string) int64 {
	neg := len(s) > 0 && s[0] == '-'
	if neg || len(s) > 0 && s[0] == '+' {
		s = s[1:]
	}
	var n int64
	for i := 0; i < len(s) && n < maxExponent; i++ {
		n = n*10 + int64(s[i]-'0')
	}
	n = min(n, maxExponent)
	if neg {
		n = -n
	}
	return n
}

// compareDigits compares two fractions 0.a and 0.b; a point inside them does not count.
func compareDigits(a, b string) int {
	i, j := 0, 0
	for {
		if i < len(a) && a[i] == '.' {
			i++
		}
		if j < len(b) && b[j] == '.' {
			j++
		}
		if i >= len(a) && j >= len(b) {
			return 0
		}
		x, y := byte('0'), byte('0')
		if i < len(a) {
			x = a[i]
			i++
		}
		if j < len(b) {
			y = b[j]
			j++
		}
		if x != y {
			return cmp.Compare(x, y)
		}
	}
}
