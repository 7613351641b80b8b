package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration with its unit, days included: 500ms, 1h30m, 180d.
func ParseDuration(s string) (time.Duration, error) {
	t := strings.TrimSpace(s)
	if n, ok := strings.CutSuffix(t, "d"); ok {
		days, err := strconv.ParseFloat(n, 64)
		if err == nil && math.Abs(days) <= 100_000 {
			return time.Duration(days * 24 * float64(time.Hour)), nil
		}
	}
	if _, err := strconv.ParseFloat(t, 64); err == nil && t != "0" {
		return 0, fmt.Errorf("%q has no unit; write %ss or %sms, …", s, t, t)
	}
	d, err := time.ParseDuration(t)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration; write 500ms, 10s, 2h or 180d", s)
	}
	return d, nil
}

// FormatDuration is the inverse of ParseDuration.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var units = []struct {
	name string
	n    int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}}

// ParseSize reads a number of bytes: 4MiB (powers of 1,024), 4MB (powers of 1,000), or bytes without a unit.
func ParseSize(s string) (int64, error) {
	t, n := strings.TrimSpace(s), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(t, u.name); ok {
			t, n = strings.TrimSpace(rest), u.n
			break
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	if err != nil || v < 0 || v*float64(n) >= math.MaxInt64 || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is no size; write 4MiB, 512KiB or 1048576", s)
	}
	return int64(v * float64(n)), nil
}

// FormatSize is the inverse of ParseSize.
func FormatSize(n int64) string {
	for _, u := range units[:4] {
		if n >= u.n && n%u.n == 0 {
			return fmt.Sprintf("%d%s", n/u.n, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

// parse reads a value from the text of an environment variable.
func (f Field) parse(s string) (any, error) {
	switch f.Kind {
	case Text:
		return s, nil
	case List:
		var out []string
		for _, x := range strings.Split(s, ",") {
			if x = strings.TrimSpace(x); x != "" {
				out = append(out, x)
			}
		}
		return out, nil
	case Int:
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", s)
		}
		return n, nil
	case Number:
		n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", s)
		}
		return n, nil
	case Bool:
		switch strings.TrimSpace(s) {
		case "true", "1":
			return true, nil
		case "false", "0", "":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", s)
	case Duration:
		return ParseDuration(s)
	case Size:
		return ParseSize(s)
	}
	return nil, errors.New("can only be set in the file")
}

// nearest returns the word that s is most likely a slip of, "" when none is near.
func nearest(s string, words []string) string {
	best, near := max(1, len(s)/3)+1, ""
	for _, w := range words {
		if d := distance(strings.ToLower(s), strings.ToLower(w)); d < best {
			best, near = d, w
		}
	}
	return near
}

// distance is the number of letters to insert, drop, replace or swap with their neighbour to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
