package decode

import (
	"math"
	"strconv"

	"github.com/astray-dev/astray/ingest/event"
)

// time reads the event time: RFC 3339, or integer milliseconds since the epoch.
func (c *scanner) time(ch byte, dst *int64) error {
	const rule = "is RFC 3339 or integer milliseconds since the epoch"
	if ch == '"' {
		s, whole, ok := c.text()
		if !ok {
			return errSyntax
		}
		if !whole {
			return reject(event.CodeInvalidUTF8, "time", "is valid UTF-8")
		}
		if *dst, ok = parseTime(s); !ok {
			return reject(event.CodeBadTime, "time", rule)
		}
		return nil
	}
	if ch != '-' && (ch < '0' || ch > '9') {
		return wrongType(ch, "time", rule)
	}
	s, integral, ok := c.number()
	if !ok {
		return errSyntax
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if !integral || err != nil || ms > math.MaxInt64/1000 || ms < math.MinInt64/1000 {
		return reject(event.CodeBadTime, "time", rule)
	}
	*dst = ms * 1000
	return nil
}

// parseTime reads an RFC 3339 date-time as microseconds since the epoch; finer digits are cut off, not rounded, so
// that no time moves into the next window. It is here because time.Parse takes too large a share of a decode and
// takes less than RFC 3339 (no lower-case t and z, no leap second) and more (a comma, an hour of one digit). A
// leap second is counted as the first of the next minute.
func parseTime(s string) (micros int64, ok bool) {
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	year, month, day := digits(s[0:4]), digits(s[5:7]), digits(s[8:10])
	hour, minute, second := digits(s[11:13]), digits(s[14:16]), digits(s[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return 0, false
	}
	i := 19
	fraction := int64(0)
	if s[i] == '.' {
		unit := int64(100_000)
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
			fraction += int64(s[i]-'0') * unit
			unit /= 10
		}
		if i == 20 {
			return 0, false
		}
	}
	offset := int64(0)
	switch rest := s[i:]; {
	case len(rest) == 1 && rest[0]|0x20 == 'z':
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, m := digits(rest[1:3]), digits(rest[4:6])
		if h < 0 || h > 23 || m < 0 || m > 59 {
			return 0, false
		}
		offset = h*3600 + m*60
		if rest[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	seconds := epochDays(year, month, day)*86400 + hour*3600 + minute*60 + second - offset
	return seconds*1_000_000 + fraction, true
}

// digits reads a run of decimal digits; it is negative if there is anything else.
func digits(s string) (n int64) {
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return -1
		}
		n = n*10 + int64(d)
	}
	return n
}

func daysIn(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// epochDays counts the days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant,
// chrono-Compatible Low-Level Date Algorithms, days_from_civil), for years from 0 on.
func epochDays(year, month, day int64) int64 {
	// Years begin in March, so that the leap day is the last of its year.
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 {
		era = -1
	}
	inEra := year - era*400
	return era*146097 + inEra*365 + inEra/4 - inEra/100 + (153*(month-3)+2)/5 + day - 1 - 719468
}
