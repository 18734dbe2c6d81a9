package dashboard

import (
	"encoding/json"
	"fmt"
	"html/template"
	"time"
)

// functions are what templates write numbers with.
var functions = template.FuncMap{
	"count": count, "bytes": size, "ago": duration, "rate": rate, "json": jsonOf,
	"add":   func(a, b int) int { return a + b },
	"since": func(t time.Time) string { return duration(time.Since(t)) },
}

// count writes a whole number, of any type, with commas.
func count(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes, an int64 or a float64, in binary units.
func size(n any) (string, error) {
	var v float64
	switch n := n.(type) {
	case int64:
		v = float64(n)
	case float64:
		v = n
	default:
		return "", fmt.Errorf("%T is not a number of bytes", n)
	}
	unit := 0
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f B", v), nil
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[unit-1]), nil
}

// rate writes events a second.
func rate(v float64) string {
	if v >= 100 {
		return count(int64(v + 0.5))
	}
	return fmt.Sprintf("%.1f", v)
}

// duration writes about how long something is.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// jsonOf is for an attribute that the script reads.
func jsonOf(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
