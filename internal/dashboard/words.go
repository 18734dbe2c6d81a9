package dashboard

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"time"
)

// functions are what templates write numbers with.
var functions = template.FuncMap{
	"count": countAny, "bytes": sizeAny, "ago": duration, "rate": rate, "json": jsonOf,
	"seconds": func(s float64) string { return duration(time.Duration(s * float64(time.Second))) },
	"add":     func(a, b int) int { return a + b },
	"plus":    func(a, b float64) float64 { return a + b },
	"since":   func(t time.Time) string { return duration(time.Since(t)) },
}

// count writes a number with commas.
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes in binary units.
func size[T int64 | float64](n T) string {
	v, unit := float64(n), 0
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[unit-1])
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

// countAny and sizeAny are for templates, whose functions have no type parameters.
func countAny(n any) (string, error) {
	switch n := n.(type) {
	case int:
		return count(n), nil
	case int64:
		return count(n), nil
	case uint64:
		return count(n), nil
	}
	return "", fmt.Errorf("%T is not counted", n)
}

func sizeAny(n any) (string, error) {
	switch n := n.(type) {
	case int64:
		return size(n), nil
	case float64:
		return size(n), nil
	}
	return "", fmt.Errorf("%T is not a number of bytes", n)
}
