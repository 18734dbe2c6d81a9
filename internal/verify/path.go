package verify

import "strings"

// Bounds of a repo path in bytes (the nsid and record-key pages).
const (
	maxNSID      = 317
	maxLabel     = 63
	maxRecordKey = 512
)

// validPath says whether p is a repo path: a collection's NSID, "/", a record key.
func validPath(p string) bool {
	nsid, rkey, ok := strings.Cut(p, "/")
	return ok && validNSID(nsid) && validRecordKey(rkey)
}

// validNSID follows the grammar of the nsid page: at least two labels of a domain
// name in reverse order, then a name of letters and digits.
func validNSID(s string) bool {
	if len(s) > maxNSID {
		return false
	}
	labels := 0
	for {
		label, rest, more := strings.Cut(s, ".")
		if !validLabel(label) {
			return false
		}
		switch {
		case labels == 0 && !isLetter(label[0]):
			return false
		case !more:
			return labels >= 2 && isLetter(label[0]) && strings.IndexByte(label, '-') < 0
		}
		labels++
		s = rest
	}
}

func validLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

func validRecordKey(s string) bool {
	if s == "" || len(s) > maxRecordKey || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case isLetter(c), isDigit(c):
		case c == '_', c == '~', c == '.', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
