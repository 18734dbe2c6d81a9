package frame

import "github.com/bluesky-social/indigo/atproto/syntax"

// validTID says whether b is a TID (the record-key page): 13 characters of the
// sortable base32 alphabet, the first of which leaves the top bit clear. It agrees
// with indigo's syntax.ParseTID, without its regular expression.
func validTID(b []byte) bool {
	if len(b) != 13 || b[0] > 'j' {
		return false
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// validDatetime says whether b is a datetime of the lexicon page. The common form
// (UTC as Z) is judged here; the rest goes to indigo's syntax.ParseDatetime, which
// is the reference but twenty times slower. A comma before the fraction, which it
// lets pass, is not RFC 3339 and is refused.
func validDatetime(b []byte) bool {
	if len(b) < len("2006-01-02T15:04:05Z") || len(b) > 64 || b[19] == ',' {
		return false
	}
	if plainDatetime(b) {
		return true
	}
	_, err := syntax.ParseDatetime(string(b))
	return err == nil
}

// plainDatetime accepts YYYY-MM-DDTHH:MM:SS[.digits]Z with a day up to 28, or up
// to 30 outside February. False means only that it does not know.
func plainDatetime(b []byte) bool {
	for i := range len("2006-01-02T15:04:05") {
		if !plainByte(i, b[i]) {
			return false
		}
	}
	month, day := two(b[5:]), two(b[8:])
	if month < 1 || month > 12 || day < 1 || day > 30 || (month == 2 && day > 28) {
		return false
	}
	if two(b[11:]) > 23 || two(b[14:]) > 59 || two(b[17:]) > 59 {
		return false
	}
	rest := b[19:]
	if rest[0] == '.' {
		n := 1
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
		if n == 1 || n > 10 {
			return false
		}
		rest = rest[n:]
	}
	return len(rest) == 1 && rest[0] == 'Z'
}

// plainByte says whether c may stand at position i of a datetime.
func plainByte(i int, c byte) bool {
	switch i {
	case 4, 7:
		return c == '-'
	case 10:
		return c == 'T'
	case 13, 16:
		return c == ':'
	}
	return isDigit(c)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// two reads two digits.
func two(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }
